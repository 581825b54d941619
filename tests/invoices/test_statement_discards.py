"""An import that was read wrongly: told apart from a known one, discarded, and made anew."""

from __future__ import annotations

from collections import Counter

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import AuditEvent
from app.base.errors import NotFound
from invoices import statement_discards, statement_import
from invoices.dunning_rules import ReasonMissing
from invoices.models import BankStatement, BankTransfer
from invoices.statement_discards import NotToDiscard, ReadOtherwise
from invoices.statement_import import Imported
from invoices.statements import USUAL, USUAL_HEADINGS, Layout
from tests.factories import NOW, make_invoice, make_staff
from tests.invoices.test_statement_import import bring, match_all, paid, statement

DOLLARS = Layout("usual", currency="USD")
# Who paid stands in another column of this bank, and its own number in the usual one.
OTHER_COLUMNS = Layout("other", {**USUAL_HEADINGS, "payer": ("적요",), "memo": ("보낸분",)})


def discard(session: Session, done: Imported, why: str = "read as dollars") -> int:
    return statement_discards.discard(
        control_session=session,
        statement_id=done.statement_id,
        why=why,
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )


def states(session: Session) -> Counter[tuple[str, str]]:
    rows = session.execute(select(BankTransfer.currency, BankTransfer.state))
    return Counter((currency, state) for currency, state in rows)


class TestAFileThatWasReadAnotherWay:
    @pytest.mark.parametrize("wrong", [DOLLARS, OTHER_COLUMNS])
    def test_is_never_taken_for_known(self, control_session: Session, wrong: Layout) -> None:
        content = statement(paid(make_invoice(control_session)))
        bring(control_session, content, layout=wrong)
        with pytest.raises(ReadOtherwise) as refused:
            bring(control_session, content, layout=USUAL)
        assert refused.value.field == "file"
        assert len(control_session.scalars(select(BankTransfer)).all()) == 1

    @pytest.mark.parametrize("wrong", [DOLLARS, OTHER_COLUMNS])
    def test_is_imported_once_the_wrong_import_is_discarded(
        self, control_session: Session, wrong: Layout
    ) -> None:
        invoice = make_invoice(control_session)
        content = statement(paid(invoice))
        first = bring(control_session, content, layout=wrong)
        if wrong is DOLLARS:
            assert match_all(control_session) == [False]
        assert discard(control_session, first) == 1
        again = bring(control_session, content, layout=USUAL)
        assert (again.new, again.repeated) == (1, 0)
        assert match_all(control_session) == [True]
        control_session.refresh(invoice)
        assert invoice.state == "paid"
        assert states(control_session)[wrong.currency, "ignored"] == 1
        # As it stands now, the file is known.
        assert bring(control_session, content, layout=USUAL) == Imported(again.statement_id, 0, 1)

    def test_whose_layout_was_mended_under_its_old_name_is_told_apart_too(
        self, control_session: Session
    ) -> None:
        content = statement(paid(make_invoice(control_session)))
        bring(control_session, content, layout=Layout("our bank", currency="EUR"))
        with pytest.raises(ReadOtherwise):
            bring(control_session, content, layout=Layout("our bank"))


class TestDiscarding:
    def test_says_who_and_why(self, control_session: Session) -> None:
        done = bring(control_session, statement(paid(make_invoice(control_session))))
        discard(control_session, done, why="  the wrong\nbank ")
        event = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "bank_statement.discarded")
        ).one()
        assert (event.actor_kind, event.why, event.details) == (
            "staff",
            "the wrong bank",
            {"deposits": 1},
        )
        row = control_session.get_one(BankStatement, done.statement_id)
        assert row.discarded_at == NOW

    def test_needs_a_reason(self, control_session: Session) -> None:
        done = bring(control_session, statement(paid(make_invoice(control_session))))
        with pytest.raises(ReasonMissing):
            discard(control_session, done, why=" ")

    def test_is_refused_where_a_deposit_is_settled(self, control_session: Session) -> None:
        one, two = make_invoice(control_session), make_invoice(control_session)
        done = bring(control_session, statement(paid(one), paid(two, amount=1)))
        assert match_all(control_session) == [True, False]
        with pytest.raises(NotToDiscard):
            discard(control_session, done)
        assert states(control_session) == {("KRW", "settled"): 1, ("KRW", "open"): 1}

    def test_happens_once_and_to_what_there_is(self, control_session: Session) -> None:
        done = bring(control_session, statement(paid(make_invoice(control_session))))
        discard(control_session, done)
        with pytest.raises(NotToDiscard):
            discard(control_session, done)
        with pytest.raises(NotFound):
            discard(control_session, Imported(make_staff(control_session).id, 0, 0))

    def test_leaves_aside_what_was_put_aside_before(self, control_session: Session) -> None:
        done = bring(control_session, statement(paid(make_invoice(control_session), amount=7)))
        match_all(control_session)
        first = control_session.scalars(select(BankTransfer)).one()
        statement_import.put_aside(
            control_session=control_session,
            transfer_id=first.id,
            why="interest",
            staff_id=make_staff(control_session).id,
            now=NOW,
        )
        assert discard(control_session, done) == 0

    def test_of_a_file_that_was_right_loses_no_deposit(self, control_session: Session) -> None:
        """The same deposits are the same rows: they wait on the work list again."""
        content = statement(paid(make_invoice(control_session), amount=7))
        discard(control_session, bring(control_session, content))
        again = bring(control_session, content)
        assert (again.new, again.repeated) == (1, 0)
        assert states(control_session) == {("KRW", "open"): 1}

    def test_loses_nothing_that_another_file_names_as_well(self, control_session: Session) -> None:
        one, two = (paid(make_invoice(control_session), amount=each) for each in (7, 8))
        wrong = bring(control_session, statement(one))
        right = statement(one, two)
        assert bring(control_session, right).new == 1
        discard(control_session, wrong)
        assert bring(control_session, right).new == 1
        assert ("KRW", "ignored") not in states(control_session)
