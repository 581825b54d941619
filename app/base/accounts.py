"""Staff accounts, one-time tokens and the count of failed sign-ins, for every audience."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, delete, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.base import common_passwords, ids, secrets
from app.base.audit import Actor, append
from app.base.config import settings
from app.base.db import Base, Keyed
from app.base.errors import Conflict, Forbidden, Invalid, NotFound

ROLES = ("admin", "sales", "finance", "viewer")
# A whole office may stand behind one address.
ADDRESS_ATTEMPTS_FACTOR = 5


class Staff(Keyed, Base):
    """A person of ours who signs in to the console."""

    __tablename__ = "staff"
    __table_args__ = (
        CheckConstraint("role IN ('admin', 'sales', 'finance', 'viewer')", name="role"),
        Index("uq_staff_email", text("lower(email)"), unique=True),
    )

    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class OneTimeToken(Keyed, Base):
    """A link that works once and expires; only the hash of its secret is stored."""

    __tablename__ = "one_time_token"
    __table_args__ = (Index(None, "subject_id"), Index(None, "expires_at"))

    purpose: Mapped[str]
    subject_id: Mapped[UUID]
    token_hash: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class SignInFailure(Keyed, Base):
    """One failed sign-in; counted in PostgreSQL so that every server sees the same number."""

    __tablename__ = "sign_in_failure"
    __table_args__ = (Index(None, "key_hash", "at"),)

    key_hash: Mapped[str]
    at: Mapped[datetime]


class LinkUsed(Conflict):
    """The link has served its purpose already."""


class LinkExpired(Invalid):
    """The link is too old, or was never ours."""


class TooManyAttempts(Forbidden):
    """This account or address failed to sign in too often."""


class WrongCredentials(Forbidden):
    """The e-mail and the password do not go together."""


class StaffExists(Conflict):
    """Somebody has this e-mail address already."""


class PasswordTooWeak(Invalid):
    """The new password is too short or too common."""


def issue_token(
    *,
    control_session: Session,
    purpose: str,
    subject_id: UUID,
    valid_for: timedelta,
    now: datetime,
) -> str:
    """This function will make a single-use token for one subject and void its earlier ones."""
    control_session.execute(
        delete(OneTimeToken).where(
            OneTimeToken.purpose == purpose,
            OneTimeToken.subject_id == subject_id,
            OneTimeToken.used_at.is_(None),
        )
    )
    token = ids.token()
    control_session.add(
        OneTimeToken(
            purpose=purpose,
            subject_id=subject_id,
            token_hash=secrets.hash_token(token),
            created_at=now,
            expires_at=now + valid_for,
        )
    )
    return token


def peek_token(*, control_session: Session, purpose: str, token: str, now: datetime) -> UUID:
    """This function will return whom a token is for without using it: mail scanners prefetch.

    Raises: LinkExpired, LinkUsed.
    """
    return _token(control_session, purpose, token, now).subject_id


def use_token(*, control_session: Session, purpose: str, token: str, now: datetime) -> UUID:
    """This function will consume a token under a lock and return whom it is for.

    Raises: LinkExpired, LinkUsed.
    """
    row = _token(control_session, purpose, token, now, lock=True)
    row.used_at = now
    return row.subject_id


def _token(
    control_session: Session, purpose: str, token: str, now: datetime, *, lock: bool = False
) -> OneTimeToken:
    query = select(OneTimeToken).where(
        OneTimeToken.purpose == purpose, OneTimeToken.token_hash == secrets.hash_token(token)
    )
    if lock:
        # Read anew: what this session looked at before may have been used meanwhile.
        query = query.with_for_update().execution_options(populate_existing=True)
    row = control_session.scalar(query)
    if row is None or row.expires_at <= now:
        raise LinkExpired("This link has expired. Please ask for a new one.")
    if row.used_at is not None:
        raise LinkUsed("This link was used already.")
    return row


def check_password_strength(password: str, *, email: str = "") -> None:
    """This function will refuse a password that is short, tried first by everybody, or the e-mail.

    Raises: PasswordTooWeak, field `password`.
    """
    shortest = settings().password_length_min
    if len(password) < shortest or len(set(password)) < 4:
        raise PasswordTooWeak(
            "That password is easy to guess. Make it longer, with four different characters.",
            field="password",
        )
    if common_passwords.is_common(password):
        raise PasswordTooWeak(
            "Many people use this password, or one much like it. Choose another, for example of"
            " several words.",
            field="password",
        )
    if email and common_passwords.is_made_of(password, email):
        raise PasswordTooWeak(
            "This password is your e-mail address or a part of it. Choose another.",
            field="password",
        )


def check_attempts(*, control_session: Session, keys: list[str]) -> None:
    """This function will refuse to go on when any key (account, address) failed too often.

    It counts by the real clock, so that moving the application clock opens no door. Guesses at one
    account wait for each other until their transactions end, so that none goes uncounted.

    Raises: TooManyAttempts.
    """
    window = timedelta(minutes=settings().sign_in_window_minutes)
    most = {secrets.hash_token(key): _attempts_max(key) for key in keys}
    for key in sorted(secrets.hash_token(key) for key in keys if not _is_address(key)):
        lock = func.pg_advisory_xact_lock(func.hashtextextended(key, 0))
        control_session.execute(select(lock))
    counted = control_session.execute(
        select(SignInFailure.key_hash, func.count())
        .where(SignInFailure.key_hash.in_(most), SignInFailure.at > func.now() - window)
        .group_by(SignInFailure.key_hash)
    )
    if any(failures >= most[key_hash] for key_hash, failures in counted):
        raise TooManyAttempts("Too many attempts. Please wait a quarter of an hour.")


def _attempts_max(key: str) -> int:
    shared = ADDRESS_ATTEMPTS_FACTOR if _is_address(key) else 1
    return settings().sign_in_attempts_max * shared


def _is_address(key: str) -> bool:
    return key.split(":", 2)[1:2] == ["address"]


def count_failure(*, control_session: Session, keys: list[str]) -> None:
    """This function will remember a failed sign-in for each key, hashed."""
    moment = control_session.scalar(select(func.now()))
    control_session.add_all(
        SignInFailure(key_hash=secrets.hash_token(key), at=moment) for key in keys
    )


def forget_failures(*, control_session: Session, keys: list[str]) -> None:
    """This function will forget the failures of an account after a success.

    Those of its address stay: a stranger with one account of their own could otherwise try one
    password on everybody else's for ever.
    """
    hashes = [secrets.hash_token(key) for key in keys if not _is_address(key)]
    control_session.execute(delete(SignInFailure).where(SignInFailure.key_hash.in_(hashes)))


def add_staff(
    *, control_session: Session, email: str, name: str, role: str, actor: Actor, now: datetime
) -> Staff:
    """This function will add a member of staff who has no password yet.

    Raises: StaffExists; Invalid for an unknown role.
    """
    if role not in ROLES:
        raise Invalid("Choose a role from the list.", field="role")
    address = email.strip()
    if control_session.scalar(select(Staff).where(func.lower(Staff.email) == address.lower())):
        raise StaffExists("Somebody has this e-mail address already.", field="email")
    staff = Staff(email=address, name=name.strip(), role=role, created_at=now)
    control_session.add(staff)
    control_session.flush()
    append(
        control_session=control_session,
        actor=actor,
        action="staff.added",
        subject_kind="staff",
        subject_id=staff.id,
        details={"role": role},
        now=now,
    )
    return staff


def set_staff_password(
    *, control_session: Session, staff_id: UUID, password: str, now: datetime
) -> Staff:
    """This function will set a password after its strength is checked; links not used yet are void.

    Raises: PasswordTooWeak, NotFound.
    """
    staff = control_session.get(Staff, staff_id)
    if staff is None:
        raise NotFound("There is no such account.")
    check_password_strength(password, email=staff.email)
    erase_unused_tokens(control_session=control_session, subject_id=staff_id)
    staff.password_hash = secrets.hash_password(password)
    append(
        control_session=control_session,
        actor=Actor.staff(staff.id),
        action="staff.password_set",
        subject_kind="staff",
        subject_id=staff.id,
        now=now,
    )
    return staff


def authenticate_staff(*, control_session: Session, email: str, password: str) -> Staff:
    """This function will return who signs in.

    Raises: WrongCredentials, the same for an unknown, a disabled and a mistyped one.
    """
    staff = control_session.scalar(
        select(Staff).where(func.lower(Staff.email) == email.strip().lower())
    )
    matches = secrets.password_matches(staff.password_hash if staff else None, password)
    if staff is None or not matches or staff.disabled_at is not None:
        raise WrongCredentials("The e-mail address or the password is wrong.")
    return staff


def set_staff_access(
    *,
    control_session: Session,
    staff_id: UUID,
    actor: Actor,
    now: datetime,
    role: str | None = None,
    disabled: bool | None = None,
) -> Staff:
    """This function will change the role of a member of staff, disable or enable them.

    Ending a disabled person's sessions is the door's part. The last admin can't be removed.

    Raises: NotFound, Conflict, Invalid.
    """
    control_session.execute(select(Staff.id).where(Staff.role == "admin").with_for_update())
    staff = control_session.get(Staff, staff_id)
    if staff is None:
        raise NotFound("There is no such account.")
    if role is not None and role not in ROLES:
        raise Invalid("Choose a role from the list.", field="role")
    leaves_admin = staff.role == "admin" and (disabled or role not in (None, "admin"))
    if leaves_admin and _active_admins(control_session, besides=staff_id) == 0:
        raise Conflict("The last admin can't be removed. Make somebody else an admin first.")
    if role is not None:
        staff.role = role
    if disabled is not None:
        staff.disabled_at = now if disabled else None
    if disabled:
        # A link still lying in a mailbox would open a session that counts once they are back.
        erase_tokens(control_session=control_session, subject_ids=[staff_id])
    append(
        control_session=control_session,
        actor=actor,
        action="staff.access_changed",
        subject_kind="staff",
        subject_id=staff.id,
        details={"role": staff.role, "disabled": staff.disabled_at is not None},
        now=now,
    )
    return staff


def _active_admins(control_session: Session, *, besides: UUID) -> int:
    return (
        control_session.scalar(
            select(func.count()).where(
                Staff.role == "admin", Staff.disabled_at.is_(None), Staff.id != besides
            )
        )
        or 0
    )


def erase_tokens(*, control_session: Session, subject_ids: list[UUID]) -> None:
    """This function will delete every link made for these subjects."""
    control_session.execute(delete(OneTimeToken).where(OneTimeToken.subject_id.in_(subject_ids)))


def erase_unused_tokens(*, control_session: Session, subject_id: UUID) -> None:
    """This function will void the links that a subject has not used: the password is another now.

    An old invitation in a mailbox would otherwise set it once more, for whoever reads that mailbox.
    """
    control_session.flush()
    control_session.execute(
        delete(OneTimeToken).where(
            OneTimeToken.subject_id == subject_id, OneTimeToken.used_at.is_(None)
        )
    )


def erase_expired(*, control_session: Session, now: datetime) -> None:
    """This function will delete links and failure counts that no longer decide anything."""
    control_session.execute(
        delete(OneTimeToken).where(OneTimeToken.expires_at < now - timedelta(days=7))
    )
    window = timedelta(minutes=settings().sign_in_window_minutes)
    control_session.execute(delete(SignInFailure).where(SignInFailure.at < func.now() - window))
