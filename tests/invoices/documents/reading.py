"""Reading printed papers back."""

from __future__ import annotations

import functools
import io
import re

from pypdf import PdfReader

from invoices.documents.papers import Language, Paper
from invoices.documents.rendering import Rendered, render_document


@functools.cache
def printed_once(paper: Paper, language: Language) -> Rendered:
    """This function will print a paper for all tests that only look at it."""
    return render_document(paper=paper, language=language)


def pages(pdf: bytes) -> list[str]:
    """This function will return the text of each page, runs of white space as one blank."""
    reader = PdfReader(io.BytesIO(pdf))
    return [re.sub(r"\s+", " ", page.extract_text()) for page in reader.pages]


def text(pdf: bytes) -> str:
    """This function will return the text of the whole paper."""
    return " ".join(pages(pdf))


def drawing(pdf: bytes) -> str:
    """This function will return the drawing operators of the first page."""
    contents = PdfReader(io.BytesIO(pdf)).pages[0].get_contents()
    assert contents is not None
    return contents.get_data().decode("latin-1")


def fonts(pdf: bytes) -> set[str]:
    """This function will return the names of the fonts on the first page."""
    found = PdfReader(io.BytesIO(pdf)).pages[0]["/Resources"]["/Font"].values()
    return {str(font.get_object()["/BaseFont"]) for font in found}
