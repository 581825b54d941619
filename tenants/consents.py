"""Consents: the texts that people are shown, by version, and what they answered to which text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from string import Template
from uuid import UUID

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.base.config import settings
from tenants.models import Consent

# The version now shown. An earlier text stays in the folder for as long as a consent names it.
VERSIONS = {
    "privacy_notice": "2026-11-20",
    "terms": "2026-11-20",
    "marketing": "2026-11-20",
}
_FOLDER = Path(__file__).parent / "notices"


@dataclass(frozen=True, slots=True)
class Notice:
    """A text exactly as it is shown: `blocks` are (title | heading | item | text, words)."""

    kind: str
    version: str
    language: str
    text: str
    sha256: str

    @property
    def blocks(self) -> list[tuple[str, str]]:
        """The text cut at its lines, for a page to print."""
        kinds = {"# ": "title", "## ": "heading", "- ": "item"}
        found = []
        for line in filter(None, self.text.splitlines()):
            mark = next((mark for mark in kinds if line.startswith(mark)), "")
            found.append((kinds.get(mark, "text"), line.removeprefix(mark)))
        return found

    @property
    def title(self) -> str:
        """The first line."""
        return self.blocks[0][1]


@lru_cache(maxsize=16)
def notice(kind: str, language: str) -> Notice:
    """This function will return the text now shown; its terms of retention are our settings'."""
    version = VERSIONS[kind]
    source = (_FOLDER / f"{kind}.{version}.{language}.txt").read_text(encoding="utf-8")
    s = settings()
    text = Template(source).substitute(
        seller=s.seller_name if language == "ko" else s.seller_name_en,
        contact=s.mail_reply_to,
        unconfirmed_days=s.unconfirmed_retention_days,
        rejected_days=s.rejected_retention_days,
        retention_days=s.retention_days,
        visit_days=s.visit_retention_days,
        trial_days=s.trial_days_default,
    )
    return Notice(kind, version, language, text, hashlib.sha256(text.encode()).hexdigest())


def record(
    *,
    control_session: Session,
    subject_id: UUID,
    answers: dict[str, bool],
    language: str,
    channel: str,
    now: datetime,
) -> None:
    """This function will write down what a person was shown and answered: `{kind: granted}`.

    A refusal is written as well, so that nobody asks again by mistake.
    """
    for kind, granted in answers.items():
        shown = notice(kind, language)
        control_session.add(
            Consent(
                subject_id=subject_id,
                kind=kind,
                version=shown.version,
                text_sha256=shown.sha256,
                granted=granted,
                at=now,
                channel=channel,
                details={"language": language},
            )
        )


def erase(*, control_session: Session, subject_ids: list[UUID]) -> None:
    """This function will delete the consents of subjects that are erased."""
    control_session.execute(delete(Consent).where(Consent.subject_id.in_(subject_ids)))
