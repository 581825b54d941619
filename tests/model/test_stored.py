"""The same histories through real rows, the changes' own verbs and the billing run itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import config
from app.base.money import Rounding
from invoices import verifying
from invoices.models import Invoice
from tests.model import stored
from tests.model.comparing import difference
from tests.model.drawing import draw
from tests.model.histories import CURRENCIES

# Beyond the first ones: coupons of every kind, alone and together, over usage that came late.
SEEDS = (*range(10), 54, 57, 78, 128, 208, 243, 397, 406, 408)


@pytest.fixture
def terms(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Settings that a history may choose; no bill is held, however absurd."""
    floors = ",".join(f"{currency}={10**12}" for currency in CURRENCIES)
    monkeypatch.setenv("TENANTRY_BRAKE_FLOOR", floors)
    monkeypatch.setenv("TENANTRY_BRAKE_LINES_PER_DAY", "1000000")
    yield monkeypatch
    monkeypatch.undo()
    config.settings.cache_clear()


@pytest.mark.parametrize("seed", SEEDS)
def test_the_run_bills_what_the_model_bills(
    control_session: Session, terms: pytest.MonkeyPatch, seed: int
) -> None:
    history = draw(seed)
    terms.setenv("TENANTRY_VAT_RATE_PERCENT", str(history.tax_percent))
    terms.setenv("TENANTRY_VAT_ROUNDING", Rounding(history.tax_rounding).value)
    config.settings.cache_clear()
    found = difference(seed, bills=lambda each: stored.bills(each, control_session))
    assert found is None, str(found)
    issued = control_session.scalars(select(Invoice.id).where(Invoice.issued_at.is_not(None)))
    verdicts = verifying.verify(control_session=control_session, invoice_ids=issued.all())
    assert [each for verdict in verdicts for each in verdict.differences] == []
