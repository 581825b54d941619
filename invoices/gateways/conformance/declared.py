"""What a case needs of a gateway, and what a gateway that declares less must do instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, TypeVar

import pytest

from invoices.gateways.conformance.purchases import AMOUNT, order_id, purchase
from invoices.gateways.conformance.till import Card, Till
from invoices.gateways.port import Capability, CashReceiptUse, Gateway, NotSupported, Unknown

Need = Capability | tuple[Capability, ...]
Case = TypeVar("Case", bound=Callable[..., None])

# Either will do to find a payment again whose charge was never answered.
FOUND_LATER: Need = (Capability.LOOKUP_BY_ORDER, Capability.PREPARE)
CHARGES: tuple[Need, ...] = (Capability.REGISTER, Capability.CHARGE)
SKIPPED = "not declared: "


def needs(*capabilities: Need) -> Callable[[Case], Case]:
    """This function will mark a case that only makes sense with these capabilities.

    A tuple among them means any one of it.
    """

    def marked(case: Case) -> Case:
        case.gateway_needs = capabilities  # type: ignore[attr-defined]  # a mark on a function
        return case

    return marked


class Cases:
    """Cases of one kind. The only reason to skip one is a capability that was not declared."""

    needed: ClassVar[tuple[Need, ...]] = ()

    @pytest.fixture(autouse=True)
    def skip_what_is_not_declared(self, request: pytest.FixtureRequest, till: Till) -> None:
        """This function will skip the case by name where the gateway offers less."""
        needed = (*self.needed, *getattr(request.function, "gateway_needs", ()))
        lacking = _lacking(needed, till.gateway.capabilities)
        if lacking:
            pytest.skip(f"{SKIPPED}{', '.join(lacking)}")


def _lacking(needed: Iterable[Need], declared: frozenset[Capability]) -> list[str]:
    found = []
    for need in needed:
        any_of = (need,) if isinstance(need, Capability) else need
        if not declared.intersection(any_of):
            found.append(" or ".join(any_of))
    return found


_CALLS: dict[Capability, Callable[[Gateway], Any]] = {
    Capability.REGISTER: lambda at: at.begin_registration(
        customer_key="customer-1", return_url="http://127.0.0.1/", language="ko"
    ),
    Capability.REVOKE: lambda at: at.revoke(token="t", customer_key="customer-1"),  # noqa: S106
    Capability.LOOKUP_METHOD: lambda at: at.method_stands(
        token="t",  # noqa: S106
        customer_key="customer-1",
    ),
    Capability.REFUND: lambda at: at.refund(
        gateway_payment_id="p", amount=None, reason="r", idempotency_key="k"
    ),
    Capability.LOOKUP_BY_ORDER: lambda at: at.lookup(order_id=order_id()),
    Capability.LOOKUP_BY_PAYMENT: lambda at: at.lookup(gateway_payment_id="payment-1"),
    Capability.LIST_PAYMENTS: lambda at: list(
        at.list_payments(start=datetime.now(UTC), end=datetime.now(UTC))
    ),
    Capability.WEBHOOKS: lambda at: at.parse_webhook(
        headers={}, raw_body=b"{}", now=datetime.now(UTC)
    ),
    Capability.TRANSFER_INSTRUCTIONS: lambda at: at.transfer_instructions(
        order_id=order_id(), amount=AMOUNT
    ),
    Capability.VIRTUAL_ACCOUNTS: lambda at: at.open_virtual_account(
        order_id=order_id(),
        amount=AMOUNT,
        name="n",
        payer="p",
        bank="20",
        expires_at=datetime.now(UTC) + timedelta(days=1),
        idempotency_key="k",
    ),
    Capability.CASH_RECEIPTS: lambda at: at.issue_cash_receipt(
        order_id=order_id(),
        amount=AMOUNT,
        tax_minor=10_000,
        name="n",
        use=CashReceiptUse.EXPENSE_PROOF,
        identity="1248100998",
        idempotency_key="k",
    ),
    Capability.SETTLEMENTS: lambda at: list(
        at.settlements(start=date(2026, 1, 1), end=date(2026, 1, 1))
    ),
}


class DeclaredCases(Cases):
    """What holds by the declaration alone."""

    def test_names_a_gateway_that_fits_a_column_and_an_address(self, till: Till) -> None:
        assert till.gateway.name.replace("_", "").isalnum()
        assert till.gateway.name == till.gateway.name.lower()

    @pytest.mark.parametrize("capability", sorted(_CALLS))
    def test_that_leaves_a_call_out_refuses_it_by_name(
        self, till: Till, capability: Capability
    ) -> None:
        if capability not in till.gateway.capabilities:
            with pytest.raises(NotSupported):
                _CALLS[capability](till.gateway)

    def test_that_includes_a_capability_includes_what_it_rests_on(self, till: Till) -> None:
        declared = till.gateway.capabilities
        for finer, coarser in {
            Capability.CHARGE: Capability.REGISTER,
            Capability.PREPARE: Capability.LOOKUP_BY_PAYMENT,
            Capability.LOOKUP_METHOD: Capability.REVOKE,
            Capability.REFUND_IN_PART: Capability.REFUND,
            Capability.REFUND_TAX: Capability.REFUND_IN_PART,
            Capability.SIGNED_WEBHOOKS: Capability.WEBHOOKS,
            Capability.CHARGE_WEBHOOKS: Capability.WEBHOOKS,
            Capability.DISPUTES: Capability.WEBHOOKS,
            Capability.ASKS_HOLDER: Capability.CHARGE,
            Capability.BINDS_CUSTOMER: Capability.CHARGE,
        }.items():
            assert finer not in declared or coarser in declared, f"{finer} without {coarser}"

    def test_without_any_look_up_leaves_its_unknowns_to_a_person(self, till: Till) -> None:
        """The caller parks what nobody can find out, so nothing may pretend to know it."""
        declared = till.gateway.capabilities
        if Capability.CHARGE in declared and not declared.intersection(
            (Capability.LOOKUP_BY_ORDER, Capability.PREPARE)
        ):
            buying = purchase(till, Card.PAYS_AND_KEEPS_FAILING)
            for _ in range(2):
                assert isinstance(buying.at(till.gateway), Unknown)
            with pytest.raises(NotSupported):
                till.gateway.lookup(order_id=buying.order_id)
            assert list(till.captured(buying.order_id)) == [buying.amount]
