"""A plan that is new, or new in a currency: written after the pattern of another, then published.

The text is read, compared and published as that of a plan there is; only what nobody has yet is
taken, so nobody's page is gone round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid
from app.web.auth import see_other, staff_required
from app.web.console.catalogue import WRITERS, console_catalogue, numbered
from app.web.db import control
from app.web.i18n import gettext
from app.web.site.prices import charges
from invoices import catalogue, catalogue_changes, catalogue_file, catalogue_pattern
from invoices.catalogue_changes import Difference
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.catalogue_file import CatalogueFile, CatalogueUnsound
from invoices.catalogue_nodes import Fault
from invoices.plan_terms import POSITION_MAX


class NotNew(Conflict):
    """A plan of the text is there already in that currency, or is sold to nobody new."""


class NothingNew(Invalid):
    """The text has no plan, or says what is no new plan's."""


@console_catalogue.get("/new")
@staff_required(*WRITERS)
def new() -> str:
    """This function will offer a text with blanks, after a plan there is."""
    return _page(_pattern())


@console_catalogue.post("/new")
@staff_required(*WRITERS)
def publish_new() -> Any:
    """This function will show what a text adds to the price list and, once seen, publish it."""
    text = request.form.get("text", "").replace("\r\n", "\n")
    try:
        meters = catalogue.meters(control_session=control())
        wanted = catalogue_file.read(text, meters=meters)
        if request.form.get("act") != "publish":
            _check_new(wanted)
            found = catalogue_changes.difference(control_session=control(), wanted=wanted)
            return _page(text, wanted=wanted, found=found)
        catalogue.lock(control_session=control())
        _check_new(wanted)
        catalogue_changes.apply(
            control_session=control(), wanted=wanted, actor=g.actor, now=clock.now()
        )
    except CatalogueUnsound as error:
        control().rollback()
        return _page(text, faults=error.faults), error.status
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(text, refused=gettext(error.message)), error.status
    control().commit()
    flash(gettext("Published. It is on offer from now on."), "good")
    made = wanted.plans[0]
    return see_other(url_for(".details", plan_code=made.plan_code, currency=made.currency))


def _check_new(wanted: CatalogueFile) -> None:
    if not wanted.plans or wanted.retired:
        raise NothingNew("Write the new plan under plans: and nothing else.")
    there = catalogue_changes.listed(control_session=control())
    known = {(plan.code, version.currency) for plan, version in there}
    retired = {plan.code for plan, _ in there if plan.retired_at is not None}
    for terms in wanted.plans:
        if (terms.plan_code, terms.currency) in known:
            raise NotNew(
                "A plan with this code is there already in this currency: change it on its own"
                " page, or give the new one another code."
            )
        if terms.plan_code in retired:
            raise NotNew("The plan is retired. Put it on offer before you change it.")


def _pattern() -> str:
    """This function will write the pattern that was asked for: a plan to follow, or to extend."""
    there = catalogue_changes.listed(control_session=control())
    last = max((plan.position for plan, _ in there), default=0)
    position = min(last + 1, POSITION_MAX)
    if plan_code := request.args.get("plan"):
        plan, versions = catalogue_changes.versions(
            control_session=control(),
            plan_code=plan_code,
            currency=request.args.get("currency", ""),
        )
        return catalogue_pattern.of_currency(
            catalogue.terms_of(versions[0], position=plan.position)
        )
    if there:
        return catalogue_pattern.of_plan(
            catalogue.terms_of(there[0][1], position=position), position=position
        )
    return catalogue_pattern.of_plan(DEFAULT_PLANS[0], position=position)


def _page(
    text: str,
    *,
    wanted: CatalogueFile | None = None,
    found: Difference | None = None,
    faults: Sequence[Fault] = (),
    refused: str = "",
) -> str:
    return render_template(
        "console/catalogue/new.html",
        text=text,
        found=found,
        words=[(terms, charges(terms)) for terms in wanted.plans] if wanted else [],
        lines=numbered(text, faults),
        faults=len(faults),
        refused=refused,
    )
