"""People who apply and a program that pushes usage, all the time, and what each was answered."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import httpx

from tests.factories import NOW
from tests.scenarios.whole_system import WholeSystem
from tests.web.api.calling import URL, make_customer, make_key

TENANT = "steadfast"
BATCH = 5
ANSWERS = {
    "company": "Steadfast Fabrication",
    "country": "US",
    "contact_name": "Purchasing",
    "phone": "+1 212 555 0100",
    "seats_expected": "5",
    "plan_code": "team",
}
PATIENCE_SECONDS = 20.0
# Between two forms: each brings mails with it, which others wait for.
BREATH_SECONDS = 0.1


@dataclass
class Senders:
    """What was sent and how it was answered: forms by e-mail address, batches by number."""

    # What the database says of them.
    APPLIED: ClassVar[str] = "SELECT email FROM application WHERE email LIKE '%@steadfast-%'"
    PUSHED: ClassVar[str] = (
        f"SELECT event.id FROM event JOIN tenant ON tenant.id = tenant_id WHERE slug = '{TENANT}'"
    )

    system: WholeSystem
    key: str
    forms: dict[str, int] = field(default_factory=dict)
    batches: dict[int, int] = field(default_factory=dict)
    token: str = ""
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)
    stopped: threading.Event = field(default_factory=threading.Event)

    def client(self) -> httpx.Client:
        """This function will open a connection of its own to the site."""
        site = self.system.system.addresses["site"]
        return httpx.Client(base_url=site, timeout=PATIENCE_SECONDS, cookies=self.cookies)

    def keep_applying(self) -> None:
        """This function will send the form of one newcomer after the other until told to stop."""
        with self.client() as browser:
            while not self.stopped.wait(BREATH_SECONDS):
                email = f"buyer-{len(self.forms)}@steadfast-{len(self.forms)}.example"
                self.forms[email] = self.apply(browser, email)

    def apply(self, browser: httpx.Client, email: str) -> int:
        """This function will send somebody's form, with the token that the first page gave."""
        if not self.token:
            found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', browser.get("/trial").text)
            assert found, "the form has a token"
            self.token, self.cookies = found.group(1), browser.cookies
        values = {**ANSWERS, "email": email, "csrf_token": self.token}
        return _status(browser, "/trial", data=values)

    def keep_pushing(self) -> None:
        """This function will push one batch of new events after the other until told to stop."""
        with self.client() as program:
            while not self.stopped.wait(BREATH_SECONDS):
                self.batches[len(self.batches)] = self.push(program, len(self.batches))

    def push(self, program: httpx.Client, number: int) -> int:
        """This function will push a batch, which may be there already."""
        body = [
            {"id": name, "tenant": TENANT, "type": "api.call", "time": NOW.isoformat()}
            for name in names(number)
        ]
        return _status(program, URL, json=body, headers={"Authorization": f"Bearer {self.key}"})

    def answered(self, form: int, batch: int, *, forms: int = 0, batches: int = 0) -> bool:
        """This function will tell whether both were answered so, from one on."""
        return (
            form in list(self.forms.values())[forms:]
            and batch in list(self.batches.values())[batches:]
        )

    def well_applied(self) -> set[str]:
        """This function will return whose form was taken."""
        return {email for email, status in self.forms.items() if status == 303}

    def well_pushed(self) -> set[str]:
        """This function will name the events that were taken."""
        taken = (number for number, status in self.batches.items() if status == 200)
        return {name for number in taken for name in names(number)}

    def send_again(self) -> None:
        """This function will send anew whatever was not answered well, as its sender would."""
        with self.client() as browser:
            for email in [email for email, status in self.forms.items() if status != 303]:
                self.forms[email] = self.apply(browser, email)
            for number in [number for number, status in self.batches.items() if status != 200]:
                self.batches[number] = self.push(browser, number)


def names(number: int) -> list[str]:
    """This function will name the events of a batch."""
    return [f"{number}-{each}" for each in range(BATCH)]


def _status(sender: httpx.Client, path: str, **what: Any) -> int:
    try:
        return sender.post(path, **what).status_code
    except httpx.HTTPError:
        return 0


@contextmanager
def sending(system: WholeSystem) -> Iterator[Senders]:
    """This function will have forms and batches sent for the length of the block."""
    with system.inside():
        senders = Senders(system, make_key())
        make_customer(TENANT)
    acts = (senders.keep_applying, senders.keep_pushing)
    threads = [threading.Thread(target=act, daemon=True) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield senders
    finally:
        senders.stopped.set()
        for thread in threads:
            thread.join(2 * PATIENCE_SECONDS)
