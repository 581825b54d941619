"""The first page: how the account stands, what is used, and what comes next."""

from __future__ import annotations

from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

from flask import g, render_template, url_for
from sqlalchemy import select

from app.base import clock
from app.base.config import settings
from app.base.money import Money
from app.web import usage
from app.web.auth import note_access, see_other
from app.web.db import control
from app.web.i18n import gettext
from app.web.portal import next_bill  # noqa: F401 - it tells the pages the bill so far
from app.web.portal.door import portal, portal_required
from app.web.sessions import admit
from invoices import catalogue, dunning_rules, payment_methods, subscriptions
from invoices.catalogue import PlanNotOffered
from invoices.models import Invoice, PlanVersion, Subscription
from tenants import billing_profiles, databases, lifecycle, members
from tenants.models import OPEN_STATES

OPEN_INVOICES_SHOWN = 5


@portal.get("/")
@portal_required
def overview() -> str:
    """This function will show the state of the account, its usage and its dates."""
    now = clock.now()
    subscription = subscriptions.active(control_session=control(), tenant_id=g.tenant.id)
    unpaid = open_invoices()
    return render_template(
        "portal/overview.html",
        now=now,
        subscription=subscription,
        version=version_of(subscription),
        standing=standing(unpaid, now),
        usage=usage.so_far(tenant=g.tenant, subscription=subscription, now=now),
        dates=dates(subscription, unpaid),
        unpaid=unpaid[:OPEN_INVOICES_SHOWN],
        card=payment_methods.default_method(control_session=control(), tenant_id=g.tenant.id),
        profile_missing=billing_profiles.missing(g.tenant),
        workspace_open=g.tenant.state in OPEN_STATES,
    )


def open_invoices() -> list[Invoice]:
    """This function will list the tenant's unpaid invoices, the oldest first."""
    return list(
        control().scalars(
            select(Invoice)
            .where(Invoice.tenant_id == g.tenant.id, Invoice.state == "issued")
            .order_by(Invoice.due_on, Invoice.number)
            .limit(50)
        )
    )


def version_of(subscription: Subscription | None) -> PlanVersion | None:
    """This function will return the terms that apply: those subscribed to, or those on trial.

    None where the plan of a trial is not sold in the tenant's currency.
    """
    if subscription is not None:
        return control().get_one(PlanVersion, subscription.plan_version_id)
    with suppress(PlanNotOffered):
        return catalogue.newest(
            control_session=control(), plan_code=g.tenant.plan_code, currency=g.tenant.currency
        )
    return None


def standing(unpaid: list[Invoice], now: datetime) -> dict[str, Any] | None:
    """This function will say what the account's state asks of the reader, with one thing to do."""
    tenant = g.tenant
    convert = {"url": url_for("portal.plan"), "label": gettext("See plans and subscribe")}
    pay = {"url": url_for("portal.payment"), "label": gettext("Pay now")}
    if tenant.state == "trialing" and tenant.trial_ends_at is not None:
        days = max(0, -(-int((tenant.trial_ends_at - now).total_seconds()) // 86400))
        return {
            "tone": "info" if days > 3 else "warn",
            "title": gettext("Trial: %(days)s days left", days=days),
            "text": gettext(
                "Nothing is charged unless you subscribe. After the trial the workspace closes, "
                "and your data waits %(kept)s days for you.",
                kept=settings().retention_days,
            ),
            **convert,
        }
    if tenant.state == "past_due":
        return {"tone": "warn", **_past_due(unpaid), **pay}
    if tenant.state in lifecycle.SHUT_STATES:
        return _suspended(unpaid) | (pay if tenant.suspend_reason == "unpaid" else convert)
    if tenant.state == "approved":
        return {
            "tone": "info",
            "title": gettext("Your workspace is being set up"),
            "text": gettext("This takes a few seconds. You get a mail when it is ready."),
        }
    return None


def _past_due(unpaid: list[Invoice]) -> dict[str, str]:
    # As the final warning says; before it, as the days of grace that hold for this tenant say.
    rules = dunning_rules.rules_of(control_session=control(), tenant=g.tenant)
    closes = g.tenant.suspend_after or (
        g.tenant.past_due_at and g.tenant.past_due_at + timedelta(days=rules.grace_days)
    )
    return {
        "title": gettext("%(amount)s is overdue", amount=_owed(unpaid)),
        "text": gettext(
            "Please pay by card or bank transfer. The workspace stays open until %(day)s.",
            day=f"{clock.today(closes, g.tenant.timezone)}" if closes else "–",
        ),
    }


def _suspended(unpaid: list[Invoice]) -> dict[str, Any]:
    reason = g.tenant.suspend_reason
    gone = g.tenant.destroy_after and clock.today(g.tenant.destroy_after, g.tenant.timezone)
    titles = {
        "trial_ended": gettext("The trial is over and the workspace is closed"),
        "cancelled": gettext("The subscription has ended and the workspace is closed"),
        "unpaid": gettext("The workspace is closed: %(amount)s is unpaid", amount=_owed(unpaid)),
        "paused": gettext("The subscription is paused and the workspace is closed"),
        "staff": gettext("The workspace was closed by our staff"),
    }
    texts = {
        "trial_ended": gettext("Subscribe to open it again at once, or export your data."),
        "cancelled": gettext("Subscribe to open it again at once, or export your data."),
        "unpaid": gettext("It opens again within seconds of your payment."),
        "paused": gettext("Nothing is charged meanwhile. Resume it on the plan page."),
        "staff": gettext(
            "Please write to %(contact)s. Papers, payment and export stay open here.",
            contact=settings().mail_reply_to,
        ),
    }
    text = texts.get(reason or "", texts["staff"])
    if g.tenant.state == "destroying":
        text += " " + gettext("The erasure has begun: this stops it, as long as the data is there.")
    elif gone is not None:
        text += " " + gettext("All data is erased on %(day)s.", day=gone.isoformat())
    return {"tone": "bad", "title": titles.get(reason or "", titles["staff"]), "text": text}


def _owed(unpaid: list[Invoice]) -> Money:
    total = sum(invoice.open_minor for invoice in unpaid)
    return Money(total, g.tenant.currency)


def dates(subscription: Subscription | None, unpaid: list[Invoice]) -> list[tuple[date, str, str]]:
    """This function will list what comes when, soonest first: (day, what, where to)."""
    tenant, found = g.tenant, []

    def add(moment: date | datetime | None, what: str, url: str) -> None:
        if moment is not None:
            on = clock.today(moment, tenant.timezone) if isinstance(moment, datetime) else moment
            found.append((on, what, url))

    if tenant.state == "trialing":
        add(tenant.trial_ends_at, gettext("The trial ends"), url_for("portal.plan"))
    if subscription is not None and subscription.ends_on is not None:
        add(subscription.ends_on, gettext("The subscription ends"), url_for("portal.plan"))
    elif subscription is not None:
        add(subscription.next_bill_on, gettext("The next invoice"), url_for("portal.invoices"))
    for invoice in unpaid[:OPEN_INVOICES_SHOWN]:
        page = url_for("portal.invoice", invoice_id=invoice.id)
        what = gettext(
            "%(number)s is due: %(amount)s",
            number=invoice.number_text or "",
            amount=Money(invoice.open_minor, invoice.currency),
        )
        add(invoice.due_on, what, page)
        if invoice.collect_at is not None and invoice.attempts == 0:
            add(
                invoice.collect_at,
                gettext("We try your card for %(number)s", number=invoice.number_text or ""),
                page,
            )
    add(tenant.destroy_after, gettext("All data is erased"), url_for("portal.account"))
    return sorted(found)


@portal.post("/workspace")
@portal_required
def enter_workspace() -> Any:
    """This function will take an administrator on to the workspace, where the same person works.

    Whoever is no member there, or no more, gets its sign-in page.
    """
    place = databases.open_workspace(control(), g.tenant.id)
    with databases.tenant_session(place) as tenant_session:
        member = members.by_email(tenant_session=tenant_session, email=g.admin.email)
        member_id = member.id if member else None
    if member_id is None:
        return see_other(url_for("workspace.sign_in", workspace=g.tenant.slug))
    answer = see_other(url_for("workspace.home"))
    admit(answer, audience="workspace", user_id=member_id, tenant_id=g.tenant.id)
    note_access("signed_in", audience="workspace", user_id=member_id, tenant_id=g.tenant.id)
    control().commit()
    return answer
