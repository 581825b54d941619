"""SQL meters: a declared query reads one number a day from a tenant's own database.

It can neither write nor run long nor see more than its role may. Whatever goes wrong with it
leaves its day missing, which keeps a bill waiting; a failure never counts as zero.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import psycopg

from tenants import databases, replay
from tenants.databases import Placement, TenantDatabaseUnavailable
from tenants.event_bodies import QUANTITY_DIGITS_MAX, plain
from tenants.meter_definitions import PARAMETER, MeterDefinition
from tenants.replay import DayReading

QUANTITY_STEP = Decimal("1e-12")


@dataclass(frozen=True, slots=True)
class Failure:
    """A day that a meter's query gave no number for, and why."""

    meter: str
    day: date
    why: str


class _NoNumber(Exception):
    pass


def read_days(
    *,
    place: Placement,
    definitions: Iterable[MeterDefinition],
    days: Sequence[date],
    timezone: str,
) -> tuple[list[DayReading], list[Failure]]:
    """This function will run each query for each day, and return numbers and failures.

    One query that fails costs no other its turn.

    Raises: TenantDatabaseUnavailable when the database can't be reached at all.
    """
    taken: list[DayReading] = []
    failed: list[Failure] = []
    for definition in definitions:
        for day in days:
            try:
                taken.append(_read(place, definition, day, timezone))
            except TenantDatabaseUnavailable:
                raise
            except psycopg.Error as error:
                why = f"{type(error).__name__}: {error.diag.message_primary or error}"
                failed.append(Failure(definition.code, day, why))
                if isinstance(error, psycopg.errors.QueryCanceled):
                    # As slow on every other day: those are tried again by themselves.
                    rest = days[list(days).index(day) + 1 :]
                    failed += [Failure(definition.code, each, "waits: too slow") for each in rest]
                    break
            except _NoNumber as error:
                failed.append(Failure(definition.code, day, str(error)))
    return taken, failed


def _read(place: Placement, definition: MeterDefinition, day: date, timezone: str) -> DayReading:
    start, end = replay.bounds(day, timezone)
    # Sent with its values apart, so the server takes one statement and no second.
    statement = PARAMETER.sub(r"%(\1)s", definition.sql.replace("%", "%%"))
    with databases.reading_connection(place) as connection:
        cursor = connection.execute(statement.encode(), {"day_start": start, "day_end": end})
        rows = cursor.fetchmany(2) if cursor.description else []
    quantity = _quantity(rows)
    evidence = [
        f"{definition.code} v{definition.version} {day}",
        definition.sql,
        start.astimezone(UTC).isoformat(),
        end.astimezone(UTC).isoformat(),
        plain(quantity),
    ]
    sha256 = hashlib.sha256("\n".join(evidence).encode("utf-8", "surrogatepass")).hexdigest()
    return DayReading(definition.code, day, quantity, sha256)


def _quantity(rows: Sequence[tuple[Any, ...]]) -> Decimal:
    if len(rows) != 1 or len(rows[0]) != 1:
        raise _NoNumber("The query has to return one row with one column.")
    (value,) = rows[0]
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        kind = "nothing" if value is None else type(value).__name__
        raise _NoNumber(f"The query returned {kind}: an integer or a numeric is wanted.")
    number = Decimal(value)
    if not number.is_finite() or number < 0 or number.adjusted() >= QUANTITY_DIGITS_MAX:
        raise _NoNumber("The query returned a number that nobody can be billed for.")
    with localcontext(prec=60):
        return number.quantize(QUANTITY_STEP, rounding=ROUND_HALF_EVEN)
