"""Meters: what is declared, in versions that never change. The newest version of a code counts.

Meters of daily readings that the product itself takes are declared here; those of pushed events
and of SQL come from a file, as the operator declares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.errors import Invalid, NotFound
from tenants import meter_definitions
from tenants.meter_definitions import MeterDefinition, MeterUnsound
from tenants.meter_models import Meter


class NoSuchMeter(NotFound):
    """No meter has this code, or this version."""


class NoMeters(Invalid):
    """A file declares no meters, or one of them twice."""


@dataclass(frozen=True, slots=True)
class Declared:
    """A definition with its version, and whether declaring it changed anything."""

    definition: MeterDefinition
    changed: bool


def _daily(code: str, unit: str, ko: str, en: str) -> MeterDefinition:
    return MeterDefinition(
        code=code, version=1, source="readings", unit=unit, name_ko=ko, name_en=en
    )


# What the product reads of every tenant's day, in the order of `tenants.replay`.
BUILT_IN: tuple[MeterDefinition, ...] = (
    _daily("seats", "seat", "좌석 (하루 최고)", "Seats (peak of the day)"),
    _daily("seats_named", "seat", "좌석 (하루 끝)", "Seats (at the day's end)"),
    _daily("seats_active", "person", "활동한 사용자", "Active members"),
    _daily("storage_gb_days", "GB·day", "저장 용량", "Storage"),
    _daily("files_added", "file", "올린 파일", "Files added"),
)
_BUILT_IN = {each.code: each for each in BUILT_IN}


def read_all(declared: Any) -> list[MeterDefinition]:
    """This function will check a decoded file, `{"meters": [...]}`, and return its definitions.

    Raises: NoMeters; MeterUnsound, with the meter and the field at fault.
    """
    listed = declared.get("meters") if isinstance(declared, Mapping) else None
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not listed:
        raise NoMeters("A file of meters has a list called meters.", field="meters")
    found: list[MeterDefinition] = []
    for place, each in enumerate(listed):
        try:
            found.append(meter_definitions.read(each))
        except MeterUnsound as error:
            code = each.get("code") if isinstance(each, Mapping) else None
            where = f"meters[{place}]" + (f" ({code})" if isinstance(code, str) else "")
            raise MeterUnsound(error.message, field=f"{where}.{error.field}") from error
    codes = [each.code for each in found]
    for code in codes:
        if codes.count(code) > 1:
            raise NoMeters(f"The meter {code} is declared twice.", field="meters")
    return found


def declare(
    *,
    control_session: Session,
    definitions: Iterable[MeterDefinition],
    actor: Actor,
    now: datetime,
) -> list[Declared]:
    """This function will write down definitions: one that is known stays the version it is, one
    that differs becomes the next version of its code.

    Raises: MeterUnsound for a code that the product itself reads.
    """
    control_session.execute(text("SELECT pg_advisory_xact_lock(hashtext('meters'))"))
    asked = list(definitions)
    known = current(control_session=control_session)
    declared = []
    for definition in asked:
        if definition.code in _BUILT_IN:
            raise MeterUnsound(
                f"{definition.code} is read by the product itself. Choose another code.",
                field="code",
            )
        before = known.get(definition.code)
        if before is not None and before.canonical == definition.canonical:
            declared.append(Declared(before, changed=False))
            continue
        version = before.version + 1 if before else 1
        fresh = replace(definition, version=version)
        _write(control_session, fresh, actor, now)
        declared.append(Declared(fresh, changed=True))
    control_session.flush()
    return declared


def _write(
    control_session: Session, definition: MeterDefinition, actor: Actor, now: datetime
) -> None:
    control_session.add(
        Meter(
            code=definition.code,
            version=definition.version,
            source=definition.source,
            definition=meter_definitions.facts(definition),
            sha256=definition.sha256,
            declared_by=f"{actor.kind} {actor.id or ''}".strip(),
            declared_at=now,
        )
    )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="meter.declared",
        subject_kind="meter",
        subject_id=definition.code,
        details={"version": definition.version, "sha256": definition.sha256},
        now=now,
    )


_CURRENT = select(Meter).ext(distinct_on(Meter.code)).order_by(Meter.code, Meter.version.desc())


def current(*, control_session: Session) -> dict[str, MeterDefinition]:
    """This function will return the newest version of every meter, by code."""
    rows = control_session.scalars(_CURRENT)
    return _BUILT_IN | {row.code: _definition(row) for row in rows}


def counted(*, control_session: Session) -> list[MeterDefinition]:
    """This function will return the newest version of every meter of pushed events, by code."""
    every = current(control_session=control_session)
    return [every[code] for code in sorted(every) if every[code].source == "events"]


def definitions(*, control_session: Session, codes: Iterable[str]) -> Mapping[str, MeterDefinition]:
    """This function will return the newest version of some meters, by code.

    Raises: NoSuchMeter.
    """
    every = current(control_session=control_session)
    found = {}
    for code in codes:
        if code not in every:
            raise NoSuchMeter(f"No meter is called {code}.", field="meter")
        found[code] = every[code]
    return found


def definition(*, control_session: Session, code: str, version: int) -> MeterDefinition:
    """This function will return one version of a meter, however old: what was billed by it stays.

    Raises: NoSuchMeter.
    """
    if code in _BUILT_IN and version == _BUILT_IN[code].version:
        return _BUILT_IN[code]
    row = control_session.get(Meter, (code, version))
    if row is None:
        raise NoSuchMeter(f"There is no version {version} of a meter {code}.", field="meter")
    return _definition(row)


def history(*, control_session: Session, code: str) -> list[Meter]:
    """This function will return the rows of every version of a meter, newest first."""
    return list(
        control_session.scalars(
            select(Meter).where(Meter.code == code).order_by(Meter.version.desc())
        )
    )


def _definition(row: Meter) -> MeterDefinition:
    return meter_definitions.read(row.definition, version=row.version)
