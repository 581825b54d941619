"""What is printed: every fact on the paper, in both languages, whatever the names are."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date

import pytest

from invoices.documents import specimens
from invoices.documents.papers import (
    Amendment,
    Copy,
    Evidence,
    Language,
    PaymentMethod,
    Purpose,
    TaxTreatment,
)
from invoices.documents.rendering import render_document
from invoices.documents.shelf import kind_of
from tests import processes
from tests.invoices.documents.reading import drawing, pages, printed_once, text

KO, EN = Language.KOREAN, Language.ENGLISH
NAUGHTY_MARKS = (
    "<script>alert(1)</script>",
    "</td></tr></table><h1>gone",
    '"><img src=x onerror=alert(1)>',
    "{{ 7*7 }} {% raise %} ${7*7}",
    "'; DROP TABLE invoices; --",
    "&lt;b&gt; &amp; &#x41;",
    "=cmd|' /C calc'!A0",
    "Ω≈ç√∫˜µ≤≥÷ ﷽ 田中さん 😀👨‍👩‍👧 Z̮̞̠͙͔ͅḀ̗̞͈̻̗Ḷ͙͎̯̹̞͓G̻O̭̗̮",
    "\x00\x07\x1b[31m\ud800\ufffe\u202e1 000 000",
    "똠방각하 쀍 펲시 ㈜ ㎡ ₩",
)
# What would read as a tag, an expression or an order is all in one name: what swallows a part of it
# swallows the parts that follow.
NAUGHTY = {
    "marks": " / ".join(NAUGHTY_MARKS),
    "word": "x" * 1_000,
    "hangul": "가" * 600,
    "none": "",
}


def named(paper, name):
    """The paper with the text wherever a person may write something."""
    if kind_of(paper) == "cash_receipt":
        return replace(paper, buyer_name=name, item=name, identity=name, note=name)
    buyer = "payer" if kind_of(paper) == "receipt" else "buyer"
    party = replace(
        getattr(paper, buyer),
        name=name, representative=name, address=name, business_type=name,
        business_item=name, contact=name, email=name, phone=name,
    )  # fmt: skip
    note = {"tax_invoice": "remark"}.get(kind_of(paper), "note")
    return replace(paper, **{buyer: party, note: name})


class TestAnInvoice:
    @pytest.mark.parametrize("language", Language)
    def test_shows_parties_lines_sums_bank_and_due_date(self, language):
        printed = text(printed_once(specimens.invoice(), language).pdf)
        for fact in (
            "㈜도면창고", "124-81-00998", "한빛정밀 주식회사", "2026-000123", "추가 사용자",
            "237.5 GB", "₩266,000", "−₩30,000", "₩600,487", "₩60,048", "₩660,535", "(10%)",
            "기업은행", "000-000000-00-000", "2026-11-01 ~ 2026-11-30", "1 / 1",
        ):  # fmt: skip
            assert fact in printed
        assert ("2026년 12월 15일" if language is KO else "15 Dec 2026") in printed

    def test_says_that_it_is_no_vat_evidence_and_what_is(self):
        korean = text(printed_once(specimens.invoice(), KO).pdf)
        assert "부가가치세 증빙이 아닙니다" in korean
        assert "세금계산서" in korean
        by_card = replace(
            specimens.invoice(), evidence=Evidence.CARD_SLIP, method=PaymentMethod.CARD, bank=None
        )
        english = text(render_document(paper=by_card, language=EN).pdf)
        assert "not evidence for Korean VAT" in english
        assert "card sales slip" in english
        assert "Charged to your registered card" in english
        assert "Account no." not in english

    def test_below_zero_is_a_credit_note_that_asks_for_nothing(self):
        paper = specimens.invoice()
        credit = replace(
            paper,
            corrects_number="2026-000101",
            lines=tuple(replace(line, amount_minor=-line.amount_minor) for line in paper.lines),
            supply_minor=-paper.supply_minor,
            tax_minor=-paper.tax_minor,
            total_minor=-paper.total_minor,
        )
        printed = text(render_document(paper=credit, language=EN).pdf)
        assert "Credit note" in printed
        assert "2026-000101" in printed
        assert "−₩660,535" in printed
        assert "Please transfer" not in printed

    def test_zero_rated_says_so(self):
        paper = specimens.invoice()
        paper = replace(
            paper,
            tax_treatment=TaxTreatment.ZERO_RATED,
            tax_minor=0,
            total_minor=paper.supply_minor,
        )
        assert "영세율" in text(render_document(paper=paper, language=KO).pdf)

    def test_of_a_thousand_lines_flows_over_pages_with_head_and_numbers(self):
        sheets = pages(render_document(paper=specimens.invoice(repeat=167), language=KO).pdf)
        assert len(sheets) > 20
        for number, sheet in enumerate(sheets, 1):
            assert f"{number} / {len(sheets)}" in sheet
        assert all("단가" in sheet for sheet in sheets[:-1])
        assert sum(sheet.count("도면 변환") for sheet in sheets) == 167
        assert "₩110,309,461" in sheets[-1]


class TestATaxInvoice:
    @pytest.mark.parametrize(
        ("copy", "title", "colour"),
        [
            (Copy.SUPPLIER, "공급자 보관용", "0.784314 0.062745 0.180392"),
            (Copy.BUYER, "공급받는자 보관용", "0.113725 0.305882 0.847059"),
        ],
    )
    def test_is_the_suppliers_red_or_the_buyers_blue(self, copy, title, colour):
        paper = replace(specimens.tax_invoice(), copy=copy)
        pdf = render_document(paper=paper, language=KO).pdf
        assert f"({title})" in text(pdf)
        assert colour in drawing(pdf)

    def test_both_copies_share_a_sheet(self):
        paper = replace(specimens.tax_invoice(), copy=Copy.BOTH)
        sheets = pages(render_document(paper=paper, language=KO).pdf)
        assert len(sheets) == 1
        assert "(공급자 보관용)" in sheets[0]
        assert "(공급받는자 보관용)" in sheets[0]

    def test_of_many_rows_starts_each_copy_on_a_page_of_its_own(self):
        paper = specimens.tax_invoice()
        blank = replace(paper.lines[0], supply_minor=0, tax_minor=0)
        paper = replace(paper, copy=Copy.BOTH, lines=(*paper.lines, *[blank] * 40))
        sheets = pages(render_document(paper=paper, language=KO).pdf)
        assert len(sheets) == 4
        assert "(공급자 보관용)" in sheets[0]
        assert "(공급받는자 보관용)" in sheets[2]
        assert all("품목" in sheet for sheet in sheets)

    @pytest.mark.parametrize("language", Language)
    def test_has_every_field_of_the_form(self, language):
        printed = text(printed_once(specimens.tax_invoice(), language).pdf)
        squeezed = printed.replace(" ", "")
        for caption in (
            "승인번호", "등록번호", "종사업장번호", "상호(법인명)", "성명", "사업장주소", "업태",
            "종목", "이메일", "작성일자", "공급가액", "세액", "비고", "품목", "규격", "수량",
            "단가", "합계금액", "현금", "수표", "어음", "외상미수금",
        ):  # fmt: skip
            assert caption in squeezed
        for value in ("124-81-00998", "120-81-47521", "2026-11-30", "6 0 0 4 8 7", "6 0 0 4 8"):
            assert value in printed

    def test_is_marked_until_it_is_transmitted(self):
        paper = specimens.tax_invoice()
        assert "국세청 미전송" in text(render_document(paper=paper, language=KO).pdf)
        sent = replace(
            paper,
            approval_number="20261130-41000000-00000001",
            transmitted_on=date(2026, 12, 1),
        )
        printed = text(render_document(paper=sent, language=KO).pdf)
        assert "국세청 미전송" not in printed
        assert "20261130-41000000-00000001" in printed

    def test_charges_or_confirms(self):
        paper = specimens.tax_invoice()
        assert "이 금액을 ( 청구 ) 함" in text(render_document(paper=paper, language=KO).pdf)
        paid = replace(
            paper, purpose=Purpose.RECEIVED, cash_minor=paper.total_minor, credit_minor=0
        )
        assert "이 금액을 ( 영수 ) 함" in text(render_document(paper=paid, language=KO).pdf)

    def test_that_amends_names_the_reason_and_the_original(self):
        paper = replace(
            specimens.tax_invoice(),
            amendment=Amendment.CONTRACT_ENDED,
            original_approval_number="20261031-41000000-00000007",
        )
        printed = text(render_document(paper=paper, language=KO).pdf)
        assert "수정전자세금계산서" in printed
        assert "계약의 해제" in printed
        assert "20261031-41000000-00000007" in printed


class TestAReceipt:
    def test_of_a_transfer_confirms_the_money_in_words_and_figures(self):
        printed = text(printed_once(specimens.receipt(), KO).pdf)
        for fact in ("입금확인서", "₩660,535", "일금 육십육만오백삼십오원정", "2026-000123"):
            assert fact in printed
        assert "부가가치세 증빙이 아닙니다" in printed

    def test_of_a_card_payment_is_a_receipt(self):
        paper = replace(
            specimens.receipt(),
            method=PaymentMethod.CARD,
            method_detail="**** 4242",
            evidence=Evidence.CARD_SLIP,
        )
        printed = text(render_document(paper=paper, language=EN).pdf)
        assert "Receipt" in printed
        assert "**** 4242" in printed


class TestAnyPaper:
    @pytest.mark.parametrize("name", NAUGHTY.values(), ids=NAUGHTY)
    @pytest.mark.parametrize("paper", specimens.all_kinds(), ids=kind_of)
    def test_prints_naughty_names_as_text_and_loses_no_sum(self, paper, name):
        printed = text(render_document(paper=named(paper, name), language=KO).pdf)
        assert "660,535" in printed
        squeezed = printed.replace(" ", "")
        for mark in NAUGHTY_MARKS:
            if mark in name and mark.isascii():
                assert mark.replace(" ", "") in squeezed

    def test_drops_what_could_turn_the_figures_round(self):
        paper = named(specimens.invoice(), "\u202e000,1 회사\u2066")
        printed = text(render_document(paper=paper, language=KO).pdf)
        assert "000,1 회사" in printed

    def test_names_the_characters_that_no_font_has(self):
        paper = named(specimens.invoice(), "꧁ 주식회사")
        printed = render_document(paper=paper, language=KO)
        assert printed.missing_characters == ("꧁",)
        assert "〓 주식회사" in text(printed.pdf)

    def test_shows_won_company_and_square_metre_signs_and_rare_syllables(self):
        paper = named(specimens.invoice(), "㈜ ㎡ ₩ 쀍 똠 뷁")
        printed = render_document(paper=paper, language=KO)
        assert printed.missing_characters == ()
        assert "㈜ ㎡ ₩ 쀍 똠 뷁" in text(printed.pdf)


def test_printing_never_loads_weasyprint_into_the_caller():
    script = (
        "import sys\n"
        "from invoices.documents import specimens\n"
        "from invoices.documents.rendering import render_document\n"
        "from invoices.documents.papers import Language\n"
        "render_document(paper=specimens.receipt(), language=Language.KOREAN)\n"
        "print('weasyprint' in sys.modules)\n"
    )
    run = processes.run("-c", script, environment=os.environ, timeout=120)
    assert run.stdout == "False\n", run.stderr
