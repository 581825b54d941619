"""Amending tax invoices (수정세금계산서): the six reasons, their dates, sheets and notes.

| | Sheets | Date on it |
|---|---|---|
| 01 wrong entries | all of it negative, then corrected | the original's |
| 02 price changed | the difference | the day of the change; the original's is noted |
| 03 goods returned | the returned part, negative | the day of return; the original's is noted |
| 04 contract ended | all of it negative | the day it ended; the original's is noted |
| 05 letter of credit | all of it negative, then zero-rated | the original's |
| 06 issued twice | all of it negative | the original's |

A paper that the tax service does not have yet is taken back at the issuer instead where nothing of
the supply remains. One amendment at a time: each counts on the sums that the last one left.

Source: VAT Act 시행령 §70; 표준 AmendmentStatusCode.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.base import clock, states
from app.base.audit import SYSTEM, Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from invoices import tax_invoices, tax_sheets
from invoices.documents.papers import Amendment, Party, TaxInvoicePaper
from invoices.models import TAX_INVOICE, Invoice, TaxInvoice
from invoices.tax_papers import registry, standard
from invoices.tax_papers.port import Ability
from invoices.tax_sheets import Correction, Standing

BY_HAND = (
    Amendment.CLERICAL_ERROR,
    Amendment.RETURN,
    Amendment.LETTER_OF_CREDIT,
    Amendment.ISSUED_TWICE,
)
# A letter of credit counts when it is opened until so long after the end of the tax period.
LETTER_OF_CREDIT_DAYS = 25
REASON_LENGTH_MAX = 500


class NotAmendable(Conflict):
    """The tax invoice can't be amended now: not accepted yet, nothing left, or one is under way."""


class AmendmentWrong(Invalid):
    """The amendment does not fit the tax invoice: its amount, its day or its reason."""


def standing(*, control_session: Session, invoice_id: UUID) -> Standing:
    """This function will lock the tax papers of a supply and say what they come to.

    The one that counts is the original, or the corrected sheet that took its place.
    Raises: NotFound where it has none.
    """
    rows = control_session.scalars(
        select(TaxInvoice)
        .where(TaxInvoice.invoice_id == invoice_id, TaxInvoice.state != "cancelled")
        .order_by(TaxInvoice.created_at, TaxInvoice.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    basis = next((row for row in reversed(rows) if _counts(row)), None)
    if basis is None:
        raise NotFound("There is no tax invoice for this supply.")
    return Standing(basis, tuple(row for row in rows if row.amends_id == basis.id))


def _counts(row: TaxInvoice) -> bool:
    corrected = (Amendment.CLERICAL_ERROR.value, Amendment.LETTER_OF_CREDIT.value)
    return row.amends_id is None or (row.amendment in corrected and row.sheet_number == 2)


def hindrance(stands: Standing) -> str | None:
    """This function will say why a supply's tax papers can't be amended now; None when they can."""
    basis = stands.basis
    transmits = Ability.TRANSMIT in registry.issuer(basis.issuer).abilities
    ready = ("accepted", "amended") if transmits else ("issued", "amended")
    if any(row.state in ("due", "failed") for row in stands.since):
        return "an amendment of it is under way"
    if basis.state not in ready or basis.issue_id is None or basis.cancel_reason is not None:
        return "the tax service has to accept it first" if transmits else "it is not issued yet"
    if stands.supply_minor == 0 and stands.tax_minor == 0:
        return "nothing is left of it"
    return None


def correct(*, control_session: Session, correction: Correction, now: datetime) -> bool:
    """This function will bring a supply's tax papers down with a credit note: reason 02, or 04.

    Where nothing remains and the tax service does not have the paper yet, it is taken back at the
    issuer instead. False while it has to wait, for the paper to get that far or for the issuer to
    say that it took it back; twice is harmless.

    Raises: AmendmentWrong where more is taken back than there is.
    """
    if is_corrected(control_session=control_session, cause_id=correction.cause_id):
        return True
    stands = standing(control_session=control_session, invoice_id=correction.invoice_id)
    left = (stands.supply_minor - correction.supply_minor, stands.tax_minor - correction.tax_minor)
    if min(left) < 0:
        raise AmendmentWrong("The credit note takes back more than the tax papers say.")
    everything = left == (0, 0)
    if everything and not stands.since and _never_made(stands.basis):
        _cancel_here(control_session, stands.basis, correction, now)
        return True
    if everything and not stands.since and _can_be_taken_back(stands.basis):
        _ask_back(control_session, stands.basis, correction)
        return False
    if hindrance(stands) is not None:
        return False
    reason = Amendment.CONTRACT_ENDED if everything else Amendment.PRICE_CHANGE
    _amend(control_session, stands, reason, correction, now)
    return True


def is_corrected(*, control_session: Session, cause_id: UUID) -> bool:
    """This function will tell whether a credit note has its paper, or took the only one back."""
    settled = select(TaxInvoice.id).where(
        or_(
            TaxInvoice.cause_id == cause_id,
            and_(TaxInvoice.cancel_cause_id == cause_id, TaxInvoice.state == "cancelled"),
        )
    )
    return control_session.scalar(settled.limit(1)) is not None


def _never_made(row: TaxInvoice) -> bool:
    """Nobody was asked for it, or whoever was made none."""
    return row.issue_id is None and (row.asked_at is None or row.state == "failed")


def _can_be_taken_back(row: TaxInvoice) -> bool:
    return row.state == "issued" and Ability.CANCEL in registry.issuer(row.issuer).abilities


def _ask_back(control_session: Session, row: TaxInvoice, correction: Correction) -> None:
    row.cancel_reason, row.cancel_cause_id = correction.reason, correction.cause_id
    control_session.flush()
    notify(control_session, TAX_INVOICE.wakes["due"])


def _cancel_here(
    control_session: Session, row: TaxInvoice, correction: Correction, now: datetime
) -> None:
    states.move(
        control_session=control_session,
        machine=TAX_INVOICE,
        row=row,
        to="cancelled",
        actor=SYSTEM,
        now=now,
        why=correction.reason,
        values={
            "cancelled_at": now,
            "look_at": None,
            "cancel_reason": correction.reason,
            "cancel_cause_id": correction.cause_id,
        },
    )


def amend(
    *,
    control_session: Session,
    tax_invoice_id: UUID,
    amendment: Amendment,
    reason: str,
    actor: Actor,
    now: datetime,
    on: date | None = None,
    supply_minor: int = 0,
    tax_minor: int = 0,
    buyer: Party | None = None,
) -> list[TaxInvoice]:
    """This function will amend a tax invoice for one of the four reasons that a person finds.

    `on`: the day of return (03) or on which the letter of credit was opened (05). `supply_minor`
    and `tax_minor`: what was returned (03), positive. `buyer`: as it should have read (01).

    Raises: NotFound, NotAmendable, AmendmentWrong.
    """
    row = control_session.get(TaxInvoice, tax_invoice_id)
    if row is None:
        raise NotFound("There is no such tax invoice.")
    stands = standing(control_session=control_session, invoice_id=row.invoice_id)
    if why := hindrance(stands):
        raise NotAmendable(f"This tax invoice can't be amended: {why}.")
    if amendment not in BY_HAND:
        raise AmendmentWrong("A refund amends it by itself: make a credit note instead.")
    reason = reason.strip()[:REASON_LENGTH_MAX]
    if not reason:
        raise AmendmentWrong("Please say why: it is written to the audit trail.", field="reason")
    today = clock.today(now, settings().contract_timezone)
    written_on = stands.basis.written_on
    if amendment in (Amendment.RETURN, Amendment.LETTER_OF_CREDIT):
        if on is None or not written_on <= on <= today:
            raise AmendmentWrong("The day lies between the original's and today.", field="on")
        if amendment is Amendment.LETTER_OF_CREDIT and on > letter_of_credit_until(written_on):
            raise AmendmentWrong("The letter of credit was opened too late for this.", field="on")
    if amendment is Amendment.RETURN:
        _returnable(stands, supply_minor, tax_minor)
    if amendment is Amendment.CLERICAL_ERROR and buyer is None:
        raise AmendmentWrong("Please say what it should have read.", field="buyer")
    correction = Correction(
        cause_id=_cause(stands),
        invoice_id=row.invoice_id,
        supply_minor=supply_minor,
        tax_minor=tax_minor,
        on=on or written_on,
        reason=reason,
    )
    return _amend(control_session, stands, amendment, correction, now, buyer=buyer, actor=actor)


def _cause(stands: Standing) -> UUID:
    """Two clicks are one act: what caused an amendment by hand is the paper as it stood."""
    return stands.since[-1].id if stands.since else stands.basis.id


def _returnable(stands: Standing, supply_minor: int, tax_minor: int) -> None:
    if supply_minor <= 0 or tax_minor < 0:
        raise AmendmentWrong("Enter what was returned, without a sign.", field="supply_minor")
    if supply_minor > stands.supply_minor or tax_minor > stands.tax_minor:
        raise AmendmentWrong("More is returned than was supplied.", field="supply_minor")


def letter_of_credit_until(supplied_on: date) -> date:
    """This function will return until when a letter of credit zero-rates a supply after the fact.

    Source: VAT Act 시행령 §31: within 25 days after the end of the half-year of the supply.
    """
    ends = (
        date(supplied_on.year, 6, 30) if supplied_on.month <= 6 else date(supplied_on.year, 12, 31)
    )
    return ends + timedelta(days=LETTER_OF_CREDIT_DAYS)


def _amend(
    control_session: Session,
    stands: Standing,
    amendment: Amendment,
    correction: Correction,
    now: datetime,
    *,
    buyer: Party | None = None,
    actor: Actor = SYSTEM,
) -> list[TaxInvoice]:
    invoice = control_session.get_one(Invoice, correction.invoice_id)
    sheets = tax_sheets.papers(
        stands=stands, amendment=amendment, correction=correction, buyer=buyer
    )
    for sheet in sheets:
        if wrong := standard.faults(sheet):
            raise AmendmentWrong("This amendment is not standard: " + "; ".join(wrong) + ".")
    return [
        tax_invoices.add(
            control_session=control_session,
            write=_numbered(sheet),
            evidence_id=stands.basis.evidence_id,
            invoice=invoice,
            issuer=stands.basis.issuer,
            actor=actor,
            now=now,
            amends_id=stands.basis.id,
            amendment=amendment.value,
            cause_id=correction.cause_id,
            sheet_number=number,
            reason=correction.reason,
        )
        for number, sheet in enumerate(sheets, start=1)
    ]


def _numbered(sheet: TaxInvoicePaper) -> tax_invoices.Writer:
    return lambda key: replace(sheet, number=key)
