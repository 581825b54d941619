"""What a paper says: it adds up, survives JSON unchanged, and has one fingerprint."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.errors import Invalid
from invoices.documents import specimens
from invoices.documents.papers import (
    LINES_MAX,
    Amendment,
    Copy,
    PaperDoesNotAddUp,
    PaymentMethod,
    Purpose,
    TaxTreatment,
)
from invoices.documents.shelf import UnreadablePaper, content_sha256, from_json, kind_of, to_json

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)


class TestAPaperOnTheShelf:
    @pytest.mark.parametrize("paper", specimens.all_kinds(), ids=kind_of)
    def test_comes_back_from_json_as_it_went(self, paper):
        stored = json.dumps(to_json(paper))
        assert from_json(json.loads(stored)) == paper

    @given(name=TEXT, note=TEXT, reference=TEXT)
    def test_keeps_any_text(self, name, note, reference):
        paper = specimens.invoice()
        paper = replace(
            paper, buyer=replace(paper.buyer, name=name), note=note, buyer_reference=reference
        )
        assert from_json(json.loads(json.dumps(to_json(paper)))) == paper

    def test_keeps_optional_fields_dates_and_enums(self):
        paper = replace(
            specimens.tax_invoice(),
            copy=Copy.BOTH,
            approval_number="20261130-41000000-00000001",
            transmitted_on=date(2026, 12, 1),
            amendment=Amendment.PRICE_CHANGE,
            original_approval_number="20261031-41000000-00000007",
        )
        assert from_json(to_json(paper)) == paper

    def test_has_a_fingerprint_that_changes_with_any_word(self):
        paper = specimens.invoice()
        assert content_sha256(paper) == content_sha256(specimens.invoice())
        assert content_sha256(from_json(to_json(paper))) == content_sha256(paper)
        assert content_sha256(replace(paper, note="x")) != content_sha256(paper)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda stored: stored | {"kind": "poem"},
            lambda stored: stored | {"surprise": 1},
            lambda stored: stored | {"total_minor": "660535"},
            lambda stored: stored | {"total_minor": True},
            lambda stored: stored | {"issued_on": "yesterday"},
            lambda stored: stored | {"tax_treatment": "sometimes"},
            lambda stored: stored | {"lines": {}},
            lambda stored: stored | {"seller": "somebody"},
            lambda stored: {k: v for k, v in stored.items() if k != "number"},
        ],
    )
    def test_refuses_what_is_not_its_shape(self, spoil):
        with pytest.raises(UnreadablePaper):
            from_json(spoil(to_json(specimens.invoice())))


class TestAnInvoice:
    @pytest.mark.parametrize("field", ["supply_minor", "tax_minor", "total_minor"])
    def test_is_refused_when_a_sum_is_one_won_off(self, field):
        paper = specimens.invoice()
        with pytest.raises(PaperDoesNotAddUp) as refusal:
            replace(paper, **{field: getattr(paper, field) + 1})
        assert isinstance(refusal.value, Invalid)

    def test_bears_no_tax_when_zero_rated(self):
        with pytest.raises(PaperDoesNotAddUp, match="no tax"):
            replace(specimens.invoice(), tax_treatment=TaxTreatment.ZERO_RATED)

    def test_may_be_negative_as_a_correction(self):
        paper = specimens.invoice()
        lines = tuple(replace(line, amount_minor=-line.amount_minor) for line in paper.lines)
        credit = replace(
            paper,
            lines=lines,
            supply_minor=-paper.supply_minor,
            tax_minor=-paper.tax_minor,
            total_minor=-paper.total_minor,
        )
        assert credit.total_minor == -660_535


class TestATaxInvoice:
    def test_rows_add_up_to_its_totals(self):
        paper = specimens.tax_invoice()
        assert sum(line.supply_minor for line in paper.lines) == paper.supply_minor
        assert sum(line.tax_minor for line in paper.lines) == paper.tax_minor
        assert paper.supply_minor + paper.tax_minor == paper.total_minor

    def test_is_refused_when_the_rows_taxes_do_not_make_the_tax(self):
        paper = specimens.tax_invoice()
        first = replace(paper.lines[0], tax_minor=paper.lines[0].tax_minor + 1)
        with pytest.raises(PaperDoesNotAddUp):
            replace(paper, lines=(first, *paper.lines[1:]))

    def test_is_refused_when_the_means_of_payment_do_not_make_the_total(self):
        with pytest.raises(PaperDoesNotAddUp, match="means of payment"):
            replace(specimens.tax_invoice(), cash_minor=1)

    def test_has_one_to_ninety_nine_rows(self):
        paper = specimens.tax_invoice()
        row = replace(paper.lines[0], supply_minor=0, tax_minor=0)
        full = replace(paper, lines=(*paper.lines, *[row] * (LINES_MAX - len(paper.lines))))
        assert len(full.lines) == LINES_MAX
        with pytest.raises(PaperDoesNotAddUp, match="99"):
            replace(full, lines=(*full.lines, row))
        with pytest.raises(PaperDoesNotAddUp):
            replace(paper, lines=())

    def test_of_an_exempt_supply_is_refused_for_that_takes_another_form(self):
        with pytest.raises(PaperDoesNotAddUp, match="계산서"):
            replace(specimens.tax_invoice(), tax_treatment=TaxTreatment.EXEMPT)

    def test_cannot_be_transmitted_without_an_approval_number(self):
        with pytest.raises(PaperDoesNotAddUp, match="approval"):
            replace(specimens.tax_invoice(), transmitted_on=date(2026, 12, 1))

    def test_may_confirm_money_received(self):
        paper = specimens.tax_invoice()
        paid = replace(
            paper, purpose=Purpose.RECEIVED, cash_minor=paper.total_minor, credit_minor=0
        )
        assert paid.purpose is Purpose.RECEIVED


class TestAReceipt:
    def test_settles_exactly_what_came(self):
        with pytest.raises(PaperDoesNotAddUp):
            replace(specimens.receipt(), amount_minor=1)

    def test_keeps_a_card_payment(self):
        paper = replace(specimens.receipt(), method=PaymentMethod.CARD)
        assert from_json(to_json(paper)).method is PaymentMethod.CARD


def test_a_decimal_survives_with_its_digits():
    line = replace(specimens.invoice().lines[2], quantity=Decimal("2.50"))
    paper = specimens.invoice()
    paper = replace(paper, lines=(*paper.lines[:2], line, *paper.lines[3:]))
    assert str(from_json(to_json(paper)).lines[2].quantity) == "2.50"
