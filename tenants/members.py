"""Members: the people of one tenant, inside its own database. Each change of seats is an event.

A member holds a seat from invitation until deactivation, so an invited colleague counts.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from app.base import secrets
from app.base.accounts import WrongCredentials
from app.base.audit import Actor
from app.base.errors import Conflict, Invalid, NotFound
from tenants import limits
from tenants.databases import TenantSession
from tenants.schema import Member, MemberActivity, SeatEvent
from tenants.texts import LINK, seen_line

ROLES = ("admin", "member")
NAME_LENGTH_MAX = 60


class SeatsTaken(Conflict):
    """The plan has no seat left; `seats_max` is how many it has."""

    def __init__(self, seats_max: int) -> None:
        super().__init__(
            f"All {seats_max} seats of the plan are taken. Deactivate somebody, or choose a "
            "larger plan in the portal."
        )
        self.seats_max = seats_max


class MemberExists(Conflict):
    """A member has this e-mail address already."""


class LastAdmin(Conflict):
    """Without an admin nobody could let anybody in."""


class NoSuchMember(NotFound):
    """This tenant has no such member."""


class MemberInactive(Conflict):
    """The member was deactivated."""


def invite(
    *,
    tenant_session: TenantSession,
    email: str,
    name: str,
    role: str,
    actor: Actor,
    now: datetime,
) -> Member:
    """This function will give somebody a seat; the link to a password is the door's to send.

    Raises: Invalid naming the field; MemberExists; SeatsTaken telling the limit.
    """
    if role not in ROLES:
        raise Invalid("Choose a role from the list.", field="role")
    member = Member(email=_address(email), name=clean_name(name), role=role, invited_at=now)
    seats_max = limits.lock(tenant_session=tenant_session, key=limits.SEATS)
    known = tenant_session.scalar(
        select(Member).where(func.lower(Member.email) == member.email.lower())
    )
    if known is not None:
        raise MemberExists(
            "A member has this e-mail address already."
            if known.deactivated_at is None
            else "This person was a member before. Give them their seat back in the list.",
            field="email",
        )
    _check_seat_free(tenant_session, seats_max)
    tenant_session.add(member)
    tenant_session.flush()
    _append(tenant_session, member, delta=1, actor=actor, now=now)
    return member


def deactivate(
    *, tenant_session: TenantSession, member_id: UUID, actor: Actor, now: datetime
) -> Member:
    """This function will take a member's seat; a second call changes nothing.

    Ending their sessions is the door's part.

    Raises: NoSuchMember, LastAdmin.
    """
    limits.lock(tenant_session=tenant_session, key=limits.SEATS)
    member = find(tenant_session=tenant_session, member_id=member_id)
    if member.deactivated_at is not None:
        return member
    others = tenant_session.scalar(
        select(func.count()).where(
            Member.role == "admin", Member.deactivated_at.is_(None), Member.id != member.id
        )
    )
    if member.role == "admin" and not others:
        raise LastAdmin("The last admin can't be deactivated. Invite another admin first.")
    member.deactivated_at = now
    _append(tenant_session, member, delta=-1, actor=actor, now=now)
    return member


def reactivate(
    *, tenant_session: TenantSession, member_id: UUID, actor: Actor, now: datetime
) -> Member:
    """This function will give a member their seat back; a second call changes nothing.

    Raises: NoSuchMember, SeatsTaken.
    """
    seats_max = limits.lock(tenant_session=tenant_session, key=limits.SEATS)
    member = find(tenant_session=tenant_session, member_id=member_id)
    if member.deactivated_at is None:
        return member
    _check_seat_free(tenant_session, seats_max)
    member.deactivated_at = None
    _append(tenant_session, member, delta=1, actor=actor, now=now)
    return member


def _check_seat_free(tenant_session: TenantSession, seats_max: int | None) -> None:
    taken = seats_taken(tenant_session=tenant_session)
    if seats_max is not None and taken >= seats_max:
        raise SeatsTaken(seats_max)


def _append(
    tenant_session: TenantSession, member: Member, *, delta: int, actor: Actor, now: datetime
) -> None:
    """The lock on the limit is held: events never run backwards, whatever the clock does."""
    last = tenant_session.execute(
        select(SeatEvent.at, SeatEvent.seats_after).order_by(SeatEvent.id.desc()).limit(1)
    ).first()
    before = last.seats_after if last else 0
    tenant_session.add(
        SeatEvent(
            at=max(now, last.at) if last else now,
            member_id=member.id,
            delta=delta,
            seats_after=before + delta,
            actor=f"{actor.kind}:{actor.id or ''}",
        )
    )
    tenant_session.flush()


def activate(
    *, tenant_session: TenantSession, member_id: UUID, password_hash: str, now: datetime
) -> Member:
    """This function will set the password of somebody who followed their link.

    Raises: NoSuchMember, MemberInactive.
    """
    member = find(tenant_session=tenant_session, member_id=member_id)
    if member.deactivated_at is not None:
        raise MemberInactive("This membership has ended. Ask an admin of your company.")
    _set_password(member, password_hash, now)
    tenant_session.flush()
    return member


def set_password(
    *, tenant_session: TenantSession, email: str, password_hash: str, now: datetime
) -> Member:
    """This function will set a member's password by e-mail: the portal's admins are members too.

    Raises: NoSuchMember.
    """
    member = tenant_session.scalar(
        select(Member).where(func.lower(Member.email) == email.strip().lower())
    )
    if member is None:
        raise NoSuchMember("There is no such member.")
    _set_password(member, password_hash, now)
    tenant_session.flush()
    return member


def _set_password(member: Member, password_hash: str, now: datetime) -> None:
    member.password_hash = password_hash
    member.activated_at = member.activated_at or now


def authenticate(*, tenant_session: TenantSession, email: str, password: str) -> Member:
    """This function will return who signs in.

    Raises: WrongCredentials, the same for an unknown, a deactivated and a mistyped one.
    """
    # PostgreSQL takes no zero byte, and no address has one.
    address = email.strip().lower().replace("\x00", "")
    member = tenant_session.scalar(select(Member).where(func.lower(Member.email) == address))
    matches = secrets.password_matches(member.password_hash if member else None, password)
    if member is None or not matches or member.deactivated_at is not None:
        raise WrongCredentials("The e-mail address or the password is wrong.")
    return member


def note_act(*, tenant_session: TenantSession, member_id: UUID, now: datetime) -> None:
    """This function will write down that a member was active, in the transaction of their act."""
    quarter = now.replace(minute=now.minute - now.minute % 15, second=0, microsecond=0)
    tenant_session.execute(
        insert(MemberActivity)
        .values(member_id=member_id, quarter=quarter)
        .on_conflict_do_nothing(index_elements=["member_id", "quarter"])
    )


def by_email(*, tenant_session: TenantSession, email: str) -> Member | None:
    """This function will return the member with a seat who has this address, or nothing."""
    return tenant_session.scalar(
        select(Member).where(
            func.lower(Member.email) == email.strip().lower(), Member.deactivated_at.is_(None)
        )
    )


def find(*, tenant_session: TenantSession, member_id: UUID) -> Member:
    """This function will return a member, read anew.

    Raises: NoSuchMember.
    """
    member = tenant_session.get(Member, member_id, populate_existing=True)
    if member is None:
        raise NoSuchMember("There is no such member.")
    return member


def list_(*, tenant_session: TenantSession, page: int, page_size: int) -> list[Member]:
    """This function will return a page of members: those with a seat first, then by name."""
    return list(
        tenant_session.scalars(
            select(Member)
            .order_by(
                Member.deactivated_at.is_not(None), func.lower(Member.name), Member.invited_at
            )
            .offset((page - 1) * page_size)
            .limit(page_size)
        )
    )


def count(*, tenant_session: TenantSession) -> int:
    """This function will tell how many members there are and were."""
    return tenant_session.scalar(select(func.count()).select_from(Member)) or 0


def seats_taken(*, tenant_session: TenantSession) -> int:
    """This function will tell how many seats are taken now."""
    return (
        tenant_session.scalar(
            select(func.count()).select_from(Member).where(Member.deactivated_at.is_(None))
        )
        or 0
    )


def _address(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise Invalid("Enter an e-mail address.", field="email") from error


def clean_name(text: str) -> str:
    """This function will return a person's name on one line, without what can't be seen.

    Raises: Invalid, field `name`.
    """
    name = seen_line(text)
    if LINK.search(name):
        raise Invalid("Enter the name without a link.", field="name")
    if not 1 <= len(name) <= NAME_LENGTH_MAX:
        raise Invalid(f"Enter a name of at most {NAME_LENGTH_MAX} characters.", field="name")
    return name
