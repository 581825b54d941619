"""Honest books to plant violations in, and the command that has to name them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from click.testing import CliRunner
from psycopg import sql
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from app.cli.check import check_command
from invoices import (
    credit_notes,
    refund_queue,
    transfers,
    write_offs,
)
from invoices.models import (
    Refund,
)
from tests.conftest import Scenario, administrator
from tests.factories import (
    NOW,
    make_card,
    make_invoice,
    make_staff,
    make_tenant,
)


@dataclass
class Books:
    """Honest books: two tenants, an invoice of each; the first is paid by bank transfer."""

    scenario: Scenario
    paid: UUID
    open: UUID
    payment: UUID
    tenant: UUID
    other_tenant: UUID
    card: UUID

    def plant(self, statement: str, **values: object) -> None:
        """Do as the superuser what triggers and foreign keys refuse to everybody else."""
        with administrator(self.scenario.database) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement, values)  # type: ignore[arg-type]

    def unguard(self, table: str, constraint: str) -> None:
        """Drop what would make a second row impossible, for violations that a bug can't make."""
        with administrator(self.scenario.database) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_constraint WHERE conname = %s", (constraint,)
            ).fetchone()
            what = (
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    sql.Identifier(table), sql.Identifier(constraint)
                )
                if known
                else sql.SQL("DROP INDEX {}").format(sql.Identifier(constraint))
            )
            connection.execute(what)


def keep_books(scenario: Scenario) -> Books:
    """This function will keep the books of two tenants."""
    with control_session() as session:
        first, second = make_tenant(session, state="active"), make_tenant(session, state="active")
        paid = make_invoice(session, tenant=first)
        open_ = make_invoice(session, tenant=second)
        card = make_card(session, tenant=second)
        payment = transfers.record_transfer(
            control_session=session,
            invoice_id=paid.id,
            amount=Money(paid.total_minor, paid.currency),
            payer="대한설계",
            paid_on=NOW.date(),
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
        )
        session.flush()
        return Books(scenario, paid.id, open_.id, payment.id, first.id, second.id, card.id)


@dataclass
class TakenBack:
    """Of the paid invoice 9 000 goes back and 1 000 is kept as credit; the open one is given up."""

    note: UUID
    kept: UUID
    refund: UUID
    given_up: UUID


def take_back(books: Books) -> TakenBack:
    """This function will take money back from one tenant and give up what another owes."""
    with control_session() as session:
        finance = make_staff(session, role="finance").id
        note, kept = (
            credit_notes.issue(
                control_session=session,
                invoice_id=books.paid,
                amount=Money(amount, "KRW"),
                keep=keep,
                reason="wrong seats",
                staff_id=finance,
                now=NOW,
            ).id
            for amount, keep in ((9_000, False), (1_000, True))
        )
        refund = session.scalars(select(Refund.id)).one()
        given_up = write_offs.write_off(
            control_session=session,
            invoice_id=books.open,
            reason="insolvent",
            staff_id=finance,
            now=NOW,
        )
        return TakenBack(note, kept, refund, given_up.id)


def check(*arguments: str) -> tuple[int, dict[str, list[tuple[str, str, str]]]]:
    """Run the command; what it names, by code."""
    result = CliRunner().invoke(check_command, ["--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    named: dict[str, list[tuple[str, str, str]]] = {}
    for line in result.stdout.splitlines():
        for offence in json.loads(line)["offences"]:
            named.setdefault(offence["invariant"], []).append(
                (offence["kind"], offence["id"], offence["wrong"])
            )
    return result.exit_code, named


def sent(taken_back: TakenBack) -> None:
    """Finance sends the money back from our own bank."""
    with control_session() as session:
        refund_queue.declare_sent(
            control_session=session,
            refund_id=taken_back.refund,
            why="bank receipt",
            actor=SYSTEM,
            now=NOW,
        )


def assert_named(code: str, kind: str, row_id: object, words: str) -> None:
    exit_code, named = check()
    assert exit_code == 1
    assert any(
        (kind, str(row_id)) == offence[:2] and words in offence[2]
        for offence in named.get(code, [])
    ), named


ATTEMPT = """
    INSERT INTO payment_attempt (id, state, tenant_id, invoice_id, attempt_number, method_id,
        gateway, idempotency_key, order_id, amount_minor, currency, key_expires_at, begun_at,
        gateway_payment_id)
    SELECT %(id)s, %(state)s, tenant_id, id, %(number)s, %(method)s, 'sandbox', %(id)s::text,
        %(id)s::text, total_minor, currency, %(at)s, %(at)s, %(id)s::text
    FROM invoice WHERE id = %(invoice)s
"""
