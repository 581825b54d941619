"""Seller and buyer, frozen as JSON on the day of issue, and as the papers want them."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import phonenumbers
from sqlalchemy import Row

from app.base.config import settings
from app.base.money import Rounding
from invoices import vat
from invoices.documents.papers import BankAccount, Party, TaxTreatment
from tenants.models import Tenant

KOREA_CODE = 82
# A treatment that finance may note, beside those of the law.
FOREIGN = "foreign"
_PROFILE_FIELDS = (
    "registration_number",
    "branch_number",
    "representative",
    "address",
    "business_type",
    "business_item",
    "contact",
    "phone",
)
# "은행 계좌번호 (예금주 이름)", as the setting gives it.
_BANK_ACCOUNT = re.compile(
    r"^(?P<bank>\S+)\s+(?P<number>[\d-]+)\s*\((?:예금주\s*)?(?P<holder>.+)\)$"
)


def seller_snapshot() -> dict[str, Any]:
    """This function will return the seller as the settings name it today."""
    s = settings()
    return {
        "name": s.seller_name,
        "name_en": s.seller_name_en,
        "country": "KR",
        "registration_number": s.seller_registration_number,
        "representative": s.seller_representative,
        "address": s.seller_address,
        "business_type": s.seller_business_type,
        "business_item": s.seller_business_item,
        "email": s.seller_email,
        "phone": s.seller_phone,
        "bank_account": s.seller_bank_account,
    }


def buyer_snapshot(*, tenant: Tenant | Row[Any], email: str) -> dict[str, Any]:
    """This function will return the buyer as the tenant's billing profile names it today.

    `email` is where the papers go. The VAT treatment is part of the snapshot, with its reason, and
    so are the rate and the rounding: an old bill is checked by what applied then.
    """
    profile = tenant.billing_profile
    treatment = vat_treatment(profile)
    return {
        "name": str(profile.get("name") or tenant.name),
        "country": tenant.country,
        "language": tenant.language,
        "email": email,
        **{field: str(profile.get(field) or "") for field in _PROFILE_FIELDS},
        "vat_treatment": treatment,
        "vat": {
            "percent": vat_percent({"vat_treatment": treatment}),
            "rounding": settings().vat_rounding.value,
            "included_rounding": settings().vat_included_rounding.value,
        },
    }


def noted(profile: dict[str, Any]) -> str:
    """This function will return the treatment that finance noted of a customer; taxable if none."""
    treatment = str((profile.get("vat_treatment") or {}).get("treatment") or "")
    return treatment or TaxTreatment.TAXABLE.value


def vat_treatment(profile: dict[str, Any]) -> dict[str, str]:
    """This function will return how VAT applies to a buyer, and why.

    Everybody is taxable. Only a treatment that finance wrote down together with its reason
    counts; where the buyer lives decides nothing. One noted as `foreign` is taxed like any other:
    the note says that nobody has found a reason to zero-rate them.

    Source: ruling 사전-2024-법규부가-0084: a foreign customer is not zero-rated by itself.
    """
    noted = profile.get("vat_treatment") or {}
    treatment, reason = str(noted.get("treatment", "")), str(noted.get("reason", "")).strip()
    if treatment == FOREIGN:
        return {"treatment": TaxTreatment.TAXABLE.value, "reason": reason, "evidence": ""}
    if treatment in set(TaxTreatment) and reason:
        return {
            "treatment": treatment,
            "reason": reason,
            "evidence": str(noted.get("evidence", "")),
        }
    return {"treatment": TaxTreatment.TAXABLE.value, "reason": "", "evidence": ""}


def vat_percent(buyer: dict[str, Any]) -> int:
    """This function will return the rate that a buyer's snapshot states, or asks for today."""
    if "vat" in buyer:
        return int(buyer["vat"]["percent"])
    taxable = buyer["vat_treatment"]["treatment"] == TaxTreatment.TAXABLE.value
    return settings().vat_rate_percent if taxable else 0


def vat_rounding(buyer: dict[str, Any]) -> Rounding:
    """This function will return how a buyer's tax is rounded, as their snapshot states it."""
    return Rounding(buyer["vat"]["rounding"]) if "vat" in buyer else settings().vat_rounding


def vat_terms(buyer: dict[str, Any]) -> vat.Terms:
    """This function will return how VAT applies to a buyer's bills, as their snapshot states it."""
    stated = buyer.get("vat", {})
    return vat.Terms(
        treatment=str(buyer["vat_treatment"]["treatment"]),
        percent=vat_percent(buyer),
        rounding=vat_rounding(buyer),
        included_rounding=Rounding(
            stated.get("included_rounding") or settings().vat_included_rounding
        ),
    )


def party(snapshot: dict[str, Any], *, language: str) -> Party:
    """This function will return a snapshot as the papers print it, in a language."""
    own_name = language == "en" and snapshot.get("name_en")
    return Party(
        name=str(own_name or snapshot["name"]),
        country=str(snapshot["country"]),
        email=str(snapshot.get("email") or ""),
        **{
            **{field: str(snapshot.get(field) or "") for field in _PROFILE_FIELDS},
            "phone": _as_dialled(str(snapshot.get("phone") or ""), language),
        },
    )


@lru_cache(maxsize=4096)
def _as_dialled(phone: str, language: str) -> str:
    """A number as its readers write it: 02-1234-5678 at home, +82 2-1234-5678 to others."""
    try:
        number = phonenumbers.parse(phone, "KR")
    except phonenumbers.NumberParseException:
        return phone
    at_home = language == "ko" and number.country_code == KOREA_CODE
    form = phonenumbers.PhoneNumberFormat
    return phonenumbers.format_number(number, form.NATIONAL if at_home else form.INTERNATIONAL)


def bank_account(seller: dict[str, Any], *, reference: str) -> BankAccount:
    """This function will return where a transfer goes and what to write beside it."""
    text = str(seller["bank_account"])
    if found := _BANK_ACCOUNT.match(text):
        return BankAccount(
            bank=found["bank"],
            number=found["number"],
            holder=found["holder"],
            reference=reference,
        )
    return BankAccount(bank=text, number="", holder=str(seller["name"]), reference=reference)
