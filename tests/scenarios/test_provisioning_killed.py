"""Workers die by SIGKILL anywhere in a run, and each tenant still gets exactly one database."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections import Counter
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from app.base.db import control_session as transaction
from app.base.messages import Message
from tenants import clusters, databases, reconcile
from tenants.models import Cluster, Tenant
from tests import processes
from tests.conftest import Scenario, administrator
from tests.scenarios.killed_worker import BOUNDARIES
from tests.tenants.approved import approve, run_of

pytestmark = pytest.mark.usefixtures("scenario")


def attempt(scenario: Scenario, attempts: list[list[Any]]) -> list[int]:
    done = processes.run(
        *("-m", "tests.scenarios.killed_worker"),
        words=json.dumps(attempts),
        environment=scenario.environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    endings: list[int] = json.loads(done.stdout)
    assert 1 not in endings, done.stderr
    return endings


def assert_whole(tenants: list[UUID]) -> None:
    """Every tenant is on trial with one database, one role, one seat, one mail; nothing is left."""
    with transaction() as session:
        states = session.scalars(select(Tenant.state).where(Tenant.id.in_(tenants))).all()
        assert Counter(states) == {"trialing": len(tenants)}
        assert session.scalar(select(Cluster.reserved)) == len(tenants)
        mails = session.scalars(select(Message.regarding_id).where(Message.kind == "tenant_ready"))
        assert Counter(mails) == dict.fromkeys(tenants, 1)
        assert reconcile.findings(control_session=session) == []
        places = [databases.placement(session, tenant) for tenant in tenants]
    with administrator() as connection:
        ours = clusters.mark("")
        marked_databases = {
            item.name
            for item in clusters.list_databases(connection)
            if (item.comment or "").startswith(ours)
        }
        marked_roles = {
            item.name
            for item in clusters.list_roles(connection)
            if (item.comment or "").startswith(ours)
        }
    assert marked_databases == {place.database for place in places}
    assert marked_roles == {place.role for place in places}
    for place in places:
        with databases.tenant_session(place) as session:
            counts = session.execute(
                text("SELECT (SELECT count(*) FROM member), (SELECT sum(delta) FROM seat_event)")
            ).one()
            assert tuple(counts) == (1, 1)
    for tenant in tenants:
        steps = [entry["step"] for entry in run_of(tenant).steps_done]
        assert steps == list(dict.fromkeys(steps))
        assert len(steps) == 8


class TestAWorkerThatIsKilled:
    def test_at_every_boundary_twice_leaves_a_run_that_completes(
        self, scenario: Scenario, now: datetime
    ) -> None:
        tenants = [approve(now=now) for _ in BOUNDARIES]
        deaths = [
            [str(tenant), boundary, None]
            for tenant, boundary in zip(tenants, range(len(BOUNDARIES)), strict=True)
            for _ in range(2)
        ]
        endings = attempt(scenario, deaths)
        # The very last boundary has nothing after it that could be killed a second time.
        assert endings == [-signal.SIGKILL] * (len(deaths) - 1) + [0]
        assert attempt(scenario, [[str(tenant), None, None] for tenant in tenants]) == [0] * len(
            tenants
        )
        assert_whole(tenants)

    def test_at_any_moment_leaves_a_run_that_completes(
        self, scenario: Scenario, now: datetime
    ) -> None:
        moments = random.Random(20260310)
        tenants = [approve(now=now) for _ in range(8)]
        deaths = [
            [str(tenant), None, moments.uniform(1, 140)] for tenant in tenants for _ in range(2)
        ]
        endings = attempt(scenario, deaths)
        assert -signal.SIGKILL in endings
        assert set(endings) <= {0, -signal.SIGKILL}
        attempt(scenario, [[str(tenant), None, None] for tenant in tenants])
        assert_whole(tenants)


class TestTwoWorkers:
    def test_on_one_run_at_once_make_one_database(self, scenario: Scenario, now: datetime) -> None:
        tenants = [approve(now=now) for _ in range(3)]
        code = (
            "import sys; from uuid import UUID; from app.base import clock;"
            "from app.base.db import control_session; from tenants import provisioning;"
            "print('ready', flush=True); sys.stdin.readline();"
            "[provisioning.advance(transaction=control_session, tenant_id=UUID(t), now=clock.now)"
            " for t in sys.argv[1:]]"
        )
        workers = [
            processes.start(
                *("-c", code, *map(str, tenants)),
                environment=scenario.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            for _ in range(2)
        ]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        ends = [worker.communicate("go\n", timeout=60) for worker in workers]
        assert [worker.returncode for worker in workers] == [0, 0], ends
        assert_whole(tenants)
