"""The consent that staff writes down as they change something for a customer that costs more."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from flask import request

from app.web import change_pages
from app.web.change_pages import Door
from app.web.db import control
from app.web.i18n import language
from app.web.subscribed import Standing
from app.web.wishes import Wish, whole
from invoices import catalogue, change_consents, price_rises
from invoices.change_consents import GivenUnsound


def begins_on(door: Door, wished: Wish, standing: Standing) -> date | None:
    """This function will return from when a customer pays more by what staff does for them.

    None where it costs no more, and where customers act for themselves: that is their consent.
    """
    if not door.staff or not _dearer(wished, standing):
        return None
    if wished.typed.get("when") == "period_end":
        return standing.running_end or standing.today
    return standing.today


def _dearer(wished: Wish, standing: Standing) -> bool:
    typed, code = wished.typed, wished.verb.code
    if code == "plan":
        wanted = catalogue.current(
            control_session=control(),
            plan_code=typed["plan"],
            currency=standing.subscription.currency,
        )
        old, new = (catalogue.terms_of(each, position=0) for each in (standing.version, wanted))
        return price_rises.rises(old, new)
    if code == "quantity":
        held = sum(
            item.quantity for item in standing.live if item.charge.code == typed.get("charge")
        )
        return whole(typed["quantity"], field="quantity") > held
    return code == "add"


def keep(door: Door, wished: Wish, standing: Standing, at: datetime) -> None:
    """This function will record the consent to a dearer change, in the words of the preview.

    Raises: GiverMissing, GivenUnsound, TooFarAhead.
    """
    begins = begins_on(door, wished, standing)
    if begins is None:
        return
    change_consents.record(
        control_session=control(),
        tenant_id=door.tenant.id,
        text="\n".join(
            [
                str(wished.verb.title),
                *(f"{name}: {value}" for name, value in change_pages.said(wished, standing)),
            ]
        ),
        language=language(),
        given_by=request.form.get("given_by", ""),
        given_on=_day(request.form.get("given_on", "")),
        begins_on=begins,
        today=standing.today,
        staff_id=UUID(str(door.actor.id)),
        now=at,
    )


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise GivenUnsound("Enter the day as 2026-03-10.", field="given_on") from None
