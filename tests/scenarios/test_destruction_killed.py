"""Workers die by SIGKILL anywhere in a destruction; nothing half destroyed is called destroyed."""

from __future__ import annotations

import json
import signal
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update

from app.base.db import control_session
from app.base.messages import Message
from tenants import clusters, destruction, reconcile
from tenants.models import Cluster, DestructionRun, Erasure, Tenant
from tests import processes
from tests.conftest import Scenario, administrator
from tests.scenarios.killed_destroyer import BOUNDARIES
from tests.workspaces import Workspace, end_trial_and_retention, make_workspace


def attempt(scenario: Scenario, attempts: list[list[Any]]) -> list[int]:
    done = processes.run(
        *("-m", "tests.scenarios.killed_destroyer"),
        words=json.dumps(attempts),
        environment=scenario.environment,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    endings: list[int] = json.loads(done.stdout)
    assert 1 not in endings, done.stderr
    return endings


def condemn(now: datetime) -> Workspace:
    workspace = make_workspace(now=now - timedelta(days=120))
    end_trial_and_retention(workspace, now=now)
    with control_session() as session:
        assert destruction.begin(control_session=session, tenant_id=workspace.tenant_id, now=now)
        session.execute(update(Message).values(state="sent"))
    return workspace


def state_of(workspace: Workspace) -> str:
    with control_session() as session:
        return session.scalars(select(Tenant.state).where(Tenant.id == workspace.tenant_id)).one()


def assert_gone(doomed: list[Workspace]) -> None:
    """Nothing of them is on the cluster or counted there; each has one line in the ledger."""
    ids = [workspace.tenant_id for workspace in doomed]
    with control_session() as session:
        assert session.scalar(select(func.sum(Cluster.reserved))) == 0
        lines = session.scalars(select(Erasure.subject_id)).all()
        assert sorted(lines) == sorted(ids)
        runs = session.scalars(select(DestructionRun)).all()
        assert {run.tenant_id for run in runs} == set(ids)
        for run in runs:
            assert [entry["step"] for entry in run.steps_done] == list(destruction.STEPS)
        assert reconcile.findings(control_session=session) == []
    ours = clusters.mark("")
    with administrator() as connection:
        left = [*clusters.list_databases(connection), *clusters.list_roles(connection)]
    assert not [
        item.name
        for item in left
        if (item.comment or "").startswith(ours) and "template" not in (item.comment or "")
    ]


class TestADestroyerThatIsKilled:
    def test_at_every_boundary_twice_leaves_a_run_that_completes_once(
        self, scenario: Scenario, now: datetime, set_clock: Any
    ) -> None:
        set_clock(now)
        doomed = [condemn(now) for _ in BOUNDARIES]
        plan = list(zip(doomed, range(len(BOUNDARIES)), strict=True))
        deaths = [[str(one.tenant_id), place, False] for one, place in plan for _ in range(2)]
        endings = attempt(scenario, deaths)
        # The second worker on the last boundary finds a run that is finished: nothing to die at.
        assert endings == [-signal.SIGKILL] * (len(deaths) - 1) + [0]
        for workspace in doomed[:-2]:
            assert state_of(workspace) == "destroying"
        rest = attempt(scenario, [[str(one.tenant_id), None, False] for one in doomed])
        assert rest == [0] * len(doomed)
        assert {state_of(workspace) for workspace in doomed} == {"destroyed"}
        assert_gone(doomed)

    def test_within_the_transaction_of_any_step_leaves_it_to_be_done_again(
        self, scenario: Scenario, now: datetime, set_clock: Any
    ) -> None:
        set_clock(now)
        performed = [place for place, (_, what) in enumerate(BOUNDARIES) if what == "performed"]
        doomed = [condemn(now) for _ in performed]
        deaths = [
            [str(one.tenant_id), place, True] for one, place in zip(doomed, performed, strict=True)
        ]
        assert attempt(scenario, deaths) == [-signal.SIGKILL] * len(deaths)
        assert {state_of(workspace) for workspace in doomed} == {"destroying"}
        rest = attempt(scenario, [[str(one.tenant_id), None, False] for one in doomed])
        assert rest == [0] * len(doomed)
        assert_gone(doomed)
