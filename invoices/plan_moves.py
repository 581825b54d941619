"""Moving subscribers from one version of a plan to another: on a day to come, and with notice.

Nobody is moved by publishing. Each who is changes over as a billing period of theirs begins, so
that no price changes within a period that was paid, and hears of it before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from app.base.messages import queue_mail
from invoices import (
    amending,
    catalogue,
    changes,
    periods,
    price_consents,
    price_rises,
    price_words,
)
from invoices.contracts import Contract, open_contract
from invoices.dunning import admin_emails
from invoices.models import PlanVersion, PriceConsent, Subscription
from invoices.plan_terms import PlanTerms
from tenants.models import Tenant


class NoSuchVersion(NotFound):
    """The plan has no version of that number in that currency."""


class NotNewer(Invalid):
    """Subscribers are moved to newer versions only."""


class NoticeTooShort(Invalid):
    """The day lies nearer than the notice that was promised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From which version to which, not before `on`, told `notice_days` ahead at least."""

    plan_code: str
    currency: str
    from_version: int
    to_version: int
    on: date
    notice_days: int


@dataclass(frozen=True, slots=True)
class Moved:
    """A subscriber who changes over on a day; `asked` is whether only if they agree to pay more."""

    tenant_name: str
    moves_on: date
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Left:
    """A subscriber who stays, and why."""

    tenant_name: str
    why: str


@dataclass(frozen=True, slots=True)
class Moves:
    """Who is moved, who stays on what they have, and how many were moved already."""

    moved: list[Moved] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)


def subscribers(*, control_session: Session, move: Move, now: datetime) -> list[UUID]:
    """This function will check a move and list the tenants whom it concerns, moved ones left out.

    Raises: NoSuchVersion, NotNewer, NoticeTooShort.
    """
    old, new = _versions(control_session, move, now)
    rows = control_session.scalars(
        select(Subscription.tenant_id)
        .where(
            Subscription.plan_version_id == old.id,
            Subscription.next_plan_version_id.is_distinct_from(new.id),
            Subscription.state != "cancelled",
            ~exists().where(
                PriceConsent.subscription_id == Subscription.id,
                PriceConsent.to_version_id == new.id,
            ),
        )
        .order_by(Subscription.tenant_id)
    )
    return list(rows)


def schedule(
    *,
    control_session: Session,
    move: Move,
    tenant_id: UUID,
    actor: Actor,
    now: datetime,
    found: Moves,
) -> None:
    """This function will write one subscriber's change ahead, tell their admins, and note it.

    The change takes effect as the first billing period on or after `move.on` begins. Whoever would
    pay more is asked to agree, and moved only then. Somebody who is moved or was asked already is
    passed over, so that a second call changes nothing and mails nobody.

    Raises: NoSuchVersion, NotNewer, NoticeTooShort.
    """
    old, new = _versions(control_session, move, now)
    tenant = control_session.get_one(Tenant, tenant_id)
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    subscription = contract.subscription
    if subscription.plan_version_id != old.id or subscription.next_plan_version_id == new.id:
        return
    if subscription.next_change_at is not None:
        found.left.append(Left(tenant.name, "Another change lies ahead."))
        return
    dearer = price_rises.rises(*(catalogue.terms_of(each, position=0) for each in (old, new)))
    try:
        moves_on = _first_period(contract, move.on)
        with control_session.begin_nested() as tried:
            changes.change_plan(
                control_session=control_session,
                tenant_id=tenant_id,
                plan_code=move.plan_code,
                when=moves_on,
                actor=actor,
                now=now,
                why=f"moved to version {new.version} with notice",
                version=new,
            )
            if dearer:
                # It was only tried: nothing is written ahead before they agree.
                tried.rollback()
    except (Conflict, Invalid) as error:
        found.left.append(Left(tenant.name, error.message))
        return
    if dearer:
        price_consents.ask(
            control_session=control_session,
            subscription=subscription,
            version=new,
            moves_on=moves_on,
            actor=actor,
            now=now,
        )
        found.moved.append(Moved(tenant.name, moves_on, asked=True))
        return
    _tell(
        control_session=control_session,
        tenant=tenant,
        subscription=subscription,
        versions=(old, new),
        moves_on=moves_on,
        now=now,
    )
    found.moved.append(Moved(tenant.name, moves_on))


def _versions(
    control_session: Session, move: Move, now: datetime
) -> tuple[PlanVersion, PlanVersion]:
    if move.to_version <= move.from_version:
        raise NotNewer("Move subscribers to a newer version than they have.", field="to")
    earliest = clock.today(now, settings().contract_timezone) + timedelta(days=move.notice_days)
    if move.on < earliest:
        raise NoticeTooShort(
            f"With {move.notice_days} days of notice the first day is {earliest}.", field="on"
        )
    rows = control_session.scalars(
        select(PlanVersion).where(
            PlanVersion.plan_code == move.plan_code, PlanVersion.currency == move.currency
        )
    )
    found = {version.version: version for version in rows}
    for number in (move.from_version, move.to_version):
        if number not in found:
            raise NoSuchVersion(
                f"{move.plan_code} in {move.currency} has no version {number}.", field="plan"
            )
    return found[move.from_version], found[move.to_version]


def _first_period(contract: Contract, on: date) -> date:
    """The first day, on or after `on`, with which a period of the plan begins."""
    at = periods.midnight(on, contract.timezone)
    if not amending.live(contract.items, at):
        raise changes.NotInForce("The subscription is not in force then.")
    running = amending.period_on(items=contract.items, at=at, timezone=contract.timezone)
    return running.start if running.start == on else running.end


def _tell(
    *,
    control_session: Session,
    tenant: Tenant,
    subscription: Subscription,
    versions: tuple[PlanVersion, PlanVersion],
    moves_on: date,
    now: datetime,
) -> None:
    language = tenant.language if tenant.language in price_words.LANGUAGES else "en"
    old, new = (catalogue.terms_of(version, position=0) for version in versions)
    before, after = changed_lines(old, new, language)
    for email in admin_emails(control_session=control_session, tenant_id=tenant.id):
        queue_mail(
            control_session=control_session,
            room="invoices",
            name="price_change",
            to=email,
            language=language,
            context={
                "company": tenant.name,
                "plan": new.name_ko if language == "ko" else new.name_en,
                "old": price_words.headline(old.charges, old.currency, language).sentence,
                "new": price_words.headline(new.charges, new.currency, language).sentence,
                "before": before,
                "after": after,
                "moves_on": moves_on,
                "last_day": moves_on - timedelta(days=1),
                "url": f"{settings().public_url}/portal/plan",
            },
            regarding_id=tenant.id,
            dedupe_key=f"price-change:{subscription.id}:{versions[1].id}:{moves_on}:{email}",
            now=now,
        )


def changed_lines(old: PlanTerms, new: PlanTerms, language: str) -> tuple[list[str], list[str]]:
    """This function will return what of a plan's prices is said otherwise, before and after."""
    said = []
    for terms in (old, new):
        said.append(
            [
                line
                for each in terms.charges
                for line in price_words.lines(each, terms.currency, language)
            ]
        )
    before, after = said
    return (
        [line for line in before if line not in after],
        [line for line in after if line not in before],
    )
