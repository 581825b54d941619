"""How much one document may cost, and the ways in which printing fails."""

from __future__ import annotations

from dataclasses import dataclass

from app.base.errors import Invalid, Unavailable

MIB = 1024 * 1024


class DocumentRefused(Invalid):
    """The document asks for something that papers may not have, such as a file or an address."""


class DocumentTooCostly(Invalid):
    """The document needs more processor time, memory or bytes than its limits allow."""


class DocumentOverdue(Unavailable):
    """The document was not done in time; on a less busy machine it may be."""


class PressUnavailable(Unavailable):
    """The printing process cannot be started, or died: nothing is wrong with the document."""


@dataclass(frozen=True, kw_only=True)
class RenderLimits:
    """The bounds of one document; memory is counted beyond what the idle press holds."""

    cpu_seconds: int = 30
    wall_seconds: float = 60.0
    memory_bytes: int = 768 * MIB
    html_bytes_max: int = 8 * MIB
    pdf_bytes_max: int = 32 * MIB
