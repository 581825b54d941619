"""Figures that are counted when Prometheus asks: rows by state, and rows that need a person."""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.base.config import settings
from app.base.db import Base, control_session
from app.base.leases import Leased

log = structlog.get_logger(__name__)

_BY_STATE = ("application", "tenant", "invoice", "payment_attempt", "message", "document")


class Backlog(Collector):
    """Counts in the control database; when that is away, the figures are absent, not zero."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """This function will yield rows by state, and parked rows by table."""
        try:
            with control_session() as session:
                states = session.execute(text(_states_query())).all()
                parked = session.execute(
                    text(_parked_query()), {"most": settings().work_attempts_max}
                ).all()
        except SQLAlchemyError as error:
            log.warning("figures.away", error=type(error).__name__)
            return
        by_state = GaugeMetricFamily("tenantry_rows", "Rows by state.", labels=("table", "state"))
        for table, state, count in states:
            by_state.add_metric((table, state), count)
        yield by_state
        waiting = GaugeMetricFamily(
            "tenantry_parked_rows",
            "Rows whose work failed too often and that wait for a person.",
            labels=("table",),
        )
        for table, count in parked:
            waiting.add_metric((table,), count)
        yield waiting


def _states_query() -> str:
    return " UNION ALL ".join(
        f"SELECT '{table}', state, count(*) FROM {table} GROUP BY state"  # noqa: S608 - our own names
        for table in _BY_STATE
    )


def _parked_query() -> str:
    tables = sorted(
        mapper.local_table.description
        for mapper in Base.registry.mappers
        if issubclass(mapper.class_, Leased)
    )
    return " UNION ALL ".join(
        f"SELECT '{table}', count(*) FROM {table} WHERE attempts >= :most"  # noqa: S608 - our own names
        for table in tables
    )
