"""API keys: made, rotated and revoked by an admin; a program of ours signs in with one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base import audit, ids, secrets
from app.base.audit import Actor
from app.base.errors import Conflict, Forbidden, Invalid, NotFound
from tenants.api_key_models import ApiKey

SCOPES = (
    "events:write",
    "events:correct",
    "usage:read",
    "entitlements:read",
    "invoices:read",
)
# How long an old secret may go on working after its rotation, in hours.
OVERLAPS_HOURS = (0, 24, 168, 720)
NAME_LENGTH_MAX = 60
# When a key was last used is written down this often, so that calls don't queue up on its row.
USE_NOTED_EVERY = timedelta(minutes=5)


class KeyUnfit(Invalid):
    """A key is asked for without a name, or for something nobody may do."""


class NoSuchKey(NotFound):
    """There is no key of that id."""


class KeyRefused(Forbidden):
    """A secret is unknown, over or revoked."""


class ScopeMissing(Forbidden):
    """The key is good, but not for this."""


_REFUSED = "This API key is unknown, over or revoked. Ask an admin for another."


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as a key tells: enough to answer the next calls without asking again."""

    id: UUID
    prefix: str
    scopes: frozenset[str]
    expires_at: datetime | None

    def is_over(self, now: datetime) -> bool:
        """This function will tell whether a rotated key's time is up."""
        return self.expires_at is not None and self.expires_at <= now


class KeyOver(Conflict):
    """A key that no longer works, or was rotated before, can't be rotated."""


def listed(*, control_session: Session) -> list[ApiKey]:
    """This function will return every key there ever was, newest first."""
    return list(control_session.scalars(select(ApiKey).order_by(ApiKey.id.desc())))


def state(key: ApiKey, now: datetime) -> str:
    """This function will say what a key is worth: active, expiring, expired or revoked."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "active"
    return "expiring" if key.expires_at > now else "expired"


def make(
    *,
    control_session: Session,
    name: str,
    scopes: Sequence[str],
    staff_id: UUID,
    now: datetime,
) -> tuple[ApiKey, str]:
    """This function will make a key and return it with its secret, which is kept nowhere.

    Raises: KeyUnfit.
    """
    name = " ".join(name.split())
    if not 1 <= len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise KeyUnfit("Give the key a name of at most 60 characters.", field="name")
    if not scopes or not set(scopes) <= set(SCOPES):
        raise KeyUnfit("Choose what the key may do.", field="scopes")
    key, secret = _new(name=name, scopes=sorted(set(scopes)), staff_id=staff_id, now=now)
    control_session.add(key)
    control_session.flush()
    _note(control_session, key, "api_key.made", staff_id, now, scopes=key.scopes)
    return key, secret


def _new(
    *, name: str, scopes: list[str], staff_id: UUID, now: datetime, rotated_from: UUID | None = None
) -> tuple[ApiKey, str]:
    prefix = f"tk_{ids.opaque(10)}"
    secret = f"{prefix}_{ids.token()}"
    key = ApiKey(
        name=name,
        prefix=prefix,
        secret_sha256=secrets.hash_token(secret),
        scopes=scopes,
        created_by=staff_id,
        created_at=now,
        rotated_from=rotated_from,
    )
    return key, secret


def rotate(
    *,
    control_session: Session,
    key_id: UUID,
    overlap_hours: int,
    staff_id: UUID,
    now: datetime,
) -> tuple[ApiKey, str]:
    """This function will give a key a successor; the old secret works until the overlap ends.

    Raises: NoSuchKey, KeyOver, KeyUnfit.
    """
    if overlap_hours not in OVERLAPS_HOURS:
        raise KeyUnfit("Choose how long the old secret goes on working.", field="overlap")
    old = _locked(control_session, key_id)
    successor = control_session.scalar(select(ApiKey.id).where(ApiKey.rotated_from == key_id))
    if state(old, now) not in ("active", "expiring") or successor is not None:
        raise KeyOver("This key is over or was rotated before. Rotate its successor, or make one.")
    ends = now + timedelta(hours=overlap_hours)
    old.expires_at = min(old.expires_at, ends) if old.expires_at else ends
    key, secret = _new(
        name=old.name, scopes=old.scopes, staff_id=staff_id, now=now, rotated_from=old.id
    )
    control_session.add(key)
    control_session.flush()
    _note(control_session, old, "api_key.rotated", staff_id, now, overlap_hours=overlap_hours)
    return key, secret


def revoke(*, control_session: Session, key_id: UUID, staff_id: UUID, now: datetime) -> None:
    """This function will end a key at once; a key that is revoked already stays so.

    Raises: NoSuchKey.
    """
    key = _locked(control_session, key_id)
    if key.revoked_at is None:
        key.revoked_at = now
        _note(control_session, key, "api_key.revoked", staff_id, now)


def _locked(control_session: Session, key_id: UUID) -> ApiKey:
    key = control_session.get(ApiKey, key_id, with_for_update=True, populate_existing=True)
    if key is None:
        raise NoSuchKey("There is no such key.")
    return key


def _note(
    control_session: Session,
    key: ApiKey,
    action: str,
    staff_id: UUID,
    now: datetime,
    **details: object,
) -> None:
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action=action,
        subject_kind="api_key",
        subject_id=key.id,
        now=now,
        details={"prefix": key.prefix, **details},
    )


def recognise(*, control_session: Session, secret: str, now: datetime) -> Caller:
    """This function will find who calls with a secret, and note that the key was used.

    Raises: KeyRefused.
    """
    key = control_session.scalar(
        select(ApiKey).where(ApiKey.secret_sha256 == secrets.hash_token(secret))
    )
    if key is None or key.revoked_at is not None:
        raise KeyRefused(_REFUSED)
    caller = Caller(key.id, key.prefix, frozenset(key.scopes), key.expires_at)
    if not caller.is_over(now):
        _note_use(control_session, key, now)
    return caller


def allow(*, caller: Caller, scope: str, now: datetime) -> None:
    """This function will see that a key is good at this moment, and for this.

    Raises: KeyRefused, ScopeMissing.
    """
    if caller.is_over(now):
        raise KeyRefused(_REFUSED)
    if scope not in caller.scopes:
        raise ScopeMissing(f"This API key lacks the scope {scope}. Ask an admin for one with it.")


def _note_use(control_session: Session, key: ApiKey, now: datetime) -> None:
    """When a key was last used, to within a few minutes."""
    before = now - USE_NOTED_EVERY
    if key.last_used_at is None or key.last_used_at < before:
        control_session.execute(
            update(ApiKey)
            .where(ApiKey.id == key.id)
            .where(ApiKey.last_used_at.is_(None) | (ApiKey.last_used_at < before))
            .values(last_used_at=now)
            .execution_options(synchronize_session=False)
        )
