"""Who did what, when and why: append-only; the runtime role can neither update nor delete it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.base import bulk, ids
from app.base.db import Base, Keyed


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: staff, admin (a tenant's), api_key, visitor, job or system; `id` is theirs."""

    kind: str
    id: str | None = None

    @classmethod
    def staff(cls, staff_id: UUID) -> Actor:
        """A person of ours."""
        return cls("staff", str(staff_id))

    @classmethod
    def admin(cls, admin_id: UUID) -> Actor:
        """A tenant's administrator."""
        return cls("admin", str(admin_id))

    @classmethod
    def api_key(cls, key_id: UUID) -> Actor:
        """A program of ours, by its key."""
        return cls("api_key", str(key_id))

    @classmethod
    def job(cls, step: str) -> Actor:
        """A step run by the workers."""
        return cls("job", step)


SYSTEM = Actor("system")
VISITOR = Actor("visitor")


class AuditEvent(Keyed, Base):
    """One act or one transition of state. Holds ids and reasons, never personal data."""

    __tablename__ = "audit_event"
    __table_args__ = (
        Index(None, "subject_kind", "subject_id", "at"),
        Index(None, "tenant_id", "at"),
        Index(None, "at"),
    )

    at: Mapped[datetime]
    actor_kind: Mapped[str]
    actor_id: Mapped[str | None]
    action: Mapped[str]
    subject_kind: Mapped[str]
    subject_id: Mapped[str]
    tenant_id: Mapped[UUID | None]
    from_state: Mapped[str | None]
    to_state: Mapped[str | None]
    why: Mapped[str | None]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class AccessEntry(Keyed, Base):
    """A sign-in, a sign-out or a refused one, with address and agent; erased by its own term."""

    __tablename__ = "access_entry"
    __table_args__ = (Index(None, "at"), Index(None, "tenant_id"))

    at: Mapped[datetime]
    event: Mapped[str]
    audience: Mapped[str]
    user_id: Mapped[UUID | None]
    tenant_id: Mapped[UUID | None]
    address: Mapped[str | None]
    agent: Mapped[str | None]


def append(
    *,
    control_session: Session,
    actor: Actor,
    action: str,
    subject_kind: str,
    subject_id: UUID | str,
    now: datetime,
    tenant_id: UUID | None = None,
    from_state: str | None = None,
    to_state: str | None = None,
    why: str | None = None,
    details: dict[str, Any] | None = None,
) -> None:
    """This function will append one line to the audit trail, inside the caller's transaction."""
    control_session.add(
        AuditEvent(
            at=now,
            actor_kind=actor.kind,
            actor_id=actor.id,
            action=action,
            subject_kind=subject_kind,
            subject_id=str(subject_id),
            tenant_id=tenant_id,
            from_state=from_state,
            to_state=to_state,
            why=why,
            details=details or {},
        )
    )


def append_many(
    *,
    control_session: Session,
    actor: Actor,
    machine: str,
    moves: Iterable[tuple[UUID, UUID | None, str | None, str, str | None]],
    now: datetime,
) -> None:
    """This function will append a line for each move of many rows of one machine, by COPY.

    A move is (the row's id, its tenant, from which state, to which, why).
    """
    bulk.copy(
        control_session=control_session,
        table="audit_event",
        columns=(
            *("id", "at", "actor_kind", "actor_id", "action", "subject_kind", "subject_id"),
            *("tenant_id", "from_state", "to_state", "why", "details"),
        ),
        rows=(
            (
                *(ids.uuid7(), now, actor.kind, actor.id, f"{machine}.{to}", machine, str(row_id)),
                *(tenant_id, came_from, to, why, "{}"),
            )
            for row_id, tenant_id, came_from, to, why in moves
        ),
    )
