"""A program of ours that pushes usage: its tenant, its key and its calls."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from app.base import clock
from app.base.db import control_session
from tenants import api_keys
from tests.factories import make_staff, make_tenant

URL = "/api/v1/events"


def make_key(**changes: Any) -> str:
    """This function will make an API key, change its row, and return the secret."""
    with control_session() as session:
        staff = make_staff(session, role="admin")
        key, secret = api_keys.make(
            control_session=session,
            name="render farm",
            scopes=["events:write"],
            staff_id=staff.id,
            now=clock.now(),
        )
        for name, value in changes.items():
            setattr(key, name, value)
    return secret


def make_customer(slug: str = "hanbit") -> UUID:
    """This function will make an active tenant of this short name."""
    with control_session() as session:
        return make_tenant(session, state="active", slug=slug).id


def event(at: datetime | None = None, /, **fields: Any) -> dict[str, Any]:
    """This function will return an event of now that is sound, changed as asked."""
    time = (at or clock.now()).isoformat()
    return {"id": "e1", "tenant": "hanbit", "type": "api.call", "time": time} | fields


def push(client: Any, body: Any, *, key: str | None, **more: Any) -> Any:
    """This function will post a body; bytes and text go as they are, all else as JSON."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if isinstance(body, str | bytes):
        kind = more.pop("content_type", "application/json")
        return client.post(URL, data=body, content_type=kind, headers=headers | more)
    return client.post(URL, json=body, headers=headers | more)
