"""The clock is set back by a day and by a month, then goes on: nothing happens twice or never."""

from __future__ import annotations

import io
import smtplib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.invariants import offences
from app.base.messages import Message
from app.cli.check import all_invariants
from invoices.models import Invoice, LedgerEntry, Payment
from jobs import timetable
from jobs.models import Slot
from jobs.registry import all_steps
from jobs.steps import settle_each
from jobs.timetable import TIMETABLE, Entry
from tenants import drawings, members
from tenants.models import MeteringDay, Reading, Tenant
from tests.conftest import Scenario
from tests.factories import NOW, REGISTRATION_NUMBERS, make_subscription
from tests.invoices.collecting import charges, gateway_at, register_card
from tests.jobs.catcher import catching
from tests.sandbox.running import RunningSandbox
from tests.web.forms import sign_in_staff
from tests.web.workspace.conftest import DXF
from tests.workspaces import Workspace, make_workspace

DAY = timedelta(days=1)
# Papers are printed in other tests; here only what must happen by date.
STEPS = [name for name in all_steps() if name not in ("documents", "timetable")]


class Life:
    """A system whose every timed task is counted, and everything that it has written so far."""

    def __init__(self) -> None:
        self.runs: Counter[tuple[str, datetime]] = Counter()
        self._entries = tuple(replace(entry, run=self._counted(entry)) for entry in TIMETABLE)

    def _counted(self, entry: Entry) -> Any:
        def run(due_at: datetime, now: datetime) -> None:
            self.runs[entry.task, due_at] += 1
            entry.run(due_at, now)

        return run

    def at(self, moment: datetime, *, steps: list[str] = STEPS) -> None:
        """This function will set the clock and do everything that is due then."""
        clock.set_now(moment)
        with control_session() as session:
            timetable.enumerate_slots(
                control_session=session, now=clock.now(), entries=self._entries
            )
        while settle_each(
            step="timetable",
            model=Slot,
            due=Slot.done_at.is_(None),
            perform_one=lambda key: timetable.run_slot(key, entries=self._entries),
            limit=100,
            order_by=Slot.due_at,
        ):
            continue
        for _round in range(2):  # what one step made due for another before it
            for name in steps:
                while all_steps()[name].work():
                    continue

    def written(self) -> dict[str, Any]:
        """How often each task ran, how many rows there are, and what every day was read as."""
        counted = (Slot, Invoice, Payment, LedgerEntry, MeteringDay, Message)
        with control_session() as session:
            rows = {
                model.__tablename__: session.scalar(select(func.count()).select_from(model))
                for model in counted
            }
            readings = session.execute(
                select(Reading.day, Reading.meter, Reading.quantity, Reading.taken_at).order_by(
                    Reading.day, Reading.meter
                )
            )
            return rows | {"readings": readings.all(), "runs": dict(self.runs)}


@pytest.fixture
def sandbox(tmp_path: Path, scenario: Scenario) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path / "sandbox") as running:
        yield running


@pytest.fixture
def customer(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A workspace whose company subscribed today and pays by card."""
    with catching() as (_caught, port):
        monkeypatch.setattr("jobs.messages._smtp", _server_at(port))
        clock.set_now(NOW)
        workspace = make_workspace(now=NOW, limits={"seats": 50, "storage_bytes": 10**9})
        with control_session() as session:
            tenant = session.get_one(Tenant, workspace.tenant_id)
            tenant.state, tenant.converted_at = "active", NOW
            tenant.billing_profile = {"registration_number": REGISTRATION_NUMBERS[0]}
            register_card(session, tenant)
            make_subscription(session, tenant=tenant)
        yield workspace


def _server_at(port: int) -> Any:
    return lambda: smtplib.SMTP("127.0.0.1", port, local_hostname="tests", timeout=10)


def work_inside(workspace: Workspace, number: int) -> None:
    """Somebody is invited and a drawing stored, by whatever the clock says."""
    with workspace.session() as session:
        member = members.invite(
            tenant_session=session,
            email=f"member-{number}@customer.example",
            name="동료",
            role="member",
            actor=SYSTEM,
            now=clock.now(),
        )
        drawings.upload(
            tenant_session=session,
            name=f"{number}.dxf",
            stream=io.BytesIO(DXF + bytes([number])),
            member_id=member.id,
            actor=SYSTEM,
            now=clock.now(),
        )


class TestAClockSetBack:
    def test_repeats_nothing_and_goes_on_where_it_was(
        self, client: Any, customer: Workspace, sandbox: RunningSandbox
    ) -> None:
        life = Life()
        for days in (0, 30):
            life.at(NOW + days * DAY)
        sign_in_staff(client, "admin")
        # The second month's bill is issued, and not collected yet.
        latest = NOW + 31 * DAY
        life.at(latest, steps=["metering", "invoicing"])
        before = life.written()
        assert before["invoice"] == 2
        assert before["payment"] == 1

        for back in (latest - DAY, latest - 31 * DAY):
            life.at(back)
            assert life.written() == before
            for page in ("/console/invoices", "/console/attention", "/console/review", "/"):
                assert client.get(page).status_code == 200
            work_inside(customer, back.day)
            life.at(back + timedelta(hours=2))
            assert life.written() == before

        life.at(latest + timedelta(hours=1))
        for days in (32, 62):
            life.at(NOW + days * DAY)
        assert set(life.runs.values()) == {1}
        self.assert_every_day_came_once(life)
        self.assert_billed_once(sandbox, customer.tenant_id)

    def assert_every_day_came_once(self, life: Life) -> None:
        days = sorted(due_at for task, due_at in life.runs if task == "metering_days")
        assert [later - sooner for sooner, later in pairwise(days)] == [DAY] * 62
        with control_session() as session:
            read = session.scalars(
                select(Reading.day).where(Reading.meter == "seats").order_by(Reading.day)
            ).all()
        first = NOW.date()
        assert list(read) == [first + number * DAY for number in range(62)]

    def assert_billed_once(self, sandbox: RunningSandbox, tenant_id: UUID) -> None:
        with control_session() as session:
            bills = session.scalars(
                select(Invoice).where(Invoice.tenant_id == tenant_id).order_by(Invoice.number)
            ).all()
            assert [bill.state for bill in bills] == ["paid"] * 3
            assert [len(charges(sandbox, bill)) for bill in bills] == [1, 1, 1]
            for invariant in all_invariants():
                found = offences(control_session=session, invariant=invariant, now=clock.now())
                assert found == [], invariant.name
