"""The price list in the console: every plan in words, its versions, and the text it comes from.

The text is that of `catalogue.yaml`. Faults stand at their lines; the difference is shown before
anything is published. Admins and finance change it, everybody reads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Blueprint, flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.i18n import gettext, language
from app.web.sentences import say
from app.web.site.prices import charges, offer
from invoices import catalogue, catalogue_changes, catalogue_file, price_words
from invoices.catalogue_changes import Difference
from invoices.catalogue_file import CatalogueFile, CatalogueUnsound
from invoices.catalogue_nodes import Fault
from invoices.models import PlanVersion

WRITERS = ("admin", "finance")

console_catalogue = Blueprint("console_catalogue", __name__, url_prefix="/console/catalogue")


class PublishedMeanwhile(Conflict):
    """Somebody published another version since this text was opened."""


class AnotherPlan(Invalid):
    """The text speaks of another plan than the page does."""


@console_catalogue.get("")
@staff_required()
def index() -> str:
    """This function will list every plan with its price in words and who is on it."""
    used = catalogue_changes.subscribers(control_session=control())
    rows = []
    for plan, version in catalogue_changes.listed(control_session=control()):
        in_use = used.get((plan.code, version.currency), [])
        rows.append(
            {
                "plan": plan,
                "version": version,
                "offer": offer(version),
                "subscribers": sum(each.subscribers for each in in_use),
                "older": sum(e.subscribers for e in in_use if e.version < version.version),
            }
        )
    return render_template("console/catalogue/list.html", rows=rows, may_write=_may_write())


@console_catalogue.get("/<plan_code>/<currency>")
@staff_required()
def details(plan_code: str, currency: str) -> str:
    """This function will show a plan's prices and versions, and its text to change."""
    return _page(plan_code, currency)


@console_catalogue.post("/<plan_code>/<currency>")
@staff_required(*WRITERS)
def change(plan_code: str, currency: str) -> Any:
    """This function will show what a changed text would do and, once that was seen, publish it."""
    text = request.form.get("text", "").replace("\r\n", "\n")
    try:
        wanted = _wanted(plan_code, currency, text)
        if request.form.get("act") != "publish":
            found = catalogue_changes.difference(control_session=control(), wanted=wanted)
            return _page(plan_code, currency, text=text, found=found)
        catalogue.lock(control_session=control())
        _check_base(plan_code, currency)
        found = catalogue_changes.apply(
            control_session=control(), wanted=wanted, actor=g.actor, now=clock.now()
        )
    except CatalogueUnsound as error:
        control().rollback()
        return _page(plan_code, currency, text=text, faults=error.faults), error.status
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(plan_code, currency, text=text, refused=gettext(error.message)), error.status
    control().commit()
    if found.steps:
        flash(gettext("Published. New subscribers get it; nobody else is moved."), "good")
    return see_other(url_for(".details", plan_code=plan_code, currency=currency))


@console_catalogue.post("/<plan_code>/<currency>/<any(retire, restore):act>")
@staff_required(*WRITERS)
def offering(plan_code: str, currency: str, act: str) -> Any:
    """This function will take a plan off offer in every currency, or put it there again."""
    plan, found = catalogue_changes.versions(
        control_session=control(), plan_code=plan_code, currency=currency
    )
    again = CatalogueFile((catalogue.terms_of(found[0], position=plan.position),))
    wanted = again if act == "restore" else CatalogueFile((), (plan_code,))
    catalogue_changes.apply(
        control_session=control(), wanted=wanted, actor=g.actor, now=clock.now()
    )
    control().commit()
    said = {
        "retire": gettext("The plan is retired: nobody new can have it."),
        "restore": gettext("The plan is on offer again."),
    }
    flash(said[act], "good")
    return see_other(url_for(".details", plan_code=plan_code, currency=currency))


def _may_write() -> bool:
    return g.staff.role in WRITERS


def _wanted(plan_code: str, currency: str, text: str) -> CatalogueFile:
    """This function will read the text of one plan in one currency and of nothing else."""
    meters = catalogue.meters(control_session=control())
    wanted = catalogue_file.read(text, meters=meters)
    spoken = [(terms.plan_code, terms.currency) for terms in wanted.plans]
    if spoken != [(plan_code, currency)] or wanted.retired:
        raise AnotherPlan(
            "Keep to the one plan and currency of this page. Others have pages of their own, a new"
            " one is made on the list, and a whole price list is published with flask catalogue"
            " apply."
        )
    _check_base(plan_code, currency)
    return wanted


def _check_base(plan_code: str, currency: str) -> None:
    plan, found = catalogue_changes.versions(
        control_session=control(), plan_code=plan_code, currency=currency
    )
    if plan.retired_at is not None:
        raise PublishedMeanwhile("The plan is retired. Put it on offer before you change it.")
    if str(found[0].version) != request.form.get("version"):
        raise PublishedMeanwhile(
            "Somebody published another version since you opened this page. Look at it below,"
            " then apply your change to it."
        )


def _page(
    plan_code: str,
    currency: str,
    *,
    text: str | None = None,
    found: Difference | None = None,
    faults: tuple[Fault, ...] = (),
    refused: str = "",
) -> str:
    plan, versions = catalogue_changes.versions(
        control_session=control(), plan_code=plan_code, currency=currency
    )
    newest = versions[0]
    used = catalogue_changes.subscribers(control_session=control())
    terms = catalogue.terms_of(newest, position=plan.position)
    written = catalogue_file.write(CatalogueFile((terms,)))
    return render_template(
        "console/catalogue/details.html",
        plan=plan,
        newest=newest,
        offer=offer(newest),
        charges=charges(terms),
        versions=[_version_row(each) for each in versions],
        subscribers={e.version: e.subscribers for e in used.get((plan_code, currency), [])},
        older=any(e.version < newest.version for e in used.get((plan_code, currency), [])),
        may_write=_may_write() and plan.retired_at is None,
        may_offer=_may_write(),
        text=written if text is None else text,
        typed=text is not None,
        found=found,
        lines=numbered(text or "", faults),
        faults=len(faults),
        refused=refused,
    )


def _version_row(version: PlanVersion) -> dict[str, Any]:
    terms = catalogue.terms_of(version, position=0)
    return {
        "version": version,
        "price": price_words.headline(terms.charges, terms.currency, language()).sentence,
    }


def numbered(text: str, faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """This function will return a text's lines with their numbers, each with its faults."""
    at: dict[int, list[dict[str, str]]] = {}
    for fault in faults:
        told = gettext(fault.text, **fault.values) if fault.values else say(fault.text)
        at.setdefault(fault.line, []).append(
            {"path": fault.path, "told": told, "column": str(fault.column)}
        )
    # A fault may stand past the last line: something is missing there.
    numbered = list(enumerate(text.split("\n"), 1)) if faults else []
    return [
        {"number": number, "text": line, "faults": at.get(number, [])} for number, line in numbered
    ]
