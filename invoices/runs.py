"""Runs: the bills of one day and currency, and who lets them go before their grace is over."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Row,
    Select,
    and_,
    any_,
    bindparam,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from app.base import audit, bulk
from app.base.audit import Actor
from app.base.config import amounts_by_currency, settings
from app.base.db import notify, planned_once
from app.base.errors import Conflict, Forbidden, NotFound
from app.base.money import exponent
from invoices.drafts import OF_ITS_RUN
from invoices.models import Invoice, RunRelease

RunKey = tuple[date, str]
# The brake holds it, whatever becomes of its run.
_HELD_BY_ITSELF = func.coalesce(Invoice.held["rule"].astext, OF_ITS_RUN) != OF_ITS_RUN
_OF_DAYS = any_(bindparam("days", type_=ARRAY(Date)))
# What pages ask for, put together once and not for every look at them.
_STANDING = planned_once(
    select(
        Invoice.supplied_on,
        Invoice.currency,
        func.count(),
        func.count().filter(_HELD_BY_ITSELF),
        func.coalesce(func.sum(Invoice.total_minor).filter(~_HELD_BY_ITSELF), 0),
        func.min(Invoice.issue_at),
        func.bool_or(Invoice.gathers),
    )
    .where(Invoice.state == "draft")
    .group_by(Invoice.supplied_on, Invoice.currency)
    .order_by(Invoice.supplied_on, Invoice.currency)
)
_ASKED = planned_once(
    select(RunRelease)
    .where(
        RunRelease.bill_on == _OF_DAYS,
        RunRelease.needs_second,
        RunRelease.approved_at.is_(None),
    )
    .order_by(RunRelease.asked_at)
)
_SUMS = (
    select(Invoice.supplied_on, Invoice.currency, func.sum(Invoice.total_minor))
    .where(Invoice.supplied_on == _OF_DAYS)
    .group_by(Invoice.supplied_on, Invoice.currency)
)
_DRAFTED = planned_once(_SUMS.where(Invoice.state == "draft", ~_HELD_BY_ITSELF))
_ISSUED = planned_once(_SUMS.where(Invoice.state.not_in(("draft", "void"))))


class NothingToRelease(NotFound):
    """The run has no draft that could be let go, or nobody asked for it."""


class SecondPersonNeeded(Forbidden):
    """Who asked for a release can't agree to it."""


class RunChanged(Conflict):
    """The run is not what was asked for any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """The drafts of one day and currency; `asked` is the release that waits for a second person.

    What the brake holds is counted in `held` and left out of `total_minor`; `issued_minor` is what
    went out before; one that `gathers` has bills to come and waits for them, until `issue_at` at
    the latest.
    """

    bill_on: date
    currency: str
    invoices: int
    held: int
    total_minor: int
    issued_minor: int
    issue_at: datetime | None
    gathers: bool
    needs_second: bool
    asked: RunRelease | None


def limit_minor(currency: str) -> int | None:
    """This function will return above what a day's bills need a second person, if anything."""
    return minor_of(settings().run_release_limit, currency)


def minor_of(amounts: str, currency: str) -> int | None:
    """This function will pick a currency's amount out of a setting, in minor units."""
    amount = amounts_by_currency(amounts).get(currency)
    return None if amount is None else int(amount.scaleb(exponent(currency)))


def standing(*, control_session: Session) -> list[Run]:
    """This function will list the runs that have drafts, the oldest first."""
    rows = control_session.execute(_STANDING).all()
    if not rows:
        return []
    sent = issued(control_session=control_session, days={row[0] for row in rows})
    asked = {
        (each.bill_on, each.currency): each
        for each in control_session.scalars(_ASKED, {"days": [row[0] for row in rows]})
    }
    return [
        Run(
            bill_on=bill_on,
            currency=currency,
            invoices=invoices,
            held=held,
            total_minor=int(total_minor),
            issued_minor=sent.get((bill_on, currency), 0),
            issue_at=issue_at,
            gathers=gathers,
            needs_second=_needs_second(
                currency, int(total_minor) + sent.get((bill_on, currency), 0)
            ),
            asked=asked.get((bill_on, currency)),
        )
        for bill_on, currency, invoices, held, total_minor, issue_at, gathers in rows
    ]


def waiting_for_two(*, control_session: Session) -> list[Run]:
    """This function will list the runs that two people have to release, the oldest first."""
    if not settings().run_release_limit:
        return []  # without a limit no sum is above it
    return [run for run in standing(control_session=control_session) if run.needs_second]


def ask(
    *, control_session: Session, bill_on: date, currency: str, staff_id: UUID, now: datetime
) -> RunRelease:
    """This function will let the drafts of a run go, or ask a second person to, above the limit.

    It speaks of the drafts that stand now; what of the run went out before counts towards the
    limit. Bills that the brake holds stay held.

    Raises: NothingToRelease.
    """
    drafts = _locked(
        control_session,
        and_(
            Invoice.state == "draft",
            Invoice.supplied_on == bill_on,
            Invoice.currency == currency,
            ~_HELD_BY_ITSELF,
            ~_let_go_by_two(),
        ),
    )
    if not drafts:
        raise NothingToRelease("There is no draft of that day any more.")
    total_minor = sum(draft.total_minor for draft in drafts)
    sent = issued(control_session=control_session, days=[bill_on]).get((bill_on, currency), 0)
    release = RunRelease(
        bill_on=bill_on,
        currency=currency,
        invoices=len(drafts),
        total_minor=total_minor,
        needs_second=_needs_second(currency, total_minor + sent),
        asked_by=staff_id,
        asked_at=now,
    )
    control_session.add(release)
    control_session.flush()
    control_session.execute(
        update(Invoice)
        .where(bulk.among(Invoice.id, [draft.id for draft in drafts]))
        .values(run_release_id=release.id)
        .execution_options(synchronize_session=False)
    )
    _note(control_session, release, "asked", Actor.staff(staff_id), now)
    if not release.needs_second:
        _let_go(control_session, release, now)
    return release


def approve(
    *, control_session: Session, release_id: UUID, staff_id: UUID, now: datetime
) -> RunRelease:
    """This function will agree, as the second person, to letting a run go.

    Raises: NothingToRelease, SecondPersonNeeded; RunChanged when it came to more meanwhile.
    """
    # Drafts that are composed anew meanwhile may refer to it, and are waited for after it.
    release = control_session.get(
        RunRelease, release_id, with_for_update={"key_share": True}, populate_existing=True
    )
    if release is None or not release.needs_second or release.approved_at is not None:
        raise NothingToRelease("Nobody asked for this release any more.")
    if release.asked_by == staff_id:
        raise SecondPersonNeeded("You asked for this release: somebody else has to agree to it.")
    drafts = _locked(control_session, _covered(release))
    if sum(draft.total_minor for draft in drafts) > release.total_minor:
        raise RunChanged("The run comes to more than was asked for. Ask for its release again.")
    release.approved_by, release.approved_at = staff_id, now
    control_session.flush()
    _note(control_session, release, "approved", Actor.staff(staff_id), now)
    _let_go(control_session, release, now)
    return release


def _locked(control_session: Session, drafts: ColumnElement[bool]) -> Sequence[Row[UUID, int]]:
    """Ids and totals, locked in the order of `drafts.take_back`: neither waits for ever."""
    return control_session.execute(
        select(Invoice.id, Invoice.total_minor)
        .where(drafts)
        .order_by(Invoice.id)
        .with_for_update(of=Invoice)
    ).all()


def _needs_second(currency: str, total_minor: int) -> bool:
    limit = limit_minor(currency)
    return limit is not None and total_minor > limit


def _let_go_by_two() -> ColumnElement[bool]:
    """It is on its way: two people agreed to it."""
    return exists().where(
        RunRelease.id == Invoice.run_release_id, RunRelease.approved_at.is_not(None)
    )


def _covered(release: RunRelease) -> ColumnElement[bool]:
    """A release covers the drafts that it was asked for, not what was written later."""
    return and_(Invoice.state == "draft", Invoice.run_release_id == release.id, ~_HELD_BY_ITSELF)


def _let_go(control_session: Session, release: RunRelease, now: datetime) -> None:
    control_session.execute(
        update(Invoice)
        .where(_covered(release))
        .values(issue_at=now, held=None, gathers=False)
        .execution_options(synchronize_session=False)
    )
    control_session.expire_all()
    notify(control_session, "invoicing")


def _note(
    control_session: Session, release: RunRelease, act: str, actor: Actor, now: datetime
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=f"run.release_{act}",
        subject_kind="run_release",
        subject_id=release.id,
        details={
            "day": release.bill_on.isoformat(),
            "currency": release.currency,
            "invoices": release.invoices,
            "total_minor": release.total_minor,
        },
        now=now,
    )


def drafted(*, control_session: Session, days: Collection[date]) -> dict[RunKey, int]:
    """This function will add up the drafts of some days, by currency."""
    return _sums(control_session, days, _DRAFTED)


def issued(*, control_session: Session, days: Collection[date]) -> dict[RunKey, int]:
    """This function will add up what of some days is issued, by currency."""
    return _sums(control_session, days, _ISSUED)


def _sums(
    control_session: Session, days: Collection[date], which: Select[date, str, int]
) -> dict[RunKey, int]:
    rows = control_session.execute(which, {"days": list(days)})
    return {(day, currency): int(total) for day, currency, total in rows}


def released(*, control_session: Session, release_ids: Collection[UUID]) -> dict[UUID, int]:
    """This function will tell by how many people releases let their drafts go: one or two.

    Those that still wait for a second person are not among them.
    """
    if not release_ids:
        return {}
    rows = control_session.execute(
        select(RunRelease.id, RunRelease.needs_second).where(
            bulk.among(RunRelease.id, release_ids), _is_effective()
        )
    )
    return {release_id: 2 if needs_second else 1 for release_id, needs_second in rows}


def _is_effective() -> ColumnElement[bool]:
    return or_(~RunRelease.needs_second, RunRelease.approved_at.is_not(None))
