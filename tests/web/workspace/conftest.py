"""A tenant with a database of its own and its members, seen from the outside."""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any

import pytest

from app.base import clock
from tests.factories import PASSWORD
from tests.web.forms import send
from tests.workspaces import Workspace, make_workspace

SIGN_IN = "/workspace/sign-in"
DXF = b"  0\r\nSECTION\r\n  2\r\nHEADER\r\n"


@pytest.fixture
def workspace(app: Any, now: datetime) -> Workspace:
    clock.set_now(now)
    return make_workspace(now=now, limits={"seats": 3, "storage_bytes": 1_000})


@pytest.fixture
def other(app: Any, now: datetime, workspace: Workspace) -> Workspace:
    return make_workspace(
        now=now,
        limits={"seats": 3, "storage_bytes": 1_000},
        admin_email=workspace.admin_email,
    )


def enter(client: Any, workspace: Workspace, /, **fields: str) -> Any:
    """This function will sign a member in (by default the administrator) and return the answer."""
    values = {
        "workspace": workspace.slug,
        "email": workspace.admin_email,
        "password": PASSWORD,
    }
    return send(client, SIGN_IN, values | fields)


def upload(client: Any, data: bytes = DXF, name: str = "part.dxf") -> Any:
    """This function will upload one file by the form."""
    return send(client, "/workspace/drawings", {"file": (io.BytesIO(data), name)})


@pytest.fixture
def admin(app: Any, workspace: Workspace) -> Any:
    client = app.test_client()
    assert enter(client, workspace).status_code == 303
    return client
