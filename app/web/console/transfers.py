"""Bank statements in the console: imported, and what no machine can match settled by a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import func, select

from app.base import clock
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.i18n import gettext, lazy, ngettext
from app.web.refusals import words_of
from invoices import statement_discards, statement_import, statement_layouts, statements
from invoices.models import BankStatement, BankTransfer, Invoice
from invoices.statements import StatementUnsound

console_transfers = Blueprint("console_transfers", __name__, url_prefix="/console/transfers")

FINANCE = ("finance",)
SHOWN_MAX = 50
CURRENCIES = ("KRW", "USD", "EUR", "JPY")
WHY_WORDS = {
    "number": lazy("its number is named"),
    "amount": lazy("exactly this amount"),
    "name": lazy("the payer's name"),
    "alike": lazy("a name alike"),
    "more": lazy("more than is open"),
    "less": lazy("less than is open"),
    "settled": lazy("settled already"),
}
FIELD_NAMES = {
    "day": lazy("Day"),
    "amount": lazy("Amount paid in"),
    "payer": lazy("Payer"),
    "memo": lazy("Memo"),
    "balance": lazy("Balance"),
}


class NoSuchInvoice(NotFound):
    """There is no such invoice."""


@console_transfers.get("")
@staff_required()
def index() -> str:
    """This function will show what waits for a person, and what was imported of late."""
    return _page()


def _page(*, error: TenantryError | None = None, failed: str = "") -> str:
    state = request.args.get("state", "open")
    shown = state if state in ("open", "ignored", "settled") else "open"
    waiting = list(
        control().scalars(
            select(BankTransfer)
            .where(BankTransfer.state == shown)
            .order_by(BankTransfer.booked_on.desc(), BankTransfer.id)
            .limit(SHOWN_MAX)
        )
    )
    near = (
        statement_import.proposed(control_session=control(), transfers=waiting)
        if waiting and shown == "open"
        else {}
    )
    layouts = statement_layouts.listed(control_session=control())
    return render_template(
        "console/transfers/list.html",
        rows=waiting,
        near=near,
        why=WHY_WORDS,
        invoices=_invoices([row.invoice_id for row in waiting if row.invoice_id]),
        tabs=_tabs(shown),
        shown=shown,
        imports=list(
            control().scalars(
                select(BankStatement).order_by(BankStatement.imported_at.desc()).limit(10)
            )
        ),
        layouts=[
            (each.name, gettext("The usual headings") if each is statements.USUAL else each.name)
            for each in layouts
        ],
        fields=FIELD_NAMES,
        needed=statements.NEEDED,
        currencies=[(code, code) for code in CURRENCIES],
        may_act=g.staff.role in ("finance", "admin"),
        typed=request.form,
        error=error,
        failed=failed,
        told=words_of(error) if error else "",
        faults=error.faults if isinstance(error, StatementUnsound) else [],
    )


def _tabs(shown: str) -> list[dict[str, Any]]:
    counts = dict(
        control()
        .execute(select(BankTransfer.state, func.count()).group_by(BankTransfer.state))
        .all()
    )
    names = {
        "open": gettext("To be settled"),
        "settled": gettext("Settled"),
        "ignored": gettext("Set aside"),
    }
    return [
        {
            "label": name,
            "url": url_for(".index", state=state),
            "count": counts.get(state, 0),
            "active": state == shown,
        }
        for state, name in names.items()
    ]


def _invoices(ids: list[UUID]) -> Mapping[UUID, Invoice]:
    rows = control().scalars(select(Invoice).where(Invoice.id.in_(ids))) if ids else ()
    return {invoice.id: invoice for invoice in rows}


def _act(name: str, act: Callable[[], str]) -> Any:
    """This function will do one act; what it refuses is told on the page, input kept."""
    try:
        said = act()
    except (Invalid, Conflict, NoSuchInvoice) as error:
        control().rollback()
        return _page(error=error, failed=name), error.status
    control().commit()
    flash(said, "good")
    return see_other(url_for(".index"))


@console_transfers.post("/import")
@staff_required(*FINANCE)
def bring() -> Any:
    """This function will import a statement; twice changes nothing."""
    return _act("import", _import)


def _import() -> str:
    sent = request.files.get("file")
    if sent is None or not sent.filename:
        raise Invalid("Choose the statement's file, CSV or XLSX.", field="file")
    done = statement_import.import_statement(
        control_session=control(),
        file_name=sent.filename,
        content=sent.read(),
        layout=statement_layouts.named(
            control_session=control(), name=request.form.get("layout", "")
        ),
        staff_id=g.staff.id,
        now=clock.now(),
    )
    if not done.new:
        return gettext("Nothing new: every deposit of this statement is known.")
    return ngettext(
        "%(num)d new deposit. What is certain is settled within seconds.",
        "%(num)d new deposits. What is certain is settled within seconds.",
        done.new,
    )


@console_transfers.post("/imports/<uuid:statement_id>/discard")
@staff_required(*FINANCE)
def discard(statement_id: UUID) -> Any:
    """This function will put aside all that an import named that was read wrongly."""

    def act() -> str:
        aside = statement_discards.discard(
            control_session=control(),
            statement_id=statement_id,
            why=request.form.get("why", ""),
            staff_id=g.staff.id,
            now=clock.now(),
        )
        return ngettext(
            "Discarded: %(num)d deposit was set aside. The file can be imported again.",
            "Discarded: %(num)d deposits were set aside. The file can be imported again.",
            aside,
        )

    return _act(f"discard-{statement_id}", act)


@console_transfers.post("/layouts")
@staff_required(*FINANCE)
def save_layout() -> Any:
    """This function will keep how a bank writes its statements."""

    def act() -> str:
        statement_layouts.save(
            control_session=control(),
            name=request.form.get("name", ""),
            headings={name: request.form.get(name, "")[:400] for name in statements.FIELDS},
            day_format=request.form.get("day_format", "")[:40],
            currency=request.form.get("currency", ""),
            actor=g.actor,
            now=clock.now(),
        )
        return gettext("The layout is kept. Choose it as you import.")

    return _act("layout", act)


@console_transfers.post("/<uuid:transfer_id>/settle")
@staff_required(*FINANCE)
def settle(transfer_id: UUID) -> Any:
    """This function will settle a deposit with the invoice that a person chose."""

    def act() -> str:
        statement_import.settle(
            control_session=control(),
            transfer_id=transfer_id,
            invoice_id=_chosen(),
            staff_id=g.staff.id,
            now=clock.now(),
        )
        return gettext("Recorded. What is too much is kept as the customer's credit.")

    return _act(f"settle-{transfer_id}", act)


def _chosen() -> UUID:
    number = request.form.get("number", "").replace("\x00", "").strip().upper()
    found = control().scalar(select(Invoice.id).where(Invoice.number_text == number))
    if found is None:
        raise NoSuchInvoice("There is no invoice of that number.")
    return found


@console_transfers.post("/<uuid:transfer_id>/aside")
@staff_required(*FINANCE)
def put_aside(transfer_id: UUID) -> Any:
    """This function will take a deposit that is for no invoice off the list."""

    def act() -> str:
        statement_import.put_aside(
            control_session=control(),
            transfer_id=transfer_id,
            why=request.form.get("why", ""),
            staff_id=g.staff.id,
            now=clock.now(),
        )
        return gettext("Put aside. It can be taken up again.")

    return _act(f"aside-{transfer_id}", act)


@console_transfers.post("/<uuid:transfer_id>/take-up")
@staff_required(*FINANCE)
def take_up(transfer_id: UUID) -> Any:
    """This function will put a deposit back on the list."""

    def act() -> str:
        statement_import.take_up(
            control_session=control(),
            transfer_id=transfer_id,
            staff_id=g.staff.id,
            now=clock.now(),
        )
        return gettext("It is back on the list.")

    return _act("take-up", act)
