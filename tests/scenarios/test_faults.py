"""PostgreSQL, Valkey and the gateway go away under load and come back: nothing lost or doubled."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import httpx
import pytest

from app.base import clock
from app.base.db import control_session
from app.cli.demo import cast
from app.cli.demo.browser import Browser, DidNotWork
from tests.invoices.collecting import owing
from tests.jobs.test_machinery import write_mail
from tests.patience import eventually
from tests.scenarios import walk
from tests.scenarios.senders import BATCH, Senders, sending
from tests.scenarios.walk import Company
from tests.scenarios.whole_system import WholeSystem
from tests.tenants.approved import approve

PUBLIC = ("/", "/pricing", "/trial")
SIGNED_IN = ("/portal/", "/portal/invoices", "/workspace/drawings", "/workspace/members")
DESK = ("/console/review", "/console/invoices")
AWAY = "지금 데이터베이스가 응답하지 않아요"
LONG_PAGE_SECONDS = 20.0
# Between two pages: what they load besides is for those who bring the system back.
BREATH_SECONDS = 0.02


@dataclass
class Visitors:
    """People who reload their pages all the time, each in a thread; what they got."""

    seen: list[tuple[str, int, str]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def reload(self, site: str, cookies: httpx.Cookies, pages: tuple[str, ...]) -> None:
        """This function will go round the pages until it is told to stop."""
        headers = {"Accept-Language": "ko"}
        with httpx.Client(
            base_url=site, cookies=cookies, headers=headers, timeout=LONG_PAGE_SECONDS
        ) as browser:
            while not self._stop.is_set():
                for page in pages:
                    try:
                        answer = browser.get(page)
                        self.seen.append((page, answer.status_code, answer.text))
                    except httpx.HTTPError as error:
                        self.seen.append((page, 0, repr(error)))
                    self._stop.wait(BREATH_SECONDS)

    def statuses(self, since: int = 0) -> Counter[int]:
        """How often each status was answered, from one answer on."""
        return Counter(status for _page, status, _text in self.seen[since:])

    def pages_with(self, status: int, since: int = 0) -> set[str]:
        """Which pages answered so, from one answer on."""
        return {page for page, answered, _text in self.seen[since:] if answered == status}


@contextmanager
def visiting(
    system: WholeSystem, *groups: tuple[httpx.Cookies, tuple[str, ...]]
) -> Iterator[Visitors]:
    """Each group's pages are reloaded for the length of the block."""
    visitors = Visitors()
    site = system.system.addresses["site"]
    threads = [
        threading.Thread(target=visitors.reload, args=(site, cookies, pages), daemon=True)
        for cookies, pages in groups
    ]
    for thread in threads:
        thread.start()
    try:
        yield visitors
    finally:
        visitors._stop.set()
        for thread in threads:
            thread.join(LONG_PAGE_SECONDS)


@pytest.fixture(scope="module")
def customer(system: WholeSystem) -> Company:
    """Somebody on trial, signed in to portal and workspace."""
    walker = walk.company(system, email="buyer@patient.example", name="주식회사 참을성")
    walk.tenant_on_trial(system, walker, system.staff("sales"))
    return walker


@dataclass
class Work:
    """What is under way when the fault strikes."""

    tenants: list[UUID]
    subjects: list[str]
    invoices: list[UUID]


def begin_work(system: WholeSystem, mark: str) -> Work:
    """Approvals, mails and bills to be collected, all due at this moment."""
    with system.inside():
        now = clock.now()
        with control_session() as session:
            invoices = [owing(session, card).id for card in ("pays", "pays_then_drops")]
        subjects = [f"{mark} {number}" for number in range(8)]
        for subject in subjects:
            write_mail(subject)
        tenants = [approve(now=now, name=f"{mark} {number}") for number in range(3)]
    return Work(tenants, subjects, invoices)


def assert_done_once(system: WholeSystem, work: Work) -> None:
    """Each tenant on trial with one database, each mail out, each bill paid by one charge."""
    system.let_leases_run_out()
    states = "SELECT state FROM {} WHERE id = ANY(%s)"

    def all_are(table: str, ids: list[UUID], state: str) -> bool:
        return system.ask(states.format(table), ids) == [(state,)] * len(ids)

    eventually(lambda: all_are("tenant", work.tenants, "trialing"), "every tenant is on trial")
    eventually(lambda: all_are("invoice", work.invoices, "paid"), "every bill is paid")
    eventually(
        lambda: not system.ask("SELECT 1 FROM message WHERE state <> 'sent'"), "every mail is sent"
    )
    made = system.ask(
        "SELECT tenant_id FROM tenant_database WHERE tenant_id = ANY(%s)", work.tenants
    )
    assert Counter(made) == {(tenant,): 1 for tenant in work.tenants}
    letters = {
        letter["headers"]["Message-ID"]: letter["subject"]
        for letter in system.mailbox.letters("somebody@customer.example")
    }
    assert Counter(letters.values()) & Counter(work.subjects) == Counter(work.subjects)
    assert charged(system, work.invoices) == dict.fromkeys(work.invoices, 1)
    assert system.check() == []


def charged(system: WholeSystem, invoices: list[UUID]) -> Counter[UUID]:
    """How often the gateway took the money for each invoice, by its own books."""
    query = {"status": "succeeded", "limit": "100"}
    rows = system.gateway.ask("GET", "/v1/payments", params=query).json()["payments"]
    owners = (UUID(row["order_id"][:32]) for row in rows)
    return Counter(owner for owner in owners if owner in invoices)


class TestPostgresStoppedAtOnceUnderLoad:
    def test_is_said_on_every_page_and_costs_nothing(
        self, system: WholeSystem, customer: Company
    ) -> None:
        clerk = system.staff("finance")
        processes = {name: system.pid_of(name) for name in ("web", "worker", "scheduler")}
        everything = {*PUBLIC, *SIGNED_IN, *DESK}
        with (
            visiting(
                system,
                (httpx.Cookies(), PUBLIC),
                (customer.browser._client.cookies, SIGNED_IN),
                (clerk._client.cookies, DESK),
            ) as visitors,
            sending(system) as senders,
        ):
            eventually(lambda: visitors.pages_with(200) == everything, "every page opens")
            eventually(lambda: senders.answered(303, 200), "forms and events are taken")
            work = begin_work(system, "postgres stopped")
            system.stop_postgres_at_once()
            stopped = len(visitors.seen)
            eventually(
                lambda: visitors.pages_with(503, since=stopped) >= {*SIGNED_IN, *DESK},
                "pages that need the database say that it is away",
            )
            eventually(lambda: senders.answered(503, 503), "senders are told that it is away")
            system.postgres.start()
            back, form, batch = len(visitors.seen), len(senders.forms), len(senders.batches)
            eventually(
                lambda: visitors.pages_with(200, since=back) == everything, "every page opens again"
            )
            eventually(lambda: senders.answered(303, 200, forms=form, batches=batch), "taken again")
        assert set(visitors.statuses()) == {200, 503}, system.failures("web")
        said = [text for _page, status, text in visitors.seen if status == 503]
        assert all(AWAY in text or "응답하지 않아요" in text for text in said)
        assert not any("Traceback" in text for text in said)
        assert system.failures("web") == []
        assert_taken_once(system, senders)
        assert_done_once(system, work)
        assert {name: system.pid_of(name) for name in processes} == processes


def assert_taken_once(system: WholeSystem, senders: Senders) -> None:
    """What was answered well is there, what was not is there at most once; all is, sent again."""
    assert set(senders.forms.values()) == {303, 503}
    assert set(senders.batches.values()) == {200, 503}
    for sent in ("at first", "again"):
        applied = Counter(email for (email,) in system.ask(senders.APPLIED))
        pushed = Counter(name for (name,) in system.ask(senders.PUSHED))
        assert {*applied.values(), *pushed.values()} == {1}, sent
        assert senders.well_applied() <= applied.keys(), sent
        assert senders.well_pushed() <= pushed.keys(), sent
        senders.send_again()
    assert senders.well_applied() == set(senders.forms)
    assert len(senders.well_pushed()) == len(senders.batches) * BATCH


def opens(browser: Browser, page: str) -> bool:
    try:
        return browser.open(page).status == 200
    except DidNotWork:
        return False


class TestPostgresStartedAgain:
    def test_finds_everybody_still_signed_in(self, system: WholeSystem, customer: Company) -> None:
        """An outage that reached the cookies would show only to those who come back after it."""
        clerk = system.staff("finance")
        system.stop_postgres_at_once()
        for browser, pages in ((customer.browser, SIGNED_IN), (clerk, DESK)):
            for page in pages:
                assert AWAY in browser.open(page, expect=503).text, page
        system.postgres.start()
        for browser, pages in ((customer.browser, SIGNED_IN), (clerk, DESK)):
            for page in pages:
                eventually(partial(opens, browser, page), f"{page} opens")
                assert "sign-in" not in browser.open(page).url


class TestValkeyStopped:
    def test_keeps_nobody_from_pages_sign_in_or_the_form_and_work_waits(
        self, system: WholeSystem, customer: Company
    ) -> None:
        clerk = system.staff("finance")
        system.valkey.stop(ladder=())
        for browser, pages in (
            (system.browser(), PUBLIC),
            (customer.browser, SIGNED_IN),
            (clerk, DESK),
        ):
            for page in pages:
                assert "sign-in" not in browser.open(page).url
        assert "sign-in" not in system.staff("sales").open("/console/review").url
        walk.upload(customer, "while-valkey-is-away.dxf", cast.dxf(lines=3))
        walker = walk.company(system, email="buyer@undeterred.example", name="주식회사 뚝심")
        form = walker.browser.open("/trial")
        walker.browser.send(form, walker.answers, having="seats_expected")
        work = begin_work(system, "valkey stopped")
        assert system.ask("SELECT state FROM message WHERE recipient = %s", walker.email) == [
            ("due",)
        ]
        system.valkey.start()
        walk.confirm(system, walker)
        assert_done_once(system, work)
        assert system.failures("web") == []


class TestTheGatewayDownDuringCollection:
    def test_leaves_the_bill_open_and_has_it_paid_once_when_it_is_back(
        self, system: WholeSystem
    ) -> None:
        with system.inside(), control_session() as session:
            bill = owing(session, "pays")
            # In one transaction with the card's registration: not due before the gateway is gone.
            system.gateway.kill()
        attempts = "SELECT state FROM payment_attempt WHERE invoice_id = %s"
        eventually(
            lambda: system.ask(attempts, bill.id) == [("unknown",)], "the outcome is unknown"
        )
        assert system.ask("SELECT state FROM invoice WHERE id = %s", bill.id) == [("issued",)]
        system.gateway.start()
        assert_done_once(system, Work([], [], [bill.id]))
        assert system.ask(attempts, bill.id) == [("succeeded",)]
        assert system.ask("SELECT count(*) FROM payment WHERE invoice_id = %s", bill.id) == [(1,)]
