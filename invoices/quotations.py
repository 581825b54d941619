"""Quotations (견적서): what a plan for so many people would cost, and until when that holds.

Prices, lines and sums are kept as they were offered. Whom it is for is read when it is printed: an
applicant who is erased leaves no name in an old offer. It is printed whenever somebody asks for it,
and the same data gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit, clock, ids
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Invalid, NotFound
from app.base.money import exponent, round_minor
from invoices import catalogue, numbering, parties, pricing, vat
from invoices.charges import HELD, Charge
from invoices.documents import shelf
from invoices.documents.limits import RenderLimits
from invoices.documents.papers import InvoiceLine, Language, Party, QuotationPaper, TaxTreatment
from invoices.documents.rendering import Rendered, render_document
from invoices.models import Quotation
from invoices.quantity_words import counted
from tenants.models import Application, Tenant

SERIES = "QUO"
LANGUAGES = ("ko", "en")
SEATS = "seats"
SEATS_MAX, MONTHS_MAX, DAYS_MAX = 100_000, 60, 365
_LINEAR = ("flat", "per_unit")
_BY_USE = {
    "ko": "실제 사용량에 따른 요금({names})은 포함되어 있지 않으며, 이용한 만큼 청구됩니다.",
    "en": "Charges by use ({names}) are not included; they are billed as used.",
}


class QuotationUnsound(Invalid):
    """The quotation asks for nothing, for too much, or holds for no time or too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be quoted: a plan for so many seats over so many months, held for some days."""

    plan_code: str
    currency: str
    seats: int
    months: int
    valid_days: int


@dataclass(frozen=True, slots=True)
class _Row:
    charge: Charge
    quantity: Decimal
    times: int
    amount_minor: int


def make(
    *,
    control_session: Session,
    wish: Wish,
    tenant: Tenant | None = None,
    application: Application | None = None,
    actor: Actor,
    now: datetime,
) -> Quotation:
    """This function will write a quotation for a tenant or an applicant, at today's prices.

    Raises: QuotationUnsound, PlanNotOffered.
    """
    _check(wish)
    if (tenant is None) == (application is None) or actor.id is None:
        raise ValueError("a quotation is for one customer, by a person of ours")
    version = catalogue.current(
        control_session=control_session, plan_code=wish.plan_code, currency=wish.currency
    )
    today = clock.today(now, settings().contract_timezone)
    year = numbering.year_of(now)
    charges = catalogue.terms_of(version, position=0).charges
    offered = _offer(charges, wish, _vat_terms(tenant), today)
    (number,) = numbering.take(control_session=control_session, series=SERIES, year=year, count=1)
    number_text = numbering.number_text(SERIES, year, number)
    row = Quotation(
        id=ids.uuid7(),
        number_text=number_text,
        tenant_id=tenant.id if tenant else None,
        application_id=application.id if application else None,
        plan_version_id=version.id,
        quantity=wish.seats,
        months=wish.months,
        currency=wish.currency,
        total_minor=offered["ko"].total_minor,
        issued_on=today,
        valid_until=offered["ko"].valid_until,
        data={
            language: shelf.to_json(replace(each, number=number_text))
            for language, each in offered.items()
        },
        made_by=UUID(actor.id),
        made_at=now,
    )
    control_session.add(row)
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=actor,
        action="quotation.made",
        subject_kind="quotation",
        subject_id=row.id,
        tenant_id=row.tenant_id,
        details={"number": number_text, "plan": wish.plan_code},
        now=now,
    )
    return row


def _offer(
    charges: Sequence[Charge], wish: Wish, terms: vat.Terms, today: date
) -> dict[str, QuotationPaper]:
    """The paper in each language, its number and its buyer still to come."""
    rows = [each for charge in charges if (each := _row(charge, wish)) is not None]
    supplies = vat.supplies(
        lines=[
            [vat.Part(row.amount_minor, row.charge.vat, row.charge.vat_included)] for row in rows
        ],
        terms=terms,
    )
    amounts = [supply.amount_minor for supply in supplies]
    tax = vat.taxes(lines=supplies, terms=terms).total_minor
    treatments = {treatment for each in supplies for treatment in each.by_treatment}
    one = TaxTreatment(treatments.pop()) if len(treatments) == 1 else TaxTreatment.TAXABLE
    return {
        language: QuotationPaper(
            number="",
            issued_on=today,
            valid_until=today + timedelta(days=wish.valid_days),
            currency=wish.currency,
            seller=parties.party(parties.seller_snapshot(), language=language),
            buyer=Party(name=""),
            lines=tuple(
                _line(row, amount, wish.currency, language)
                for row, amount in zip(rows, amounts, strict=True)
            ),
            supply_minor=sum(amounts),
            tax_minor=tax,
            total_minor=sum(amounts) + tax,
            tax_treatment=one,
            tax_percent=Decimal(terms.percent),
            note=_by_use(charges, rows, language),
        )
        for language in LANGUAGES
    }


def _check(wish: Wish) -> None:
    for field, value, most in (
        ("seats", wish.seats, SEATS_MAX),
        ("months", wish.months, MONTHS_MAX),
        ("valid_days", wish.valid_days, DAYS_MAX),
    ):
        if not 1 <= value <= most:
            raise QuotationUnsound(f"Enter a whole number from 1 to {most}.", field=field)


def _vat_terms(tenant: Tenant | None) -> vat.Terms:
    """An applicant is quoted as whoever has no treatment noted: taxable."""
    if tenant is not None:
        return parties.vat_terms(parties.buyer_snapshot(tenant=tenant, email=""))
    return parties.vat_terms({"vat_treatment": parties.vat_treatment({})})


def _row(charge: Charge, wish: Wish) -> _Row | None:
    """One charge over the months; None for what is optional, or billed as it is used."""
    seats = charge.meter == SEATS and charge.aggregation in HELD
    if charge.optional or (charge.meter is not None and not seats) or charge.kind == "one_off":
        return None
    quantity = Decimal(wish.seats) if seats else Decimal(1)
    priced = pricing.price(pricing=charge.pricing, quantity=quantity)
    times = 1 if charge.once else -(-wish.months // (charge.interval.months or 1))
    once_minor = round_minor(priced.amount.scaleb(exponent(wish.currency)), charge.rounding)
    if not once_minor:
        return None
    return _Row(charge, priced.billed_quantity, times, once_minor * times)


def _line(row: _Row, amount_minor: int, currency: str, language: str) -> InvoiceLine:
    charge, korean = row.charge, language == "ko"
    included = charge.pricing.included
    details = []
    if not charge.once:
        months = (charge.interval.months or 1) * row.times
        details.append(f"{months}개월" if korean else f"{months} months")
    if included and charge.meter:
        free = counted(included, (charge.unit_ko, charge.unit_en), language)
        details.append(f"기본 {free} 제외" if korean else f"{free} included")
    linear = charge.pricing.model in _LINEAR and amount_minor == row.amount_minor
    return InvoiceLine(
        description=charge.name_ko if korean else charge.name_en,
        detail=" · ".join(details),
        quantity=row.quantity * row.times,
        unit=charge.unit_ko if korean else charge.unit_en,
        unit_price_minor=charge.pricing.unit_amount.scaleb(exponent(currency)) if linear else None,
        amount_minor=amount_minor,
    )


def _by_use(charges: Sequence[Charge], rows: Sequence[_Row], language: str) -> str:
    quoted = {row.charge.code for row in rows}
    names = [
        each.name_ko if language == "ko" else each.name_en
        for each in charges
        if each.meter is not None and each.code not in quoted and not each.optional
    ]
    return _BY_USE[language].format(names=", ".join(names)) if names else ""


def of(
    *,
    control_session: Session,
    tenant_id: UUID | None = None,
    application_id: UUID | None = None,
    limit: int = 20,
) -> list[Quotation]:
    """This function will list the quotations of a tenant or an applicant, the newest first."""
    whose = (
        Quotation.tenant_id == tenant_id
        if tenant_id is not None
        else Quotation.application_id == application_id
    )
    return list(
        control_session.scalars(
            select(Quotation).where(whose).order_by(Quotation.id.desc()).limit(limit)
        )
    )


def paper(*, control_session: Session, quotation_id: UUID, language: str) -> QuotationPaper:
    """This function will return a quotation as it is printed, for whom it is for by now.

    Raises: NotFound.
    """
    row = control_session.get(Quotation, quotation_id)
    if row is None or language not in LANGUAGES:
        raise NotFound("There is no such quotation.")
    stored: dict[str, Any] = row.data[language]
    kept = shelf.from_json(stored)
    if not isinstance(kept, QuotationPaper):
        raise NotFound("There is no such quotation.")
    return replace(kept, buyer=_buyer(control_session, row, language))


def _buyer(control_session: Session, row: Quotation, language: str) -> Party:
    if row.tenant_id is not None:
        tenant = control_session.get_one(Tenant, row.tenant_id)
        return parties.party(parties.buyer_snapshot(tenant=tenant, email=""), language=language)
    asked = control_session.get_one(Application, row.application_id)
    return parties.party(
        {
            "name": asked.company,
            "country": asked.country,
            "registration_number": asked.registration_number,
            "contact": asked.contact_name,
            "phone": asked.phone,
            "email": asked.email,
        },
        language=language,
    )


def printed(*, paper: QuotationPaper, language: str) -> Rendered:
    """This function will print a quotation. Call it in no transaction. Raises: as press.render."""
    return render_document(
        paper=paper,
        language=Language(language),
        limits=RenderLimits(
            cpu_seconds=settings().document_cpu_seconds,
            wall_seconds=settings().document_timeout_seconds,
            memory_bytes=settings().document_memory_bytes,
        ),
    )


def is_over(row: Quotation, today: date) -> bool:
    """This function will tell whether a quotation does not hold any more."""
    return row.valid_until < today
