"""Simulators that bin/dev starts: who has accounts, who has settings, and where they lead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.embedded import environment, ports, simulators
from app.embedded.children import Process
from app.embedded.errors import EmbeddedError
from app.embedded.processes import stages
from invoices.gateways import registry
from invoices.tax_papers.popbill import PopbillIssuer
from invoices.tax_papers.popbill_wire import PopbillWire
from invoices.tax_papers.port import Absent
from tenants.business_checkers.odcloud import Odcloud
from tenants.business_checkers.port import Found
from tests.fakes.portone import running as portone
from tests.fakes.stripe import running as stripe
from tests.fakes.toss import till as toss
from tests.patience import PATIENCE_SECONDS
from tests.sandbox.running import RETURN_URL

CUSTOMER = "0f0b7c1e-customer-of-the-tests"
SELLER = "1248100998"


def listed(directory: Path, *simulated: str) -> tuple[dict[str, str], dict[str, Process]]:
    """The settings and the processes of a system with these simulators."""
    chosen = {**environment.DEFAULT_PORTS}
    for name in simulated:
        chosen[name], _ = ports.choose(directory / "ports.json", name, ports.scratch_start())
    values = environment.complete(
        {**os.environ, **simulators.settings_of(simulated, chosen=chosen)},
        directory=directory,
        environment="test",
        held=None,
        chosen=chosen,
    )
    found = stages(
        environment=values, chosen=chosen, directory=directory, seed=False, simulated=simulated
    )
    return values, {process.name: process for stage in found for process in stage}


@contextmanager
def started(process: Process) -> Iterator[None]:
    """Runs one of them, until it is told to stop."""
    child = subprocess.Popen(
        process.command,
        env=process.environment,
        cwd=process.directory,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        assert "http://" in child.stdout.readline()
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(PATIENCE_SECONDS) == 0
        child.stdout.close()


def issuer(values: dict[str, str]) -> PopbillIssuer:
    return PopbillIssuer(
        wire=PopbillWire(
            url=values["TENANTRY_POPBILL_URL"],
            auth_url=values["TENANTRY_POPBILL_AUTH_URL"],
            link_id=values["TENANTRY_POPBILL_LINK_ID"],
            secret_key=values["TENANTRY_POPBILL_SECRET_KEY"],
            registration_number=SELLER,
            user_id="",
            test=True,
            timeout_seconds=5,
        )
    )


class TestPopbill:
    def test_answers_whoever_has_its_settings_and_again_after_a_restart(
        self, tmp_path: Path
    ) -> None:
        values, processes = listed(tmp_path, "popbill")
        assert (values["TENANTRY_TAX_ISSUER"], values["TENANTRY_CASH_RECEIPT_ISSUER"]) == (
            "popbill",
            "popbill",
        )
        for _ in range(2):
            with started(processes["popbill"]):
                assert isinstance(issuer(values).lookup(management_key="none"), Absent)
        assert (tmp_path / "popbill-simulator" / "popbill.json").exists()

    def test_has_no_account_to_be_added(self, tmp_path: Path) -> None:
        assert "accounts" not in listed(tmp_path, "popbill")[1]
        assert "accounts" in listed(tmp_path, "popbill", "toss")[1]

    def test_is_not_asked_where_nobody_named_it(self, tmp_path: Path) -> None:
        assert simulators.settings_of(("stripe", "toss"), chosen={}) == {}
        assert "popbill" not in listed(tmp_path, "toss")[1]


class TestOdcloud:
    def test_knows_everybody_and_what_it_was_told_of_somebody_also_after_a_restart(
        self, tmp_path: Path
    ) -> None:
        values, processes = listed(tmp_path, "odcloud")
        url = values["TENANTRY_BUSINESS_STATUS_URL"]
        register = Odcloud(
            url=url, service_key=values["TENANTRY_BUSINESS_SERVICE_KEY"], timeout_seconds=5
        )
        closed = {"b_no": "4718169442", "b_stt_cd": "03", "end_dt": "20261031"}
        with started(processes["odcloud"]):
            told = httpx.post(httpx.URL(url).join("/_simulator/businesses"), json=closed)
            assert told.is_success
        with started(processes["odcloud"]):
            assert register.status(numbers=[SELLER, "4718169442"]) == {
                SELLER: Found("active", "01"),
                "4718169442": Found("closed", "01", date(2026, 10, 31)),
            }

    def test_is_asked_beside_popbill_with_no_account_to_be_added(self, tmp_path: Path) -> None:
        values, processes = listed(tmp_path, "odcloud", "popbill")
        assert {"odcloud", "popbill"} <= set(processes)
        assert "accounts" not in processes
        assert values["TENANTRY_TAX_ISSUER"] == "popbill"
        assert values["TENANTRY_BUSINESS_STATUS_URL"].endswith("/nts-businessman/v1")


def click(name: str, gateway: Any, url: str) -> dict[str, str]:
    """What a person does on the page where a card or wallet is registered."""
    if name == "stripe":
        started = gateway.begin_registration(
            customer_key=CUSTOMER, return_url=RETURN_URL, language="ko"
        )
        return stripe.returned(stripe.type_card(started.redirect_url, "pays"))
    if name == "toss":
        return toss.choose(gateway, url, CUSTOMER, "pays")
    return portone.answer(gateway, url, CUSTOMER, number=portone.NUMBERS["pays"])


@pytest.mark.parametrize("name", ["stripe", "toss", "portone"])
def test_a_person_registers_a_card_at_each_account_that_is_written_down_for_it(
    tmp_path: Path, name: str
) -> None:
    _, processes = listed(tmp_path, name)
    port = int(processes[name].command[processes[name].command.index("--port") + 1])
    written = simulators.write_accounts(
        (name,), chosen={name: port}, directory=tmp_path, public_url="http://localhost"
    )
    with started(processes[name]):
        for account in json.loads(written.read_text()):
            gateway = registry.opener(account["gateway"])(account["credentials"])
            came_back = click(name, gateway, account["credentials"]["base_url"])
            method = gateway.complete_registration(customer_key=CUSTOMER, params=came_back)
            assert method.token, account["code"]


def test_a_name_that_no_simulator_has_is_an_error() -> None:
    with pytest.raises(EmbeddedError, match="popbil'"):
        simulators.named("stripe,popbil")
