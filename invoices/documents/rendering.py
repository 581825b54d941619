"""From a paper's data to the bytes that are stored: the door of this folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from invoices.documents import press
from invoices.documents.limits import RenderLimits
from invoices.documents.papers import Language, Paper
from invoices.documents.shelf import content_sha256, kind_of
from invoices.documents.typesetting import STYLES, TEMPLATE_VERSIONS, typeset


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A printed paper: its bytes, and what is needed to prove what it was printed from."""

    pdf: bytes
    sha256: str
    content_sha256: str
    template_version: str
    missing_characters: tuple[str, ...]


def render_document(
    *, paper: Paper, language: Language, limits: RenderLimits | None = None
) -> Rendered:
    """This function will print a paper; the same data gives the same bytes.

    `missing_characters` lists what no font here could show (it prints as a box): a person
    should look. Raises: as press.render.
    """
    kind, content = kind_of(paper), content_sha256(paper)
    version = TEMPLATE_VERSIONS[kind]
    identifier = hashlib.sha256(f"{content} {language} {version}".encode()).digest()[:16]
    printed = press.render(
        typeset(paper, language), style=STYLES[kind], identifier=identifier, limits=limits
    )
    return Rendered(
        pdf=printed.pdf,
        sha256=printed.sha256,
        content_sha256=content,
        template_version=version,
        missing_characters=printed.missing_characters,
    )
