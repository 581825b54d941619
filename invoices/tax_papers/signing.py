"""The signature on a tax invoice: enveloped XML-DSig, made and checked with one certificate.

The signature covers everything but the envelope around the paper (ExchangedDocument), the root
itself and the signature, as the standard's XPath says. The whole root is canonicalised: a subtree
alone would gain namespace declarations that nobody else sees.

Source: 국세청 전자세금계산서 표준 1.0; W3C XML-Signature Syntax and Processing.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import Any

import xmlsec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from lxml import etree

from app.base.errors import Invalid
from invoices.tax_papers.seals import CertificateMissing, Seal
from invoices.tax_papers.standard_xml import NAMESPACE, SCHEMA_LOCATION, XSI

_DS = "http://www.w3.org/2000/09/xmldsig#"
_C14N = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
_XPATH = "http://www.w3.org/TR/1999/REC-xpath-19991116"
_RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
_SHA256 = "http://www.w3.org/2001/04/xmlenc#sha256"
SIGNED_PART = (
    "not(self::*[name() = 'TaxInvoice'] | ancestor-or-self::*[name() = 'ExchangedDocument']"
    " | ancestor-or-self::ds:Signature)"
)
# The parts of our own documents in canonical form, and nothing else: a signature over anything but
# the standard's part could cover nothing at all, so its every transform is spelt out.
_IN_SCOPE = f' xmlns="{NAMESPACE}" xmlns:xsi="{XSI}"'.encode()
_ATTRIBUTES = _IN_SCOPE + f' xsi:schemaLocation="{SCHEMA_LOCATION}"'.encode()
_SIGNED_INFO = f'<ds:SignedInfo xmlns="{NAMESPACE}" xmlns:ds="{_DS}" xmlns:xsi="{XSI}">'.encode()
_INFO = (
    "<ds:SignedInfo>\n"
    f'<ds:CanonicalizationMethod Algorithm="{_C14N}"></ds:CanonicalizationMethod>\n'
    f'<ds:SignatureMethod Algorithm="{_RSA_SHA256}"></ds:SignatureMethod>\n'
    '<ds:Reference URI="">\n'
    "<ds:Transforms>\n"
    f'<ds:Transform Algorithm="{_C14N}"></ds:Transform>\n'
    f'<ds:Transform Algorithm="{_XPATH}"><ds:XPath>{SIGNED_PART}</ds:XPath></ds:Transform>\n'
    "</ds:Transforms>\n"
    f'<ds:DigestMethod Algorithm="{_SHA256}"></ds:DigestMethod>\n'
    "<ds:DigestValue>"
)
_LAYOUT = re.compile(
    re.escape(b"<TaxInvoice" + _ATTRIBUTES + b"><ExchangedDocument>")
    + rb"(?:(?!</ExchangedDocument>).)*</ExchangedDocument>"
    + f'<ds:Signature xmlns:ds="{_DS}">\n'.encode()
    + b"(?P<info>"
    + re.escape(_INFO).encode()
    + rb"(?P<digest>[A-Za-z0-9+/=]+)</ds:DigestValue>\n</ds:Reference>\n</ds:SignedInfo>)\n"
    + rb"<ds:SignatureValue>(?P<value>[A-Za-z0-9+/=\n]+)</ds:SignatureValue>\n"
    + rb"<ds:KeyInfo>[^!]*?</ds:KeyInfo>\n</ds:Signature>"
    + rb"(?P<paper><TaxInvoiceDocument>.*)</TaxInvoice>",
    re.DOTALL,
)
_PART = re.compile(rb"<(TaxInvoiceDocument|TaxInvoiceTradeSettlement|TaxInvoiceTradeLineItem)>")
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, remove_blank_text=False)


class SignatureBroken(Invalid):
    """The XML is not what was signed, or was signed with another certificate."""


def sign(*, root: etree._Element, seal: Seal) -> bytes:
    """This function will sign a tax invoice's tree and return the bytes of the whole document.

    The signature comes second, after the envelope's header.
    """
    signature = xmlsec.template.create(
        root, xmlsec.Transform.C14N, xmlsec.Transform.RSA_SHA256, ns="ds"
    )
    root.insert(1, signature)
    reference = xmlsec.template.add_reference(signature, xmlsec.Transform.SHA256, uri="")
    xmlsec.template.add_transform(reference, xmlsec.Transform.C14N)
    narrowed = xmlsec.template.add_transform(reference, xmlsec.Transform.XPATH)
    etree.SubElement(narrowed, f"{{{_DS}}}XPath").text = SIGNED_PART
    key_info = xmlsec.template.ensure_key_info(signature)
    x509_data = xmlsec.template.add_x509_data(key_info)
    xmlsec.template.x509_data_add_certificate(x509_data)
    context = xmlsec.SignatureContext()
    context.key = _signing_key(seal)
    context.sign(signature)
    signed: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return signed


def verify(*, document: bytes, seal: Seal) -> etree._Element:
    """This function will check a signed document against our certificate and return its tree.

    It does not ask the library that signed: what the signature covers is cut out of the canonical
    document here, and digest and signature are computed anew, so two implementations must agree.
    The certificate inside is not looked at: anybody could have put theirs there.

    Raises: SignatureBroken.
    """
    try:
        root = etree.fromstring(document, _PARSER)
    except etree.XMLSyntaxError as error:
        raise SignatureBroken("The tax invoice is no XML.") from error
    canonical: bytes = etree.tostring(root, method="c14n")
    found = _LAYOUT.fullmatch(canonical)
    if found is None:
        raise SignatureBroken("The tax invoice is not laid out as the standard says.")
    digest = base64.b64encode(hashlib.sha256(_apart(found["paper"])).digest())
    if found["digest"] != digest:
        raise SignatureBroken("The tax invoice is not what was signed.")
    try:
        _public_key(seal).verify(
            base64.b64decode(found["value"]),
            found["info"].replace(b"<ds:SignedInfo>", _SIGNED_INFO, 1),
            padding.PKCS1v15(),
            hashes.SHA256(),
        )
    except InvalidSignature as error:
        raise SignatureBroken("The tax invoice was signed with another certificate.") from error
    return root


def _apart(paper: bytes) -> bytes:
    """The signed part in canonical form: the root's tag is left out, but not what is in the tag.

    So its attributes stand there bare, and each part declares the namespaces anew.
    """
    return _ATTRIBUTES + _PART.sub(rb"<\1" + _IN_SCOPE + b">", paper)


@lru_cache(maxsize=4)
def _public_key(seal: Seal) -> rsa.RSAPublicKey:
    key = x509.load_pem_x509_certificate(seal.certificate_pem).public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise CertificateMissing("The certificate for tax invoices holds no RSA key.")
    return key


@lru_cache(maxsize=4)
def _signing_key(seal: Seal) -> Any:
    private = xmlsec.Key.from_memory(seal.key_pem, xmlsec.KeyFormat.PEM)
    private.load_cert_from_memory(seal.certificate_pem, xmlsec.KeyFormat.PEM)
    return private
