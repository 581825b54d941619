"""Links that work once, however closely two people follow each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from app.base import accounts, ids
from app.base.accounts import LinkUsed, OneTimeToken, TooManyAttempts
from app.base.config import settings
from app.base.db import control_session
from tests.conftest import Scenario

pytestmark = pytest.mark.usefixtures("scenario")


class TestALink:
    def test_used_since_it_was_looked_at_is_refused(self, now: datetime) -> None:
        with control_session() as session:
            token = accounts.issue_token(
                control_session=session,
                purpose="test",
                subject_id=ids.uuid7(),
                valid_for=timedelta(hours=1),
                now=now,
            )
        asked = {"purpose": "test", "token": token, "now": now}
        with control_session() as slow:
            seen = slow.scalars(select(OneTimeToken)).one()
            assert seen.used_at is None
            with control_session() as quick:
                accounts.use_token(control_session=quick, **asked)
            with pytest.raises(LinkUsed):
                accounts.use_token(control_session=slow, **asked)


class TestGuessesAtOnce:
    def test_are_counted_one_after_the_other(self, scenario: Scenario) -> None:
        keys = ["portal:account:somebody@customer.example", "portal:address:192.0.2.1"]
        most = settings().sign_in_attempts_max

        def guess(_: int) -> bool:
            with control_session() as session:
                try:
                    accounts.check_attempts(control_session=session, keys=keys)
                except TooManyAttempts:
                    return False
                accounts.count_failure(control_session=session, keys=keys)
                return True

        with ThreadPoolExecutor(8) as pool:
            heard = list(pool.map(guess, range(most + 10)))
        assert heard.count(True) == most
