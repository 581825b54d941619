"""Adapters of Acme Pay with one thing wrong in each, for the kit to find."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from acme_pay.gateway import AcmeGateway
from acme_pay.till import AcmeTill

from app.base.money import Money
from invoices.gateways import port


class CallsATimeOutADecline(AcmeGateway):
    def charge(self, **asked: Any) -> port.ChargeResult:
        result = super().charge(**asked)
        if isinstance(result, port.Unknown):
            return port.Declined(port.DeclineClass.RETRY_LATER, "time_out", result.reason)
        return result


class RetriesUnderANewKey(AcmeGateway):
    def charge(self, **asked: Any) -> port.ChargeResult:
        result = super().charge(**asked)
        if isinstance(result, port.Unknown):
            return super().charge(**{**asked, "idempotency_key": uuid.uuid4().hex})
        return result


class BelievesAnySum(AcmeGateway):
    def charge(self, **asked: Any) -> port.ChargeResult:
        result = super().charge(**asked)
        if isinstance(result, port.Unknown) and "another payment" in result.reason:
            return super().charge(**{**asked, "amount": Money(110_000, "KRW")})
        return result


class InventsALookUp(AcmeGateway):
    def lookup(self, **_asked: Any) -> port.LookupResult:
        return port.Absent()


class LetsVendorsErrorsOut(AcmeGateway):
    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        return super().complete_registration(
            customer_key=customer_key, params={"code": params["code"]}
        )


class ForgetsThatItRefunded(AcmeGateway):
    def refund(self, **asked: Any) -> port.RefundResult:
        return super().refund(**{**asked, "idempotency_key": uuid.uuid4().hex})


class AsksForEachDeclineToBeTriedAgain(AcmeGateway):
    def charge(self, **asked: Any) -> port.ChargeResult:
        result = super().charge(**asked)
        if isinstance(result, port.Declined):
            return replace(result, decline_class=port.DeclineClass.RETRY_LATER)
        return result


@contextmanager
def open_till() -> Iterator[Any]:
    """This function will open the till of the mutant that the environment names."""
    till = AcmeTill(globals()[os.environ["ACME_MUTANT"]])
    yield till
    till.close()
