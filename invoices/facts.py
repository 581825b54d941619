"""Facts: what the spans of many bills are rated from, read in bulk for all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from invoices.rating import NO_FACTS, Facts, ReadingRow
from invoices.schedule import Span


@dataclass(slots=True)
class Known:
    """What was read: each tenant's daily readings by meter."""

    readings: dict[tuple[UUID, str], list[ReadingRow]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def of(self, tenant_id: UUID) -> Callable[[Span], Facts]:
        """This function will return how a tenant's spans find their facts."""

        def find(span: Span) -> Facts:
            meter = span.item.charge.meter
            if meter is None:
                return NO_FACTS
            return Facts(readings=self.readings.get((tenant_id, meter), []))

        return find


def gather(*, control_session: Session, spans: Iterable[tuple[UUID, Span]]) -> Known:
    """This function will read what spans need, each with the tenant it belongs to."""
    known = Known()
    windows: dict[tuple[UUID, str], tuple[date, date]] = {}
    for tenant_id, span in spans:
        charge, days = span.item.charge, span.stretch.days
        if charge.meter is not None and charge.from_readings and days is not None:
            start, end = windows.get((tenant_id, charge.meter), (days.start, days.end))
            windows[tenant_id, charge.meter] = (min(start, days.start), max(end, days.end))
    if windows:
        asked = [(*key, *window) for key, window in windows.items()]
        _read_days(control_session, asked, known)
    return known


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
