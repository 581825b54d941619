"""State machines: one table of moves each, one function that makes a move and writes it down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, text
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Conflict


class IllegalMove(Conflict):
    """The thing is in a state from which it can't be moved there."""


@dataclass(frozen=True)
class Machine:
    """A state machine: `moves` from each state, `wakes` the step that a new state makes due."""

    name: str
    moves: Mapping[str, frozenset[str]]
    wakes: Mapping[str, str] = field(default_factory=dict)

    @property
    def states(self) -> tuple[str, ...]:
        """Every state, in the order of the table."""
        return tuple(self.moves)

    def check(self) -> CheckConstraint:
        """This function will return the database's own guard over the names of states."""
        names = ", ".join(f"'{state}'" for state in self.states)
        return CheckConstraint(f"state IN ({names})", name="state")

    def sources(self, to: str) -> list[str]:
        """This function will list the states from which `to` may be reached."""
        return [state for state, targets in self.moves.items() if to in targets]


def machine(
    name: str, moves: Mapping[str, Iterable[str]], *, wakes: Mapping[str, str] | None = None
) -> Machine:
    """This function will build a machine from `{state: (next, …)}`.

    Raises: ValueError when a move leads to a state that the table does not list.
    """
    table = {state: frozenset(targets) for state, targets in moves.items()}
    unknown = {target for targets in table.values() for target in targets} - table.keys()
    if unknown:
        raise ValueError(f"{name}: moves lead to unknown states {sorted(unknown)}")
    return Machine(name, table, dict(wakes or {}))


def begin(
    *,
    control_session: Session,
    machine: Machine,
    row: Any,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> None:
    """This function will write down the birth of a row that is already in its first state."""
    control_session.add(row)
    control_session.flush()
    _write(
        control_session=control_session,
        machine=machine,
        row=row,
        actor=actor,
        now=now,
        came_from=None,
        to=row.state,
        why=why,
    )


def move(
    *,
    control_session: Session,
    machine: Machine,
    row: Any,
    to: str,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    values: Mapping[str, Any] | None = None,
    key_share: bool = False,
) -> None:
    """This function will lock a row, check the move, make it and append who, when and why.

    The row is read again under its lock, so a decision taken on an old copy is refused.
    `values` are columns written in the same statement, where a CHECK pairs them with the state.
    `key_share` lets others go on writing rows that name this one: for whoever would otherwise wait
    for them while they wait for it.

    Raises: IllegalMove when the state it is in now does not lead there.
    """
    control_session.flush()
    control_session.refresh(row, with_for_update={"key_share": True} if key_share else True)
    came_from = row.state
    if to not in machine.moves[came_from]:
        raise IllegalMove(f"This {machine.name} is {came_from}; it can't become {to}.")
    for column, value in {**(values or {}), "state": to}.items():
        setattr(row, column, value)
    control_session.flush()
    _write(
        control_session=control_session,
        machine=machine,
        row=row,
        actor=actor,
        now=now,
        came_from=came_from,
        to=to,
        why=why,
    )


def _write(
    *,
    control_session: Session,
    machine: Machine,
    row: Any,
    actor: Actor,
    now: datetime,
    came_from: str | None,
    to: str,
    why: str | None,
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=f"{machine.name}.{to}",
        subject_kind=machine.name,
        subject_id=row.id,
        tenant_id=row.id if machine.name == "tenant" else getattr(row, "tenant_id", None),
        from_state=came_from,
        to_state=to,
        why=why,
        now=now,
    )
    if to in machine.wakes:
        notify(control_session, machine.wakes[to])


def move_many(
    *,
    control_session: Session,
    machine: Machine,
    model: Any,
    ids: Sequence[UUID],
    to: str,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> list[UUID]:
    """This function will move a set of rows in one statement, audit lines included.

    Rows whose state does not lead to `to` are left alone; the ids that moved are returned.
    """
    if not ids:
        return []
    control_session.flush()
    table = model.__tablename__
    tenant = (
        "id"
        if machine.name == "tenant"
        else "tenant_id"
        if hasattr(model, "tenant_id")
        else "NULL::uuid"
    )
    moved = control_session.execute(
        text(
            f"""
            WITH old AS (
                SELECT id, state, {tenant} AS tenant_id FROM {table}
                WHERE id = ANY(:ids) AND state = ANY(:sources) ORDER BY id FOR UPDATE
            ), moved AS (
                UPDATE {table} t SET state = :to FROM old WHERE t.id = old.id RETURNING t.id
            ), written AS (
                INSERT INTO audit_event (id, at, actor_kind, actor_id, action, subject_kind,
                    subject_id, tenant_id, from_state, to_state, why, details)
                SELECT uuidv7(), :now, :actor_kind, :actor_id, :action, :name,
                    old.id::text, old.tenant_id, old.state, :to, :why, '{{}}'::jsonb
                FROM old JOIN moved USING (id)
            )
            SELECT id FROM moved
            """  # noqa: S608 - table and column names come from our own models
        ),
        {
            "ids": list(ids),
            "sources": machine.sources(to),
            "to": to,
            "now": now,
            "actor_kind": actor.kind,
            "actor_id": actor.id,
            "action": f"{machine.name}.{to}",
            "name": machine.name,
            "why": why,
        },
    ).scalars()
    found = list(moved)
    control_session.expire_all()
    if found and to in machine.wakes:
        notify(control_session, machine.wakes[to])
    return found
