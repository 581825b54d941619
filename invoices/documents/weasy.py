"""The one module that imports weasyprint. Only the press process loads it."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weasyprint import CSS, HTML
from weasyprint.text.fonts import FontConfiguration
from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from invoices.documents.limits import DocumentRefused

HERE = Path(__file__).parent
SCHEME = "tenantry-asset:"
GETA_MARK = "\N{GETA MARK}"
ASSETS = {
    "styles/paper.css": "text/css",
    "styles/tax_invoice.css": "text/css",
    "fonts/TenantryPaper-Regular.ttf": "font/ttf",
    "fonts/TenantryPaper-Bold.ttf": "font/ttf",
    "fonts/Pretendard-Regular.ttf": "font/ttf",
    "fonts/Pretendard-Bold.ttf": "font/ttf",
}


class RefusedAddress(FatalURLFetchingError):  # type: ignore[misc, unused-ignore]  # untyped where it is absent
    """A document asked for an address outside our assets. Not an Exception: nothing swallows it."""


class AssetFetcher(URLFetcher):  # type: ignore[misc, unused-ignore]  # likewise
    """Opens the assets of the table above and nothing else: no files, no network, no data URLs."""

    def fetch(self, url: str, headers: Any = None) -> URLFetcherResponse:
        """This function will return one of our assets, or stop the document.

        Raises: RefusedAddress, naming the scheme only, for the rest of it may be personal.
        """
        name = url.removeprefix(SCHEME)
        if not url.startswith(SCHEME) or name not in ASSETS:
            raise RefusedAddress(url.partition(":")[0][:32])
        return URLFetcherResponse(
            url, body=(HERE / name).read_bytes(), headers={"Content-Type": ASSETS[name]}
        )


class _MissingGlyphs(logging.Handler):
    """Collects the characters that WeasyPrint says no font has."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.characters: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.msg, str) and record.msg.startswith(".notdef"):
            self.characters.add(str((record.args or ("",))[0]))  # type: ignore[index]  # logging's args may be a mapping


@dataclass(frozen=True)
class Engine:
    """A warm WeasyPrint: one font configuration and every style sheet parsed once."""

    fonts: FontConfiguration
    styles: dict[str, CSS]
    missing: _MissingGlyphs

    def print(self, html: str, *, style: str | None, identifier: bytes) -> bytes:
        """This function will lay the HTML out and return the PDF.

        A character that no font has is set as a geta mark, the typesetter's sign for a missing
        sort: WeasyPrint's own boxes would spoil the text of the whole page for readers of PDFs.

        Raises: DocumentRefused, with the scheme, when it asks for anything but our assets.
        """
        pdf = self._laid_out(html, style, identifier)
        if self.missing.characters:
            marks = {ord(each): GETA_MARK for each in self.missing.characters}
            pdf = self._laid_out(html.translate(marks), style, identifier)
        return pdf

    def _laid_out(self, html: str, style: str | None, identifier: bytes) -> bytes:
        sheets = [self.styles[style]] if style else []
        try:
            document = HTML(string=html, url_fetcher=AssetFetcher())
            pdf = document.write_pdf(
                stylesheets=sheets, font_config=self.fonts, pdf_identifier=identifier
            )
        except FatalURLFetchingError as refused:
            raise DocumentRefused(str(refused)) from None
        return bytes(pdf)


def engine() -> Engine:
    """This function will load WeasyPrint's fonts and style sheets and silence its log.

    Its warnings quote documents, and documents name people; only missing characters are kept.
    """
    log = logging.getLogger("weasyprint")
    missing = _MissingGlyphs()
    log.handlers, log.propagate = [missing], False
    fonts = FontConfiguration()
    styles = {
        Path(name).stem: CSS(
            string=(HERE / name).read_text(encoding="utf-8"),
            font_config=fonts,
            url_fetcher=AssetFetcher(),
        )
        for name in ASSETS
        if name.endswith(".css")
    }
    return Engine(fonts, styles, missing)


def bare(html: str, css: str) -> Callable[[], bytes]:
    """This function will return WeasyPrint as anybody would use it, for the bench to compare."""
    fonts = FontConfiguration()
    sheet = CSS(string=css, font_config=fonts)
    return lambda: bytes(HTML(string=html).write_pdf(stylesheets=[sheet], font_config=fonts))


def plain(html: str) -> bytes:
    """This function will print a page that brings its own style, as a first try would do it."""
    return bytes(HTML(string=html).write_pdf())


def settle() -> None:
    """This function will keep the garbage collector off what every child shares.

    A collection would touch, and so copy, every page that a fork shares with its parent.
    """
    gc.collect()
    gc.disable()
    gc.freeze()
