"""How fast tax invoices are made: built, signed and checked, against the bare signature alone."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import xmlsec
from lxml import etree

from invoices.documents import specimens
from invoices.tax_papers import port, seals
from invoices.tax_papers.offline import OfflineIssuer

_DS = "{http://www.w3.org/2000/09/xmldsig#}Signature"


def compare_signing(times: int) -> tuple[list[float], list[float]]:
    """This function will make tax invoices, and sign each one's bytes again, barely, in turn.

    Seconds each. The bare signature is given the parsed tree with its template in place: it
    neither builds, nor writes, nor checks anything.
    """
    seal = seals.seal()
    issuer = OfflineIssuer(registration="00000000")
    key = xmlsec.Key.from_memory(seal.key_pem, xmlsec.KeyFormat.PEM)
    key.load_cert_from_memory(seal.certificate_pem, xmlsec.KeyFormat.PEM)
    ours, floor = [], []
    for serial in range(1, times + 1):
        began = time.perf_counter()
        issued = issuer.issue(sheet=_sheet(serial))
        ours.append(time.perf_counter() - began)
        if not isinstance(issued, port.Issued) or issued.xml is None:
            raise ValueError(f"the specimen was not issued: {issued}")
        floor.append(_bare(issued.xml, key))
    return ours, floor


def _sheet(serial: int) -> port.Sheet:
    paper = replace(specimens.tax_invoice(), number=f"T-{serial:08d}")
    return port.Sheet(
        management_key=paper.number,
        serial=serial,
        paper=paper,
        issued_at=datetime(2026, 12, 1, tzinfo=UTC),
    )


def _bare(xml: bytes, key: object) -> float:
    signature = etree.fromstring(xml).find(_DS)
    context = xmlsec.SignatureContext()
    context.key = key
    began = time.perf_counter()
    context.sign(signature)
    return time.perf_counter() - began
