"""What the timetable runs: most moments only make a step look at what has come due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog
from sqlalchemy import text

from app.base import clock
from app.base.config import settings
from app.base.db import control_session, notify, usage_session
from invoices import credit_grants, deferrals, reconciliation, vat_alerts
from tenants import application_erasure, business_status, events, metering, reconcile

log = structlog.get_logger(__name__)

MONTHS_AHEAD = 2


def wake(step_name: str) -> Callable[[datetime, datetime], None]:
    """This function will make a task that tells the dispatcher to run a step now."""

    def task(_due_at: datetime, _now: datetime) -> None:
        with control_session() as session:
            notify(session, step_name)

    task.__name__ = f"wake_{step_name}"
    return task


def list_metering_days(due_at: datetime, _now: datetime) -> None:
    """This function will write down every tenant's day to be read, up to the day before."""
    with control_session() as session:
        metering.due_days(control_session=session, now=due_at)
        notify(session, "metering")


def report_strays(_due_at: datetime, _now: datetime) -> None:
    """This function will compare rows with databases and roles, and report; it drops nothing."""
    with control_session() as session:
        found = reconcile.findings(control_session=session)
    for finding in found:
        log.warning(
            "tenants.stray",
            kind=finding.kind,
            cluster=finding.cluster,
            name=finding.name,
            remedy=finding.remedy,
        )


def keep_visit_partitions(_due_at: datetime, now: datetime) -> None:
    """This function will make this month's partition of visits and the next ones, before need."""
    with control_session() as session:
        for ahead in range(MONTHS_AHEAD + 1):
            session.execute(
                text(
                    "SELECT ensure_month_partition('visit_event'::regclass,"
                    " (date_trunc('month', CAST(:now AS timestamptz))"
                    " + make_interval(months => :ahead))::date)"
                ),
                {"now": now, "ahead": ahead},
            )


def keep_event_partitions(_due_at: datetime, now: datetime) -> None:
    """This function will make this month's partition of events and the next ones, before need."""
    with usage_session() as session:
        events.make_months_ahead(usage_session=session, now=now)


def lapse_credits(_due_at: datetime, now: datetime) -> None:
    """This function will end the credits that have expired, and roll over what is agreed."""
    ended = 1
    while ended:
        with control_session() as session:
            ended = credit_grants.lapse(control_session=session, now=now)


def recognise_revenue(due_at: datetime, now: datetime) -> None:
    """This function will book what of the amounts billed ahead was earned on the day before."""
    day = clock.today(due_at, settings().contract_timezone) - timedelta(days=1)
    with control_session() as session:
        deferrals.recognise(control_session=session, day=day, now=now)


def ask_for_settlements(due_at: datetime, now: datetime) -> None:
    """This function will have the day before held against what each gateway says of it."""
    day = clock.today(due_at, settings().contract_timezone) - timedelta(days=1)
    with control_session() as session:
        reconciliation.ask_all(control_session=session, day=day, now=now)


def tell_tax_deadlines(_due_at: datetime, now: datetime) -> None:
    """This function will write finance of tax papers whose deadline is near, here or past."""
    with control_session() as session:
        vat_alerts.tell(control_session=session, now=now)


def ask_about_businesses(_due_at: datetime, now: datetime) -> None:
    """This function will have the register asked about every business that we deal with."""
    with control_session() as session:
        business_status.ask_all(control_session=session, now=now)


def erase_overdue_applications(_due_at: datetime, now: datetime) -> None:
    """This function will erase unconfirmed and rejected applications whose term is over."""
    erased = 1
    while erased:
        with control_session() as session:
            erased = application_erasure.erase_overdue(control_session=session, now=now)
