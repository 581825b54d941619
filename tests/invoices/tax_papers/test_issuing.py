"""Tax invoices on their way: issued once whatever happens, looked after, taken back in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import files
from app.base.audit import SYSTEM
from app.base.config import settings
from invoices import evidence, paper_files, tax_issuing
from invoices.documents import shelf
from invoices.documents.papers import TaxInvoicePaper
from invoices.models import Document, TaxInvoice
from invoices.tax_papers import bare, seals, signing
from invoices.tax_papers.popbill_wire import IssuerUnavailable
from invoices.tax_papers.port import Direction, Issued
from tests.factories import NOW, make_invoice, make_tenant
from tests.fakes.popbill.running import RunningPopbill, running
from tests.invoices.issuing import issue, look

DAY = timedelta(days=1)
ASKED_AGAIN = NOW + timedelta(hours=2)


@pytest.fixture
def popbill() -> Iterator[RunningPopbill]:
    with running() as found:
        yield found


def drawn_up(session: Session, **profile: Any) -> TaxInvoice:
    """A tax invoice that claims an unpaid supply, due to be issued."""
    invoice = make_invoice(
        session, tenant=make_tenant(session, state="active", converted_at=NOW, **profile)
    )
    invoice.collect_at = None
    session.flush()
    chosen = evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW + 30 * DAY)
    assert chosen is not None
    return session.scalars(select(TaxInvoice).where(TaxInvoice.invoice_id == invoice.id)).one()


class TestOffline:
    def test_signs_keeps_and_stops_at_issued(self, control_session: Session) -> None:
        row = drawn_up(control_session)
        assert (row.state, row.issue_id) == ("due", None)
        issue(control_session, row)
        assert (row.state, row.sent_at, row.accepted_at, row.look_at) == ("issued",) + (None,) * 3
        xml = files.read(prefix=paper_files.prefix_of(row.tenant_id), sha256=str(row.xml_sha256))
        root = signing.verify(document=xml, seal=seals.seal())
        assert row.issue_id in [each.text for each in root.iter()]
        assert row.xml_size_bytes == len(xml)

    def test_can_not_be_said_to_be_sent_or_accepted(self, control_session: Session) -> None:
        row = drawn_up(control_session)
        issue(control_session, row)
        for column in ("sent_at", "accepted_at"):
            claim = update(TaxInvoice).where(TaxInvoice.id == row.id).values({column: NOW})
            with pytest.raises(IntegrityError), control_session.begin_nested():
                control_session.execute(claim)


class TestPapersThatOthersDrawUp:
    @pytest.fixture(params=["offline", "popbill"])
    def issuer(self, request: pytest.FixtureRequest) -> str:
        if request.param == "popbill":
            request.getfixturevalue("popbill")
        return str(request.param)

    def refusal(self, session: Session, direction: Direction) -> tuple[TaxInvoice, str]:
        """A tax invoice of that direction, refused, and the words for it."""
        row = drawn_up(session)
        order = tax_issuing.begin(control_session=session, row_ids=[row.id], now=NOW, real_now=NOW)[
            0
        ]
        order = replace(order, sheet=replace(order.sheet, direction=direction))
        answer = tax_issuing.perform(orders=[order])[row.id]
        tax_issuing.record(control_session=session, order=order, answer=answer, now=NOW)
        assert (row.state, row.issue_id) == ("failed", None)
        return row, str(row.error)

    @pytest.mark.parametrize("direction", [Direction.REVERSE, Direction.CONSIGNED])
    def test_are_refused_naming_the_setting(
        self, control_session: Session, issuer: str, direction: Direction
    ) -> None:
        row, words = self.refusal(control_session, direction)
        assert (row.issuer, row.error_code) == (issuer, "direction_not_configured")
        assert f"TENANTRY_TAX_DIRECTIONS would have to name {direction}" in words

    @pytest.mark.parametrize("direction", [Direction.REVERSE, Direction.CONSIGNED])
    def test_are_refused_by_an_issuer_that_lacks_them(
        self,
        control_session: Session,
        issuer: str,
        direction: Direction,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        allowing = settings().model_copy(update={"tax_directions": "reverse,consigned"})
        monkeypatch.setattr(bare, "settings", lambda: allowing)
        row, words = self.refusal(control_session, direction)
        assert row.error_code == "direction_not_offered"
        assert f"issuer {issuer} does not offer it" in words


class TestPopbill:
    def test_issues_and_follows_it_to_the_tax_service(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = drawn_up(control_session)
        issue(control_session, row)
        assert row.state == "issued"
        assert len(str(row.issue_id)) == 24
        popbill.desk.send(row.management_key)
        look(control_session, row, now=ASKED_AGAIN)
        assert (row.state, row.sent_at) == ("sent", ASKED_AGAIN)
        popbill.desk.transmit(row.management_key)
        look(control_session, row, now=ASKED_AGAIN + DAY)
        assert (row.state, row.accepted_at, row.look_at) == ("accepted", ASKED_AGAIN + DAY, None)
        printed = control_session.scalars(
            select(Document).where(Document.kind == "tax_invoice_buyer_accepted")
        ).one()
        paper = shelf.from_json(printed.data)
        assert isinstance(paper, TaxInvoicePaper)
        assert (paper.approval_number, paper.transmitted_on) == (row.issue_id, NOW.date())

    @pytest.mark.parametrize("fault", ["drop_before", "drop_after", "500", "hang"])
    def test_issues_it_once_whatever_the_connection_does(
        self, control_session: Session, popbill: RunningPopbill, fault: str
    ) -> None:
        row = drawn_up(control_session)
        popbill.fault("/Taxinvoice", fault)
        with pytest.raises(tax_issuing.IssuerSilent):
            issue(control_session, row)
        assert row.state == "due"
        issue(control_session, row)
        assert row.state == "issued"
        assert list(popbill.desk.invoices) == [row.management_key]

    def test_finds_what_was_issued_by_a_worker_that_died(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = drawn_up(control_session)
        orders = tax_issuing.begin(
            control_session=control_session, row_ids=[row.id], now=NOW, real_now=NOW
        )
        first = tax_issuing.perform(orders=orders)[row.id].result  # and nothing is recorded
        issue(control_session, row)
        assert first == Issued(str(row.issue_id))
        issued = [each for each in popbill.asked if each[2] == "ISSUE"]
        assert len(issued) == 1

    def test_fails_with_the_reason_and_is_tried_again_by_a_person(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = drawn_up(control_session)
        popbill.fault("/Taxinvoice", "refuse", code=-11000099, message="인증서가 만료되었습니다.")
        issue(control_session, row)
        assert (row.state, row.error_code) == ("failed", "-11000099")
        assert "인증서" in str(row.error)
        tax_issuing.try_again(control_session=control_session, row_id=row.id, actor=SYSTEM, now=NOW)
        issue(control_session, row)
        assert (row.state, row.error) == ("issued", None)

    def test_refused_by_the_tax_service_is_sent_again(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = drawn_up(control_session)
        issue(control_session, row)
        popbill.desk.transmit(row.management_key, error="SYN003")
        look(control_session, row, now=ASKED_AGAIN)
        assert (row.state, row.error_code) == ("failed", "SYN003")
        tax_issuing.try_again(
            control_session=control_session, row_id=row.id, actor=SYSTEM, now=ASKED_AGAIN
        )
        issue(control_session, row, now=ASKED_AGAIN)
        assert row.state == "issued"
        assert popbill.asked[-1][2] == "NTS"
        popbill.desk.transmit(row.management_key)
        look(control_session, row, now=ASKED_AGAIN + DAY)
        assert row.state == "accepted"

    def test_without_a_token_nothing_is_asked(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = drawn_up(control_session)
        popbill.fault("/POPBILL_TEST/Token", "refuse", code=-99010001)
        with pytest.raises(IssuerUnavailable):
            issue(control_session, row)
        assert not popbill.desk.invoices


class TestABatch:
    def test_of_several_is_one_call(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        rows = [drawn_up(control_session) for _ in range(7)]
        issue(control_session, *rows)
        assert {row.state for row in rows} == {"issued"}
        assert len({row.issue_id for row in rows}) == 7
        assert [each[2] for each in popbill.asked if each[0] == "POST" and each[2]] == ["BULKISSUE"]

    def test_is_of_a_hundred_at_most(self, control_session: Session) -> None:
        row = drawn_up(control_session)
        (order,) = tax_issuing.begin(
            control_session=control_session, row_ids=[row.id], now=NOW, real_now=NOW
        )
        together = tax_issuing.batches([replace(order, batch_key="one")] * 250)
        assert [len(batch) for batch in together] == [100, 100, 50]

    def test_whose_answer_is_lost_is_handed_in_once(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        rows = [drawn_up(control_session) for _ in range(3)]
        popbill.desk.batch_looks = 1
        popbill.fault("/Taxinvoice/BULK", "refuse", code=-11000005)
        popbill.fault("/Taxinvoice", "drop_after")
        with pytest.raises(tax_issuing.IssuerSilent):
            issue(control_session, *rows)
        with pytest.raises(tax_issuing.IssuerSilent):  # it is being worked on
            issue(control_session, *rows)
        issue(control_session, *rows)
        assert {row.state for row in rows} == {"issued"}
        assert len(popbill.desk.invoices) == 3
        assert len(popbill.desk.batches) == 1

    def test_with_a_bad_one_issues_the_others(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        rows = [drawn_up(control_session) for _ in range(3)]
        popbill.desk.issue(
            {
                "invoicerMgtKey": rows[1].management_key,
                "writeDate": "20260310",
                "issueType": "정발행",
                "taxType": "과세",
                "purposeType": "청구",
                "invoiceeEmail1": "a@b.example",
                "invoiceeCorpNum": "1208147521",
                "supplyCostTotal": "1",
                "taxTotal": "0",
                "totalAmount": "1",
                "detailList": [{"supplyCost": "1", "tax": "0"}],
            }
        )
        issue(control_session, *rows)
        assert [row.state for row in rows] == ["issued", "failed", "issued"]
