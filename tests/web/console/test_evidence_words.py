"""Why a person makes a paper: every reason that the room writes down has its words."""

from __future__ import annotations

import re
from typing import Any

import pytest

from app.web import evidence_words

REASONS = (
    "a card slip proves a part of it, and the rest was not paid by card: "
    "a tax invoice may name that rest alone, and is issued by a person",
    "a card slip of another supply proves a part of it, which was paid with credit: "
    "a tax invoice may name the rest alone, and is issued by a person",
    "the card slip still proves ₩55,000, which went back by bank transfer",
    "The credit note takes back more than the tax papers say.",
    "More is cancelled than the cash receipt says.",
    "it mixes supplies that take papers of their own: exempt, taxable",
    "an exempt supply takes a 계산서, not a tax invoice",
    "the supply is priced in USD; its won value must be set by a person",
    "the buyer has no valid Korean business registration number",
    "the seller's own business registration number is not valid",
    "the buyer has no e-mail address, which an electronic tax invoice needs",
    "the buyer's e-mail address has more than 40 characters",
    "the buyer's name has more than 70 characters",
    "the invoice has more than 99 lines",
)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_is_said_in_both_languages(app: Any, reason: str) -> None:
    with app.test_request_context("/?lang=ko"):
        korean = evidence_words.why(reason)
    with app.test_request_context("/?lang=en"):
        english = evidence_words.why(reason)
    assert re.search(r"[가-힣]요\.", korean)
    assert english[0].isupper()
    assert english != reason
    assert "%(" not in korean + english
    for figure in re.findall(r"\d+|USD", reason):
        assert figure in korean
        assert figure in english
