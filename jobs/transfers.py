"""Deposits of imported statements are matched to invoices; virtual accounts are looked after."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import account_deposits, payment, statement_import
from invoices.models import BankTransfer, VirtualAccount
from jobs.steps import Step, anything_due, settle_each

CHUNK = 50


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether a deposit waits to be matched, or an account for a look."""
    return anything_due(session, BankTransfer, statement_import.due()) or anything_due(
        session, VirtualAccount, account_deposits.due(now)
    )


def work() -> int:
    """This function will settle a chunk of each and return how many it took up."""
    matched = settle_each(
        step="transfers",
        model=BankTransfer,
        due=statement_import.due(),
        perform_one=_match,
        limit=CHUNK,
        order_by=BankTransfer.booked_on,
    )
    return matched + settle_each(
        step="transfers",
        model=VirtualAccount,
        due=account_deposits.due(clock.now()),
        perform_one=_look,
        limit=CHUNK,
        order_by=VirtualAccount.look_at,
        lease=payment.call_lease(),
    )


def _match(transfer_id: UUID) -> None:
    with control_session() as session:
        statement_import.match(control_session=session, transfer_id=transfer_id, now=clock.now())


def _look(account_id: UUID) -> None:
    with control_session() as session:
        question = account_deposits.ask(control_session=session, account_id=account_id)
    found = account_deposits.look(question=question)
    with control_session() as session:
        account_deposits.learn(
            control_session=session, account_id=account_id, found=found, now=clock.now()
        )


STEP = Step("transfers", "default", due, work)
