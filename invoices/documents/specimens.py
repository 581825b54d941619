"""One paper of each kind, with invented companies: warms the press, feeds benches and tests."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from app.base.money import Rounding
from invoices import vat
from invoices.documents.papers import (
    BankAccount,
    CashReceiptPaper,
    InvoiceLine,
    InvoicePaper,
    Language,
    PaidInvoice,
    Paper,
    Party,
    PaymentMethod,
    QuotationPaper,
    ReceiptPaper,
    StatementLine,
    StatementPaper,
    TaxInvoiceLine,
    TaxInvoicePaper,
)

SELLER = Party(
    name="㈜도면창고",
    registration_number="1248100998",
    representative="(대표자)",
    address="서울특별시 성동구 왕십리로 115, 10층",
    business_type="정보통신업",
    business_item="소프트웨어 개발 및 공급",
    email="billing@tenantry.example",
    phone="02-0000-0000",
)
BUYER = Party(
    name="한빛정밀 주식회사",
    registration_number="1208147521",
    representative="(대표자)",
    address="경기도 안산시 단원구 산단로 325, A동 201호",
    business_type="제조업",
    business_item="금형, 정밀부품",
    contact="회계팀",
    email="accounts@hanbit.example",
)
BANK = BankAccount(
    bank="기업은행",
    number="000-000000-00-000",
    holder="㈜도면창고",
    reference="한빛정밀 000123",
)
_LINES = (
    ("팀 요금제 기본료", "2026년 12월분 선불", "1", "개월", "290000", 290_000),
    ("추가 사용자", "포함 10명 초과분", "14", "명", "19000", 266_000),
    ("추가 사용자 일할", "12월 9일부터 23일", "2", "명", "9193.5", 18_387),
    ("저장공간 초과", "포함 100 GB 초과, 11월 사용분", "237.5", "GB", "120", 28_500),
    ("도면 변환", "DXF → PDF, 11월 사용분", "1840", "건", "15", 27_600),
    ("연간 약정 할인", "", "1", "", "-30000", -30_000),
)
_SUPPLY_MINOR = sum(amount for *_, amount in _LINES)
_TAX_MINOR = _SUPPLY_MINOR // 10


def invoice(*, repeat: int = 1) -> InvoicePaper:
    """This function will return an invoice whose lines occur `repeat` times."""
    supply = _SUPPLY_MINOR * repeat
    return InvoicePaper(
        number="2026-000123",
        issued_on=date(2026, 12, 1),
        due_on=date(2026, 12, 15),
        currency="KRW",
        seller=SELLER,
        buyer=BUYER,
        period_start=date(2026, 11, 1),
        period_end=date(2026, 12, 1),
        lines=tuple(
            InvoiceLine(
                description=description,
                detail=detail,
                quantity=Decimal(quantity),
                unit=unit,
                unit_price_minor=Decimal(price),
                amount_minor=amount,
            )
            for _ in range(repeat)
            for description, detail, quantity, unit, price, amount in _LINES
        ),
        supply_minor=supply,
        tax_minor=supply // 10,
        total_minor=supply + supply // 10,
        bank=BANK,
    )


def tax_invoice() -> TaxInvoicePaper:
    """This function will return the tax invoice of the invoice above, not yet transmitted."""
    taxes = vat.taxes_on_top(
        amounts_minor=[amount for *_, amount in _LINES], rate_percent=10, rounding=Rounding.DOWN
    )
    return TaxInvoicePaper(
        number="T-2026-000123",
        written_on=date(2026, 11, 30),
        seller=SELLER,
        buyer=BUYER,
        lines=tuple(
            TaxInvoiceLine(
                supplied_on=date(2026, 11, 30),
                item=description,
                specification=unit,
                quantity=Decimal(quantity),
                unit_price_minor=Decimal(price),
                supply_minor=amount,
                tax_minor=tax,
            )
            for (description, _, quantity, unit, price, amount), tax in zip(
                _LINES, taxes.lines_minor, strict=True
            )
        ),
        supply_minor=_SUPPLY_MINOR,
        tax_minor=_TAX_MINOR,
        total_minor=_SUPPLY_MINOR + _TAX_MINOR,
        credit_minor=_SUPPLY_MINOR + _TAX_MINOR,
    )


def receipt() -> ReceiptPaper:
    """This function will return the confirmation that the invoice above was paid."""
    total = _SUPPLY_MINOR + _TAX_MINOR
    return ReceiptPaper(
        number="R-2026-000098",
        issued_on=date(2026, 12, 11),
        received_on=date(2026, 12, 10),
        currency="KRW",
        seller=SELLER,
        payer=BUYER,
        amount_minor=total,
        method=PaymentMethod.TRANSFER,
        reference="한빛정밀",
        settled=(
            PaidInvoice(
                number="2026-000123",
                issued_on=date(2026, 12, 1),
                total_minor=total,
                paid_minor=total,
            ),
        ),
    )


def quotation() -> QuotationPaper:
    """This function will return an offer of what the invoice above bills."""
    billed = invoice()
    return QuotationPaper(
        number="QUO-2026-000007",
        issued_on=date(2026, 11, 20),
        valid_until=date(2026, 12, 20),
        currency="KRW",
        seller=SELLER,
        buyer=BUYER,
        lines=billed.lines,
        supply_minor=billed.supply_minor,
        tax_minor=billed.tax_minor,
        total_minor=billed.total_minor,
    )


def statement(*, repeat: int = 1) -> StatementPaper:
    """This function will return the statement of items of the invoice above."""
    rows = tax_invoice().lines * repeat
    return StatementPaper(
        number="2026-000123",
        supplied_on=date(2026, 11, 30),
        currency="KRW",
        seller=SELLER,
        buyer=BUYER,
        lines=tuple(
            StatementLine(
                supplied_on=row.supplied_on,
                item=row.item,
                specification=row.specification,
                quantity=row.quantity,
                unit_price_minor=row.unit_price_minor,
                supply_minor=row.supply_minor,
                tax_minor=row.tax_minor,
            )
            for row in rows
        ),
        supply_minor=_SUPPLY_MINOR * repeat,
        tax_minor=_TAX_MINOR * repeat,
        total_minor=(_SUPPLY_MINOR + _TAX_MINOR) * repeat,
    )


def cash_receipt() -> CashReceiptPaper:
    """This function will return the cash receipt of the same money, as proof of an expense."""
    return CashReceiptPaper(
        number="G26120000123",
        traded_on=date(2026, 12, 10),
        is_expense_proof=True,
        identity="120***7521",
        seller=SELLER,
        buyer_name=BUYER.name,
        item="팀 요금제 기본료",
        order_number="2026-000123",
        supply_minor=_SUPPLY_MINOR,
        tax_minor=_TAX_MINOR,
        total_minor=_SUPPLY_MINOR + _TAX_MINOR,
    )


def all_kinds() -> tuple[Paper, ...]:
    """This function will return one paper of every kind."""
    return (invoice(), tax_invoice(), receipt(), quotation(), statement(), cash_receipt())


def warming() -> tuple[tuple[Paper, Language], ...]:
    """This function will return the papers whose printing makes the next ones fast."""
    return (
        (invoice(), Language.KOREAN),
        (tax_invoice(), Language.KOREAN),
        (receipt(), Language.ENGLISH),
    )
