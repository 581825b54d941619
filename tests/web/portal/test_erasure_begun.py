"""Between the begin of an erasure and the very DROP the portal is open: only an act stops it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.base.db import control_session, usage_session
from app.base.messages import Message
from jobs.destruction import PAPERS
from tenants import destruction
from tests.conftest import administrator
from tests.price_list import publish_default
from tests.tenants.stops import Stopped, stop_at
from tests.web.forms import send
from tests.workspaces import PASSWORD, Workspace, end_trial_and_retention, make_workspace

PAGES = ("", "plan", "plan/convert", "plan/timeline", "payment", "invoices", "account", "credits")


@pytest.fixture
def doomed(app: Any, now: datetime, set_clock: Callable[..., None]) -> Workspace:
    """A customer whose trial is long over; the database is closed and renamed already."""
    set_clock(now)
    workspace = make_workspace(now=now - timedelta(days=120))
    end_trial_and_retention(workspace, now=now)
    with control_session() as session:
        publish_default(session, now=now - timedelta(days=120))
    with control_session() as session:
        assert destruction.begin(control_session=session, tenant_id=workspace.tenant_id, now=now)
        session.execute(update(Message).where(Message.state == "due").values(state="sent"))
    with pytest.raises(Stopped):
        destruction.advance(
            transaction=control_session,
            usage_transaction=usage_session,
            tenant_id=workspace.tenant_id,
            now=lambda: now,
            papers=PAPERS,
            after_step=stop_at("quarantine", "recorded"),
        )
    return workspace


def closed() -> list[str]:
    """The tenants' databases that let nobody in, by the beginning of their names."""
    with administrator() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE NOT datallowconn AND datname LIKE '%\\_t\\_%'"
        ).fetchall()
    return [name for (name,) in rows]


def test_every_page_opens_and_looking_at_them_opens_no_database(
    client: Any, doomed: Workspace
) -> None:
    answer = send(client, "/portal/sign-in", {"email": doomed.admin_email, "password": PASSWORD})
    assert answer.status_code == 303
    before = closed()
    for page in PAGES:
        assert (page, client.get(f"/portal/{page}").status_code) == (page, 200)
    assert before
    assert closed() == before
