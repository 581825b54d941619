"""Valkey forgets everything, again and again, while work is under way: nothing is lost."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import redis
from sqlalchemy import func, select

from app.base.db import control_session
from app.base.messages import Message
from tests.conftest import Scenario
from tests.jobs.catcher import catching
from tests.jobs.running import machinery
from tests.jobs.test_machinery import write_mail
from tests.patience import eventually

MAILS = 60


def sent() -> int:
    with control_session() as session:
        return session.scalar(select(func.count()).where(Message.state == "sent")) or 0


def reached(count: int) -> bool:
    return sent() >= count


def test_everything_is_done_once_though_valkey_is_wiped(
    scenario: Scenario, valkey: redis.Redis, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with catching() as (caught, port):
        where = {"TENANTRY_SMTP_PORT": str(port), "TENANTRY_SMTP_HOST": "127.0.0.1"}
        with machinery(scenario, log, TENANTRY_SWEEP_SECONDS="0.3", **where):
            for number in range(MAILS):
                write_mail(f"mail {number}")
                if number % 10 == 0:
                    valkey.flushdb()
            valkey.flushdb()

            for wiped_at in (10, 20, 30):
                eventually(partial(reached, wiped_at), log)
                valkey.flushdb()
            eventually(partial(reached, MAILS), log)
            write_mail("afterwards")
            eventually(lambda: "afterwards" in caught.subjects(), log)
    counted = Counter(caught.subjects())
    assert set(counted) == {f"mail {number}" for number in range(MAILS)} | {"afterwards"}
    assert max(counted.values()) == 1
