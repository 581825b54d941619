"""Server-side sessions: PostgreSQL holds them, a cache in front may only ever be stale for reads.

One row serves one audience (staff, portal, workspace) and, for the latter two, one tenant.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Index, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.base import ids, secrets
from app.base.config import settings
from app.base.db import Base


class WebSession(Base):
    """A signed-in browser; the cookie's value is stored only as its hash."""

    __tablename__ = "web_session"
    __table_args__ = (Index(None, "user_id"), Index(None, "tenant_id"), Index(None, "expires_at"))

    id_hash: Mapped[str] = mapped_column(primary_key=True)
    audience: Mapped[str]
    user_id: Mapped[UUID]
    tenant_id: Mapped[UUID | None]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    absolute_expires_at: Mapped[datetime]


class SessionCacheEpoch(Base):
    """One row: sessions cached before the current epoch are worth nothing any more.

    Raised when a session ended while the cache could not be told, so that the cache's return
    brings no dead session back.
    """

    __tablename__ = "session_cache_epoch"

    id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]


def cache_epoch(*, control_session: Session) -> int:
    """This function will return the epoch that cached sessions must carry."""
    return control_session.scalar(select(SessionCacheEpoch.epoch)) or 0


def distrust_cache(*, control_session: Session) -> None:
    """This function will make every session cached so far worthless."""
    control_session.execute(
        insert(SessionCacheEpoch)
        .values(id=1, epoch=1)
        .on_conflict_do_update(index_elements=["id"], set_={"epoch": SessionCacheEpoch.epoch + 1})
    )


def open_session(
    *,
    control_session: Session,
    audience: str,
    user_id: UUID,
    tenant_id: UUID | None,
    real_now: datetime,
) -> tuple[str, WebSession]:
    """This function will begin a session and return its secret (for the cookie) and its row.

    A session is always new at sign-in, so an id planted before it is worth nothing.
    """
    token = ids.token()
    row = WebSession(
        id_hash=secrets.hash_token(token),
        audience=audience,
        user_id=user_id,
        tenant_id=tenant_id,
        data={},
        created_at=real_now,
        seen_at=real_now,
        expires_at=real_now + timedelta(minutes=settings().session_idle_minutes),
        absolute_expires_at=real_now + timedelta(hours=settings().session_absolute_hours),
    )
    control_session.add(row)
    control_session.flush()
    return token, row


def load(
    *, control_session: Session, token: str, audience: str, real_now: datetime
) -> WebSession | None:
    """This function will return the live session behind a cookie, or nothing."""
    row = control_session.get(WebSession, secrets.hash_token(token))
    if row is None or row.audience != audience:
        return None
    if min(row.expires_at, row.absolute_expires_at) <= real_now:
        return None
    return row


def end(*, control_session: Session, id_hashes: list[str]) -> None:
    """This function will end sessions for good."""
    control_session.execute(delete(WebSession).where(WebSession.id_hash.in_(id_hashes)))


def end_all(
    *,
    control_session: Session,
    user_id: UUID | None = None,
    tenant_id: UUID | None = None,
    audience: str | None = None,
) -> list[str]:
    """This function will end every session of a user or of a tenant; it returns their hashes.

    Raises: ValueError when neither is named, so that a slip never signs everybody out.
    """
    if user_id is None and tenant_id is None:
        raise ValueError("name a user or a tenant")
    query = select(WebSession.id_hash)
    if user_id is not None:
        query = query.where(WebSession.user_id == user_id)
    if tenant_id is not None:
        query = query.where(WebSession.tenant_id == tenant_id)
    if audience is not None:
        query = query.where(WebSession.audience == audience)
    hashes = list(control_session.scalars(query))
    end(control_session=control_session, id_hashes=hashes)
    return hashes


def erase_expired(*, control_session: Session, real_now: datetime) -> None:
    """This function will delete sessions that have run out."""
    control_session.execute(delete(WebSession).where(WebSession.expires_at < real_now))
