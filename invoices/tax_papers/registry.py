"""Which issuers there are, by the name in the settings, opened once a process."""

from __future__ import annotations

import os
from functools import lru_cache

from app.base.config import settings
from app.base.errors import NotFound
from invoices.tax_papers.port import TaxIssuer


class NoSuchIssuer(NotFound):
    """No issuer of tax papers goes by this name."""


def issuer(name: str) -> TaxIssuer:
    """This function will return the issuer of that name, opened with this machine's settings.

    Raises: NoSuchIssuer.
    """
    # Connections do not survive a fork, and workers fork.
    return _opened(name, os.getpid())


@lru_cache(maxsize=4)
def _opened(name: str, _process: int) -> TaxIssuer:
    """Each is loaded when it is wanted: a web process that signs nothing holds no signer."""
    s = settings()
    match name:
        case "offline":
            from invoices.tax_papers.offline import OfflineIssuer  # noqa: PLC0415

            return OfflineIssuer(registration=s.tax_issuer_registration)
        case "popbill":
            from invoices.tax_papers.popbill import PopbillIssuer  # noqa: PLC0415
            from invoices.tax_papers.popbill_wire import PopbillWire  # noqa: PLC0415

            return PopbillIssuer(
                wire=PopbillWire(
                    url=s.popbill_url or _popbill_host(s.popbill_test),
                    auth_url=s.popbill_auth_url,
                    link_id=s.popbill_link_id,
                    secret_key=s.popbill_secret_key.get_secret_value(),
                    registration_number=s.seller_registration_number.replace("-", ""),
                    user_id=s.popbill_user_id,
                    test=s.popbill_test,
                    timeout_seconds=s.tax_issuer_timeout_seconds,
                )
            )
    raise NoSuchIssuer(f"There is no issuer of tax papers called {name!r}.")


def _popbill_host(test: bool) -> str:
    return f"https://popbill{'-test' if test else ''}.linkhub.co.kr"
