"""Texts as strangers type them, made safe to keep: one line, one spelling, nothing unseen."""

from __future__ import annotations

import re
import unicodedata

from email_validator import EmailNotValidError, validate_email

from app.base.config import settings
from app.base.errors import Invalid

# Names are printed in mails; a link in one would let a stranger send our mail with their link.
LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)
# Characters that turn the direction of what follows: they only serve to disguise a text.
TURNING = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# Controls, surrogates, unassigned and private characters, and those that turn the line around.
_UNSEEN = ("Cc", "Cs", "Cn", "Co", "Cf")


def one_line(text: str) -> str:
    """This function will return a text as one clean line.

    Composed Hangul, single spaces, no control character: a NUL would be refused by the database,
    a line break could begin a header of a mail, a turning mark could disguise a name.
    """
    plain = unicodedata.normalize("NFC", TURNING.sub("", text))
    return " ".join("".join(" " if _control(c) else c for c in plain).split())


def _control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def seen_line(text: str) -> str:
    """This function will return a text as one line of what can be seen, for names in lists.

    Stricter than `one_line`: joiners and characters without a meaning go too.
    """
    kept = (
        " " if character.isspace() else character
        for character in unicodedata.normalize("NFC", text)
        if character.isspace() or unicodedata.category(character) not in _UNSEEN
    )
    return " ".join("".join(kept).split())


def mail_address(text: str) -> str:
    """This function will return an e-mail address in its one spelling, without asking its server.

    Whether the mailbox exists is found out by the mail that goes there, not by a look-up here.

    Raises: Invalid.
    """
    try:
        found = validate_email(
            text,
            check_deliverability=False,
            allow_smtputf8=False,
            # Demonstrations use names that can never be anybody's: *.test, *.example.
            test_environment=settings().environment != "production",
        )
    except EmailNotValidError as error:
        raise Invalid("Enter an e-mail address like name@company.com.") from error
    return found.normalized
