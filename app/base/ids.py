"""Identifiers: time-ordered UUIDs for rows, opaque names for databases, tokens for links."""

from __future__ import annotations

import secrets
import time
from uuid import UUID

# Crockford's alphabet: no letter that a person can mistake for a digit. Its 32 signs divide the
# values of a byte evenly, so that each is as likely as any other.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def uuid7() -> UUID:
    """This function will return a UUID version 7: milliseconds since 1970, then random bits.

    Source: RFC 9562 §5.7. The real clock orders index pages; nothing reads a date from it.
    """
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def opaque(length: int = 26) -> str:
    """This function will return a random lower-case name, safe in SQL identifiers and paths."""
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in secrets.token_bytes(length))


def token() -> str:
    """This function will return 256 random bits for a link or a cookie; store only its hash."""
    return secrets.token_urlsafe(32)


def reference(prefix: str) -> str:
    """This function will return a short reference that a person can read out: `A-7K2F-9QXM`."""
    body = opaque(8).upper()
    return f"{prefix}-{body[:4]}-{body[4:]}"
