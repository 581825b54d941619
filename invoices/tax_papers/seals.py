"""The seller's seal: the private key and the certificate that tax invoices are signed with."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from app.base.config import settings
from app.base.errors import Unavailable

_KEY_BITS = 2048
_SELF_SIGNED_FROM = datetime(2020, 1, 1, tzinfo=UTC)  # demonstrations play in any year
_SELF_SIGNED_FOR = timedelta(days=40 * 365)


class CertificateMissing(Unavailable):
    """No certificate to sign tax invoices with is configured, or it can't be opened."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A private key with its certificate, both as PEM, ready to sign and to check with."""

    key_pem: bytes = field(repr=False)
    certificate_pem: bytes

    @property
    def until(self) -> datetime:
        """When the certificate expires."""
        return x509.load_pem_x509_certificate(self.certificate_pem).not_valid_after_utc


def seal() -> Seal:
    """This function will return the seller's configured seal; outside of production a made one.

    Raises: CertificateMissing.
    """
    s = settings()
    if s.tax_certificate_file is not None:
        return _opened(s.tax_certificate_file, s.tax_certificate_password.get_secret_value())
    if s.environment == "production":
        raise CertificateMissing(
            "Set TENANTRY_TAX_CERTIFICATE_FILE to the seller's certificate and key "
            "(PEM or PKCS#12): tax invoices are signed with it."
        )
    return _self_signed(s.var_dir / "tax-seal.pem")


@lru_cache(maxsize=2)
def _opened(path: Path, password: str) -> Seal:
    """One file with both parts: PKCS#12, or PEM with the key and the certificate."""
    secret = password.encode() or None
    try:
        content = path.read_bytes()
        if content.lstrip().startswith(b"-----BEGIN"):
            key = serialization.load_pem_private_key(content, secret)
            certificate = x509.load_pem_x509_certificate(content)
        else:
            key_found, found, _ = pkcs12.load_key_and_certificates(content, secret)
            if key_found is None or found is None:
                raise ValueError("no key or no certificate in it")
            key, certificate = key_found, found
    except (OSError, ValueError, TypeError) as error:
        raise CertificateMissing(
            f"The certificate for tax invoices can't be opened: {type(error).__name__}."
        ) from error
    return _seal(key, certificate)


@lru_cache(maxsize=2)
def _self_signed(path: Path) -> Seal:
    """A seal that nobody vouches for, made once a machine: for demonstrations and tests."""
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        made = _seal(key, _certificate(key))
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}-{os.getpid()}")
        part.touch(mode=0o600)
        part.write_bytes(made.key_pem + made.certificate_pem)
        with contextlib.suppress(FileExistsError):
            os.link(part, path)  # whoever was first stays: two processes share one seal
        part.unlink()
    return _opened(path, "")


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "KR"),
            x509.NameAttribute(NameOID.COMMON_NAME, "Self-signed, for demonstration only"),
        ]
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_SELF_SIGNED_FROM)
        .not_valid_after(_SELF_SIGNED_FROM + _SELF_SIGNED_FOR)
        .sign(key, hashes.SHA256())
    )


def _seal(key: Any, certificate: x509.Certificate) -> Seal:
    return Seal(
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
    )
