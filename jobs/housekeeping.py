"""What is thrown away once it serves nobody: each kind by its own term."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.base import accounts, clock, files, sessions, states
from app.base.audit import AccessEntry, Actor
from app.base.config import settings
from app.base.db import control_session, usage_session
from app.base.errors import TenantryError
from app.base.messages import Message
from app.base.states import Machine
from invoices import bundles, gateway_events
from invoices.models import BUNDLE, CardRegistration, DocumentBundle
from jobs.models import Slot
from tenants import databases, drawings, events, exports, visits
from tenants.databases import Placement
from tenants.models import EXPORT, LIVE_STATES, Tenant, TenantExport

log = structlog.get_logger(__name__)

KEEPER = Actor.job("housekeeping")
SLOT_DAYS = 60
SENT_MESSAGE_DAYS = 180
CARD_REGISTRATION_DAYS = 7
# Longer than any upload or bundle takes to write and to be noted in its row.
REMAINS_AGE = timedelta(days=1)
ROWS_AT_ONCE = 5_000


def keep_house(_due_at: datetime, now: datetime) -> None:
    """This function will throw away what has had its time, each kind in its own transaction."""
    for discard in (
        forget_sessions,
        forget_links,
        forget_access_log,
        forget_visits,
        forget_events,
        forget_messages,
        forget_card_registrations,
        forget_gateway_events,
        forget_slots,
        expire_exports,
        expire_bundles,
        forget_remains,
    ):
        discard(now)


def forget_sessions(_now: datetime) -> None:
    """This function will delete sessions that have run out, by the real clock."""
    with control_session() as session:
        sessions.erase_expired(control_session=session, real_now=clock.real_now())


def forget_links(now: datetime) -> None:
    """This function will delete links that expired and failed sign-ins that no longer count."""
    with control_session() as session:
        accounts.erase_expired(control_session=session, now=now)


def forget_access_log(now: datetime) -> None:
    """This function will delete sign-ins with their addresses once their term is over."""
    oldest = now - timedelta(days=settings().access_log_retention_days)
    with control_session() as session:
        session.execute(delete(AccessEntry).where(AccessEntry.at < oldest))


def forget_visits(now: datetime) -> None:
    """This function will drop the months of visits that are past their retention."""
    with control_session() as session:
        visits.erase_old(control_session=session, now=now)


def forget_events(now: datetime) -> None:
    """This function will drop the months of events that are past their retention."""
    with usage_session() as session:
        events.erase_old(usage_session=session, now=now)


def forget_messages(now: datetime) -> None:
    """This function will delete messages sent long ago; what they said is in the audit trail."""
    with control_session() as session:
        session.execute(
            delete(Message).where(
                Message.state == "sent",
                Message.created_at < now - timedelta(days=SENT_MESSAGE_DAYS),
            )
        )


def forget_card_registrations(now: datetime) -> None:
    """This function will delete card registrations that were begun and left."""
    with control_session() as session:
        session.execute(
            delete(CardRegistration).where(
                CardRegistration.completed_at.is_(None),
                CardRegistration.begun_at < now - timedelta(days=CARD_REGISTRATION_DAYS),
            )
        )


def forget_gateway_events(now: datetime) -> None:
    """This function will delete what gateways told unsigned and what was looked at long ago."""
    with control_session() as session:
        gateway_events.erase_unsigned(control_session=session, now=now)


def forget_slots(now: datetime) -> None:
    """This function will drop slots done long ago; each task's latest is the memory."""
    newest = select(func.max(Slot.due_at)).group_by(Slot.task)
    with control_session() as session:
        session.execute(
            delete(Slot).where(
                Slot.done_at.is_not(None),
                Slot.due_at < now - timedelta(days=SLOT_DAYS),
                Slot.due_at.not_in(newest),
            )
        )


def expire_exports(now: datetime) -> None:
    """This function will delete the files of exports whose term is over; the rows say so."""
    with control_session() as session:
        expired = session.execute(
            select(TenantExport.id, TenantExport.tenant_id, TenantExport.sha256)
            .where(TenantExport.state == "ready", TenantExport.expires_at <= now)
            .order_by(TenantExport.id)
            .with_for_update()
        ).all()
        _expire(session, EXPORT, TenantExport, [row.id for row in expired], now)
    for _, tenant_id, sha256 in expired:
        if sha256 is not None:
            files.delete(prefix=exports.prefix(tenant_id), sha256=sha256)


def expire_bundles(now: datetime) -> None:
    """This function will delete the ZIP files of papers whose term is over."""
    with control_session() as session:
        expired = session.execute(
            select(DocumentBundle.id, DocumentBundle.sha256)
            .where(DocumentBundle.state == "ready", DocumentBundle.expires_at <= now)
            .order_by(DocumentBundle.id)
            .with_for_update()
        ).all()
        _expire(session, BUNDLE, DocumentBundle, [row.id for row in expired], now)
    for _, sha256 in expired:
        if sha256 is not None:
            files.delete(prefix=bundles.PREFIX, sha256=sha256)


def _expire(session: Session, machine: Machine, model: Any, ids: list[UUID], now: datetime) -> None:
    states.move_many(
        control_session=session,
        machine=machine,
        model=model,
        ids=ids,
        to="expired",
        actor=KEEPER,
        now=now,
    )


def forget_remains(_now: datetime) -> None:
    """This function will delete what writers that were killed left in the files, after a day.

    Files are dated by the real clock. One tenant that can't be asked keeps no other's.
    """
    before = clock.real_now() - REMAINS_AGE
    gone = files.erase_parts(before=before)
    for prefix, kept in _made_files():
        for sha256 in files.written_before(prefix=prefix, before=before):
            if sha256 not in kept:
                files.delete(prefix=prefix, sha256=sha256)
                gone += 1
    for place in _places():
        try:
            with databases.tenant_session(place) as tenant_session:
                gone += drawings.sweep_old(tenant_session=tenant_session, before=before)
        except (TenantryError, SQLAlchemyError) as error:
            tenant_id = str(place.tenant_id)
            log.warning("remains.unread", tenant_id=tenant_id, error=type(error).__name__)
    if gone:
        log.info("remains.erased", files=gone)


def _made_files() -> Iterator[tuple[str, set[str | None]]]:
    """Where ZIPs lie, and which are still to be had.

    Its term ends in the row first: a worker that was killed then left the file.
    """
    with control_session() as session:
        papers = session.scalars(
            select(DocumentBundle.sha256).where(DocumentBundle.state == "ready")
        ).all()
        exported = session.execute(
            select(TenantExport.tenant_id, TenantExport.state, TenantExport.sha256)
        ).all()
    yield bundles.PREFIX, set(papers)
    ready: dict[UUID, set[str | None]] = {row.tenant_id: set() for row in exported}
    for row in exported:
        if row.state == "ready":
            ready[row.tenant_id].add(row.sha256)
    for tenant_id, kept in ready.items():
        yield exports.prefix(tenant_id), kept


def _places() -> Iterator[Placement]:
    """Of each tenant who has a database, and files."""
    with control_session() as session:
        found = session.scalars(select(Tenant.id).where(Tenant.state.in_(LIVE_STATES))).all()
    for tenant_id in found:
        if files.is_empty(prefix=drawings.prefix(tenant_id)):
            continue
        try:
            with control_session() as session:
                place = databases.placement(session, tenant_id)
        except TenantryError:
            continue  # it went, or lost its database, meanwhile
        yield place
