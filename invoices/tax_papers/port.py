"""The issuer port: everything the product asks of whoever issues its tax papers, in our words.

An issuer never opens a database transaction, never retries on its own and lets no vendor's object
or HTTP error out. Where a paper may have come into being the answer is a value; `Unknown` is the
honest answer to a time-out. The management key is ours and unique for the seller: a paper whose
fate is unknown is looked up by it, and never issued under another one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Protocol

from app.base.errors import Conflict
from invoices.documents.papers import Party, TaxInvoicePaper
from invoices.gateways.port import CashReceiptUse

MANAGEMENT_KEY_LENGTH_MAX = 24
BULK_MAX = 100


class IssuerLacks(Conflict):
    """The issuer does not offer this; its abilities said so."""


class Ability(StrEnum):
    """What an issuer can do beyond issuing one tax invoice."""

    TRANSMIT = "transmit"  # takes papers to the tax service, and says what became of them
    CANCEL = "cancel"  # takes one back that was not transmitted
    BULK = "bulk"
    REVERSE = "reverse"  # 역발행: drawn up by the buyer, issued by the seller
    CONSIGNED = "consigned"  # 위수탁: issued by an agent of the seller
    CASH_RECEIPTS = "cash_receipts"


class Direction(StrEnum):
    """Who draws a tax invoice up."""

    FORWARD = "forward"  # 정발행
    REVERSE = "reverse"  # 역발행
    CONSIGNED = "consigned"  # 위수탁


class Stage(StrEnum):
    """How far the issuer has got with a tax invoice."""

    ISSUED = "issued"
    SENT = "sent"
    ACCEPTED = "accepted"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A tax invoice to be issued. `serial` numbers it where the issuer makes the number itself."""

    management_key: str
    serial: int
    paper: TaxInvoicePaper
    issued_at: datetime
    direction: Direction = Direction.FORWARD
    broker: Party | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """The paper is there. `xml` is what was signed, where the issuer gives it out."""

    issue_id: str
    xml: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """The issuer said no, and made nothing. `code` is the issuer's own word."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may or may not have happened. `reason` is for people and logs."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The issuer answered, and has nothing under this key."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A tax invoice at the issuer: how far it has got, and why the tax service refused it."""

    stage: Stage
    issue_id: str
    total_minor: int
    error_code: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """What was asked has happened."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """It is on its way to the tax service, or there: from now on it is amended, not taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CashReceiptSheet:
    """A cash receipt to be issued, or (`cancels_number`) the cancelling of one, whole or in part.

    Amounts are positive either way. `identity` is personal: a phone or registration number.
    """

    key: str
    use: CashReceiptUse
    identity: str = field(repr=False)
    supply_minor: int
    tax_minor: int
    total_minor: int
    traded_at: datetime
    buyer: str
    item: str
    order_id: str
    cancels_number: str = ""
    cancels_traded_on: date | None = None
    in_part: bool = False


@dataclass(frozen=True, slots=True)
class CashReceiptStanding:
    """A cash receipt at the issuer; `number` is the tax service's 승인번호."""

    stage: Stage
    number: str
    traded_on: date
    total_minor: int
    error: str = ""


IssueResult = Issued | Refused | Unknown
LookupResult = Standing | Absent | Unknown
CancelResult = Done | TooLate | Refused | Unknown
SendResult = Done | Refused | Unknown
CashReceiptResult = CashReceiptStanding | Refused | Unknown
CashReceiptLookup = CashReceiptStanding | Absent | Unknown


class TaxIssuer(Protocol):
    """One seller's account at one issuer. Safe to share between threads."""

    @property
    def name(self) -> str:
        """The name in the settings, as stored beside each paper."""

    @property
    def abilities(self) -> frozenset[Ability]:
        """What this issuer can do; anything else raises IssuerLacks."""

    def issue(self, *, sheet: Sheet) -> IssueResult:
        """This function will issue one tax invoice; a key that is known already adds none."""

    def issue_many(self, *, sheets: Sequence[Sheet], batch_key: str) -> Mapping[str, IssueResult]:
        """This function will issue up to BULK_MAX tax invoices; answers by management key.

        `batch_key` is ours: the same batch sent twice is one.
        """

    def lookup(self, *, management_key: str) -> LookupResult:
        """This function will say what became of a tax invoice."""

    def send(self, *, management_key: str) -> SendResult:
        """This function will have a tax invoice transmitted now, or once more after a failure."""

    def cancel(self, *, management_key: str, reason: str) -> CancelResult:
        """This function will take a tax invoice back that was not transmitted yet."""

    def issue_cash_receipt(self, *, sheet: CashReceiptSheet) -> CashReceiptResult:
        """This function will issue a cash receipt, or cancel one where the sheet says so."""

    def cash_receipt(self, *, key: str) -> CashReceiptLookup:
        """This function will say what became of a cash receipt, by our key."""
