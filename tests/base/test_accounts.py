"""Links that work once, however closely two people follow each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from app.base import accounts, ids
from app.base.accounts import (
    LinkExpired,
    LinkUsed,
    OneTimeToken,
    PasswordTooWeak,
    TooManyAttempts,
)
from app.base.audit import SYSTEM
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


class TestAPassword:
    @pytest.mark.parametrize(
        "password",
        [
            "short1!",
            "aaaaaaaaaaaab",
            "password123",
            "P@ssw0rd2026!",
            "1234567890",
            "19840217331",
            "qwertyuiop",
            "1q2w3e4r5t",
            "qwer1234!!",
            "asdf1234asdf",
            "abcabcabcabc",
            "iloveyou2026",
            "tenantry2026",
            "비밀번호1234567",
        ],
    )
    def test_that_is_tried_first_is_refused(self, password: str) -> None:
        with pytest.raises(PasswordTooWeak):
            accounts.check_password_strength(password, email="minsu.kim@hanbit.example")

    @pytest.mark.parametrize(
        "password", ["minsu.kim@hanbit.example", "MinsuKim2026", "2026hanbit!!"]
    )
    def test_made_of_the_address_is_refused(self, password: str) -> None:
        accounts.check_password_strength(password)
        with pytest.raises(PasswordTooWeak, match="e-mail address"):
            accounts.check_password_strength(password, email="minsu.kim@hanbit.example")

    @pytest.mark.parametrize(
        "password",
        [
            "correct horse battery staple",
            "a password for tests 1",
            "hk3v9-xxq2p-4t7wd-mm8ca",
            "사과 열 개와 배 하나",
            "7391840265-kl",
        ],
    )
    def test_that_nobody_else_thinks_of_is_taken_without_a_sign_or_capital(
        self, password: str
    ) -> None:
        accounts.check_password_strength(password, email="minsu.kim@hanbit.example")


class TestAStaffPassword:
    def test_voids_the_links_that_were_not_used(self, now: datetime) -> None:
        with control_session() as session:
            staff = accounts.add_staff(
                control_session=session,
                email="staff@seller.example",
                name="직원",
                role="viewer",
                actor=SYSTEM,
                now=now,
            )
            invitation, reset = (
                accounts.issue_token(
                    control_session=session,
                    purpose=purpose,
                    subject_id=staff.id,
                    valid_for=timedelta(hours=1),
                    now=now,
                )
                for purpose in ("staff_invited", "staff_reset")
            )
            accounts.use_token(control_session=session, purpose="staff_reset", token=reset, now=now)
            accounts.set_staff_password(
                control_session=session,
                staff_id=staff.id,
                password="a password for tests 2",
                now=now,
            )
        with control_session() as session:
            with pytest.raises(LinkExpired):
                accounts.use_token(
                    control_session=session, purpose="staff_invited", token=invitation, now=now
                )
            with pytest.raises(LinkUsed):
                accounts.use_token(
                    control_session=session, purpose="staff_reset", token=reset, now=now
                )


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
