"""Identifiers that applicants type: business and phone numbers, one form for each."""

from __future__ import annotations

import re

import phonenumbers

from app.base.errors import Invalid

_BRN_WEIGHTS = (1, 3, 7, 1, 3, 7, 1, 3, 5)
_ABROAD_LENGTH_MAX = 40
_PHONE_LENGTH_MAX = 40


class RegistrationNumberWrong(Invalid):
    """A registration number does not have its country's form or its check digit is off."""


class PhoneWrong(Invalid):
    """A phone number can't be dialled."""


def brn_is_valid(text: str) -> bool:
    """This function will tell whether a text is a Korean business number with a right check digit.

    Source: the National Tax Service's weights 1 3 7 1 3 7 1 3 5; the ninth product counts its
    tens too.
    """
    digits = _digits(text)
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    numbers = [int(digit) for digit in digits]
    total = sum(a * b for a, b in zip(numbers, _BRN_WEIGHTS, strict=False))
    total += numbers[8] * 5 // 10
    return (10 - total % 10) % 10 == numbers[9]


def normalise_brn(text: str) -> str:
    """This function will return a Korean business number as ten digits.

    Raises: RegistrationNumberWrong.
    """
    digits = _digits(text)
    if len(digits) != 10 or re.search(r"[^\d\s.\-\N{EN DASH}]", text):
        raise RegistrationNumberWrong(
            "A Korean business registration number has 10 digits, like 123-45-67890.",
            field="registration_number",
        )
    if not brn_is_valid(digits):
        raise RegistrationNumberWrong(
            "This business registration number does not add up. Please check for a mistyped digit.",
            field="registration_number",
        )
    return digits


def normalise_registration_number(text: str, country: str) -> str | None:
    """This function will return a company's number in its country's form, or nothing if none.

    Required in Korea, where tax papers need it; optional and taken as it is elsewhere.

    Raises: RegistrationNumberWrong.
    """
    typed = " ".join(text.split())
    if country == "KR":
        if not typed:
            raise RegistrationNumberWrong(
                "Enter the business registration number: tax papers need it.",
                field="registration_number",
            )
        return normalise_brn(typed)
    if not typed:
        return None
    if len(typed) > _ABROAD_LENGTH_MAX or not re.fullmatch(r"[\w .\-/]+", typed):
        raise RegistrationNumberWrong(
            "A registration number has letters, digits, spaces, dots, dashes or slashes only, "
            "40 at most.",
            field="registration_number",
        )
    return typed.upper()


def normalise_phone(text: str, country: str) -> str:
    """This function will return a phone number in E.164 (`+82212345678`).

    A number without a country code is read as one of `country`. Whether it is in service is not
    ours to know: only its length and shape are checked.

    Raises: PhoneWrong.
    """
    wrong = PhoneWrong(
        "Enter a phone number that we can dial, like 02-1234-5678 or +1 415 555 2671.",
        field="phone",
    )
    if len(text) > _PHONE_LENGTH_MAX:
        raise wrong
    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException as error:
        raise wrong from error
    if not phonenumbers.is_possible_number(number) or number.extension:
        raise wrong
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _digits(text: str) -> str:
    # str.isdigit also accepts digits of other scripts, which int() would read quietly.
    return "".join(character for character in text if character in "0123456789")
