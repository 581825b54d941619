"""Every field of every form that console and portal show takes texts that break programs."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.exceptions import HTTPException

from app.base.accounts import Staff
from app.base.db import control_session
from app.base.messages import Message
from jobs import transfers as transfers_step
from tenants import admins, api_keys
from tests.factories import NOW, make_application, make_staff
from tests.invoices.collecting import gateway_at
from tests.invoices.test_reconciliation import line, take
from tests.jobs.test_machinery import write_mail
from tests.scenarios.reading import Reading
from tests.web.console.test_coupon_pages import discounted_life
from tests.web.console.test_gateway_pages import make as make_gateway
from tests.web.console.test_tax_papers_pages import tax_invoice
from tests.web.forms import send, sign_in_staff, staff_member
from tests.web.portal.parts import admin_of, committed, customer, sign_in
from tests.web.portal.stage import long_life, troubles
from tests.web.test_axe import token

# A control character; a script with SQL and a header behind it; a long number beyond all bounds.
# Each costs a page for every field there is.
TEXTS = (
    "a\x00b",
    "\"><script>alert(123)</script>1'; DROP TABLE users-- 1\r\nBcc: everybody@example.com",
    "9" * 4000,
)
PAGES_OF_A_KIND = 5
# Shown only as something is under way that these walks do not bring about. A form that is new is
# either met by a walk or named here, with naughty texts in its own room's tests.
RARE_AT_THE_PORTAL = {
    *("portal.answer_price", "portal.charge_first", "portal.choose"),
    *("portal.let_stand_in", "portal.want_cash_receipt"),
}
RARE_AT_THE_CONSOLE = {
    *("console_billing.approve_release", "console_billing.release_draft"),
    *("console_billing.release_run", "console_billing.throw_away"),
    *("console_businesses.ask", "console_catalogue.make_move", "console_closing.close"),
    *("console_closing.reopen", "console_collecting.forgive"),
    *("console_collecting.lift", "console_corrections.amend"),
    *("console_corrections.void", "console_gateways.enable"),
    *("console_invoices.decide_correction", "console_invoices.make_credit_note"),
    *("console_invoices.settle_refund", "console_subscription.confirm_conversion"),
    *("console_tax_papers.made_elsewhere", "console_tax_papers.note_again"),
    *("console_tax_papers.note_made", "console_tax_papers.receipt_again"),
    *("console_tax_papers.receipt_declared", "console_tenants.end_override"),
    *("console_tenants.extend", "console_tenants.unblock", "console_transfers.take_up"),
    *("console_tenants.erase", "console_tenants.keep"),
    *("review.extend", "review.release"),
}
# These end the visit, and take nothing that is typed.
LEAVING = {"console_accounts.leave", "portal.leave"}


@dataclass
class Form:
    """A form as a page shows it: where it is sent, and what its fields hold."""

    action: str
    values: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)


class Shown(HTMLParser):
    """The links of a page, and its forms that are sent by POST."""

    def __init__(self, html: str, path: str) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.forms: list[Form] = []
        self._path = path
        self._open: Form | None = None
        self._choice = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "form":
            post = given.get("method", "").lower() == "post"
            self._open = Form(given.get("action") or self._path) if post else None
            self.forms += [self._open] if self._open else []
        elif self._open is None:
            return
        elif tag in ("input", "textarea") and name:
            kind = given.get("type", "text")
            if kind == "file":
                self._open.files.add(name)
            elif kind not in ("radio", "checkbox") or "checked" in given:
                self._open.values[name] = given.get("value", "")
        elif tag == "button" and name:
            self._open.values.setdefault(name, given.get("value", ""))
        elif tag == "select" and name:
            self._choice = name
        elif tag == "option" and self._choice:
            chosen = {self._choice: given.get("value", "")}
            self._open.values |= chosen if "selected" in given else chosen | self._open.values

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._choice = ""


@pytest.fixture(autouse=True)
def gateway(set_clock: Callable[..., None], tmp_path: Path) -> Iterator[None]:
    """A card is registered at a gateway that answers."""
    set_clock(NOW)
    with gateway_at(tmp_path):
        yield


def endpoint_of(app: Flask, path: str, method: str) -> str:
    """Which of our pages an address is; nothing where it leads elsewhere."""
    try:
        return str(app.url_map.bind("localhost").match(urlsplit(path).path, method=method)[0])
    except HTTPException:
        return ""


def walked(
    app: Flask, client: Any, door: str, starts: tuple[str, ...]
) -> tuple[list[str], dict[str, list[Form]]]:
    """Every kind of page that links lead to from a door, and the forms on them."""
    waiting = [
        *starts,
        *(
            rule.rule
            for rule in app.url_map.iter_rules()
            if rule.rule.startswith(door) and not rule.arguments and "GET" in (rule.methods or ())
        ),
    ]
    seen: dict[str, list[str]] = {}
    found: dict[str, list[Form]] = {}
    while waiting:
        path = waiting.pop(0)
        known = seen.setdefault(endpoint_of(app, path, "GET"), [])
        if path in known or len(known) >= PAGES_OF_A_KIND:
            continue
        known.append(path)
        with client.get(path) as answer:  # a file is open until then
            if answer.mimetype != "text/html" or answer.status_code != 200:
                continue
            shown = Shown(answer.text, path)
        waiting += [link for link in shown.links if link.startswith(door) and "lang=" not in link]
        for form in shown.forms:
            found.setdefault(endpoint_of(app, form.action, "POST"), []).append(form)
    return [path for paths in seen.values() for path in paths], found


def sent(client: Any, form: Form, name: str, text: str) -> Any:
    """The form with a text in one of its fields."""
    values: dict[str, Any] = dict.fromkeys(form.values.keys() | form.files, "") | form.values
    for each in form.files:
        values[each] = (io.BytesIO(text.encode()), text if each == name else "a.csv")
    if name not in form.files:
        values[name] = text
    return client.post(form.action, data=values)


def assert_holds(app: Flask, client: Any, door: str, *starts: str) -> set[str]:
    """No field of a form makes a page fall over or run; returns which forms were tried."""
    pages, found = walked(app, client, door, starts)
    for endpoint, forms in found.items():
        if endpoint in LEAVING:
            continue
        form = max(forms, key=lambda form: len(form.values))
        for name in sorted((form.values.keys() | form.files) - {"csrf_token"}):
            for text in TEXTS:
                with sent(client, form, name, text) as answer:
                    assert answer.status_code < 500, (endpoint, name, text)
                    if answer.mimetype == "text/html":
                        assert Reading(answer.text).runs == [], (endpoint, name, text)
    for path in pages:
        with client.get(path) as answer:
            assert answer.status_code < 500, path
            if answer.mimetype == "text/html":
                assert Reading(answer.text).runs == [], path
    return set(found) - {""}


def forms_of(app: Flask, door: str) -> set[str]:
    return {
        rule.endpoint
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith(door) and "POST" in (rule.methods or ())
    }


def test_of_the_portal(app: Flask, client: Any) -> None:
    tenant, _invoice = discounted_life()
    links = (
        f"/portal/welcome/{token(admins.INVITATION, admin_of(tenant))}",
        f"/portal/reset/{token(admins.RESET, admin_of(tenant))}",
    )
    tried = assert_holds(app, client, "/portal", *links)
    rich = sign_in(app.test_client(), long_life())
    tried |= assert_holds(app, rich, "/portal", "/portal/plan/change/quantity")
    tried |= assert_holds(app, sign_in(client, tenant), "/portal")
    tried |= assert_holds(app, sign_in(app.test_client(), customer()), "/portal")
    assert forms_of(app, "/portal") - tried <= RARE_AT_THE_PORTAL


def test_of_the_console(app: Flask, client: Any) -> None:
    tenant, invoice = discounted_life()
    long_life()
    troubles()
    tax_invoice()
    tax_invoice("failed")
    make_gateway("second")
    write_mail("to nobody")
    staff_member("viewer")
    for _ in range(2):
        committed(make_application, state="confirmed", sla_due_at=NOW)
    with control_session() as session:
        take(session, line("payment", 50_000, gateway_payment_id="pay_x"))
        session.scalars(select(Message).limit(1)).one().state = "failed"
        colleague = session.scalars(select(Staff).limit(1)).one()
        admin = make_staff(session, role="admin").id
        make_staff(session, role="sales").password_hash = None
        api_keys.make(
            control_session=session,
            name="render farm",
            scopes=["events:write"],
            staff_id=admin,
            now=NOW,
        )
    links = (
        f"/console/welcome/{token('staff_invited', colleague)}",
        f"/console/reset/{token('staff_reset', colleague)}",
    )
    tried = assert_holds(app, client, "/console", *links)
    sign_in_staff(client, "admin")
    deposits(client)
    starts = (
        f"/console/tenants/{tenant.id}/credits",
        f"/console/collecting/{tenant.id}",
        f"/console/invoices/{invoice.id}/take-back?amount=11000",
        "/console/closing?month=2026-02",
    )
    tried |= assert_holds(app, client, "/console", *starts)
    assert forms_of(app, "/console") - tried <= RARE_AT_THE_CONSOLE


def deposits(client: Any) -> None:
    """A statement with deposits that are for no invoice, so that a person looks at them."""
    text = "거래일시,입금액,의뢰인\n2026-03-09,77000,가온건축\n2026-03-09,78000,가온건축\n"
    page = "/console/transfers"
    fields = {"layout": "usual", "file": (io.BytesIO(text.encode("cp949")), "3월.csv")}
    assert send(client, page, fields, to=f"{page}/import").status_code == 303
    transfers_step.work()
