"""The look, all of it on one page: every part in every state, for the eye and for axe.

Registered in development, demo and test only; nothing here reads or writes any data.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from flask import Blueprint, Flask, abort, flash, render_template, request
from flask_wtf import FlaskForm
from wtforms import BooleanField, RadioField, SelectField, StringField, TextAreaField
from wtforms.fields.choices import SelectChoice
from wtforms.validators import InputRequired, Length

from app.web.i18n import _, lazy

look = Blueprint("look", __name__, url_prefix="/_/look")

NOW = datetime(2026, 11, 20, 5, 5, tzinfo=UTC)
LONG = "주식회사 한반도종합건축설계감리엔지니어링 서울중앙본부 제2설계사무소 (구 대한건축연구원)"
LAYOUTS = ("public", "console", "portal", "workspace", "plain")
STATES = {
    "application": ("submitted", "confirmed", "approved", "rejected", "erased"),
    "tenant": (
        *("approved", "trialing", "active", "past_due"),
        *("suspended", "destroying", "destroyed"),
    ),
    "invoice": ("draft", "issued", "overdue", "paid", "credited", "written_off", "void"),
    "subscription": ("scheduled", "active", "paused", "cancelled"),
    "payment_attempt": (
        *("open", "succeeded", "taken_back"),
        *("declined", "unknown", "needs_person"),
    ),
    "refund": ("due", "open", "unknown", "needs_person", "by_hand", "succeeded", "closed"),
    "virtual_account": ("opening", "waiting", "deposited", "expired", "refused"),
    "bank_transfer": ("new", "open", "ignored", "settled"),
    "price_consent": ("asked", "refused", "given", "lapsed", "withdrawn"),
    "tax_invoice": ("due", "issued", "sent", "accepted", "failed", "amended", "cancelled"),
    "cash_receipt": (
        *("wanted", "due", "issued", "confirmed"),
        *("failed", "withdrawn", "cancelled"),
    ),
    "document": ("due", "ready"),
    "document_bundle": ("due", "ready", "expired"),
    "export": ("due", "ready", "expired"),
    "message": ("due", "sent", "failed"),
}


class Sample(FlaskForm):  # type: ignore[misc]  # Flask-WTF has no types
    """A form with one of each kind of answer."""

    company = StringField(
        lazy("Company"), [InputRequired(lazy("Enter the company's name")), Length(max=100)]
    )
    brn = StringField(
        lazy("Business registration number"),
        [InputRequired(lazy("Enter the ten digits of the business registration number"))],
        description=lazy("Ten digits, with or without hyphens"),
        render_kw={"format": "brn"},
    )
    phone = StringField(lazy("Phone"), render_kw={"format": "phone", "autocomplete": "tel"})
    plan = SelectField(
        lazy("Plan of interest"),
        choices=[SelectChoice("team", "Team"), SelectChoice("studio", "Studio")],
    )
    pay = RadioField(
        lazy("How would you like to pay?"),
        choices=[
            SelectChoice("card", lazy("Card")),
            SelectChoice("transfer", lazy("Bank transfer")),
        ],
        validators=[InputRequired(lazy("Choose how to pay"))],
    )
    message = TextAreaField(lazy("Message"), [Length(max=1000)])
    terms = BooleanField(
        lazy("I agree to the collection and use of personal data"),
        [InputRequired(lazy("Without this consent we cannot review the application"))],
    )


def register(app: Flask) -> None:
    """This function will put the look page at `/_/look`."""
    app.register_blueprint(look)


@look.get("/")
def parts() -> str:
    """This function will show every part, inside the console's frame."""
    return _page("console", "look/parts.html")


@look.post("/")
def sent() -> str:
    """This function will show the form as it comes back with errors, and the toasts."""
    flash(_("Approved. The database is being made."), "good")
    flash(_("The card was declined. We will try again tomorrow."), "bad")
    return _page("console", "look/parts.html")


@look.get("/frame/<name>")
def frame(name: str) -> str:
    """This function will show one of the five frames with a typical page in it."""
    if name not in LAYOUTS:
        abort(404)
    return _page(name, f"look/{name}.html")


def _page(layout: str, template: str) -> str:
    form = Sample()
    form.validate_on_submit()
    rows = [
        SimpleNamespace(
            id=index,
            number=f"2026-{index:06d}",
            company=LONG if index == 3 else f"가온건축 {index}",
            state=("draft", "issued", "overdue", "paid", "void")[index % 5],
            due=NOW + timedelta(days=index - 4),
            total_minor=(-1 if index == 5 else 1) * 137_500 * index**3,
        )
        for index in range(1, 9)
    ]
    return render_template(
        template,
        layout=layout,
        form=form,
        rows=rows,
        states=STATES,
        now=NOW,
        long=LONG,
        sort=request.args.get("sort", "-due"),
        page=request.args.get("page", 2, type=int),
        total=sum(row.total_minor for row in rows),
        series=[(f"11-{day:02d}", day * 37 % 23 + day) for day in range(1, 21)],
        account={"name": "reviewer@tenantry.example", "detail": _("Sales"), "sign_out_url": "/"},
    )
