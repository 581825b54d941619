"""The test cards. No other number is ever taken, so no real card can end up here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Behaviour(StrEnum):
    """What charging a card does. Stored with the method in place of the number."""

    PAYS = "pays"
    DECLINES_ONCE = "declines_once"
    DECLINES_TWICE = "declines_twice"
    INSUFFICIENT = "insufficient"
    STOLEN = "stolen"
    EXPIRED = "expired"
    SUSPECTED = "suspected"
    PAYS_THEN_HANGS = "pays_then_hangs"
    PAYS_THEN_DROPS = "pays_then_drops"
    PAYS_THEN_FAILS = "pays_then_fails"
    PAYS_AND_KEEPS_FAILING = "pays_and_keeps_failing"
    BUSY_ONCE = "busy_once"


@dataclass(frozen=True, slots=True)
class Card:
    """A test card as the page lists it."""

    number: str
    behaviour: Behaviour
    ko: str
    en: str

    @property
    def spaced(self) -> str:
        """The number in groups of four."""
        return " ".join(self.number[i : i + 4] for i in range(0, len(self.number), 4))

    @property
    def masked(self) -> str:
        """The number as people may see it."""
        return f"**** **** **** {self.number[-4:]}"


CARDS = (
    Card("4242424242424242", Behaviour.PAYS, "항상 결제돼요", "Always pays"),
    Card(
        "4000000000000101",
        Behaviour.DECLINES_ONCE,
        "처음 한 번은 잔액 부족으로 거절, 다음부터 결제돼요",
        "Declines once (insufficient funds), pays from then on",
    ),
    Card(
        "4000000000000200",
        Behaviour.DECLINES_TWICE,
        "처음 두 번은 잔액 부족으로 거절, 다음부터 결제돼요",
        "Declines twice (insufficient funds), pays from then on",
    ),
    Card(
        "4000000000009995",
        Behaviour.INSUFFICIENT,
        "항상 잔액 부족으로 거절돼요",
        "Always declines: insufficient funds",
    ),
    Card(
        "4000000000009979",
        Behaviour.STOLEN,
        "도난·분실 카드라 새 카드가 필요해요",
        "Lost or stolen: a new card is needed",
    ),
    Card(
        "4000000000000069",
        Behaviour.EXPIRED,
        "유효기간이 지나 새 카드가 필요해요",
        "Expired: a new card is needed",
    ),
    Card(
        "4000000000000804",
        Behaviour.SUSPECTED,
        "부정 사용이 의심되어 사람이 확인해야 해요",
        "Suspected fraud: a person must look",
    ),
    Card(
        "4000000000000408",
        Behaviour.PAYS_THEN_HANGS,
        "결제하고 응답이 늦어요. 같은 키로 다시 물으면 바로 답해요",
        "Pays, then hangs; the same key is answered at once",
    ),
    Card(
        "4000000000000606",
        Behaviour.PAYS_THEN_DROPS,
        "결제하고 연결을 끊어요. 같은 키로 다시 물으면 답해요",
        "Pays, then drops the connection; the same key is answered",
    ),
    Card(
        "4000000000000507",
        Behaviour.PAYS_THEN_FAILS,
        "결제하고 오류 500, 같은 키로 다시 물으면 성공이에요",
        "Pays, answers 500; the same key is answered with success",
    ),
    Card(
        "4000000000000705",
        Behaviour.PAYS_AND_KEEPS_FAILING,
        "결제하고 같은 키에는 계속 500, 조회하면 성공이에요",
        "Pays, answers the same key with 500 for ever; a look-up tells",
    ),
    Card(
        "4000000000000309",
        Behaviour.BUSY_ONCE,
        "처음에는 처리 중(409), 같은 키로 다시 물으면 성공이에요",
        "Answers 409 “in progress”; the same key is answered with success",
    ),
)

_BY_NUMBER = {card.number: card for card in CARDS}


def find(typed: str) -> Card | None:
    """This function will return the test card with that number, however it was spaced."""
    return _BY_NUMBER.get("".join(typed.split()).replace("-", ""))
