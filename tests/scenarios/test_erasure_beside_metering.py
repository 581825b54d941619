"""A tenant's erasure begins at the very moment when its days are listed: none is left to read."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest
from sqlalchemy import func, select, text

from app.base.db import control_session
from tenants import destruction, metering
from tenants.models import MeteringDay
from tests.patience import eventually
from tests.workspaces import end_trial_and_retention, make_workspace


def somebody_waits_for_a_lock() -> bool:
    with control_session() as session:
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(session.scalar(waiting))


@pytest.mark.usefixtures("scenario")
def test_days_listed_beside_an_erasure_are_not_left_behind(now: datetime) -> None:
    workspace = make_workspace(now=now)
    end_trial_and_retention(workspace, now=now)
    listed: list[int] = []

    def list_days() -> None:
        with control_session() as session:
            listed.append(metering.due_days(control_session=session, now=now + timedelta(days=9)))

    with control_session() as session:
        assert destruction.begin(control_session=session, tenant_id=workspace.tenant_id, now=now)
        session.flush()
        beside = threading.Thread(target=list_days)
        beside.start()
        eventually(somebody_waits_for_a_lock, "the listing waits for the erasure")
    beside.join(30)
    assert listed == [0]
    with control_session() as session:
        assert session.scalar(select(func.count()).select_from(MeteringDay)) == 0
