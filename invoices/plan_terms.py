"""A plan's terms: what one version of it costs and allows, in one currency. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from app.base.errors import Invalid
from invoices import charges
from invoices.charges import Charge
from tenants import grants
from tenants.grants import Quota

CODE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
CURRENCY = re.compile(r"[A-Z]{3}")
POSITION_MAX = 32_767
LIMIT_MAX = 10**18
GIGABYTE = 1_000_000_000


class TermsUnsound(Invalid):
    """A plan's terms contradict themselves; nothing was published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """What one version of a plan costs and allows, in one currency."""

    plan_code: str
    position: int
    currency: str
    name_ko: str
    name_en: str
    seats_max: int
    storage_bytes_max: int
    charges: tuple[Charge, ...]
    features: Mapping[str, bool | str] = field(default_factory=dict)
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    # Features as people call them, in Korean and English; those that are left out stay codes.
    feature_names: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def limits(self) -> dict[str, int]:
        """What the plan allows, as it is written down to its tenants."""
        return {"seats": self.seats_max, "storage_bytes": self.storage_bytes_max}


def check(terms: PlanTerms) -> None:
    """This function will refuse terms that contradict themselves.

    Raises: TermsUnsound, GrantUnsound; ChargeUnsound and PricingUnsound with
    `charges.<code>.` before the field.
    """
    _check_named(terms)
    codes = [each.code for each in terms.charges]
    if len(set(codes)) != len(codes):
        raise TermsUnsound("Name each charge once.", field="charges")
    if all(each.optional or each.once for each in terms.charges):
        raise TermsUnsound(
            "A plan has at least one charge that recurs and is not optional.", field="charges"
        )
    for each in terms.charges:
        try:
            charges.check(each)
        except Invalid as error:
            error.field = f"charges.{each.code}.{error.field}"
            raise
    if sum(each.kind == "commitment" for each in terms.charges) > 1:
        raise TermsUnsound("A plan has one commitment at most.", field="charges")
    if not all(1 <= limit <= LIMIT_MAX for limit in terms.limits.values()):
        raise TermsUnsound("A plan allows at least one seat and some storage.", field="limits")
    grants.check_features(terms.features)
    _check_feature_names(terms)
    grants.check_quotas(terms.quotas)


def _check_feature_names(terms: PlanTerms) -> None:
    for code, names in terms.feature_names.items():
        if code not in terms.features:
            raise TermsUnsound(
                f"This plan has no feature called {code}.", field=f"feature_names.{code}"
            )
        if not all(len(name.strip()) > 0 and _fits_a_line(name) for name in names):
            raise TermsUnsound(
                "Name the feature in Korean and English, in one line of"
                f" {charges.NAME_LENGTH_MAX} characters each.",
                field=f"feature_names.{code}",
            )


def _fits_a_line(name: str) -> bool:
    return len(name.splitlines()) <= 1 and len(name) <= charges.NAME_LENGTH_MAX


def _check_named(terms: PlanTerms) -> None:
    if not CODE.fullmatch(terms.plan_code):
        raise TermsUnsound(
            "Use small letters, digits, hyphens and underscores, 40 at most, a letter first.",
            field="plan",
        )
    if not CURRENCY.fullmatch(terms.currency):
        raise TermsUnsound("Name the currency by its three letters, such as KRW.", field="currency")
    if not terms.name_ko.strip() or not terms.name_en.strip():
        raise TermsUnsound("Name the plan in Korean and English.", field="names")
    for name in (terms.name_ko, terms.name_en):
        if not _fits_a_line(name):
            raise TermsUnsound(
                f"Keep the name to one line of {charges.NAME_LENGTH_MAX} characters.", field="names"
            )
    if not 0 <= terms.position <= POSITION_MAX:
        raise TermsUnsound(f"The position is from 0 to {POSITION_MAX}.", field="position")
