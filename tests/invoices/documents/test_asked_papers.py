"""Quotations, statements of items, cash receipts: whatever the names, lines and amounts are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invoices.documents import specimens
from invoices.documents.papers import Copy, Language, PaperDoesNotAddUp
from invoices.documents.rendering import render_document
from invoices.documents.shelf import content_sha256, kind_of
from tests.invoices.documents.reading import drawing, fonts, pages, printed_once, text

KO, EN = Language.KOREAN, Language.ENGLISH
LONG_ADDRESS = "서울특별시 강남구 테헤란로 " + "세상에서가장긴건물이름빌딩 " * 12 + "31층"
ASKED = (specimens.quotation, specimens.statement, specimens.cash_receipt)


def hundred(paper):
    """The paper with a hundred lines of its first line's kind, its sums with it."""
    lines = (paper.lines[0],) * 100
    supply = 290_000 * 100
    if kind_of(paper) == "tax_invoice":
        lines = lines[:99]
        supply = 290_000 * 99
    tax = supply // 10
    sums = {"supply_minor": supply, "tax_minor": tax, "total_minor": supply + tax}
    if kind_of(paper) == "tax_invoice":
        sums["credit_minor"] = supply + tax
    return replace(paper, lines=lines, **sums)


class TestEachPaper:
    @pytest.mark.parametrize("language", Language)
    @pytest.mark.parametrize("paper", specimens.all_kinds(), ids=kind_of)
    def test_is_the_same_bytes_for_the_same_data_with_its_fonts_in_it(self, paper, language):
        first = printed_once(paper, language)
        assert first == render_document(paper=paper, language=language)
        assert first.content_sha256 == content_sha256(paper)
        assert first.pdf.startswith(b"%PDF-")
        assert first.missing_characters == ()
        assert b"/FontFile" in first.pdf or b"/ObjStm" in first.pdf
        assert all("+" in name for name in fonts(first.pdf)), "a font is not embedded"

    @pytest.mark.parametrize("language", Language)
    @pytest.mark.parametrize("paper", specimens.all_kinds(), ids=kind_of)
    def test_fits_one_page(self, paper, language):
        assert len(pages(printed_once(paper, language).pdf)) == 1

    @pytest.mark.parametrize("paper", specimens.all_kinds(), ids=kind_of)
    def test_shows_hanja_the_company_sign_and_a_long_address(self, paper):
        name = "㈜大韓精密機械 똠방"
        if kind_of(paper) == "cash_receipt":
            paper = replace(paper, buyer_name=name)
        else:
            whose = "payer" if kind_of(paper) == "receipt" else "buyer"
            them = replace(getattr(paper, whose), name=name, address=LONG_ADDRESS)
            paper = replace(paper, **{whose: them})
        rendered = render_document(paper=paper, language=KO)
        printed = text(rendered.pdf).replace(" ", "")
        assert rendered.missing_characters == ()
        assert "㈜大韓精密機械똠방" in printed
        if kind_of(paper) != "cash_receipt":
            assert "31층" in printed

    @pytest.mark.parametrize(
        "make", [specimens.invoice, specimens.tax_invoice, specimens.quotation, specimens.statement]
    )
    def test_of_a_hundred_lines_loses_none(self, make):
        paper = hundred(make())
        sheets = pages(render_document(paper=paper, language=KO).pdf)
        copies = 2 if kind_of(paper) == "statement" else 1
        assert len(sheets) >= 2 * copies
        shown = sum(sheet.count("팀 요금제 기본료") for sheet in sheets)
        assert shown == len(paper.lines) * copies
        assert f"{paper.total_minor:,}" in " ".join(sheets[-2:])


class TestAQuotation:
    @pytest.mark.parametrize("language", Language)
    def test_says_until_when_it_holds_and_asks_for_nothing(self, language):
        printed = text(printed_once(specimens.quotation(), language).pdf)
        wanted = {
            KO: ("견적서", "유효기한", "2026년 12월 20일", "증빙이 아닙니다"),
            EN: ("Quotation", "Valid until", "20 Dec 2026", "not evidence for Korean VAT"),
        }
        for fact in (*wanted[language], "QUO-2026-000007", "₩660,535", "한빛정밀"):
            assert fact in printed
        assert "000-000000-00-000" not in printed

    def test_holds_from_its_own_day(self):
        paper = specimens.quotation()
        with pytest.raises(PaperDoesNotAddUp):
            replace(paper, valid_until=paper.issued_on.replace(day=1))


class TestAStatementOfItems:
    def test_has_a_red_copy_and_a_blue_one(self):
        both = printed_once(specimens.statement(), KO).pdf
        for colour in ("0.784314 0.062745 0.180392", "0.113725 0.305882 0.847059"):
            assert colour in drawing(both)
        one = render_document(
            paper=replace(specimens.statement(), copy=Copy.BUYER), language=KO
        ).pdf
        assert "(공급받는자 보관용)" in text(one)
        assert "(공급자 보관용)" not in text(one)

    @pytest.mark.parametrize("language", Language)
    def test_is_no_vat_evidence_and_says_so(self, language):
        printed = text(printed_once(specimens.statement(), language).pdf)
        assert ("증빙이 아닙니다" if language is KO else "not evidence for Korean VAT") in printed

    def test_is_refused_when_its_rows_do_not_make_its_tax(self):
        paper = specimens.statement()
        with pytest.raises(PaperDoesNotAddUp):
            replace(paper, tax_minor=paper.tax_minor + 1, total_minor=paper.total_minor + 1)


class TestACashReceipt:
    @pytest.mark.parametrize("language", Language)
    def test_says_for_what_use_it_is_and_masks_the_number(self, language):
        proof = specimens.cash_receipt()
        printed = text(render_document(paper=proof, language=language).pdf)
        assert "G26120000123" in printed
        assert "120***7521" in printed
        assert "지출증빙" in printed
        deduction = replace(proof, is_expense_proof=False)
        assert "소득공제" in text(render_document(paper=deduction, language=language).pdf)

    def test_that_cancels_is_negative(self):
        paper = specimens.cash_receipt()
        less = {
            "supply_minor": -paper.supply_minor,
            "tax_minor": -paper.tax_minor,
            "total_minor": -paper.total_minor,
        }
        with pytest.raises(PaperDoesNotAddUp):
            replace(paper, **less)
        cancelled = replace(paper, cancels_number="G26110000001", **less)
        printed = text(render_document(paper=cancelled, language=KO).pdf)
        assert "−₩660,535" in printed
        assert "G26110000001" in printed
