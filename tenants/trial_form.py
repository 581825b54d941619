"""The trial form: what a stranger typed, checked field by field, all faults told at once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from typing import Any

import phonenumbers

from app.base.errors import Invalid
from tenants.identifiers import normalise_phone, normalise_registration_number
from tenants.texts import LINK, TURNING, mail_address, one_line

COUNTRIES = frozenset(phonenumbers.SUPPORTED_REGIONS)
LANGUAGES = ("ko", "en")
COMPANY_LENGTH_MAX = 100
NAME_LENGTH_MAX = 60
EMAIL_LENGTH_MAX = 254
MESSAGE_LENGTH_MAX = 2_000
SEATS_MAX = 10_000
_PLAN = re.compile(r"[a-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class TrialForm:
    """The fields as they arrived, all text but the one box; nothing is trusted yet."""

    company: str = ""
    country: str = ""
    registration_number: str = ""
    contact_name: str = ""
    email: str = ""
    phone: str = ""
    seats_expected: str = ""
    plan_code: str = ""
    message: str = ""
    language: str = "ko"
    marketing: bool = False


@dataclass(frozen=True, slots=True)
class CheckedForm:
    """The fields as they are stored: one spelling each."""

    company: str
    country: str
    registration_number: str | None
    contact_name: str
    email: str
    phone: str
    seats_expected: int
    plan_code: str
    message: str | None
    language: str

    @property
    def email_domain(self) -> str:
        """What stands behind the @, in lower case."""
        return self.email.rpartition("@")[2].lower()

    @property
    def dedupe_hash(self) -> str:
        """The same for the same content, whatever its capitals, spaces and language."""
        content = {name: value for name, value in asdict(self).items() if name != "language"}
        text = "\x1f".join(str(content[name] or "").casefold() for name in sorted(content))
        return hashlib.sha256(text.encode()).hexdigest()


class FormInvalid(Invalid):
    """Fields of the form are wrong; `errors` has one sentence for each, by field."""

    def __init__(self, errors: dict[str, str]) -> None:
        super().__init__("Some answers need another look.", field=next(iter(errors)))
        self.errors = errors


def check(form: TrialForm, *, plans: Collection[str] | None = None) -> CheckedForm:
    """This function will check every field and return them as they are stored.

    `plans` are the codes on offer; without them only the code's form is checked.

    Raises: FormInvalid with every fault, in the order of the form.
    """
    errors: dict[str, str] = {}

    def take(field: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except Invalid as error:
            errors[field] = error.message
            return None

    country = take("country", lambda: _country(form.country))
    found = {
        "company": take("company", lambda: _company(form.company)),
        "country": country,
        "registration_number": take(
            "registration_number",
            lambda: normalise_registration_number(
                one_line(form.registration_number), country or ""
            ),
        ),
        "contact_name": take("contact_name", lambda: _name(form.contact_name)),
        "email": take("email", lambda: _email(form.email)),
        "phone": take("phone", lambda: normalise_phone(one_line(form.phone), country or "KR")),
        "seats_expected": take("seats_expected", lambda: _seats(form.seats_expected)),
        "plan_code": take("plan_code", lambda: _plan(form.plan_code, plans)),
        "message": take("message", lambda: _message(form.message)),
    }
    if errors:
        raise FormInvalid({field: errors[field] for field in found if field in errors})
    language = form.language if form.language in LANGUAGES else "ko"
    return CheckedForm(**found, language=language)


def _company(text: str) -> str:
    company = one_line(text)
    if not company:
        raise Invalid("Enter the name of your company.")
    if not any(character.isalnum() for character in company):
        raise Invalid("Enter the company's name with its letters, as it is registered.")
    if LINK.search(company):
        raise Invalid("Enter the company's name without a link.")
    if len(company) > COMPANY_LENGTH_MAX:
        raise Invalid("The company's name is too long: 100 characters at most.")
    return company


def _country(text: str) -> str:
    if text not in COUNTRIES:
        raise Invalid("Choose the country where the company is registered.")
    return text


def _name(text: str) -> str:
    name = one_line(text)
    if not name:
        raise Invalid("Enter your name, so that we know whom to answer.")
    if LINK.search(name):
        raise Invalid("Enter your name without a link.")
    if len(name) > NAME_LENGTH_MAX:
        raise Invalid("The name is too long: 60 characters at most.")
    return name


def _email(text: str) -> str:
    address = one_line(text)
    if not address:
        raise Invalid("Enter your work e-mail: we send the confirmation there.")
    if len(address) > EMAIL_LENGTH_MAX:
        raise Invalid("The e-mail address is too long: 254 characters at most.")
    return mail_address(address)


def _seats(text: str) -> int:
    digits = one_line(text).replace(",", "")
    if not re.fullmatch(r"[0-9]{1,6}", digits) or not 1 <= int(digits) <= SEATS_MAX:
        raise Invalid("Enter how many people will use it: a whole number from 1 to 10,000.")
    return int(digits)


def _plan(text: str, plans: Collection[str] | None) -> str:
    if not _PLAN.fullmatch(text) or (plans is not None and text not in plans):
        raise Invalid("Choose one of the plans.")
    return text


def _message(text: str) -> str | None:
    lines = [one_line(line) for line in TURNING.sub("", text).splitlines()]
    message = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    if len(message) > MESSAGE_LENGTH_MAX:
        raise Invalid("The message is too long: 2,000 characters at most.")
    return message or None
