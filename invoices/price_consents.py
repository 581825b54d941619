"""Consent to a dearer price: asked for within the 30 days before, reminded of, never assumed.

A subscriber who is to pay more is asked first. Only whoever agrees is moved; for everybody else the
price stays what it is, or the subscription ends (`price_rise_unanswered`).

Source: 전자상거래법 §13⑥ (in force 2025-02-14): consent within the 30 days before, to the date, the
price before and after and the method, together with how to cancel.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from string import Template
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from app.base import clock, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from app.base.messages import queue_mail
from invoices import catalogue, changes, price_words
from invoices.dunning import admin_emails
from invoices.models import PRICE_CONSENT, PlanVersion, PriceConsent, Subscription
from invoices.payment_methods import default_method
from invoices.plan_terms import PlanTerms
from invoices.price_rises import WITHIN_DAYS
from tenants.consents import Notice
from tenants.models import Consent, Tenant

ASKER = Actor.job("consents")
TERMS_VERSION = "2026-11-21"
LEVELS = (30, 14, 7, 3, 1)
OPEN = ("asked", "refused")
_FOLDER = Path(__file__).parent / "terms"
_METHODS = {
    (True, "ko"): "등록된 카드 자동결제",
    (True, "en"): "the registered card, charged automatically",
    (False, "ko"): "계좌이체",
    (False, "en"): "bank transfer",
}


class NothingAsked(NotFound):
    """No consent to another price is asked for."""


class TooEarly(Conflict):
    """Consent counts only within the 30 days before."""


class ConsentMissing(Invalid):
    """The box was not ticked."""


class TermsChanged(Conflict):
    """The terms are not the ones that were shown."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an administrator sent: `text_sha256` is that of the text they were shown."""

    accepted: bool
    text_sha256: str
    language: str


def ask(
    *,
    control_session: Session,
    subscription: Subscription,
    version: PlanVersion,
    moves_on: date,
    actor: Actor,
    now: datetime,
) -> PriceConsent:
    """This function will ask a subscriber to agree to a dearer version from a day on.

    Their administrators are told at once, and again as the day draws near.
    """
    today = clock.today(now, subscription.timezone)
    asked = PriceConsent(
        state="asked",
        tenant_id=subscription.tenant_id,
        subscription_id=subscription.id,
        from_version_id=subscription.plan_version_id,
        to_version_id=version.id,
        moves_on=moves_on,
        opens_on=max(today, moves_on - timedelta(days=WITHIN_DAYS)),
        asked_at=now,
        asked_by={"kind": actor.kind, "id": actor.id},
    )
    states.begin(
        control_session=control_session, machine=PRICE_CONSENT, row=asked, actor=actor, now=now
    )
    _tell(control_session, asked, today, now)
    return asked


def waiting(*, control_session: Session, tenant_id: UUID) -> PriceConsent | None:
    """This function will return what a tenant is asked to agree to, if anything."""
    return control_session.scalar(
        select(PriceConsent).where(
            PriceConsent.tenant_id == tenant_id, PriceConsent.state.in_(OPEN)
        )
    )


def terms(*, control_session: Session, asked: PriceConsent, language: str) -> Notice:
    """This function will return the text that is agreed to, exactly as it is shown."""
    spoken = language if language in price_words.LANGUAGES else "en"
    s = settings()
    old, new = _versions(control_session, asked)
    by_card = default_method(control_session=control_session, tenant_id=asked.tenant_id) is not None
    source = (_FOLDER / f"price_rise.{TERMS_VERSION}.{spoken}.txt").read_text(encoding="utf-8")
    text = Template(source).substitute(
        seller=s.seller_name if spoken == "ko" else s.seller_name_en,
        contact=s.mail_reply_to,
        plan=new.name_ko if spoken == "ko" else new.name_en,
        moves_on=asked.moves_on.isoformat(),
        last_day=(asked.moves_on - timedelta(days=1)).isoformat(),
        old=price_words.headline(old.charges, old.currency, spoken).sentence,
        new=price_words.headline(new.charges, new.currency, spoken).sentence,
        charges="\n".join(
            f"- {line}"
            for each in new.charges
            for line in price_words.lines(each, new.currency, spoken)
        ),
        vat_percent=s.vat_rate_percent,
        method=_METHODS[by_card, spoken],
        otherwise=_OTHERWISE[s.price_rise_unanswered, spoken],
    )
    return Notice(
        "price_change", TERMS_VERSION, spoken, text, hashlib.sha256(text.encode()).hexdigest()
    )


_OTHERWISE = {
    ("stay", "ko"): "동의하지 않으시면 지금 요금이 그대로 유지됩니다.",
    ("stay", "en"): "Without your consent your present price stays as it is.",
    ("end", "ko"): "동의하지 않으시면 전환일 전날까지 이용하신 뒤 구독이 종료됩니다.",
    ("end", "en"): "Without your consent the subscription ends with the day before.",
}


def _versions(control_session: Session, asked: PriceConsent) -> tuple[PlanTerms, PlanTerms]:
    rows = [
        control_session.get_one(PlanVersion, key)
        for key in (asked.from_version_id, asked.to_version_id)
    ]
    old, new = (catalogue.terms_of(row, position=0) for row in rows)
    return old, new


def give(
    *,
    control_session: Session,
    tenant_id: UUID,
    answer: Answer,
    actor: Actor,
    now: datetime,
) -> PriceConsent:
    """This function will record a consent and write the change ahead that it allows.

    Raises: NothingAsked, TooEarly, ConsentMissing (field `accept`), TermsChanged; whatever
    `changes.change_plan` refuses.
    """
    asked = _locked(control_session, tenant_id)
    subscription = control_session.get_one(Subscription, asked.subscription_id)
    today = clock.today(now, subscription.timezone)
    if today < asked.opens_on or today >= asked.moves_on:
        raise TooEarly("You can agree within the 30 days before the new price.")
    if not answer.accepted:
        raise ConsentMissing("Please tick the box to agree to the new price.", field="accept")
    shown = terms(control_session=control_session, asked=asked, language=answer.language)
    if shown.sha256 != answer.text_sha256:
        raise TermsChanged("The terms have changed. Please read them again before you agree.")
    old, new = _versions(control_session, asked)
    recorded = Consent(
        subject_id=tenant_id,
        kind="price_change",
        version=shown.version,
        text_sha256=shown.sha256,
        granted=True,
        at=now,
        channel="portal",
        details={
            "language": shown.language,
            "moves_on": asked.moves_on.isoformat(),
            "price_before": price_words.headline(old.charges, old.currency, "en").sentence,
            "price": price_words.headline(new.charges, new.currency, "en").sentence,
            "how_to_cancel": f"{settings().public_url}/portal/plan",
            "text": shown.text,
        },
    )
    control_session.add(recorded)
    control_session.flush()
    version = control_session.get_one(PlanVersion, asked.to_version_id)
    changes.change_plan(
        control_session=control_session,
        tenant_id=tenant_id,
        plan_code=version.plan_code,
        when=asked.moves_on,
        actor=actor,
        now=now,
        why=f"agreed to version {version.version}",
        version=version,
    )
    _move(control_session, asked, "given", actor, now, consent_id=recorded.id)
    return asked


def refuse(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime
) -> PriceConsent:
    """This function will note that a tenant does not agree; they may still, until the day.

    Raises: NothingAsked.
    """
    asked = _locked(control_session, tenant_id)
    if asked.state == "asked":
        _move(control_session, asked, "refused", actor, now)
    return asked


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a consent is to be reminded of, or is over."""
    today = clock.today(now, settings().contract_timezone)
    return or_(
        and_(PriceConsent.state == "asked", _untold(today)),
        and_(PriceConsent.state.in_(OPEN), PriceConsent.moves_on <= _decided_by(today)),
    )


def _untold(today: date) -> ColumnElement[bool]:
    return or_(
        *(
            and_(
                PriceConsent.moves_on <= today + timedelta(days=level),
                or_(PriceConsent.told_days.is_(None), PriceConsent.told_days > level),
            )
            for level in LEVELS
        )
    )


def _decided_by(today: date) -> date:
    """A subscription that ends without consent is told so while its last day runs."""
    return today + timedelta(days=1) if settings().price_rise_unanswered == "end" else today


def follow_up(*, control_session: Session, consent_id: UUID, now: datetime) -> str:
    """This function will remind of one consent, or close it; it returns the state it is in then.

    Whoever has cancelled, or changed the plan by themselves, is asked no more.
    """
    peeked = control_session.get_one(PriceConsent, consent_id)
    subscription = control_session.get_one(
        Subscription, peeked.subscription_id, with_for_update=True, populate_existing=True
    )
    asked = control_session.get_one(
        PriceConsent, consent_id, with_for_update=True, populate_existing=True
    )
    if asked.state not in OPEN:
        return asked.state
    today = clock.today(now, settings().contract_timezone)
    if (
        subscription.state == "cancelled"
        or subscription.ends_on is not None
        or subscription.plan_version_id != asked.from_version_id
    ):
        _move(control_session, asked, "withdrawn", ASKER, now)
    elif asked.moves_on <= _decided_by(today):
        _lapse(control_session, asked, now)
    elif asked.state == "asked":
        _tell(control_session, asked, today, now)
    return asked.state


def _lapse(control_session: Session, asked: PriceConsent, now: datetime) -> None:
    _move(control_session, asked, "lapsed", ASKER, now)
    ends = settings().price_rise_unanswered == "end"
    if ends:
        changes.cancel(
            control_session=control_session,
            tenant_id=asked.tenant_id,
            when="period_end",
            actor=ASKER,
            now=now,
            why="nobody agreed to the new price",
        )
    _mail(control_session, asked, "price_kept", {"ends": ends}, now)


def _tell(control_session: Session, asked: PriceConsent, today: date, now: datetime) -> None:
    left = (asked.moves_on - today).days
    level = min((each for each in LEVELS if left <= each), default=None)
    asked.told_days = level
    _mail(control_session, asked, "price_consent", {"days": left, "opens_on": asked.opens_on}, now)


def _mail(
    control_session: Session,
    asked: PriceConsent,
    name: str,
    more: dict[str, object],
    now: datetime,
) -> None:
    tenant = control_session.get_one(Tenant, asked.tenant_id)
    language = tenant.language if tenant.language in price_words.LANGUAGES else "en"
    old, new = _versions(control_session, asked)
    by_card = default_method(control_session=control_session, tenant_id=asked.tenant_id) is not None
    for email in admin_emails(control_session=control_session, tenant_id=tenant.id):
        queue_mail(
            control_session=control_session,
            room="invoices",
            name=name,
            to=email,
            language=language,
            context={
                "company": tenant.name,
                "plan": new.name_ko if language == "ko" else new.name_en,
                "old": price_words.headline(old.charges, old.currency, language).sentence,
                "new": price_words.headline(new.charges, new.currency, language).sentence,
                "moves_on": asked.moves_on,
                "last_day": asked.moves_on - timedelta(days=1),
                "method": _METHODS[by_card, language],
                "otherwise": _OTHERWISE[settings().price_rise_unanswered, language],
                "url": f"{settings().public_url}/portal/plan/consent",
                **more,
            },
            regarding_id=tenant.id,
            dedupe_key=f"{name}:{asked.id}:{asked.told_days}:{email}",
            now=now,
        )


def _locked(control_session: Session, tenant_id: UUID) -> PriceConsent:
    asked = control_session.scalar(
        select(PriceConsent)
        .where(PriceConsent.tenant_id == tenant_id, PriceConsent.state.in_(OPEN))
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if asked is None:
        raise NothingAsked("No consent to another price is asked for.")
    return asked


def _move(
    control_session: Session,
    asked: PriceConsent,
    to: str,
    actor: Actor,
    now: datetime,
    *,
    consent_id: UUID | None = None,
) -> None:
    values: dict[str, object] = {"decided_at": now}
    if consent_id is not None:
        values["consent_id"] = consent_id
    states.move(
        control_session=control_session,
        machine=PRICE_CONSENT,
        row=asked,
        to=to,
        actor=actor,
        now=now,
        values=values,
    )
