"""Secrets: encryption at rest, derived passwords, signed values, hashed tokens and passwords."""

from __future__ import annotations

import base64
import hashlib
import hmac
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from app.base.config import settings
from app.base.errors import Invalid, Unavailable


class SecretKeyMissing(Unavailable):
    """TENANTRY_SECRET_KEYS is empty."""


class SecretUnreadable(Unavailable):
    """A stored secret was written under a key that is no longer configured."""


class SignatureWrong(Invalid):
    """A signed value was changed or belongs to another purpose."""


@lru_cache(maxsize=1)
def _keys() -> tuple[bytes, ...]:
    configured = settings().secret_keys.get_secret_value()
    keys = tuple(key.strip().encode() for key in configured.split(",") if key.strip())
    if not keys:
        raise SecretKeyMissing(
            "TENANTRY_SECRET_KEYS is not set: give it at least one long random text, the current "
            "one first. On this machine, bin/flask does so by itself."
        )
    return keys


@lru_cache(maxsize=1)
def _fernet() -> MultiFernet:
    return MultiFernet(
        [
            Fernet(base64.urlsafe_b64encode(hmac.digest(key, b"encryption", hashlib.sha256)))
            for key in _keys()
        ]
    )


def forget() -> None:
    """This function will make the next use read the keys from the settings again."""
    for cached in (_keys, _fernet):
        cached.cache_clear()


def encrypt(text: str) -> str:
    """This function will encrypt a text under the current key, for a column of the database."""
    return _fernet().encrypt(text.encode()).decode()


def decrypt(sealed: str) -> str:
    """This function will decrypt what `encrypt` made under any configured key.

    Raises: SecretUnreadable when its key is gone.
    """
    try:
        return _fernet().decrypt(sealed.encode()).decode()
    except InvalidToken as error:
        raise SecretUnreadable(
            "A stored secret can't be read: put the key it was written with back into "
            "TENANTRY_SECRET_KEYS."
        ) from error


def derive(purpose: str) -> str:
    """This function will return a password that follows from the current key and a purpose."""
    return hmac.new(_keys()[0], f"derive:{purpose}".encode(), hashlib.sha256).hexdigest()


def sign(purpose: str, value: str) -> str:
    """This function will return `value.signature`, for links that live as long as their object."""
    return f"{value}.{_signature(_keys()[0], purpose, value)}"


def unsign(purpose: str, signed: str) -> str:
    """This function will return the value of a signed text.

    Raises: SignatureWrong when it was not signed here for this purpose.
    """
    value, _, signature = signed.rpartition(".")
    for key in _keys():
        if hmac.compare_digest(_signature(key, purpose, value).encode(), signature.encode()):
            return value
    raise SignatureWrong("This link is not complete. Please open it from the mail again.")


def _signature(key: bytes, purpose: str, value: str) -> str:
    digest = hmac.digest(key, f"sign:{purpose}:{value}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest[:24]).decode()


def hash_token(token: str) -> str:
    """This function will return the hash under which a random token is stored."""
    return hashlib.sha256(token.encode()).hexdigest()


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    # OWASP's second parameter set (19 MiB, 2 passes); tests would only burn time with it.
    if settings().environment == "test":
        return PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1)
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


def hash_password(password: str) -> str:
    """This function will return the argon2id hash of a password."""
    return _hasher().hash(password)


def password_matches(stored: str | None, password: str) -> bool:
    """This function will compare a password with its hash, spending the same time without one."""
    try:
        return _hasher().verify(stored or _decoy(), password) and stored is not None
    except (VerificationError, InvalidHashError):
        return False


@lru_cache(maxsize=1)
def _decoy() -> str:
    return _hasher().hash("no password has this hash")
