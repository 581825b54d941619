"""How it must have ended, asked of the pages, the gateway and the files, not of our memory."""

from __future__ import annotations

from collections import Counter

import httpx
from sqlalchemy import func, select

from app.base import files
from app.base.config import settings
from app.base.db import control_session
from app.cli.demo import cast
from app.cli.demo.road import Play
from invoices.models import Invoice, Payment, PaymentAttempt, TaxInvoice, VatEvidence
from tenants.models import Erasure, Reading, Tenant, VisitEvent


def verify(play: Play) -> None:
    """This function will compare what happened with what the table of prospects promised."""
    with play.report.step("metering") as step:
        step.count = _count(Reading)
    with play.report.step("payment") as step:
        outcomes = _attempts()
        step.count = sum(outcomes.values())
        step.note(**outcomes)
        _charged_once(play)
    with play.report.step("lifecycle") as step:
        _the_one_that_left(play)
        step.count = _count(Erasure)
        step.note(**_tenant_states())
    _compare(play)


def _compare(play: Play) -> None:
    expect = play.report.expect
    states = _tenant_states()
    paying = len(play.of(*cast.PAYING))
    expect(states.get("active", 0) == paying, f"active tenants: {states}, expected {paying}")
    expect(states.get("destroyed", 0) == len(play.of("never_converts")), f"destroyed: {states}")
    with control_session() as session:
        unpaid = session.scalars(select(Invoice.number_text).where(Invoice.state == "issued")).all()
        issued = session.scalar(select(func.count()).select_from(Invoice)) or 0
        evidence = dict(
            session.execute(select(VatEvidence.kind, func.count()).group_by(VatEvidence.kind)).all()
        )
    expect(not unpaid, f"unpaid at the end: {', '.join(map(str, unpaid))}")
    expect(issued >= paying * 3, f"{issued} invoices for {paying} customers over two months")
    expect(evidence.get("card_slip", 0) > 0, "no card slip is anybody's evidence")
    expect(_count(TaxInvoice) > 0, "no tax invoice was issued")
    expect(_count(VisitEvent) > 0, "no visit was written down")
    outcomes = _attempts()
    expect(outcomes.get("declined", 0) >= 1, "the card that declines once never declined")
    with play.report.step("invoicing") as step:
        step.count = issued
        step.note(evidence=" ".join(f"{kind} {n}" for kind, n in sorted(evidence.items())))


def _charged_once(play: Play) -> None:
    """The gateway's own books: no order is paid twice, and each is one of our payments."""
    secret = settings().sandbox_gateway_secret.get_secret_value()
    paid: Counter[str] = Counter()
    cards: Counter[str] = Counter()
    after = None
    while True:
        answer = httpx.get(
            f"{settings().sandbox_gateway_url}/v1/payments",
            params={"status": "succeeded", "limit": 100, **({"after": after} if after else {})},
            auth=(secret, ""),
            timeout=10,
        )
        answer.raise_for_status()
        rows = answer.json()["payments"]
        # An order is the invoice's id and the number of the attempt.
        paid.update(row["order_id"].rpartition("-")[0] for row in rows)
        cards.update(row["method"]["masked"][-4:] for row in rows)
        if len(rows) < 100:
            break
        after = rows[-1]["id"]
    twice = [order for order, times in paid.items() if times > 1]
    play.report.expect(not twice, f"charged twice at the gateway: {twice}")
    # What that gateway took, it answered too late for: our call had given up by then.
    hung, late = len(play.of("card_hangs")), cards[cast.CARDS["card_hangs"][-4:]]
    play.report.expect(late >= hung, f"{hung} cards answer too late, and paid {late} times")
    with control_session() as session:
        ours = session.scalar(
            select(func.count()).where(Payment.gateway == "sandbox", Payment.id.is_not(None))
        )
    play.report.expect(
        sum(paid.values()) == ours,
        f"the gateway took {sum(paid.values())} payments, we know {ours}",
    )


def _the_one_that_left(play: Play) -> None:
    for customer in play.of("never_converts"):
        # A web process may know the ended session for a few seconds more: it says "shut" then.
        page = customer.browser.open("/workspace/drawings", expect=(200, 403))
        shut = page.status == 403 or "sign-in" in page.url
        play.report.expect(shut, "a destroyed tenant's workspace still opens")
    with control_session() as session:
        gone = session.scalars(select(Tenant).where(Tenant.state == "destroyed")).all()
        names = [tenant.name for tenant in gone]
    expected = {customer.prospect.company for customer in play.of("never_converts")}
    play.report.expect(not expected & set(names), "a destroyed tenant's name is still stored")
    for tenant in gone:
        play.report.expect(
            files.is_empty(prefix=f"tenants/{tenant.id}"), "a destroyed tenant's files remain"
        )


def _tenant_states() -> dict[str, int]:
    with control_session() as session:
        found = session.execute(select(Tenant.state, func.count()).group_by(Tenant.state))
        return {str(state): int(count) for state, count in found}


def _attempts() -> dict[str, int]:
    with control_session() as session:
        found = session.execute(
            select(PaymentAttempt.state, func.count()).group_by(PaymentAttempt.state)
        )
        return {str(state): int(count) for state, count in found}


def _count(model: type) -> int:
    with control_session() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0
