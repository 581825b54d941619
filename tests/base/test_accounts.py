"""Links that work once, however closely two people follow each other."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from app.base import accounts, ids
from app.base.accounts import LinkUsed, OneTimeToken
from app.base.db import control_session

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
