"""The default price list in a test's database, at the price of one statement.

Publishing it takes dozens, and hundreds of tests begin with it. So a test process publishes it
once for each moment, and where nothing is published yet it copies the rows that this left.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select, text
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from invoices import catalogue
from invoices.models import Plan

# By table, in the order in which the rows lean on each other.
_LEFT_BEHIND = {
    "plan": "SELECT * FROM plan",
    "plan_version": "SELECT * FROM plan_version",
    "price": "SELECT * FROM price",
    "audit_event": "SELECT * FROM audit_event WHERE subject_kind = 'plan_version'",
}
_COPY = "WITH {} SELECT".format(
    ", ".join(
        f"{table}_copy AS (INSERT INTO {table}"
        f" SELECT * FROM json_populate_recordset(NULL::{table}, CAST(:{table} AS json)))"
        for table in _LEFT_BEHIND
    )
)
_published: dict[datetime, dict[str, str]] = {}


def publish_default(session: Session, *, now: datetime) -> None:
    """This function will see to it that every plan of the default price list is published."""
    if session.scalar(select(exists(select(Plan.code)))):
        catalogue.publish_default(control_session=session, actor=SYSTEM, now=now)
    elif now in _published:
        session.execute(text(_COPY), _published[now])
    else:
        catalogue.publish_default(control_session=session, actor=SYSTEM, now=now)
        _published[now] = {
            table: session.scalar(text(f"SELECT json_agg(t)::text FROM ({rows}) AS t"))
            for table, rows in _LEFT_BEHIND.items()
        }
