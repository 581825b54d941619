"""What is on a paper, apart from how it looks.

A paper's data is stored as JSON when it is issued and never derived again, so everything that
is printed is in here: seller and buyer as they were, every line, every sum. The sums are given,
not computed, and refused when they do not add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum

from app.base.errors import Invalid


class PaperDoesNotAddUp(Invalid):
    """The sums on a paper disagree with its lines: it must not be issued."""


class Language(StrEnum):
    """The languages that papers are printed in."""

    KOREAN = "ko"
    ENGLISH = "en"


class TaxTreatment(StrEnum):
    """How VAT applies to a supply."""

    TAXABLE = "taxable"
    ZERO_RATED = "zero_rated"
    EXEMPT = "exempt"


class Evidence(StrEnum):
    """The one VAT evidence that a supply has; the invoice names it."""

    TAX_INVOICE = "tax_invoice"
    CARD_SLIP = "card_slip"
    CASH_RECEIPT = "cash_receipt"
    NONE = "none"


class PaymentMethod(StrEnum):
    """How a paper is, or was, paid."""

    TRANSFER = "transfer"
    CARD = "card"


class Copy(StrEnum):
    """Whose copy of a tax invoice a sheet is: the seller's is red, the buyer's blue."""

    SUPPLIER = "supplier"
    BUYER = "buyer"
    BOTH = "both"


class Purpose(StrEnum):
    """Whether a tax invoice asks for the money (청구) or confirms it (영수)."""

    CHARGED = "charged"
    RECEIVED = "received"


class Amendment(StrEnum):
    """Why a tax invoice amends an earlier one; the value is the AmendmentStatusCode."""

    CLERICAL_ERROR = "01"
    PRICE_CHANGE = "02"
    RETURN = "03"
    CONTRACT_ENDED = "04"
    LETTER_OF_CREDIT = "05"
    ISSUED_TWICE = "06"


@dataclass(frozen=True, kw_only=True)
class Party:
    """A seller, buyer or payer as on the day of issue."""

    name: str
    country: str = "KR"
    registration_number: str = ""
    branch_number: str = ""
    representative: str = ""
    address: str = ""
    business_type: str = ""
    business_item: str = ""
    contact: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True, kw_only=True)
class BankAccount:
    """Where a transfer goes, and what the payer should write beside it."""

    bank: str
    number: str
    holder: str
    reference: str = ""


@dataclass(frozen=True, kw_only=True)
class InvoiceLine:
    """One charge: `unit_price_minor` may hold a fraction of a minor unit, the amount may not."""

    description: str
    amount_minor: int
    detail: str = ""
    period_start: date | None = None
    period_end: date | None = None
    quantity: Decimal | None = None
    unit: str = ""
    unit_price_minor: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class InvoicePaper:
    """A 청구서: a request for payment, and no VAT evidence. Periods are half-open."""

    number: str
    issued_on: date
    due_on: date
    currency: str
    seller: Party
    buyer: Party
    lines: tuple[InvoiceLine, ...]
    supply_minor: int
    tax_minor: int
    total_minor: int
    period_start: date | None = None
    period_end: date | None = None
    tax_treatment: TaxTreatment = TaxTreatment.TAXABLE
    tax_percent: Decimal = Decimal(10)
    evidence: Evidence = Evidence.TAX_INVOICE
    method: PaymentMethod = PaymentMethod.TRANSFER
    bank: BankAccount | None = None
    buyer_reference: str = ""
    corrects_number: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _agree("supply", self.supply_minor, (line.amount_minor for line in self.lines))
        _agree("total", self.total_minor, (self.supply_minor, self.tax_minor))
        _untaxed(self.tax_treatment, self.tax_minor)


@dataclass(frozen=True, kw_only=True)
class TaxInvoiceLine:
    """One row of a tax invoice; the tax is split by rows so that rows and total agree."""

    supplied_on: date
    item: str
    supply_minor: int
    tax_minor: int
    specification: str = ""
    quantity: Decimal | None = None
    unit_price_minor: Decimal | None = None
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class TaxInvoicePaper:
    """A 전자세금계산서 as printed. Always in won.

    Source: VAT Act §32 (required items), 별지 제14호서식 (the form); korean standard XML for
    the limits: 1 to 99 rows, grand = supply + tax = Σ means of payment, no tax when zero-rated.
    """

    number: str
    written_on: date
    seller: Party
    buyer: Party
    lines: tuple[TaxInvoiceLine, ...]
    supply_minor: int
    tax_minor: int
    total_minor: int
    copy: Copy = Copy.SUPPLIER
    purpose: Purpose = Purpose.CHARGED
    tax_treatment: TaxTreatment = TaxTreatment.TAXABLE
    cash_minor: int = 0
    cheque_minor: int = 0
    note_minor: int = 0
    credit_minor: int = 0
    remark: str = ""
    approval_number: str = ""
    transmitted_on: date | None = None
    amendment: Amendment | None = None
    original_approval_number: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.lines) <= LINES_MAX:
            raise PaperDoesNotAddUp(f"A tax invoice has 1 to {LINES_MAX} lines.", field="lines")
        if self.tax_treatment is TaxTreatment.EXEMPT:
            raise PaperDoesNotAddUp(
                "An exempt supply takes a 계산서, not a tax invoice.", field="tax_treatment"
            )
        if self.transmitted_on and not self.approval_number:
            raise PaperDoesNotAddUp(
                "A transmitted tax invoice has an approval number.", field="approval_number"
            )
        _agree("supply", self.supply_minor, (line.supply_minor for line in self.lines))
        _agree("tax", self.tax_minor, (line.tax_minor for line in self.lines))
        _agree("total", self.total_minor, (self.supply_minor, self.tax_minor))
        means = (self.cash_minor, self.cheque_minor, self.note_minor, self.credit_minor)
        _agree("means of payment", self.total_minor, means)
        _untaxed(self.tax_treatment, self.tax_minor)


@dataclass(frozen=True, kw_only=True)
class PaidInvoice:
    """The part of a payment that settled one invoice."""

    number: str
    issued_on: date
    total_minor: int
    paid_minor: int


@dataclass(frozen=True, kw_only=True)
class ReceiptPaper:
    """An 입금확인서 (transfer) or 영수증 (card): the money came, and for what. No VAT evidence."""

    number: str
    issued_on: date
    received_on: date
    currency: str
    seller: Party
    payer: Party
    amount_minor: int
    method: PaymentMethod
    settled: tuple[PaidInvoice, ...]
    method_detail: str = ""
    reference: str = ""
    evidence: Evidence = Evidence.NONE
    note: str = ""

    def __post_init__(self) -> None:
        _agree("receipt", self.amount_minor, (part.paid_minor for part in self.settled))


@dataclass(frozen=True, kw_only=True)
class QuotationPaper:
    """A 견적서: what a supply would cost, and until when that holds. It asks for nothing."""

    number: str
    issued_on: date
    valid_until: date
    currency: str
    seller: Party
    buyer: Party
    lines: tuple[InvoiceLine, ...]
    supply_minor: int
    tax_minor: int
    total_minor: int
    tax_treatment: TaxTreatment = TaxTreatment.TAXABLE
    tax_percent: Decimal = Decimal(10)
    note: str = ""

    def __post_init__(self) -> None:
        if self.valid_until < self.issued_on:
            raise PaperDoesNotAddUp("A quotation holds from its own day on.", field="valid_until")
        _agree("supply", self.supply_minor, (line.amount_minor for line in self.lines))
        _agree("total", self.total_minor, (self.supply_minor, self.tax_minor))
        _untaxed(self.tax_treatment, self.tax_minor)


@dataclass(frozen=True, kw_only=True)
class StatementLine:
    """One row of a statement of items: what was supplied, with its own tax."""

    supplied_on: date
    item: str
    supply_minor: int
    tax_minor: int
    specification: str = ""
    quantity: Decimal | None = None
    unit_price_minor: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class StatementPaper:
    """A 거래명세서: what was supplied, item by item, one copy each. No VAT evidence."""

    number: str
    supplied_on: date
    currency: str
    seller: Party
    buyer: Party
    lines: tuple[StatementLine, ...]
    supply_minor: int
    tax_minor: int
    total_minor: int
    copy: Copy = Copy.BOTH
    evidence: Evidence = Evidence.TAX_INVOICE
    note: str = ""

    def __post_init__(self) -> None:
        _agree("supply", self.supply_minor, (line.supply_minor for line in self.lines))
        _agree("tax", self.tax_minor, (line.tax_minor for line in self.lines))
        _agree("total", self.total_minor, (self.supply_minor, self.tax_minor))


@dataclass(frozen=True, kw_only=True)
class CashReceiptPaper:
    """A 현금영수증 as the issuer confirmed it, or the cancelling of one. Always in won.

    `identity` is masked. For an expense (지출증빙) it is VAT evidence, for income tax it is not.
    """

    number: str
    traded_on: date
    is_expense_proof: bool
    identity: str
    seller: Party
    buyer_name: str
    item: str
    order_number: str
    supply_minor: int
    tax_minor: int
    total_minor: int
    cancels_number: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        _agree("total", self.total_minor, (self.supply_minor, self.tax_minor))
        if bool(self.cancels_number) != (self.total_minor < 0):
            raise PaperDoesNotAddUp(
                "Only the cancelling of a cash receipt is negative.", field="total"
            )


Paper = (
    InvoicePaper
    | TaxInvoicePaper
    | ReceiptPaper
    | QuotationPaper
    | StatementPaper
    | CashReceiptPaper
)
LINES_MAX = 99


def _agree(what: str, stated_minor: int, parts: Iterable[int]) -> None:
    found = sum(parts)
    if stated_minor != found:
        raise PaperDoesNotAddUp(
            f"The {what} on the paper is {stated_minor}, its parts make {found}.", field=what
        )


def _untaxed(treatment: TaxTreatment, tax_minor: int) -> None:
    if treatment is not TaxTreatment.TAXABLE and tax_minor != 0:
        raise PaperDoesNotAddUp("A zero-rated or exempt supply bears no tax.", field="tax")
