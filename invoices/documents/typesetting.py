"""A paper's data into the HTML that is printed. No weasyprint in here."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from invoices.documents import captions, figures
from invoices.documents.papers import (
    InvoicePaper,
    Language,
    Paper,
    QuotationPaper,
    ReceiptPaper,
    StatementPaper,
    TaxInvoicePaper,
)
from invoices.documents.shelf import kind_of

# Raise a number whenever the template, its style or its captions change what is printed.
TEMPLATE_VERSIONS = {
    "invoice": "invoice-2",
    "tax_invoice": "tax_invoice-1",
    "receipt": "receipt-1",
    "quotation": "quotation-2",
    "statement": "statement-2",
    "cash_receipt": "cash_receipt-1",
}
STYLES = {
    "invoice": "paper",
    "receipt": "paper",
    "quotation": "paper",
    "cash_receipt": "paper",
    "tax_invoice": "tax_invoice",
    "statement": "tax_invoice",
}

# Control characters, lone surrogates and noncharacters have no place on paper; bidirectional
# overrides could make a company's name rewrite the figures beside it.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)


def printable(value: Any) -> Any:
    """This function will drop from a text what cannot or must not be printed."""
    if type(value) is str:
        return _UNPRINTABLE.sub("", value)
    return value


@cache
def environment(folder: str = "templates") -> Environment:
    """This function will return the templates of a folder, with what they may call."""
    made = Environment(
        loader=PackageLoader("invoices.documents", folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        auto_reload=False,
    )
    for name in ("money", "figure", "quantity", "percent", "day", "span", "registration"):
        made.globals[name] = getattr(figures, name)
    made.globals.update(cells=figures.cells, spelled_won=figures.spelled_won)
    return made


def typeset(paper: Paper, language: Language) -> str:
    """This function will return the HTML of the paper in the language."""
    kind = kind_of(paper)
    korean = language is Language.KOREAN
    values: dict[str, Any] = {
        "paper": paper,
        "language": language.value,
        "template_version": TEMPLATE_VERSIONS[kind],
        "w": captions.WORDS[language],
    }
    if isinstance(paper, TaxInvoicePaper):
        values["gloss"] = {} if korean else captions.TAX_INVOICE_GLOSS
        values["amendments"] = captions.AMENDMENTS
    if isinstance(paper, InvoicePaper | ReceiptPaper | StatementPaper):
        values["evidence"] = captions.EVIDENCE[language][paper.evidence]
    if isinstance(paper, InvoicePaper | ReceiptPaper):
        values["method"] = captions.METHOD[language][paper.method]
    if isinstance(paper, InvoicePaper | QuotationPaper):
        values["treatment"] = captions.TREATMENT[language][paper.tax_treatment]
    return environment().get_template(f"{kind}.html").render(**values)
