"""Business status: what the tax service says of a registration number, asked beside the road.

Nobody waits for an answer: a number is written down to be asked, a step asks, and what is known
stands on its row until something else is known. An outage changes nothing of it: who could not be
asked about is `unknown`, never closed. Without a checker every number stays `unchecked`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, delete, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base import audit, ids, messages
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Invalid, NotFound
from tenants.business_checkers import registry
from tenants.business_checkers.port import CALL_MAX, Business, CheckerUnavailable, Found
from tenants.business_models import FLAGGED, BusinessStatus
from tenants.identifiers import RegistrationNumberWrong, normalise_brn
from tenants.models import GONE_STATES, Application, Tenant
from tenants.texts import one_line

CHECKER = Actor.job("business_status")
STEP = "business_status"
# An answer of today is as good as a new one.
FRESH_FOR = timedelta(hours=20)
# Whoever was silent is asked again so much later, until there is an answer.
ASK_AGAIN_AFTER = timedelta(minutes=15)
NAME_LENGTH_MAX = 30


class NoSuchBusiness(NotFound):
    """Nobody we deal with has this number."""


class CertificateIncomplete(Invalid):
    """The register is asked by the day of opening and the representative together."""


@dataclass(frozen=True, slots=True)
class Question:
    """Numbers to ask about, and those of them to hold against the register as well."""

    numbers: tuple[str, ...]
    businesses: tuple[Business, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the checker said; None where it could not be asked."""

    found: Mapping[str, Found] | None
    genuine: Mapping[str, bool]
    problem: str = ""


def ask(*, control_session: Session, number: str | None, country: str, now: datetime) -> None:
    """This function will write down that a number is to be asked about; others are let through.

    Whoever was asked about today is not asked about again.
    """
    digits = digits_of(number) if country == "KR" else None
    if digits is None:
        return
    fresh = now - FRESH_FOR
    control_session.execute(
        insert(BusinessStatus)
        .values(id=ids.uuid7(), registration_number=digits, ask_at=now)
        .on_conflict_do_update(
            index_elements=["registration_number"],
            set_={"ask_at": now},
            where=or_(BusinessStatus.checked_at.is_(None), BusinessStatus.checked_at < fresh),
        )
    )
    notify(control_session, STEP)


def ask_again(
    *,
    control_session: Session,
    row_id: UUID,
    opened_on: date | None,
    representative: str,
    actor: Actor,
    now: datetime,
) -> None:
    """This function will have a business asked about at once, whatever was said today.

    With what its certificate says it is held against the register as well.

    Raises: NoSuchBusiness, CertificateIncomplete.
    """
    row = control_session.get(BusinessStatus, row_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NoSuchBusiness("There is no such business.")
    name = one_line(representative)[:NAME_LENGTH_MAX]
    if (opened_on is None) == bool(name):
        raise CertificateIncomplete(
            "Type both lines of the certificate, or neither.", field="representative"
        )
    if opened_on is not None:
        row.opened_on, row.representative, row.genuine = opened_on, name, None
    row.ask_at, row.attempts, row.retry_at = now, 0, None
    audit.append(
        control_session=control_session,
        actor=actor,
        action="business.asked",
        subject_kind="business_status",
        subject_id=row.id,
        details={"certificate": opened_on is not None},
        now=now,
    )
    control_session.flush()
    notify(control_session, STEP)


def ask_all(*, control_session: Session, now: datetime) -> int:
    """This function will have every number asked about that somebody with us uses, and forget those
    that nobody uses any more. It returns how many are to be asked.
    """
    numbers = _used(control_session)
    for number in sorted(numbers):
        ask(control_session=control_session, number=number, country="KR", now=now)
    control_session.execute(
        delete(BusinessStatus).where(BusinessStatus.registration_number.not_in(numbers))
    )
    return len(numbers)


def forget_unused(*, control_session: Session, number: str | None) -> None:
    """This function will forget what is known of one number, if nobody with us uses it any more."""
    digits = digits_of(number)
    if digits is not None and digits not in _used(control_session):
        control_session.execute(
            delete(BusinessStatus)
            .where(BusinessStatus.registration_number == digits)
            .execution_options(synchronize_session=False)
        )


def _used(control_session: Session) -> set[str]:
    applied = control_session.scalars(
        select(Application.registration_number).where(
            Application.country == "KR",
            Application.state.in_(("submitted", "confirmed")),
            Application.registration_number.is_not(None),
        )
    )
    billed = control_session.scalars(
        select(Tenant.billing_profile["registration_number"].astext).where(
            Tenant.country == "KR", Tenant.state.not_in(GONE_STATES)
        )
    )
    found = (digits_of(number) for number in (*applied, *billed))
    return {digits for digits in found if digits is not None}


def digits_of(number: str | None) -> str | None:
    """This function will return a Korean business number's digits; None for anything else."""
    try:
        return normalise_brn(number or "")
    except RegistrationNumberWrong:
        return None


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a number is to be asked about now."""
    return BusinessStatus.ask_at <= now


def offered() -> bool:
    """This function will tell whether anybody can be asked at all."""
    return registry.checker() is not None


def question(*, control_session: Session, row_ids: Sequence[UUID]) -> Question:
    """This function will read what to ask, at most as much as one call takes."""
    rows = control_session.scalars(
        select(BusinessStatus)
        .where(BusinessStatus.id.in_(row_ids))
        .order_by(BusinessStatus.registration_number)
        .limit(CALL_MAX)
    ).all()
    return Question(
        tuple(row.registration_number for row in rows),
        tuple(
            Business(row.registration_number, row.opened_on, row.representative)
            for row in rows
            if row.opened_on is not None and row.representative and row.genuine is None
        ),
    )


def fresh_question(*, numbers: Sequence[str]) -> Question:
    """This function will make a question of numbers that are needed now, at most one call's."""
    digits = dict.fromkeys(filter(None, map(digits_of, numbers)))
    return Question(tuple(digits)[:CALL_MAX], ())


def look(*, question: Question) -> Answer:
    """This function will ask the checker, in no transaction; an outage is an answer, no error."""
    checker = registry.checker()
    if checker is None or not question.numbers:
        return Answer(None, {}, "nobody can be asked")
    try:
        found = checker.status(numbers=question.numbers)
        genuine = checker.validate(businesses=question.businesses) if question.businesses else {}
    except CheckerUnavailable as error:
        return Answer(None, {}, error.message)
    return Answer(found, genuine)


def record(
    *, control_session: Session, question: Question, answer: Answer, now: datetime
) -> list[str]:
    """This function will write down what was said, and return the numbers that were left unknown.

    A business that turns out suspended, closed or unregistered is told to sales and finance, once
    for each change.
    """
    rows = control_session.scalars(
        select(BusinessStatus)
        .where(BusinessStatus.registration_number.in_(question.numbers))
        .order_by(BusinessStatus.registration_number)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    silent = []
    for row in rows:
        row.asked_at = now
        found = (answer.found or {}).get(row.registration_number)
        if found is None:
            silent.append(row.registration_number)
            row.status = "unknown" if row.checked_at is None else row.status
            row.ask_at = now + ASK_AGAIN_AFTER
            continue
        _learn(control_session, row, found, now)
        if row.registration_number in answer.genuine:
            row.genuine = answer.genuine[row.registration_number]
    control_session.flush()
    return silent


def _learn(control_session: Session, row: BusinessStatus, found: Found, now: datetime) -> None:
    before = row.status
    row.status, row.tax_kind, row.ended_on = found.status, found.tax_kind, found.ended_on
    row.checked_at, row.ask_at, row.last_error = now, None, None
    if found.status == before:
        return
    row.changed_at = now
    audit.append(
        control_session=control_session,
        actor=CHECKER,
        action=f"business.{found.status}",
        subject_kind="business_status",
        subject_id=row.id,
        details={"was": before},
        now=now,
    )
    if row.is_flagged:
        _tell(control_session, row, now)


def _tell(control_session: Session, row: BusinessStatus, now: datetime) -> None:
    context = {
        "status": row.status,
        "number": row.registration_number,
        "names": names_of(control_session=control_session, numbers=[row.registration_number]).get(
            row.registration_number, []
        ),
        "link": f"{settings().public_url}/console/businesses",
    }
    for role, to in (("sales", settings().sales_email), ("finance", settings().finance_to)):
        messages.queue_mail(
            control_session=control_session,
            room="tenants",
            name="business_flagged",
            to=to,
            language=settings().paper_language,
            context=context,
            now=now,
            dedupe_key=f"business:{row.id}:{row.status}:{now:%Y%m%d}:{role}",
        )


def names_of(*, control_session: Session, numbers: Collection[str]) -> dict[str, list[str]]:
    """This function will name the customers and applicants who use numbers."""
    number = Tenant.billing_profile["registration_number"].astext
    tenants = control_session.execute(
        select(number, Tenant.name).where(number.in_(numbers), Tenant.state.not_in(GONE_STATES))
    )
    applicants = control_session.execute(
        select(Application.registration_number, Application.company).where(
            Application.registration_number.in_(numbers),
            Application.state.in_(("submitted", "confirmed")),
        )
    )
    found: dict[str, set[str]] = defaultdict(set)
    for digits, name in (*tenants.all(), *applicants.all()):
        found[str(digits)].add(name)
    return {digits: sorted(names) for digits, names in found.items()}


_OF_NUMBERS = select(BusinessStatus).where(
    BusinessStatus.registration_number.in_(bindparam("numbers", expanding=True))
)


def of(*, control_session: Session, numbers: Collection[str | None]) -> dict[str, BusinessStatus]:
    """This function will return what is known of numbers, by their digits."""
    digits = {digits_of(number) for number in numbers} - {None}
    if not digits:
        return {}
    rows = control_session.scalars(_OF_NUMBERS, {"numbers": list(digits)})
    return {row.registration_number: row for row in rows}


# The businesses that a person should look at.
TO_LOOK_AT = (
    select(BusinessStatus)
    .where(BusinessStatus.status.in_(FLAGGED))
    .order_by(BusinessStatus.changed_at.desc(), BusinessStatus.id)
)


def flagged(*, control_session: Session, limit: int) -> list[BusinessStatus]:
    """This function will list the businesses that a person should look at, the newest first."""
    return list(control_session.scalars(TO_LOOK_AT.limit(limit)))
