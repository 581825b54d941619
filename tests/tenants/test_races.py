"""Two at once: the last seat, the last byte, and a payment against an erasure. One wins."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.base.audit import Actor
from app.base.db import control_session
from app.base.errors import Conflict
from tenants import destruction, drawings, lifecycle, members
from tenants.models import Tenant
from tenants.schema import SeatEvent, StorageEvent
from tests.factories import make_tenant
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
DEADLINE_SECONDS = 30


@pytest.fixture
def workspace(scenario: Any, now: datetime) -> Workspace:
    return make_workspace(now=now, limits={"seats": 3, "storage_bytes": 100})


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """This function will run every act in a thread of its own and return results and errors."""
    gate = threading.Barrier(len(acts))
    results: list[Any] = [None] * len(acts)

    def run(place: int) -> None:
        gate.wait(DEADLINE_SECONDS)
        try:
            results[place] = acts[place]()
        except Exception as error:
            results[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
    return results


def test_the_last_seats_are_given_once_each(workspace: Workspace, now: datetime) -> None:
    def invite(number: int) -> Any:
        with workspace.session() as session:
            return members.invite(
                tenant_session=session,
                email=f"m{number}@customer.example",
                name="이름",
                role="member",
                actor=BY,
                now=now + timedelta(microseconds=-number),
            )

    results = at_once([lambda number=number: invite(number) for number in range(6)])
    assert sum(isinstance(result, members.SeatsTaken) for result in results) == 4
    with workspace.session() as session:
        events = session.execute(
            select(SeatEvent.seats_after, SeatEvent.at).order_by(SeatEvent.id)
        ).all()
    assert [event.seats_after for event in events] == [1, 2, 3]
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_the_last_bytes_are_given_once_and_refused_files_leave_nothing(
    workspace: Workspace, now: datetime
) -> None:
    def upload(number: int) -> Any:
        with workspace.session() as session:
            return drawings.upload(
                tenant_session=session,
                name=f"{number}.pdf",
                stream=io.BytesIO(b"%PDF-1.7 " + bytes([65 + number]) * 31),
                member_id=workspace.admin_id,
                actor=BY,
                now=now,
            )

    results = at_once([lambda number=number: upload(number) for number in range(5)])
    assert sum(isinstance(result, drawings.StorageFull) for result in results) == 3
    with workspace.session() as session:
        held = session.scalars(select(StorageEvent.bytes_after).order_by(StorageEvent.id)).all()
        kept = drawings.list_(tenant_session=session, search="", page=1, page_size=10)
        for drawing, _ in kept:
            drawings.open_(tenant_session=session, drawing_id=drawing.id)[1].close()
    assert held == [40, 80]
    root = drawings.files.path(
        prefix=drawings.prefix(workspace.tenant_id), sha256="0" * 64
    ).parents[1]
    assert len([path for path in root.rglob("*") if path.is_file()]) == 2


def test_the_same_bytes_deleted_and_uploaded_at_once_are_never_lost(
    workspace: Workspace, now: datetime
) -> None:
    data = b"%PDF-1.7 same"

    def upload() -> Any:
        with workspace.session() as session:
            return drawings.upload(
                tenant_session=session,
                name="a.pdf",
                stream=io.BytesIO(data),
                member_id=workspace.admin_id,
                actor=BY,
                now=now,
            )

    def delete(drawing: Any) -> Any:
        with workspace.session() as session:
            digest = drawings.delete(
                tenant_session=session, drawing_id=drawing.id, actor=BY, now=now
            )
        with workspace.session() as session:
            return drawings.sweep(tenant_session=session, sha256=digest)

    drawing = upload()
    for _ in range(8):
        removed, drawing = at_once([lambda drawing=drawing: delete(drawing), upload])
        assert not isinstance(removed, Exception)
        with workspace.session() as session:
            _, stream = drawings.open_(tenant_session=session, drawing_id=drawing.id)
            with stream:
                assert stream.read() == data
            held = drawings.bytes_held(tenant_session=session)
        assert held == len(data)


def test_a_conversion_or_the_erasure_wins_and_never_both(scenario: Any, now: datetime) -> None:
    with control_session() as session:
        tenants = [
            make_tenant(session, state="suspended", destroy_after=now, now=now).id
            for _ in range(10)
        ]

    def convert(tenant_id: Any) -> Any:
        with control_session() as session:
            return lifecycle.convert(
                control_session=session,
                tenant_id=tenant_id,
                plan_code="team",
                limits={},
                actor=BY,
                now=now,
            )

    def destroy(tenant_id: Any) -> bool:
        with control_session() as session:
            return destruction.begin(control_session=session, tenant_id=tenant_id, now=now)

    for tenant_id in tenants:
        converted, begun = at_once(
            [
                lambda tenant_id=tenant_id: convert(tenant_id),
                lambda tenant_id=tenant_id: destroy(tenant_id),
            ]
        )
        with control_session() as session:
            state = session.scalars(select(Tenant.state).where(Tenant.id == tenant_id)).one()
        assert state == ("destroying" if begun is True else "active")
        assert isinstance(converted, Conflict) == (begun is True)
