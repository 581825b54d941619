"""`flask bench billing`: a billing run over very many subscriptions, beside a bare one.

The floor is the same chunk of work with every amount known beforehand: read the chunk's rows, COPY
the very rows that our run has just written into a second database that was a copy of the first.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from sqlalchemy import text

from app.base import installation
from app.base.audit import SYSTEM
from app.base.db import APP_ROLE, close_connections, control_session, role_url, usage_session
from app.cli import bench_scratch
from invoices import catalogue, invoicing
from invoices.charges import Charge
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants import meters, rollups
from tenants.meter_definitions import MeterDefinition, read

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
ROWS = Path(__file__).with_name("bench_billing.sql")
EVENTS = Path(__file__).with_name("bench_billing_usage.sql")
TENANTS_AT_ONCE = 2_500
EVENTS_EACH, EVENTS_FEW = 100, 20
Scratch = Callable[[], AbstractContextManager[str]]
REPEATED = 5
# What the floor reads of a chunk: what a bill can't be made without.
READS = (
    "SELECT s.*, t.* FROM subscription s JOIN tenant t ON t.id = s.tenant_id"
    " WHERE s.id = ANY(%(ids)s) FOR UPDATE OF s",
    "SELECT * FROM subscription_item WHERE subscription_id = ANY(%(ids)s)",
    "SELECT r.* FROM reading r WHERE r.tenant_id IN (SELECT tenant_id FROM subscription"
    " WHERE id = ANY(%(ids)s)) AND r.day >= '2026-02-01' AND r.day < '2026-03-01'",
    "SELECT r.* FROM usage_rollup r WHERE r.tenant_id IN (SELECT tenant_id FROM subscription"
    " WHERE id = ANY(%(ids)s)) AND r.hour >= '2026-01-31 15:00+00'"
    " AND r.hour < '2026-02-28 15:00+00'",
)
# What a chunk writes, by the invoices of it, in the order in which keys allow it.
WRITES = (
    ("invoice_line", "invoice_id = ANY(%(ids)s)"),
    ("invoice", "id = ANY(%(ids)s)"),
    ("billed_span", "invoice_id = ANY(%(ids)s)"),
    ("usage_total", "invoice_id = ANY(%(ids)s)"),
    ("ledger_entry", "cause_id = ANY(%(ids)s)"),
    ("deferral", "invoice_id = ANY(%(ids)s)"),
    ("ledger_line", "entry_id IN (SELECT id FROM ledger_entry WHERE cause_id = ANY(%(ids)s))"),
    ("document", "subject_id = ANY(%(ids)s)"),
    ("message", "dedupe_key = ANY(%(mails)s)"),
    ("audit_event", "subject_id = ANY(%(texts)s) AND subject_kind = 'invoice'"),
)
TRUNCATED = (
    "invoice, invoice_line, billed_span, usage_total, deferral, ledger_entry, ledger_line,"
    " document, message, audit_event, number_series"
)


@dataclass(frozen=True, slots=True)
class Run:
    """How long the chunks of a run took in seconds, ours and bare, and the memory it reached."""

    invoices: int
    ours: tuple[float, ...]
    floor: tuple[float, ...]
    peak_bytes: int

    @property
    def each_ms(self) -> float:
        """Milliseconds an invoice."""
        return sum(self.ours) / self.invoices * 1000


def fill(database: str, *, subscriptions: int, events: int, analysed: bool = True) -> None:
    """This function will write subscriptions with one bill of five lines due on 1 March 2026.

    `events` are pushed by each tenant, and rolled up. Not `analysed` leaves the statistics as they
    are where nothing was ever due.
    """
    with installation.administrator(database=database) as connection:
        connection.execute("ANALYZE")
        before = bench_scratch.sizes(connection)
    _publish()
    with installation.administrator(database=database) as connection:
        connection.execute(
            "SELECT set_config('bench.subscriptions', %s, false), set_config('bench.events', %s,"
            " false), set_config('session_replication_role', 'replica', false)",
            (str(subscriptions), str(events)),
        )
        connection.execute(ROWS.read_bytes())
        connection.execute("SELECT ensure_event_months(ARRAY['2026-01-01', '2026-02-01']::date[])")
        tenant_ids = [row[0] for row in connection.execute("SELECT id FROM tenant")]
        for place in range(0, len(tenant_ids), TENANTS_AT_ONCE):
            some = "{" + ",".join(map(str, tenant_ids[place : place + TENANTS_AT_ONCE])) + "}"
            connection.execute("SELECT set_config('bench.tenants', %s, false)", (some,))
            connection.execute(EVENTS.read_bytes())
        connection.execute("VACUUM (ANALYZE) event")
    _roll_up()
    with installation.administrator(database=database) as connection:
        connection.execute("VACUUM (ANALYZE)")
        if not analysed:
            bench_scratch.forget_statistics(connection, before)


def _publish() -> None:
    """This function will declare the meters and publish the plan that all subscribe to."""
    names = {"ko": "사용량", "en": "Usage"}
    declared = (
        {"code": "calls", "aggregation": "count", "event_type": "api.call"},
        {"code": "render", "aggregation": "sum", "event_type": "render.seconds"},
    )
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=[read({"unit": "unit", "names": names, **each}) for each in declared],
            actor=SYSTEM,
            now=NOW,
        )
        catalogue.publish(
            control_session=session,
            terms=PlanTerms(
                plan_code="bench",
                position=9,
                currency="KRW",
                name_ko="벤치",
                name_en="Bench",
                seats_max=50,
                storage_bytes_max=500_000_000_000,
                charges=charges(),
            ),
            actor=SYSTEM,
            now=NOW,
        )


def charges() -> tuple[Charge, ...]:
    """This function will return five charges: a flat one, two of daily readings, two of events."""
    tiers = (
        Tier(up_to=Decimal(10), unit_amount=Decimal("12.5")),
        Tier(up_to=Decimal(40), unit_amount=Decimal("9.75")),
        Tier(up_to=None, unit_amount=Decimal("7.125")),
    )
    arrears: Any = {"timing": "arrears", "unit_ko": "개", "unit_en": "units"}
    return (
        Charge(
            code="base",
            name_ko="기본료",
            name_en="Base fee",
            pricing=Pricing(model="flat", unit_amount=Decimal(190_000)),
            **arrears,
        ),
        Charge(
            code="seats",
            name_ko="추가 사용자",
            name_en="Additional seats",
            meter="seats",
            aggregation="peak",
            pricing=Pricing(model="per_unit", unit_amount=Decimal(15_000), included=Decimal(10)),
            **arrears,
        ),
        Charge(
            code="storage",
            name_ko="추가 저장공간",
            name_en="Additional storage",
            meter="storage_gb_days",
            aggregation="average",
            pricing=Pricing(model="graduated", tiers=tiers, included=Decimal(100)),
            **arrears,
        ),
        Charge(
            code="calls",
            name_ko="호출",
            name_en="Calls",
            meter="calls",
            pricing=Pricing(model="graduated", tiers=tiers),
            **arrears,
        ),
        Charge(
            code="render",
            name_ko="렌더링",
            name_en="Rendering",
            meter="render",
            pricing=Pricing(model="package", unit_amount=Decimal(900), package_size=Decimal(100)),
            **arrears,
        ),
    )


def _roll_up() -> None:
    with control_session() as control:
        counted: list[MeterDefinition] = meters.counted(control_session=control)
    with usage_session() as usage:
        usage.execute(text("DELETE FROM usage_mark"))
        rollups.lock_all(usage_session=usage)
        while rollups.cover(usage_session=usage, definitions=counted, now=NOW):
            pass


def measure(*, beside: str | None = None) -> Run:
    """This function will bill all that is due, chunk by chunk, and `beside` it what is bare."""
    ours: list[float] = []
    floor: list[float] = []
    invoices = 0
    _forget_peak()
    while True:
        begun = time.perf_counter()
        with control_session() as session:
            claimed = invoicing.claim(control_session=session, now=NOW)
        if not claimed:
            return Run(invoices, tuple(ours), tuple(floor), _peak())
        with control_session() as session, usage_session() as usage:
            outcome = invoicing.bill(
                control_session=session, usage_session=usage, subscription_ids=claimed, now=NOW
            )
        ours.append(time.perf_counter() - begun)
        invoices += len(outcome.issued)
        if beside is not None:
            floor.append(_bare(beside, claimed, outcome.issued))


def _bare(database: str, subscription_ids: Sequence[UUID], invoice_ids: Sequence[UUID]) -> float:
    """This function will take over what was written, and time how long that takes alone."""
    keys = {
        "ids": list(invoice_ids),
        "mails": [f"invoice_issued:{each}" for each in invoice_ids],
        "texts": [str(each) for each in invoice_ids],
    }
    ready = []
    with installation.administrator(database=_here()) as here:
        for table, condition in WRITES:
            statement = f"COPY (SELECT * FROM {table} WHERE {condition}) TO STDOUT"  # noqa: S608
            with here.cursor() as cursor, cursor.copy(statement, keys) as copying:
                ready.append((table, b"".join(bytes(part) for part in copying)))
    url = role_url(APP_ROLE, database=database)
    with psycopg.connect(installation.conninfo(url)) as there:
        begun = time.perf_counter()
        for query in READS:
            there.execute(query, {"ids": list(subscription_ids)}).fetchall()
        there.execute("SET CONSTRAINTS fk_invoice_line_invoice_id DEFERRED")
        for table, rows in ready:
            with there.cursor() as cursor, cursor.copy(f"COPY {table} FROM STDIN") as copying:
                copying.write(rows)
        there.execute(
            "UPDATE subscription SET next_bill_on = '2026-04-01' WHERE id = ANY(%s)",
            (list(subscription_ids),),
        )
        there.commit()
        return time.perf_counter() - begun


def forget(database: str) -> None:
    """This function will undo a run: everything is due again, and nothing was ever written."""
    with installation.administrator(database=database) as connection:
        connection.execute(f"TRUNCATE {TRUNCATED} CASCADE")
        connection.execute("UPDATE subscription SET next_bill_on = '2026-03-01'")
        connection.execute("VACUUM subscription")
        connection.execute("CHECKPOINT")


@contextmanager
def copied(database: str) -> Iterator[str]:
    """A second database with the same rows; dropped in the end."""
    name = f"{database}_floor"
    close_connections()
    with installation.administrator() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(database)
            )
        )
        installation.lock_down_database(connection, name)
    try:
        yield name
    finally:
        with installation.administrator() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )


def _here() -> str:
    with control_session() as session:
        return str(session.scalar(text("SELECT current_database()")))


def _forget_peak() -> None:
    # What this process needed at most is counted from here. Source: proc(5), clear_refs.
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def figures(
    *, subscriptions: int, scratch: Scratch
) -> Iterator[tuple[str, float, float, float, int]]:
    """This function will yield (name, ours, floor, bar, n): the run beside a bare one, and beside
    itself at other sizes, with old statistics, and in memory.

    `subscriptions` are those of the first comparison; the second runs at a tenth and at five times
    as many.
    """
    with scratch() as database:
        fill(database, subscriptions=subscriptions, events=EVENTS_EACH)
        _warm_up(database)
        with copied(database) as floor:
            run = measure(beside=floor)
    yield (
        f"billing of {run.invoices}, an invoice",
        run.each_ms,
        sum(run.floor) / run.invoices * 1000,
        5.0,
        run.invoices,
    )
    small, large = subscriptions // 10, subscriptions * 5
    few = _repeated(small, scratch)
    with scratch() as database:
        fill(database, subscriptions=subscriptions, events=EVENTS_FEW)
        _warm_up(database)
        middle = measure()
    with scratch() as database:
        fill(database, subscriptions=large, events=EVENTS_FEW)
        many = measure()
    yield f"billing of {large}, against {small}", many.each_ms, few, 1.2, large
    with scratch() as database:
        fill(database, subscriptions=large, events=EVENTS_FEW, analysed=False)
        blind = measure()
    name = f"billing of {large} with statistics of none, against {small}"
    yield name, blind.each_ms, few, 1.2, large
    name = f"memory of {large}, against {subscriptions}, in MB"
    yield name, many.peak_bytes / 1e6, middle.peak_bytes / 1e6, 1.2, large


def _repeated(subscriptions: int, scratch: Scratch) -> float:
    """This function will return milliseconds an invoice at a small size: the median of several."""
    with scratch() as database:
        fill(database, subscriptions=subscriptions, events=EVENTS_FEW)
        measure()
        runs = []
        for _ in range(REPEATED):
            forget(database)
            runs.append(measure().each_ms)
    return statistics.median(runs)


def _warm_up(database: str) -> None:
    """This function will bill a chunk and undo it: what a process does once is not measured."""
    with control_session() as session:
        claimed = invoicing.claim(control_session=session, now=NOW)
    with control_session() as session, usage_session() as usage:
        invoicing.bill(
            control_session=session, usage_session=usage, subscription_ids=claimed, now=NOW
        )
    forget(database)
