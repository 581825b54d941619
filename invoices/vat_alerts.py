"""Word to finance of tax papers whose deadline is near, here or past: one mail a day, if any."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.base import messages
from app.base.config import settings
from app.base.money import Money
from invoices import vat_deadlines
from invoices.vat_deadlines import Board, Watched

LISTED_MAX = 20
LOOKED_AT_MAX = 1_000
_KINDS = {
    "ko": {
        "choose": "증빙 선택",
        "by_hand": "직접 발급",
        "issue": "발급",
        "transmit": "국세청 전송",
    },
    "en": {
        "choose": "evidence to choose",
        "by_hand": "to issue elsewhere",
        "issue": "to issue",
        "transmit": "to transmit",
    },
}
_PENALTIES = {
    "ko": {
        "late_issue": "지연발급 1%",
        "no_issue": "미발급 2%",
        "late_transmission": "지연전송 0.3%",
        "no_transmission": "미전송 0.5%",
    },
    "en": {
        "late_issue": "late issue 1%",
        "no_issue": "not issued 2%",
        "late_transmission": "late transmission 0.3%",
        "no_transmission": "not transmitted 0.5%",
    },
}


def tell(*, control_session: Session, now: datetime) -> bool:
    """This function will write finance a mail where something presses; twice a day is once."""
    found = vat_deadlines.board(control_session=control_session, now=now, limit=LOOKED_AT_MAX)
    if not found.pressing:
        return False
    language = settings().paper_language
    messages.queue_mail(
        control_session=control_session,
        room="invoices",
        name="tax_deadlines",
        to=settings().finance_to,
        language=language,
        context={
            "late": [_line(each, language) for each in found.late[:LISTED_MAX]],
            "failed": [_line(each, language) for each in found.failed[:LISTED_MAX]],
            "soon": [_line(each, language) for each in found.soon[:LISTED_MAX]],
            "counts": (len(found.late), len(found.failed), len(found.soon)),
            "more": _unlisted(found),
            "today": found.today,
            "link": f"{settings().public_url}/console/tax-deadlines",
        },
        now=now,
        dedupe_key=f"tax_deadlines:{found.today}",
    )
    return True


def _unlisted(found: Board) -> int:
    return sum(max(0, len(each) - LISTED_MAX) for each in (found.late, found.failed, found.soon))


def _line(each: Watched, language: str) -> str:
    cost = Money(each.penalty_minor, each.currency)
    return (
        f"{each.deadline} · {_KINDS[language][each.kind]} · {each.name} · {each.number} · "
        f"{_PENALTIES[language][each.penalty.name]} = {cost}"
    )
