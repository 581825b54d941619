"""Bank statements coming in: each deposit once, matched by a job, the rest on finance's work list.

Importing the same file, or another that names the same deposits, changes nothing. One that was read
wrongly is discarded as a whole (`statement_discards`), and then imported anew.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import audit, ids, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from app.base.money import Money
from app.base.spreadsheet_reading import read_rows
from invoices import payment, settlement, statement_discards, statements
from invoices.dunning_rules import said
from invoices.models import (
    BANK_TRANSFER,
    BankStatement,
    BankTransfer,
    Invoice,
    Payment,
)
from invoices.payment_standing import stands
from invoices.settlement import Arrival
from invoices.statement_matching import Book, Candidate, Proposal, certain, proposals
from invoices.statements import Deposit, Layout
from tenants.models import Tenant

MATCHER = Actor.job("transfers")


class NoSuchTransfer(NotFound):
    """There is no such deposit."""


class NothingInIt(Invalid):
    """The statement names no deposit."""


class NotForAnInvoice(Conflict):
    """The invoice takes no money: it was never issued, or was taken back."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did. `repeated` deposits were known already."""

    statement_id: UUID
    new: int
    repeated: int


def import_statement(
    *,
    control_session: Session,
    file_name: str,
    content: bytes,
    layout: Layout,
    staff_id: UUID,
    now: datetime,
) -> Imported:
    """This function will write down the deposits of a statement that are not known yet.

    What a discarded import named is taken up again where this one names it too.

    Raises: StatementUnsound with the faulty cells; TableUnreadable, TableTooLong, NothingInIt;
    ReadOtherwise where the same file was read another way before. Then nothing was imported.
    """
    digest = hashlib.sha256(content).hexdigest()
    rows = read_rows(content=content, rows_max=settings().statement_rows_max)
    if not any(map(any, rows)):
        raise NothingInIt("The file is empty.", field="file")
    found = statements.deposits(rows=rows, layout=layout)
    if not found:
        raise NothingInIt("The statement names no deposit.", field="file")
    known = statement_discards.standing(control_session=control_session, file_sha256=digest)
    if known is not None:
        statement_discards.check_read_alike(control_session=control_session, found=found)
    again = statement_discards.take_up(
        control_session=control_session, found=found, staff_id=staff_id, now=now
    )
    if known is not None:
        return Imported(known, again, len(found) - again)
    statement = BankStatement(
        file_name=" ".join(file_name.replace("\x00", "").split())[-200:] or "–",
        file_sha256=digest,
        layout=layout.name,
        deposits_count=len(found),
        new_count=0,
        imported_at=now,
        imported_by=staff_id,
    )
    control_session.add(statement)
    control_session.flush()
    statement.new_count = _keep(control_session, statement.id, found) + again
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action="statement.imported",
        subject_kind="bank_statement",
        subject_id=statement.id,
        now=now,
        details={"deposits": len(found), "new": statement.new_count},
    )
    if statement.new_count:
        notify(control_session, "transfers")
    return Imported(statement.id, statement.new_count, len(found) - statement.new_count)


def _keep(control_session: Session, statement_id: UUID, found: Sequence[Deposit]) -> int:
    written = control_session.scalars(
        postgresql.insert(BankTransfer)
        .values(
            [
                {
                    "id": ids.uuid7(),
                    "state": "new",
                    "statement_id": statement_id,
                    "line_number": each.line_number,
                    "booked_on": each.booked_on,
                    "amount_minor": each.amount.amount_minor,
                    "currency": each.amount.currency,
                    "payer": each.payer,
                    "memo": each.memo,
                    "fingerprint": each.fingerprint,
                }
                for each in found
            ]
        )
        .on_conflict_do_nothing(index_elements=["fingerprint"])
        .returning(BankTransfer.id)
    )
    return len(written.all())


def due() -> ColumnElement[bool]:
    """This function will return the condition that a deposit waits to be matched."""
    return BankTransfer.state == "new"


def match(*, control_session: Session, transfer_id: UUID, now: datetime) -> bool:
    """This function will settle a deposit that is beyond doubt, or leave it to a person.

    It tells whether it settled it. One whose invoice is being charged this moment is a person's.
    """
    transfer = _locked(control_session, transfer_id)
    if transfer.state != "new":
        return False
    best = certain(proposed(control_session=control_session, transfers=[transfer])[transfer.id])
    if best is not None and not _busy(control_session, best.candidate.invoice_id):
        _settle(
            control_session,
            transfer,
            invoice_id=best.candidate.invoice_id,
            score=best.score,
            staff_id=None,
            now=now,
        )
        return True
    states.move(
        control_session=control_session,
        machine=BANK_TRANSFER,
        row=transfer,
        to="open",
        actor=MATCHER,
        now=now,
    )
    return False


def proposed(
    *, control_session: Session, transfers: Sequence[BankTransfer]
) -> dict[UUID, list[Proposal]]:
    """This function will list, for each deposit, the invoices that it may be for."""
    book = Book.of(_candidates(control_session, {each.currency for each in transfers}))
    return {
        each.id: proposals(
            amount=Money(each.amount_minor, each.currency),
            payer=each.payer,
            memo=each.memo,
            book=book,
        )
        for each in transfers
    }


def _candidates(control_session: Session, currencies: set[str]) -> list[Candidate]:
    """Every open invoice, and those settled of late, whose number a second payment may name."""
    rows = control_session.execute(
        select(Invoice, Tenant.name)
        .join(Tenant, Tenant.id == Invoice.tenant_id)
        .where(
            Invoice.currency.in_(currencies),
            Invoice.number.is_not(None),
            (Invoice.state == "issued")
            | (
                Invoice.state.in_(("paid", "credited", "written_off"))
                & (Invoice.issued_at > func.now() - func.make_interval(1))
            ),
        )
    ).all()
    payers = _known_payers(control_session, {invoice.tenant_id for invoice, _ in rows})
    return [
        Candidate(
            invoice_id=invoice.id,
            tenant_id=invoice.tenant_id,
            number=invoice.number_text or "",
            open=Money(invoice.open_minor, invoice.currency),
            due_on=invoice.due_on or invoice.supplied_on,
            names=(
                name,
                str(invoice.buyer.get("name") or ""),
                str(invoice.buyer.get("representative") or ""),
                *payers[invoice.tenant_id],
            ),
        )
        for invoice, name in rows
    ]


def _known_payers(control_session: Session, tenant_ids: set[UUID]) -> dict[UUID, list[str]]:
    """The names under which each company paid by transfer before.

    What was taken back teaches nothing: it may have been settled with the wrong company.
    """
    found: dict[UUID, list[str]] = defaultdict(list)
    rows = control_session.execute(
        select(Payment.tenant_id, Payment.payer)
        .where(Payment.tenant_id.in_(tenant_ids), Payment.kind == "transfer", stands())
        .distinct()
    )
    for tenant_id, payer in rows:
        if payer:
            found[tenant_id].append(payer)
    return found


def settle(
    *,
    control_session: Session,
    transfer_id: UUID,
    invoice_id: UUID,
    staff_id: UUID,
    now: datetime,
) -> Payment:
    """This function will settle a waiting deposit with the invoice that a person chose.

    What is missing stays open; what is too much, or came twice, is the customer's credit.

    Raises: NoSuchTransfer, NoSuchInvoice, NotForAnInvoice, OtherCurrency, ChargeUnderWay;
    IllegalMove when it is settled already.
    """
    transfer = _locked(control_session, transfer_id)
    if transfer.state not in ("new", "open"):
        raise states.IllegalMove("This deposit is settled or put aside already.")
    invoice = settlement.locked(control_session, invoice_id)
    if invoice.number is None or invoice.state == "void":
        raise NotForAnInvoice("This invoice takes no money: it is a draft, or was taken back.")
    if _busy(control_session, invoice_id):
        raise payment.ChargeUnderWay(
            "A card charge of this invoice is under way. Wait until its outcome is known."
        )
    near = proposed(control_session=control_session, transfers=[transfer])[transfer.id]
    score = next((p.score for p in near if p.candidate.invoice_id == invoice_id), 0)
    return _settle(
        control_session,
        transfer,
        invoice_id=invoice_id,
        score=score,
        staff_id=staff_id,
        now=now,
    )


def _settle(
    control_session: Session,
    transfer: BankTransfer,
    *,
    invoice_id: UUID,
    score: int,
    staff_id: UUID | None,
    now: datetime,
) -> Payment:
    actor = Actor.staff(staff_id) if staff_id else MATCHER
    received = settlement.receive(
        control_session=control_session,
        invoice_id=invoice_id,
        arrival=Arrival(
            kind="transfer",
            gateway="manual",
            # The deposit's own id: whatever goes wrong, it is never received twice.
            gateway_payment_id=f"statement-{transfer.id}",
            amount=Money(transfer.amount_minor, transfer.currency),
            received_on=transfer.booked_on,
            payer=transfer.payer or transfer.memo or None,
            recorded_by=staff_id,
        ),
        actor=actor,
        now=now,
    )
    states.move(
        control_session=control_session,
        machine=BANK_TRANSFER,
        row=transfer,
        to="settled",
        actor=actor,
        now=now,
        why=f"{score} points",
        values={
            "invoice_id": invoice_id,
            "score": score,
            "settled_by": staff_id,
            "settled_at": now,
        },
    )
    return received


def put_aside(
    *, control_session: Session, transfer_id: UUID, why: str, staff_id: UUID, now: datetime
) -> None:
    """This function will take a deposit that is for no invoice off the work list.

    Raises: NoSuchTransfer, ReasonMissing, IllegalMove.
    """
    _move(control_session, transfer_id, "ignored", by=(staff_id, now), why=said(why))


def take_up(*, control_session: Session, transfer_id: UUID, staff_id: UUID, now: datetime) -> None:
    """This function will put a deposit back on the work list.

    Raises: NoSuchTransfer, IllegalMove.
    """
    _move(control_session, transfer_id, "open", by=(staff_id, now))


def _move(
    control_session: Session,
    transfer_id: UUID,
    to: str,
    *,
    by: tuple[UUID, datetime],
    why: str | None = None,
) -> None:
    staff_id, now = by
    states.move(
        control_session=control_session,
        machine=BANK_TRANSFER,
        row=_locked(control_session, transfer_id),
        to=to,
        actor=Actor.staff(staff_id),
        now=now,
        why=why,
    )


def _locked(control_session: Session, transfer_id: UUID) -> BankTransfer:
    found = control_session.get(
        BankTransfer, transfer_id, with_for_update=True, populate_existing=True
    )
    if found is None:
        raise NoSuchTransfer("There is no such deposit.")
    return found


def _busy(control_session: Session, invoice_id: UUID) -> bool:
    return payment.under_way(control_session=control_session, invoice_id=invoice_id) is not None
