"""The buyer as papers name them: checked field by field, and used by the papers that come after.

Papers issued before keep their own copy; changing the profile changes none of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.errors import Invalid, NotFound
from tenants import business_status
from tenants.identifiers import normalise_phone, normalise_registration_number
from tenants.models import GONE_STATES, Tenant
from tenants.texts import mail_address, one_line

# How much room the standard tax invoice has. Source: its XML schema, KEC 1.0.
LENGTHS_MAX = {
    "name": 70,
    "registration_number": 40,
    "branch_number": 4,
    "representative": 30,
    "address": 150,
    "business_type": 40,
    "business_item": 40,
    "contact": 30,
    "email": 40,
    "phone": 20,
}
FIELDS = tuple(LENGTHS_MAX)


class ProfileInvalid(Invalid):
    """Fields of the profile are wrong; `errors` has one sentence for each, by field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("Some answers need another look.", field=next(iter(errors)))
        self.errors = errors


class NoSuchTenant(NotFound):
    """There is no such tenant."""


def profile_of(tenant: Tenant) -> dict[str, str]:
    """This function will return every field of a tenant's profile as text, empty where unknown."""
    profile = tenant.billing_profile
    return {field: str(profile.get(field) or "") for field in FIELDS} | {
        "name": str(profile.get("name") or tenant.name)
    }


def missing(tenant: Tenant) -> list[str]:
    """This function will list the fields without which tax papers are not complete."""
    profile = profile_of(tenant)
    wanted = ["name", "address", "email"]
    if tenant.country == "KR":
        wanted += ["registration_number", "representative"]
    return [field for field in FIELDS if field in wanted and not profile[field]]


def update(
    *,
    control_session: Session,
    tenant_id: UUID,
    typed: Mapping[str, str],
    actor: Actor,
    now: datetime,
) -> Tenant:
    """This function will check every field and keep them for the papers to come.

    What finance noted in the profile (the VAT treatment and its reason) stays as it is. The audit
    trail names the fields that changed, never their contents.

    Raises: ProfileInvalid with every fault; NoSuchTenant.
    """
    tenant = control_session.get(Tenant, tenant_id, with_for_update=True, populate_existing=True)
    if tenant is None or tenant.state in GONE_STATES:
        raise NoSuchTenant("There is no such tenant.")
    checked = check(typed=typed, country=tenant.country)
    before = profile_of(tenant)
    changed = [field for field in FIELDS if checked[field] != before[field]]
    if not changed:
        return tenant
    tenant.billing_profile = {**tenant.billing_profile, **checked}
    business_status.ask(
        control_session=control_session,
        number=checked["registration_number"],
        country=tenant.country,
        now=now,
    )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="tenant.billing_profile_changed",
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        details={"fields": changed},
        now=now,
    )
    return tenant


def check(*, typed: Mapping[str, str], country: str) -> dict[str, str]:
    """This function will return the fields as they are kept: one line each, one spelling.

    Raises: ProfileInvalid with every fault, in the order of the form.
    """
    lines = {field: one_line(typed.get(field, "")) for field in FIELDS}
    errors: dict[str, str] = {}
    for field, read in _readers(country).items():
        try:
            lines[field] = _fitting(field, read(lines[field]))
        except Invalid as error:
            errors[field] = error.message
    if errors:
        raise ProfileInvalid({field: errors[field] for field in FIELDS if field in errors})
    return lines


def _readers(country: str) -> dict[str, Callable[[str], str]]:
    readers: dict[str, Callable[[str], str]] = dict.fromkeys(FIELDS, lambda text: text)
    if country == "KR":
        readers["representative"] = _representative
    return readers | {
        "name": _name,
        "address": _address,
        "registration_number": lambda text: normalise_registration_number(text, country) or "",
        "branch_number": _branch,
        "email": _email,
        "phone": lambda text: normalise_phone(text, country) if text else "",
    }


def _says_something(text: str) -> bool:
    return any(character.isalnum() for character in text)


def _name(text: str) -> str:
    if not _says_something(text):
        raise Invalid("Enter the company's legal name, as it is registered.")
    return text


def _representative(text: str) -> str:
    if not _says_something(text):
        raise Invalid("Enter the representative's name: the tax invoice has a field for it.")
    return text


def _address(text: str) -> str:
    if not _says_something(text):
        raise Invalid("Enter the address of the place of business.")
    return text


def _fitting(field: str, text: str) -> str:
    if len(text) > LENGTHS_MAX[field]:
        raise Invalid("That is too long: the tax form has no room for so much.")
    return text


def _branch(text: str) -> str:
    if text and not re.fullmatch(r"[0-9]{4}", text):
        raise Invalid("A branch number has four digits.")
    return text


def _email(text: str) -> str:
    if not text:
        raise Invalid("Enter the e-mail address to which tax papers go.")
    return mail_address(text)
