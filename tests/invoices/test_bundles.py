"""Bundles: a filter's papers in one ZIP, with an index, growing before finance's eyes."""

from __future__ import annotations

import csv
import io
import zipfile
from datetime import date, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base import files
from app.base.audit import AuditEvent
from app.base.config import settings
from app.base.errors import NotFound
from invoices import bundles, paper_files
from invoices.listing import InvoiceFilters
from invoices.models import Document, DocumentBundle, Invoice
from tests.factories import NOW, make_invoice, make_staff, make_tenant


def printed(session: Session, *, name: str | None = None) -> Invoice:
    """An invoice whose two papers are ready."""
    invoice = make_invoice(session, tenant=make_tenant(session, state="active", name=name))
    for document in session.scalars(
        select(Document).where(Document.subject_id == invoice.id)
    ).all():
        order = paper_files.begin(control_session=session, document_id=document.id)
        assert order is not None
        stored = files.put(
            prefix=paper_files.prefix_of(invoice.tenant_id), chunks=[b"%PDF-", document.id.bytes]
        )
        paper_files.record(
            control_session=session,
            order=order,
            printed=paper_files.Printed(stored.sha256, stored.size_bytes, "1", ()),
            now=NOW,
        )
    return invoice


def ask(session: Session, *, language: str | None = None, **filters: object) -> DocumentBundle:
    return bundles.request(
        control_session=session,
        filters=InvoiceFilters(**filters),  # type: ignore[arg-type]
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
        language=language,
    )


def make(session: Session, bundle: DocumentBundle) -> zipfile.ZipFile:
    reports: list[int] = []
    order = bundles.begin(control_session=session, bundle_id=bundle.id, now=NOW)
    assert order is not None
    stored = bundles.perform(order=order, report=reports.append)
    bundles.record(control_session=session, order=order, stored=stored, now=NOW)
    assert reports == [
        done for done in range(1, len(order.entries) + 1) if done % bundles.PAPERS_A_REPORT == 0
    ]
    with bundles.open_bundle(control_session=session, bundle_id=bundle.id).stream as stream:
        archive = zipfile.ZipFile(io.BytesIO(stream.read()))
    assert archive.testzip() is None
    return archive


def index_of(archive: zipfile.ZipFile) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(archive.read("index.csv").decode("utf-8-sig"))))


class TestABundle:
    def test_holds_the_papers_of_the_filter_and_an_index(self, control_session: Session) -> None:
        mine, other = printed(control_session), printed(control_session)
        archive = make(control_session, ask(control_session, tenant_id=mine.tenant_id))
        names = [f"{mine.number_text}-{language}.pdf" for language in ("en", "ko")]
        assert archive.namelist() == [*names, "index.csv"]
        assert str(other.number_text) not in archive.read("index.csv").decode("utf-8-sig")
        for row in index_of(archive):
            document = control_session.scalars(
                select(Document).where(Document.file_name == row["file"])
            ).one()
            assert archive.read(row["file"]) == b"%PDF-" + document.id.bytes
            assert row["sha256"] == document.sha256
            assert row["total"] == str(mine.total_minor)

    def test_in_one_language_leaves_the_other_out(self, control_session: Session) -> None:
        invoice = printed(control_session)
        archive = make(control_session, ask(control_session, language="ko"))
        assert archive.namelist() == [f"{invoice.number_text}-ko.pdf", "index.csv"]

    def test_names_a_paper_that_is_not_rendered_yet(self, control_session: Session) -> None:
        make_invoice(control_session)
        archive = make(control_session, ask(control_session))
        assert archive.namelist() == ["index.csv"]
        assert {row["sha256"] for row in index_of(archive)} == {"not rendered yet"}

    @pytest.mark.parametrize("name", ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\tx"])
    def test_hands_no_formula_to_a_spreadsheet(self, control_session: Session, name: str) -> None:
        printed(control_session, name=name)
        (row, _) = index_of(make(control_session, ask(control_session)))
        assert row["tenant"] == f"'{name}"

    def test_tells_how_far_it_is(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bundles, "PAPERS_A_REPORT", 1)
        printed(control_session)
        bundle = ask(control_session)
        make(control_session, bundle)
        bundles.report(control_session=control_session, bundle_id=bundle.id, done=1)
        control_session.refresh(bundle)
        assert (bundle.state, bundle.done_count, bundle.total_count) == ("ready", 2, 2)
        assert bundle.expires_at == NOW + bundles.LIFETIME

    def test_of_the_same_papers_is_a_file_of_its_own(self, control_session: Session) -> None:
        printed(control_session)
        first, second = ask(control_session), ask(control_session)
        make(control_session, first)
        make(control_session, second)
        assert first.sha256 != second.sha256


def moves(session: Session, bundle: DocumentBundle) -> list[tuple[str | None, ...]]:
    """What the audit says of a bundle's states, as they followed each other."""
    return [
        (each.from_state, each.to_state, each.actor_kind, each.actor_id)
        for each in session.scalars(
            select(AuditEvent)
            .where(AuditEvent.subject_id == str(bundle.id), AuditEvent.to_state.is_not(None))
            .order_by(AuditEvent.at, AuditEvent.id)
        )
    ]


class TestTheAudit:
    def test_names_who_made_it_and_who_took_it_from_the_reach_of_all(
        self, control_session: Session
    ) -> None:
        invoice = printed(control_session)
        made, waiting = ask(control_session), ask(control_session)
        make(control_session, made)
        bundles.forget(control_session=control_session, tenant_id=invoice.tenant_id, now=NOW)
        assert moves(control_session, made) == [
            ("due", "ready", "job", "bundles"),
            ("ready", "expired", "job", "destruction"),
        ]
        assert moves(control_session, waiting) == [("due", "expired", "job", "destruction")]

    def test_says_nothing_of_one_that_was_gone_before_it_was_made(
        self, control_session: Session
    ) -> None:
        invoice = printed(control_session)
        bundle = ask(control_session)
        order = bundles.begin(control_session=control_session, bundle_id=bundle.id, now=NOW)
        assert order is not None
        stored = bundles.perform(order=order, report=lambda _done: None)
        for _ in range(2):
            bundles.forget(control_session=control_session, tenant_id=invoice.tenant_id, now=NOW)
        bundles.record(control_session=control_session, order=order, stored=stored, now=NOW)
        assert moves(control_session, bundle) == [("due", "expired", "job", "destruction")]
        with pytest.raises(files.FileMissing):
            files.read(prefix=bundles.PREFIX, sha256=stored.sha256)


class TestAnAsking:
    def test_for_nothing_is_refused(self, control_session: Session) -> None:
        with pytest.raises(bundles.NothingToBundle):
            ask(control_session, issued_from=NOW.date() + timedelta(days=1))

    def test_for_too_much_is_refused(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        printed(control_session)
        printed(control_session)
        monkeypatch.setenv("TENANTRY_BULK_DOCUMENTS_MAX", "1")
        settings.cache_clear()
        try:
            with pytest.raises(bundles.TooMuchToBundle):
                ask(control_session)
        finally:
            monkeypatch.undo()
            settings.cache_clear()

    def test_keeps_every_filter_for_the_job(self, control_session: Session) -> None:
        invoice = printed(control_session)
        filters = InvoiceFilters(
            state="issued",
            period_start=date(2026, 3, 1),
            period_end=date(2026, 5, 1),
            issued_from=date(2026, 3, 10),
            issued_until=date(2026, 3, 11),
            tenant_id=invoice.tenant_id,
            currency="KRW",
            text=str(invoice.number_text),
        )
        assert bundles._from_json(bundles._to_json(filters)) == filters


class TestADownload:
    def test_of_a_bundle_in_the_making_says_so(self, control_session: Session) -> None:
        printed(control_session)
        bundle = ask(control_session)
        with pytest.raises(bundles.BundleNotReady):
            bundles.open_bundle(control_session=control_session, bundle_id=bundle.id)

    def test_of_an_expired_bundle_is_not_found(self, control_session: Session) -> None:
        printed(control_session)
        bundle = ask(control_session)
        make(control_session, bundle)
        control_session.execute(update(DocumentBundle).values(state="expired"))
        control_session.expire_all()
        with pytest.raises(NotFound):
            bundles.open_bundle(control_session=control_session, bundle_id=bundle.id)
