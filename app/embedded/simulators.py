"""The simulators that bin/dev can start, and the accounts and settings that lead to them.

They live beside the tests, which hold them to what the vendors publish; nobody's money is there,
so what opens them is no secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.embedded import accounts, ports
from app.embedded.errors import EmbeddedError

DEFAULT_PORTS = {"stripe": 8020, "toss": 8021, "portone": 8022, "popbill": 8024, "odcloud": 8025}
# Payment companies have accounts in the database; who issues tax papers, and who knows businesses,
# has settings.
WITH_ACCOUNTS = frozenset({"stripe", "toss", "portone"})
# What the ones with settings are told besides: when the tax service accepts, and that whoever
# nobody wrote into the register runs a business; the seed's companies do.
_TOLD = {"popbill": ("--transmit-seconds", "60"), "odcloud": ("--everyone", "01")}
PORTONE_STORE = "store-00000000-0000-4000-8000-000000000001"


@dataclass(frozen=True, slots=True)
class Account:
    """An account at a simulator, as `flask gateways add` reads it."""

    code: str
    title_ko: str
    title_en: str
    credentials: dict[str, str]
    currencies: tuple[str, ...] = ()


def named(words: str) -> tuple[str, ...]:
    """Read `stripe,toss`; a name that no simulator has is an error."""
    names = tuple(dict.fromkeys(filter(None, (word.strip() for word in words.split(",")))))
    unknown = [name for name in names if name not in DEFAULT_PORTS]
    if unknown:
        known = ", ".join(DEFAULT_PORTS)
        raise EmbeddedError(f"There is no simulator called {unknown[0]!r}: choose of {known}.")
    return names


def command(name: str, *, port: int, directory: Path, public_url: str) -> tuple[str, ...]:
    """Return what runs a simulator, and where it calls."""
    place = ("--port", str(port), "--directory", str(directory / f"{name}-simulator"))
    if name not in WITH_ACCOUNTS:
        return (f"tests.fakes.{name}", *place, *_TOLD[name])
    hook = f"{public_url}/hooks/{_accounts(name, port, public_url)[0].code}"
    secrets = {
        "stripe": ("--webhook-secret", "whsec_simulator"),
        "toss": ("--security-key", "toss-security-key"),
        "portone": (),
    }[name]
    return (f"tests.fakes.{name}", *place, "--webhook-url", hook, *secrets)


def settings_of(names: tuple[str, ...], *, chosen: dict[str, int]) -> dict[str, str]:
    """Return the settings that lead to simulators which have no account in the database."""
    led: dict[str, str] = {}
    if "popbill" in names:
        url = f"http://{ports.LOOPBACK}:{chosen['popbill']}"
        led |= {
            "TENANTRY_TAX_ISSUER": "popbill",
            "TENANTRY_CASH_RECEIPT_ISSUER": "popbill",
            "TENANTRY_POPBILL_URL": url,
            "TENANTRY_POPBILL_AUTH_URL": url,
            "TENANTRY_POPBILL_LINK_ID": "TENANTRY",
            "TENANTRY_POPBILL_SECRET_KEY": "cG9wYmlsbC1zaW11bGF0b3I=",
            "TENANTRY_TAX_PAPER_LOOK_MINUTES": "1",
        }
    if "odcloud" in names:
        url = f"http://{ports.LOOPBACK}:{chosen['odcloud']}"
        led |= {
            "TENANTRY_BUSINESS_STATUS_URL": f"{url}/api/nts-businessman/v1",
            "TENANTRY_BUSINESS_SERVICE_KEY": "c2VydmljZS1rZXk+L3NpbXVsYXRvcg==",
        }
    return led


def write_accounts(
    names: tuple[str, ...], *, chosen: dict[str, int], directory: Path, public_url: str
) -> Path:
    """Write the file that `flask gateways add` stores the simulators' accounts from."""
    rows: list[dict[str, Any]] = [
        {
            "code": account.code,
            "gateway": name,
            "title_ko": account.title_ko,
            "title_en": account.title_en,
            "currencies": list(account.currencies),
            "credentials": account.credentials,
            "use": "offered",
        }
        for name in names
        if name in WITH_ACCOUNTS
        for account in _accounts(name, chosen[name], public_url)
    ]
    path = directory / "run" / "simulators.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    accounts.private_file(path, json.dumps(rows, ensure_ascii=False, indent=1))
    return path


def _accounts(name: str, port: int, public_url: str) -> list[Account]:
    url = f"http://{ports.LOOPBACK}:{port}"
    if name == "stripe":
        keys = {"secret_key": "sk_test_simulator", "webhook_secret": "whsec_simulator"}
        return [
            Account("stripe", "해외 카드 (모의)", "Card (simulated)", {"base_url": url, **keys})
        ]
    if name == "toss":
        keys = {
            "base_url": url,
            "script_url": f"{url}/v2/standard",
            "client_key": "test_ck_simulator",
            "secret_key": "test_sk_simulator",
            "security_key": "toss-security-key",
        }
        return [Account("toss", "국내 카드 (모의)", "Korean card (simulated)", keys, ("KRW",))]
    return [
        _portone(url, public_url, channel, title_ko, title_en, currencies)
        for channel, title_ko, title_en, currencies in (
            ("kakaopay", "카카오페이 (모의)", "KakaoPay (simulated)", ("KRW",)),
            ("naverpay", "네이버페이 (모의)", "NaverPay (simulated)", ("KRW",)),
            ("paypal", "페이팔 (모의)", "PayPal (simulated)", ()),
        )
    ]


def _portone(  # noqa: PLR0917 - a row of the list above
    url: str,
    public_url: str,
    channel: str,
    title_ko: str,
    title_en: str,
    currencies: tuple[str, ...],
) -> Account:
    credentials = {
        "base_url": url,
        "channel": channel,
        "store_id": PORTONE_STORE,
        "channel_key": f"channel-key-{channel}",
        "api_secret": "portone_secret_for_tests",
        "webhook_secret": "whsec_cG9ydG9uZS1zaW11bGF0b3I=",
        "notice_url": f"{public_url}/hooks/{channel}",
    }
    return Account(channel, title_ko, title_en, credentials, currencies)
