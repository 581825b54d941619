"""What a meter that is tried would bill: priced by the run's own code, for `flask meters try`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta

from sqlalchemy.orm import Session

from app.base.money import Money
from invoices import catalogue, facts, rating, subscriptions
from invoices.charges import Charge
from invoices.models import PlanVersion
from invoices.periods import Period
from invoices.rating import Facts, ReadingRow, Stretch
from tenants import replay
from tenants.meter_definitions import MeterDefinition
from tenants.models import Tenant
from tenants.replay import DayReading

# What a charge of the meter is rated from, over the days that are tried.
Found = Callable[[Charge], Facts]


def of_readings(taken: Sequence[DayReading]) -> Found:
    """This function will price numbers that were read day by day."""
    rows = [
        ReadingRow(
            meter=each.meter,
            day=each.day,
            quantity=each.quantity,
            evidence_sha256=each.evidence_sha256,
        )
        for each in taken
    ]
    return lambda _charge: Facts(readings=rows)


def of_events(
    *, usage_session: Session, definition: MeterDefinition, tenant: Tenant, days: Period
) -> Found:
    """This function will price what was pushed, each charge by the group that it is for."""
    start, _ = replay.bounds(days.start, tenant.timezone)
    _, end = replay.bounds(days.end - timedelta(days=1), tenant.timezone)

    def find(charge: Charge) -> Facts:
        (total,) = facts.totals(
            usage_session=usage_session,
            definitions={definition.code: definition},
            windows=[facts.key_of(tenant.id, charge, start, end)],
        )
        return Facts(total=total)

    return find


def lines(
    *,
    control_session: Session,
    tenant: Tenant,
    definition: MeterDefinition,
    days: Period,
    find: Found,
) -> Iterator[str]:
    """This function will say what each charge of the tenant's plan would ask for these days.

    They are taken for a whole period, at list price and before tax.
    """
    subscription = subscriptions.active(control_session=control_session, tenant_id=tenant.id)
    if subscription is None:
        yield "No subscription: nothing prices it."
        return
    version = control_session.get_one(PlanVersion, subscription.plan_version_id)
    charges = [
        (price.id, charge)
        for price in version.prices
        if (charge := catalogue.charge_of(price)).meter == definition.code
    ]
    if not charges:
        yield f"No charge of {version.plan_code} v{version.version} uses it."
        return
    for price_id, charge in charges:
        rated = rating.rate(
            price_id=price_id,
            charge=charge,
            currency=subscription.currency,
            stretch=Stretch.whole(days),
            facts=find(charge),
        )
        amount = Money(rated.amount_minor, subscription.currency)
        added = ", for those who add it" if charge.optional else ""
        yield (
            f"{charge.code}{_group(charge.group)}: {rated.evidence['measured']}"
            f" {definition.unit}, {amount}{added}"
        )
    yield f"As {version.plan_code} v{version.version} asks for a whole period, before coupons, tax."


def _group(group: Mapping[str, str]) -> str:
    told = ", ".join(f"{name}={value}" for name, value in sorted(group.items()))
    return f" ({told})" if told else ""
