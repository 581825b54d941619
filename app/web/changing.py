"""Changing a subscription, for portal and console alike: the question, the preview, the act.

The preview is made by doing the change and taking it back. Its form carries the moment at which it
was made and a fingerprint of what it showed; the confirmed change is made as of that moment and
only if it comes to the same. So nobody pays what they have not seen, and sending twice does
nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from flask import flash, request
from sqlalchemy import select

from app.base import clock
from app.base.audit import AuditEvent
from app.base.errors import Conflict, Invalid, TenantryError
from app.web import bills, change_pages, changing_consent, subscribed
from app.web.auth import see_other
from app.web.change_pages import Door, Seen, questions
from app.web.db import control
from app.web.subscribed import Standing
from app.web.wishes import Verb, Wish, verb_of, wish
from invoices import contracts, fingerprints, forecast, price_rises
from invoices.catalogue import PlanNotOffered
from invoices.change_consents import GivenUnsound, GiverMissing
from invoices.subscriptions import NoSubscription
from tenants.texts import one_line

# How long a preview by the second stays good: time to read it and to ask a colleague.
PREVIEW_MINUTES_MAX = 30
REASON_LENGTH_MAX = 500


class MoneyChanged(Conflict):
    """What was shown is not what it would cost now."""


class NotNow(Conflict):
    """The subscription is in a state in which the verb makes no sense."""


class ReasonMissing(Invalid):
    """What staff changes for a customer is changed for a reason that can be read."""


def ask(door: Door, code: str) -> Any:
    """This function will show the question that a verb asks, or its preview if it asks none."""
    verb, standing = _opened(door, code)
    wished = _read(door, verb, standing, request.args)
    if "charge" in wished.typed and not wished.typed["charge"]:
        return change_pages.choice(door, verb, standing)
    if not questions(door, wished, standing):
        return _previewed(door, wished, standing)
    return change_pages.question(door, wished, standing)


def preview(door: Door, code: str) -> Any:
    """This function will show what a change does to the money, and ask to confirm it."""
    verb, standing = _opened(door, code)
    wished = _read(door, verb, standing, request.args)
    if "charge" in wished.typed and not wished.typed["charge"]:
        return change_pages.choice(door, verb, standing)
    return _previewed(door, wished, standing)


def confirm(door: Door, code: str) -> Any:
    """This function will make a change that was previewed, if it still comes to the same."""
    verb, standing = verb_of(code), _standing(door)
    wished = _read(door, verb, standing, request.form)
    at = _moment_shown(clock.now(), standing.subscription.timezone)
    if _done_before(door, standing, at):
        return _thank(door, verb)
    why = one_line(request.form.get("why", ""))[:REASON_LENGTH_MAX]
    try:
        _check(door, code, standing)
        wished.check_answered()
        # Held from the second look to the act: what was compared is what is changed.
        contracts.open_contract(control_session=control(), tenant_id=door.tenant.id, now=at)
        seen = look(door, wished, _standing(door), at)
        if seen.fingerprint != request.form.get("fingerprint", ""):
            raise MoneyChanged(
                "The amounts have changed since you looked. Nothing was done: please look again."
            )
        if door.staff and not why:
            raise ReasonMissing("Please say why: it is written to the audit trail.", field="why")
        changing_consent.keep(door, wished, standing, at)
        wished.act(tenant_id=door.tenant.id, actor=door.actor, now=at, why=why)()
        control().commit()
    except (MoneyChanged, ReasonMissing, GiverMissing, GivenUnsound) as error:
        control().rollback()
        return _previewed(door, wished, _standing(door), error)
    except (Invalid, Conflict, PlanNotOffered) as error:
        control().rollback()
        return change_pages.question(door, wished, _standing(door), error), _status(error)
    return _thank(door, verb)


def _opened(door: Door, code: str) -> tuple[Verb, Standing]:
    verb, standing = verb_of(code), _standing(door)
    _check(door, code, standing)
    return verb, standing


def _standing(door: Door) -> Standing:
    standing = subscribed.standing(tenant_id=door.tenant.id, now=clock.now())
    if standing is None:
        raise NoSubscription("There is no active subscription.")
    return standing


def _check(door: Door, code: str, standing: Standing) -> None:
    door.check(code, standing)
    if code not in standing.possible():
        raise NotNow("As the subscription stands now there is nothing to do here.")


def _read(door: Door, verb: Verb, standing: Standing, given: Mapping[str, str]) -> Wish:
    """What was typed, and the answers to what is not asked because there is only one."""
    wished = wish(verb, staff=door.staff, given=given)
    known: dict[str, str] = {}
    open_ones = {"charge", *questions(door, wished, standing)}
    if "quantity" not in open_ones:
        known["quantity"] = "1"  # it costs the same whatever the number
    if "when" not in open_ones:
        known |= {"when": "now", "credit": "yes"}  # nothing is in force that could go on
    answers = {name: known.get(name, typed) for name, typed in wished.typed.items()}
    return replace(wished, typed=answers)


def look(door: Door, wished: Wish, standing: Standing, at: datetime) -> Seen:
    """This function will find out what a change does, and leave nothing of it behind.

    Raises: whatever the change is refused with.
    """
    # Read before: looking leaves every row to be read anew.
    base = [[item.item_id, item.quantity, item.starts_at, item.ends_at] for item in standing.items]
    shown = forecast.preview(
        control_session=control(),
        subscription=standing.subscription,
        change=wished.act(tenant_id=door.tenant.id, actor=door.actor, now=at, why="-"),
        now=at,
    )
    print_of = fingerprints.sha256(
        {
            "verb": wished.verb.code,
            "typed": dict(wished.typed),
            "items": base,
            "bills": [bills.facts(each) for each in (shown.today, shown.before, shown.after)],
        }
    )
    return Seen(wished, at, shown, print_of)


def _moment_shown(now: datetime, timezone: str) -> datetime:
    """The moment of the preview, as long as it is good: of today, and of this half hour."""
    try:
        at = datetime.fromisoformat(request.form.get("at", ""))
    except ValueError:
        return now
    if at.tzinfo is None or not now - timedelta(minutes=PREVIEW_MINUTES_MAX) <= at <= now:
        return now
    return at if clock.today(at, timezone) == clock.today(now, timezone) else now


def _done_before(door: Door, standing: Standing, at: datetime) -> bool:
    """Whether this very form was sent before: an act of the same person at the same instant."""
    return (
        control().scalar(
            select(AuditEvent.id)
            .where(
                AuditEvent.subject_kind == "subscription",
                AuditEvent.subject_id == str(standing.subscription.id),
                AuditEvent.at == at,
                AuditEvent.actor_id == door.actor.id,
            )
            .limit(1)
        )
        is not None
    )


def _thank(door: Door, verb: Verb) -> Any:
    flash(str(verb.done), "good")
    return see_other(door.home_url)


def _status(error: TenantryError) -> int:
    """A plan that is not on offer is an answer that is wrong, not a page that is missing."""
    return Invalid.status if isinstance(error, PlanNotOffered) else error.status


def _previewed(
    door: Door, wished: Wish, standing: Standing, error: TenantryError | None = None
) -> Any:
    try:
        wished.check_answered()
        seen = look(door, wished, standing, clock.now())
        dearer_from = changing_consent.begins_on(door, wished, standing)
        if dearer_from is not None:
            price_rises.check_day(begins_on=dearer_from, today=standing.today)
    except (Invalid, Conflict, PlanNotOffered) as refused:
        control().rollback()
        return change_pages.question(door, wished, _standing(door), refused), _status(refused)
    page = change_pages.preview(door, seen, standing, error, dearer_from)
    return (page, error.status) if error else page
