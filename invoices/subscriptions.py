"""Subscriptions: a trial becomes paid by an explicit, recorded act, and ends when it is told to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from string import Template
from uuid import UUID

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session, object_session

from app.base import clock, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from app.base.money import Money
from invoices import billing_days, catalogue, items, periods, price_rises, price_words
from invoices.models import SUBSCRIPTION, PlanVersion, Price, Subscription, SubscriptionItem
from invoices.payment_methods import default_method
from invoices.periods import Interval, Period
from tenants import lifecycle, retention
from tenants.consents import Notice
from tenants.models import Consent, Tenant

METHODS = ("card", "transfer")
_ACTIVE = select(Subscription).where(
    Subscription.tenant_id == bindparam("tenant"), Subscription.state != "cancelled"
)
# One that never began, because it was cancelled before, leaves its days free.
_OVER = (
    Subscription.tenant_id == bindparam("tenant"),
    Subscription.state == "cancelled",
    Subscription.ends_on >= Subscription.starts_on,
)
_ENDED_ON = select(func.max(Subscription.ends_on)).where(*_OVER)
_ENDED_AT = (
    select(func.max(SubscriptionItem.ends_at))
    .join(Subscription, Subscription.id == SubscriptionItem.subscription_id)
    .where(*_OVER, SubscriptionItem.ends_at > SubscriptionItem.starts_at)
)
_MAIN_INTERVAL = (
    select(Price.interval_count, Price.interval_unit)
    .where(
        Price.plan_version_id == bindparam("version"),
        Price.kind == "recurring",
        ~Price.optional,
    )
    .order_by(Price.position)
    .limit(1)
)
# What a price list says never changes once it is there: a trigger sees to it.
_main_intervals: dict[UUID, Interval] = {}
_VERSIONS_KEPT = 1_000
# The consent is given as the day is agreed on, and counts within these days before it.
START_AHEAD_DAYS_MAX = price_rises.WITHIN_DAYS
TERMS_VERSION = "2026-11-21"
_FOLDER = Path(__file__).parent / "terms"
_METHOD_NAMES = {
    ("card", "ko"): "등록된 카드 자동결제",
    ("card", "en"): "the registered card, charged automatically",
    ("transfer", "ko"): "계좌이체",
    ("transfer", "en"): "bank transfer",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionConsent:
    """What the customer answered: `text_sha256` is that of the text they were shown.

    `given_by` says who gave it and how, where our staff wrote it down for them.
    """

    accepted: bool
    text_sha256: str
    language: str
    method: str  # card | transfer
    channel: str = "portal"
    given_by: str = ""


class ConsentMissing(Invalid):
    """Nobody agreed to pay: a trial is never converted silently."""


class TermsChanged(Conflict):
    """The terms are not the ones that the customer was shown."""


class AlreadySubscribed(Conflict):
    """The tenant has a subscription that is not over yet."""


class NoCardRegistered(Invalid):
    """Payment by card was chosen, and there is no card to charge."""


class StartUnsound(Invalid):
    """Nobody can start a subscription on that day."""


class NoSubscription(NotFound):
    """The tenant has no subscription that is active."""


def conversion_terms(
    *, version: PlanVersion, language: str, method: str, starts_on: date
) -> Notice:
    """This function will return the text that a customer agrees to, exactly as it is shown.

    Source: 전자상거래법 §13⑥ (in force 2025-02-14): when free turns into paid, consent to the
    date, the price before and after and the method, together with how to cancel.

    Raises: Invalid for an unknown method.
    """
    if method not in METHODS:
        raise Invalid("Choose card or bank transfer.", field="method")
    spoken = language if language in ("ko", "en") else "en"
    source = (_FOLDER / f"conversion.{TERMS_VERSION}.{spoken}.txt").read_text(encoding="utf-8")
    s = settings()
    terms = catalogue.terms_of(version, position=0)
    text = Template(source).substitute(
        seller=s.seller_name if spoken == "ko" else s.seller_name_en,
        contact=s.mail_reply_to,
        starts_on=starts_on.isoformat(),
        billed_on=billing_days.words(
            (each.interval for each in terms.charges if not each.once and not each.optional),
            counted_from(starts_on),
            spoken,
        ),
        free=Money.zero(version.currency),
        plan=version.name_ko if spoken == "ko" else version.name_en,
        price=price_words.headline(terms.charges, terms.currency, spoken).sentence,
        charges="\n".join(
            f"- {line}"
            for each in terms.charges
            for line in price_words.lines(each, terms.currency, spoken)
        ),
        vat_percent=s.vat_rate_percent,
        method=_METHOD_NAMES[method, spoken],
        term_days=s.payment_term_days,
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Notice("conversion", TERMS_VERSION, spoken, text, digest)


def counted_from(starts_on: date) -> date:
    """This function will return the day that a new subscription's periods are counted from.

    Its own first day, or the day of the month that the installation bills everybody on.
    """
    return periods.anchor_for(
        starts_on=starts_on, billing_day=settings().billing_day or None, interval=periods.MONTHLY
    )


def price_shown(version: PlanVersion) -> str:
    """This function will say what a plan costs at first sight, as a consent notes it."""
    charges = [catalogue.charge_of(price) for price in version.prices]
    return price_words.headline(charges, version.currency, "en").sentence


def convert(
    *,
    control_session: Session,
    tenant_id: UUID,
    plan_code: str,
    currency: str,
    consent: ConversionConsent,
    actor: Actor,
    now: datetime,
    starts_on: date | None = None,
) -> Subscription:
    """This function will turn a trial into a paid subscription that starts today, or on a day.

    It records the consent with the text's hash, opens the subscription on the plan's current
    version, and writes the plan's limits down to the tenant, who becomes active. One that starts
    later is scheduled, and the trial goes on; one that started earlier is billed from then.

    Raises: ConsentMissing, TermsChanged, NoCardRegistered, AlreadySubscribed, PlanNotOffered,
    StartUnsound, NotFound; whatever `tenants.lifecycle.convert` refuses.
    """
    if not consent.accepted:
        raise ConsentMissing("Please agree to the terms to start the subscription.", field="accept")
    tenant = control_session.get(Tenant, tenant_id, with_for_update=True, populate_existing=True)
    if tenant is None:
        raise NotFound("There is no such tenant.")
    if tenant.currency != currency:
        raise Invalid(f"This account is billed in {tenant.currency}.", field="currency")
    if active(control_session=control_session, tenant_id=tenant_id) is not None:
        raise AlreadySubscribed("There is an active subscription already.")
    version = catalogue.current(
        control_session=control_session, plan_code=plan_code, currency=currency
    )
    today = clock.today(now, tenant.timezone)
    starts_on = starts_on or today
    _check_start(control_session, tenant, starts_on, actor, today)
    card = default_method(control_session=control_session, tenant_id=tenant_id)
    if consent.method == "card" and card is None:
        raise NoCardRegistered("Please register a card first.", field="method")
    recorded = _record_consent(
        control_session=control_session,
        tenant=tenant,
        version=version,
        consent=consent,
        starts_on=starts_on,
        now=now,
    )
    subscription = Subscription(
        state="scheduled" if starts_on > today else "active",
        tenant_id=tenant_id,
        plan_version_id=version.id,
        currency=currency,
        timezone=tenant.timezone,
        starts_on=starts_on,
        anchor_on=counted_from(starts_on),
        next_bill_on=starts_on,
        consent_id=recorded.id,
        created_at=now,
    )
    # One that begins on the day on which another ended goes on where that one stopped.
    ended_at = control_session.scalar(_ENDED_AT, {"tenant": tenant_id})
    midnight = periods.midnight(starts_on, tenant.timezone)
    starts_at = max(midnight, ended_at or midnight)
    if subscription.state == "scheduled":
        subscription.next_change_at, subscription.next_state = starts_at, "active"
        retention.await_contract(
            control_session=control_session, tenant_id=tenant_id, actor=actor, now=now
        )
    else:
        lifecycle.convert(
            control_session=control_session,
            tenant_id=tenant_id,
            plan_code=plan_code,
            limits=catalogue.limits_of(version),
            features=version.features,
            quotas=version.quotas,
            actor=actor,
            now=now,
        )
    states.begin(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=subscription,
        actor=actor,
        now=now,
        why="the customer agreed to the terms",
    )
    items.begin(
        control_session=control_session,
        subscription=subscription,
        version=version,
        starts_at=starts_at,
        now=now,
    )
    return subscription


def earliest_start(*, control_session: Session, tenant: Tenant) -> date | None:
    """This function will return the first day on which a contract may begin, if any is too early.

    Nothing was read before the trial, and what an earlier contract billed is not billed again.
    """
    began = tenant.trial_starts_at and clock.today(tenant.trial_starts_at, tenant.timezone)
    ended = control_session.scalar(_ENDED_ON, {"tenant": tenant.id})
    return max((day for day in (began, ended) if day is not None), default=None)


def _check_start(
    control_session: Session, tenant: Tenant, starts_on: date, actor: Actor, today: date
) -> None:
    """A customer starts today; our staff may agree on a later day, or one that is free before."""
    if starts_on != today and actor.kind != "staff":
        raise StartUnsound("A subscription starts today.", field="starts_on")
    first = earliest_start(control_session=control_session, tenant=tenant)
    if first is not None and starts_on < first:
        raise StartUnsound(
            f"Before {first} there was no trial yet, or an earlier subscription was billed:"
            " start on that day at the earliest.",
            field="starts_on",
        )
    if starts_on > today + timedelta(days=START_AHEAD_DAYS_MAX):
        raise StartUnsound(f"Start within {START_AHEAD_DAYS_MAX} days from now.", field="starts_on")


def _record_consent(
    *,
    control_session: Session,
    tenant: Tenant,
    version: PlanVersion,
    consent: ConversionConsent,
    starts_on: date,
    now: datetime,
) -> Consent:
    shown = conversion_terms(
        version=version, language=consent.language, method=consent.method, starts_on=starts_on
    )
    if shown.sha256 != consent.text_sha256:
        raise TermsChanged("The terms have changed. Please read them again before you agree.")
    row = Consent(
        subject_id=tenant.id,
        kind="conversion",
        version=shown.version,
        text_sha256=shown.sha256,
        granted=True,
        at=now,
        channel=consent.channel,
        details={
            "language": shown.language,
            "starts_on": starts_on.isoformat(),
            "plan": version.plan_code,
            "plan_version": version.version,
            "price_before": str(Money.zero(version.currency)),
            "price": price_shown(version),
            "currency": version.currency,
            "method": consent.method,
            "how_to_cancel": f"{settings().public_url}/portal/plan",
            "text": shown.text,
            **({"given_by": consent.given_by} if consent.given_by else {}),
        },
    )
    control_session.add(row)
    control_session.flush()
    return row


def active(*, control_session: Session, tenant_id: UUID) -> Subscription | None:
    """This function will return the tenant's subscription that is not over; a trial has none."""
    return control_session.scalar(_ACTIVE, {"tenant": tenant_id})


def is_agreed_ahead(*, control_session: Session, tenant_id: UUID) -> bool:
    """This function will tell whether a contract is agreed on whose first day is still to come."""
    found = active(control_session=control_session, tenant_id=tenant_id)
    return found is not None and found.state == "scheduled"


def current_period(*, subscription: Subscription, now: datetime) -> Period:
    """This function will return the period that is running now, or the last one."""
    today = clock.today(now, subscription.timezone)
    last = subscription.ends_on - timedelta(days=1) if subscription.ends_on else today
    day = max(min(today, last), subscription.starts_on)
    interval = main_interval(subscription)
    return periods.period(
        subscription.anchor_on, periods.number_on(subscription.anchor_on, day, interval), interval
    )


def main_interval(subscription: Subscription) -> Interval:
    """This function will return how often the charge comes that a plan is named for.

    That is the first in the price list that recurs and is not optional.
    """
    version_id = subscription.plan_version_id
    found = _main_intervals.get(version_id)
    if found is None:
        session = object_session(subscription)
        if session is None:
            raise ValueError("the subscription is in no session")
        main = session.execute(_MAIN_INTERVAL, {"version": version_id}).one()
        if len(_main_intervals) >= _VERSIONS_KEPT:
            _main_intervals.clear()
        found = _main_intervals[version_id] = Interval(main.interval_count, main.interval_unit)
    return found


def close(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime, why: str
) -> None:
    """This function will close a tenant's subscription at once, because the tenant is destroyed.

    Nothing more is billed on it. Without an active subscription it does nothing.
    """
    if active(control_session=control_session, tenant_id=tenant_id) is None:
        return
    subscription = _locked(control_session, tenant_id)
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=subscription,
        to="cancelled",
        actor=actor,
        now=now,
        why=why,
    )
    subscription.ends_on = subscription.ends_on or clock.today(now, subscription.timezone)
    subscription.next_bill_on = subscription.next_correction_on = None
    items.end(control_session=control_session, subscription_id=subscription.id, at=now)
    control_session.flush()


def _locked(control_session: Session, tenant_id: UUID) -> Subscription:
    subscription = control_session.scalar(
        select(Subscription)
        .where(Subscription.tenant_id == tenant_id, Subscription.state != "cancelled")
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if subscription is None:
        raise NoSubscription("There is no active subscription.")
    return subscription
