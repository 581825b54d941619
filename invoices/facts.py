"""Facts: what the spans of many bills are rated from, read in bulk for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from invoices.charges import Charge
from invoices.rating import NO_FACTS, Facts, ReadingRow, UsageTotal
from invoices.schedule import Span
from tenants import meters, usage
from tenants.meter_definitions import MeterDefinition
from tenants.usage import Window

WindowKey = tuple[UUID, str, tuple[tuple[str, str], ...], datetime, datetime]


@dataclass(slots=True)
class Known:
    """What was read: each tenant's daily readings by meter, and totals of pushed events."""

    readings: dict[tuple[UUID, str], list[ReadingRow]] = field(
        default_factory=lambda: defaultdict(list)
    )
    totals: dict[WindowKey, UsageTotal] = field(default_factory=dict)

    def of(self, tenant_id: UUID) -> Callable[[Span], Facts]:
        """This function will return how a tenant's spans find their facts."""

        def find(span: Span) -> Facts:
            charge = span.item.charge
            if charge.meter is None or span.kind == "credit":
                return NO_FACTS
            if charge.from_readings:
                return Facts(readings=self.readings.get((tenant_id, charge.meter), ()))
            return Facts(total=self.totals[key_of(tenant_id, charge, span.start, span.end)])

        return find


def key_of(tenant_id: UUID, charge: Charge, start: datetime, end: datetime) -> WindowKey:
    """This function will return what a total of a charge's meter is known by."""
    return tenant_id, charge.meter or "", tuple(sorted(charge.group.items())), start, end


def gather(
    *,
    control_session: Session,
    spans: Iterable[tuple[UUID, Span]],
    usage_session: Session | None = None,
) -> Known:
    """This function will read what spans need, each with the tenant it belongs to.

    Without a session of its own pushed usage is read where control's rows are.
    """
    known = Known()
    days: dict[tuple[UUID, str], tuple[date, date]] = {}
    windows: list[WindowKey] = []
    for tenant_id, span in spans:
        charge, stretch = span.item.charge, span.stretch.days
        if charge.meter is None or span.kind == "credit":
            continue
        if not charge.from_readings:
            windows.append(key_of(tenant_id, charge, span.start, span.end))
        elif stretch is not None:
            start, end = days.get((tenant_id, charge.meter), (stretch.start, stretch.end))
            days[tenant_id, charge.meter] = (min(start, stretch.start), max(end, stretch.end))
    if days:
        _read_days(control_session, [(*key, *window) for key, window in days.items()], known)
    if windows:
        declared = meters.definitions(
            control_session=control_session, codes={key[1] for key in windows}
        )
        found = totals(
            usage_session=usage_session or control_session, definitions=declared, windows=windows
        )
        known.totals = dict(zip(windows, found, strict=True))
    return known


def totals(
    *,
    usage_session: Session,
    definitions: Mapping[str, MeterDefinition],
    windows: Sequence[WindowKey],
) -> list[UsageTotal]:
    """This function will read what meters come to in windows, by the definitions of their codes."""
    found = usage.totals(
        usage_session=usage_session,
        meters=definitions,
        windows=[
            Window(tenant_id, meter, start, end, dict(group))
            for tenant_id, meter, group, start, end in windows
        ],
    )
    return [
        UsageTotal(
            meter=total.window.meter,
            meter_version=total.meter_version,
            start=total.window.start,
            end=total.window.end,
            quantity=total.quantity,
            transactions=total.transactions,
            sha256=total.sha256,
        )
        for total in found
    ]


def _read_days(
    control_session: Session, windows: Sequence[tuple[UUID, str, date, date]], known: Known
) -> None:
    columns = [list(column) for column in zip(*windows, strict=True)]
    rows = control_session.execute(
        text(
            "SELECT r.tenant_id, r.meter, r.day, r.quantity, r.evidence_sha256"
            " FROM unnest(CAST(:tenants AS uuid[]), CAST(:meters AS text[]),"
            " CAST(:starts AS date[]), CAST(:ends AS date[])) w (tenant_id, meter, first, past)"
            " JOIN reading r ON r.tenant_id = w.tenant_id AND r.meter = w.meter"
            " AND r.day >= w.first AND r.day < w.past ORDER BY r.tenant_id, r.meter, r.day"
        ),
        dict(zip(("tenants", "meters", "starts", "ends"), columns, strict=True)),
    )
    for tenant_id, meter, day, quantity, evidence_sha256 in rows:
        known.readings[tenant_id, meter].append(
            ReadingRow(meter=meter, day=day, quantity=quantity, evidence_sha256=evidence_sha256)
        )
