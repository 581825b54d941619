"""The trial form: at most seven fields in sight, every fault told at once, nothing typed lost."""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from uuid import UUID

from flask import Blueprint, Response, render_template, request, url_for
from werkzeug.exceptions import TooManyRequests

from app.base import clock, secrets
from app.base.config import settings
from app.web import countries
from app.web.auth import see_other
from app.web.db import control, db
from app.web.i18n import _, gettext, language
from app.web.security import limiter
from app.web.site import prices
from app.web.site.visits import visitor_id
from tenants import consents, signup
from tenants.models import Application
from tenants.trial_form import COUNTRIES, FormInvalid, TrialForm

trial = Blueprint("trial", __name__)

# A person applies once; an office behind one address a few times.
APPLICATIONS_RATE = "10 per hour; 30 per day"
# Nobody sees this field, so only a program that fills in everything writes into it.
TRAP = "fax_extension"
_FIELDS = (
    "company",
    "country",
    "registration_number",
    "contact_name",
    "email",
    "phone",
    "seats_expected",
    "plan_code",
    "message",
)
_SENT = "sent"


@trial.after_request
def _private(response: Response) -> Response:
    # The form holds a token of its session, the page after it an address that is nobody else's.
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@trial.get("/trial")
def form() -> str:
    """This function will show the form, with the plan that a visitor chose on the price list."""
    country = "KR" if language() == "ko" else ""
    typed = {"country": country, "plan_code": request.args.get("plan", "")}
    return _page(typed, {})


def _page(typed: dict[str, str], errors: dict[str, str], *, trap: str = "") -> str:
    offers = prices.offers(prices.currency_of(None))
    codes = [offer.code for offer in offers]
    if typed.get("plan_code") not in codes and "plan_code" not in errors and codes:
        typed = typed | {"plan_code": codes[min(1, len(codes) - 1)]}
    return render_template(
        "site/trial.html",
        typed=typed,
        marketing_ticked=request.form.get("marketing") == "y",
        errors=errors,
        summary=list(errors.items()),
        retention=(settings().unconfirmed_retention_days, settings().rejected_retention_days),
        offers=offers,
        plan_options=[(offer.code, f"{offer.name}, {offer.headline.sentence}") for offer in offers],
        countries=_countries(language()),
        notice=consents.notice("privacy_notice", language()),
        marketing=consents.notice("marketing", language()),
        terms=consents.notice("terms", language()),
        trap=trap,
        trap_name=TRAP,
    )


@lru_cache(maxsize=2)
def _countries(locale: str) -> list[tuple[str, str]]:
    names = countries.names(locale)
    rest = sorted((names[code], code) for code in COUNTRIES - {"KR"} if code in names)
    return [("KR", names["KR"]), *((code, name) for name, code in rest)]


@trial.errorhandler(TooManyRequests)
def _too_many(_error: TooManyRequests) -> tuple[str, int]:
    """The form again with all that was typed: a limit must not cost anybody their answers."""
    said = gettext(
        "Too many applications came from your network. Please try again in an hour, or write "
        "to %(address)s.",
        address=settings().mail_reply_to,
    )
    return _page(_typed(), {"": said}), TooManyRequests.code


@trial.post("/trial")
@limiter.limit(APPLICATIONS_RATE)
def apply() -> Any:
    """This function will take the form, or show it again with every fault by its field."""
    typed = _typed()
    trap = request.form.get(TRAP, "")
    if trap:
        # A browser's autofill may have done it: say so, rather than lose a customer in silence.
        return _page(typed, {TRAP: _("Leave this field empty, then send again.")}, trap=trap), 422
    offered = [offer.code for offer in prices.offers(prices.currency_of(None))]
    try:
        submission = signup.submit(
            control_session=control(),
            form=TrialForm(
                **typed, language=language(), marketing=request.form.get("marketing") == "y"
            ),
            visitor_id=visitor_id(),
            now=clock.now(),
            plans=offered,
        )
    except FormInvalid as error:
        return _page(typed, {field: _(said) for field, said in error.errors.items()}), 422
    db.session.commit()
    signed = secrets.sign(_SENT, str(submission.application.id))
    return see_other(url_for("site.trial.sent", signed=signed))


def _typed() -> dict[str, str]:
    return {name: request.form.get(name, "") for name in _FIELDS}


@trial.get("/trial/sent/<signed>")
def sent(signed: str) -> str:
    """This function will say what was sent where, and what comes next.

    It looks the same whether the application is new or was open already, so that nobody learns
    of somebody else's.
    """
    application = control().get(Application, UUID(secrets.unsign(_SENT, signed)))
    if application is None or application.state == "erased":
        raise signup.ApplicationGone("This application has been erased; nothing about it is kept.")
    return render_template(
        "site/sent.html",
        reference=application.reference,
        email=masked(application.email),
        confirmation_hours=settings().confirmation_hours,
        sla_hours=settings().review_sla_hours,
        reply_to=settings().mail_reply_to,
    )


def masked(email: str) -> str:
    """This function will show enough of an address for its owner to know it again."""
    name, _at, domain = email.rpartition("@")
    return f"{name[:1]}{'•' * 3}@{domain}"
