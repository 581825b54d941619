"""Papers: rendered once by the job, kept by digest, handed only to whom they belong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.base import files
from app.base.config import settings
from app.base.db import control_session as transaction
from app.base.errors import NotFound
from app.base.money import Money
from invoices import evidence, paper_files, transfers
from invoices.documents import press
from invoices.models import Document, Invoice, TaxInvoice
from jobs import documents
from tests.conftest import Scenario
from tests.factories import NOW, make_invoice, make_staff, make_tenant
from tests.invoices.issuing import issue


def invoice_with_every_paper(session: Session) -> Invoice:
    """Paid by transfer: invoice, receipt (each in two languages) and both tax invoice copies."""
    invoice = make_invoice(
        session, tenant=make_tenant(session, state="active", name="㈜한빛 <b>&정밀")
    )
    transfers.record_transfer(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(invoice.total_minor, invoice.currency),
        payer="㈜한빛",
        paid_on=NOW.date(),
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )
    evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
    issue(session, *session.scalars(select(TaxInvoice).where(TaxInvoice.state == "due")))
    return invoice


def all_papers() -> list[Document]:
    with transaction() as session:
        return list(session.scalars(select(Document).order_by(Document.kind, Document.language)))


def past_the_pause() -> None:
    with transaction() as session:
        session.execute(update(Document).values(retry_at=None))


@pytest.fixture
def invoice_id(scenario: Scenario) -> UUID:
    with transaction() as session:
        return invoice_with_every_paper(session).id


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A disk that refuses writes, for root as well: the folder is a file."""
    moved = folder.with_name("moved-away")
    if folder.exists():
        folder.rename(moved)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("in the way")
    yield
    folder.unlink()
    if moved.exists():
        moved.rename(folder)


class TestTheDocumentsStep:
    def test_renders_every_due_paper_and_no_ready_one_again(self, invoice_id: UUID) -> None:
        while documents.work():
            continue
        papers = all_papers()
        assert [(paper.kind, paper.language, paper.state) for paper in papers] == [
            ("invoice", "en", "ready"),
            ("invoice", "ko", "ready"),
            ("receipt", "en", "ready"),
            ("receipt", "ko", "ready"),
            ("tax_invoice_buyer", "ko", "ready"),
            ("tax_invoice_supplier", "ko", "ready"),
        ]
        for paper in papers:
            assert paper.sha256 is not None
            assert paper.template_version
            pdf = files.read(prefix=paper_files.prefix_of(paper.tenant_id), sha256=paper.sha256)
            assert pdf.startswith(b"%PDF-")
            assert len(pdf) == paper.size_bytes
        with transaction() as session:
            assert not documents.due(session, NOW)
            again = paper_files.begin(control_session=session, document_id=papers[0].id)
        assert again is None

    def test_keeps_the_first_bytes_when_two_rendered_at_once(self, invoice_id: UUID) -> None:
        paper = all_papers()[0]
        with transaction() as session:
            order = paper_files.begin(control_session=session, document_id=paper.id)
        assert order is not None
        printed = paper_files.perform(order=order)
        for expected in (True, False):
            with transaction() as session:
                took = paper_files.record(
                    control_session=session, order=order, printed=printed, now=NOW
                )
            assert took is expected

    def test_without_pango_holds_papers_back_and_says_what_is_missing(
        self, invoice_id: UUID, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        for name in ("libpango-1.0.so.0", "libpango-1.0.so", "libpango-1.0-0.so"):
            (tmp_path / name).write_bytes(b"no library")
        monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
        press.stop()
        assert documents.work() == 0
        monkeypatch.delenv("LD_LIBRARY_PATH")
        paper = all_papers()[0]
        assert (paper.state, paper.attempts) == ("due", 0)
        assert "apt-get install" in str(paper.last_error)
        with transaction() as session:
            assert not documents.due(session, NOW)
            with pytest.raises(paper_files.PaperNotReady) as told:
                paper_files.open_paper(
                    control_session=session, document_id=paper.id, tenant_id=None
                )
            assert str(paper.last_error) in told.value.message
        past_the_pause()
        documents.work()
        assert {paper.state for paper in all_papers()} == {"ready"}

    def test_with_a_full_disk_loses_nothing_and_never_gives_up(self, invoice_id: UUID) -> None:
        tenant_id = all_papers()[0].tenant_id
        folder = settings().files / f"tenants/{tenant_id}"
        with transaction() as session:
            session.execute(update(Document).values(attempts=settings().work_attempts_max - 1))
        with read_only(folder):
            assert documents.work() == 6
            stuck = all_papers()
        assert {paper.state for paper in stuck} == {"due"}
        assert all("StoreUnavailable" in str(paper.last_error) for paper in stuck)
        assert max(paper.attempts for paper in stuck) < settings().work_attempts_max - 1
        past_the_pause()
        documents.work()
        assert {paper.state for paper in all_papers()} == {"ready"}

    def test_gives_a_paper_that_cannot_be_laid_out_to_a_person(self, invoice_id: UUID) -> None:
        with transaction() as session:
            broken = Document(
                tenant_id=all_papers()[0].tenant_id,
                kind="invoice",
                subject_id=all_papers()[0].tenant_id,
                language="ko",
                file_name="broken.pdf",
                data={"kind": "invoice"},
                data_sha256="",
                created_at=NOW - timedelta(days=1),
            )
            session.add(broken)
        documents.work()
        with transaction() as session:
            (failing,) = paper_files.failing(control_session=session, limit=9)
            assert failing.id == broken.id
            assert "UnreadablePaper" in str(failing.last_error)
            ready = select(func.count()).where(Document.state == "ready")
            assert session.scalar(ready) == 6


class TestAPaper:
    def test_is_opened_by_its_tenant_and_by_staff_and_by_nobody_else(
        self, invoice_id: UUID
    ) -> None:
        documents.work()
        paper = all_papers()[0]
        with transaction() as session:
            for who in (paper.tenant_id, None):
                opened = paper_files.open_paper(
                    control_session=session, document_id=paper.id, tenant_id=who
                )
                with opened.stream as stream:
                    assert len(stream.read()) == opened.size_bytes
                assert opened.file_name == paper.file_name
            stranger = make_tenant(session).id
            for document_id, who in ((paper.id, stranger), (stranger, None)):
                with pytest.raises(NotFound):
                    paper_files.open_paper(
                        control_session=session, document_id=document_id, tenant_id=who
                    )

    def test_not_rendered_yet_tells_its_tenant_to_wait_and_no_more(self, invoice_id: UUID) -> None:
        paper = all_papers()[0]
        with transaction() as session:
            session.execute(update(Document).values(last_error="apt-get install something"))
        with transaction() as session, pytest.raises(paper_files.PaperNotReady) as told:
            paper_files.open_paper(
                control_session=session, document_id=paper.id, tenant_id=paper.tenant_id
            )
        assert "apt-get" not in told.value.message
