"""I5 and M1: time is billed once, and by what the events come to."""

from __future__ import annotations

import random
from datetime import timedelta

from app.base import clock, ids
from app.base.audit import SYSTEM
from app.base.db import control_session, usage_session
from jobs import rollups
from tenants import meters
from tests.cli.checks.books import Books, assert_named, check
from tests.factories import (
    NOW,
)
from tests.tenants.counting import all_kinds, generate, store


class TestI5BilledOnce:
    SPAN = """
        INSERT INTO billed_span
            (id, subscription_id, item_id, kind, span, invoice_id, line_id, state)
        SELECT %(id)s, b.subscription_id, b.item_id, b.kind,
            tstzrange(lower(b.span) + %(later)s::interval, upper(b.span) + %(later)s::interval),
            b.invoice_id, b.line_id, 'billed'
        FROM billed_span b JOIN subscription_item i ON i.id = b.item_id
        WHERE b.invoice_id = %(invoice)s AND i.charge = 'base' LIMIT 1
    """

    def test_names_a_period_billed_twice(self, books: Books) -> None:
        books.unguard("billed_span", "ex_billed_span_once")
        span = ids.uuid7()
        books.plant(self.SPAN, id=span, later="3 days", invoice=books.open)
        assert_named("I5", "billed_span", span, "overlaps another")

    def test_names_a_month_that_nobody_billed(self, books: Books) -> None:
        span = ids.uuid7()
        books.plant(self.SPAN, id=span, later="2 months", invoice=books.open)
        assert_named("I5", "billed_span", span, "nothing is billed from")

    def test_names_usage_that_was_voided_apart_from_its_invoice(self, books: Books) -> None:
        total = ids.uuid7()
        books.plant(
            "INSERT INTO usage_total (id, subscription_id, tenant_id, item_id, invoice_id, line_id,"
            " revision, meter, meter_version, meter_group, starts_at, ends_at, quantity,"
            " transactions, sha256, closed_at, state)"
            " SELECT %(id)s, i.subscription_id, i.tenant_id, b.item_id, i.id, b.line_id, 0,"
            " 'calls', 1, '{}', lower(b.span), upper(b.span), 1, 1, '', now(), 'void'"
            " FROM billed_span b JOIN invoice i ON i.id = b.invoice_id WHERE i.id = %(invoice)s"
            " LIMIT 1",
            id=total,
            invoice=books.open,
        )
        assert_named("I5", "usage_total", total, "its invoice is issued")


class TestM1RollupsAreWhatTheEventsComeTo:
    def test_names_a_tenant_and_hour_that_was_rolled_up_wrong(self, books: Books) -> None:
        with control_session() as session:
            meters.declare(control_session=session, definitions=all_kinds(), actor=SYSTEM, now=NOW)
        with usage_session() as usage:
            start = NOW - timedelta(days=2)
            made = generate(random.Random(1), tenants=[books.tenant], start=start, end=NOW, n=99)
            store(usage, made)
        clock.set_now(NOW)  # else it would cover every hour until today
        while rollups.STEP.work():
            pass
        assert check("--only", "M1") == (0, {})
        books.plant("UPDATE usage_rollup SET events = events + 1 WHERE meter = 'units'")
        assert_named("M1", "tenant", books.tenant, "units v1 [] of 2026-03")
