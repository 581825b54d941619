"""Which invoice a deposit is for: beyond doubt, likely, or nobody's guess."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest

from app.base.money import Money
from invoices.statement_matching import Book, Candidate, Proposal, certain, plain_name, proposals

WON = Money(209_000, "KRW")


def invoice(
    number: int, *, tenant: int = 1, open_minor: int = 209_000, name: str = ""
) -> Candidate:
    return Candidate(
        invoice_id=UUID(int=number),
        tenant_id=UUID(int=tenant),
        number=f"INV-2026-{number:06d}",
        open=Money(open_minor, "KRW"),
        due_on=date(2026, 3, number),
        names=(name or f"주식회사 한빛정밀 {tenant}", ""),
    )


def found(
    candidates: list[Candidate], amount: Money = WON, payer: str = "", memo: str = ""
) -> list[Proposal]:
    return proposals(amount=amount, payer=payer, memo=memo, book=Book.of(candidates))


class TestCertainty:
    @pytest.mark.parametrize(
        "memo",
        ["INV-2026-000003", "inv2026000003 대금", "한빛 2026-000003", "ＩＮＶ－2026－000003"],
    )
    def test_comes_from_the_amount_and_the_number(self, memo: str) -> None:
        best = certain(found([invoice(3), invoice(4, tenant=2)], memo=memo))
        assert best is not None
        assert (best.candidate.invoice_id, best.score) == (UUID(int=3), 80)

    @pytest.mark.parametrize(
        "payer", ["(주)한빛정밀 1", "㈜한빛정밀1", "한빛정밀1 주식회사", "주식회사한빛정밀１"]
    )
    def test_comes_from_the_amount_and_the_exact_name(self, payer: str) -> None:
        best = certain(found([invoice(3), invoice(4, tenant=2)], payer=payer))
        assert best is not None
        assert best.candidate.invoice_id == UUID(int=3)

    def test_takes_the_oldest_of_one_companys_equal_invoices(self) -> None:
        best = certain(found([invoice(5), invoice(4)], payer="한빛정밀 1"))
        assert best is not None
        assert best.candidate.invoice_id == UUID(int=4)

    def test_is_not_had_from_two_companies_of_one_name(self) -> None:
        pair = [invoice(3, name="한빛"), invoice(4, tenant=2, name="한빛")]
        assert certain(found(pair, payer="한빛")) is None

    def test_is_not_had_from_an_amount_alone_or_a_name_cut_short(self) -> None:
        assert certain(found([invoice(3)])) is None
        assert certain(found([invoice(3)], payer="한빛정")) is None

    @pytest.mark.parametrize("amount_minor", [208_999, 209_001, 418_000])
    def test_is_not_had_from_another_amount(self, amount_minor: int) -> None:
        near = found([invoice(3)], Money(amount_minor, "KRW"), "한빛정밀 1", "INV-2026-000003")
        assert certain(near) is None
        assert near[0].why[1] in ("more", "less")

    def test_is_not_had_for_what_was_paid_already(self) -> None:
        near = found([invoice(3, open_minor=0)], memo="INV-2026-000003")
        assert certain(near) is None
        assert near[0].why == ("number", "settled")


class TestProposals:
    def test_come_the_likeliest_first_with_what_speaks_for_them(self) -> None:
        near = found(
            [invoice(3), invoice(4, tenant=2), invoice(5, tenant=3, open_minor=1)],
            payer="한빛정밀 1 서울",
            memo="",
        )
        assert [(p.candidate.invoice_id.int, p.why) for p in near] == [
            (3, ("amount", "alike")),
            (4, ("amount",)),
        ]

    def test_are_of_the_same_currency(self) -> None:
        assert found([invoice(3)], Money(209_000, "USD"), memo="INV-2026-000003") == []

    def test_are_few(self) -> None:
        assert len(found([invoice(number, tenant=number) for number in range(1, 20)])) == 5


@pytest.mark.parametrize("name", ["", "주식회사", "(주)", "-", "ltd."])
def test_a_name_without_a_name_is_like_nothing(name: str) -> None:
    assert plain_name(name) == ""
    assert found([invoice(3, open_minor=5)], payer=name) == []
