"""Every form of the console, from the map of addresses: who may send it, and that it is told of."""

from __future__ import annotations

import dis
import inspect
import io
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from types import CodeType, FunctionType
from typing import Any
from uuid import UUID

from sqlalchemy import select
from werkzeug.routing import Rule

from app.base import audit
from app.base.accounts import Staff
from app.base.audit import AuditEvent
from app.base.db import control_session
from tests.web.forms import csrf_token, send, sign_in_staff, staff_member

# What anybody may send: the way in and out, and a password of their own by a link they were sent.
OPEN_TO_ALL = {
    *("console_accounts.sign_in", "console_accounts.leave", "console_accounts.forgot"),
    *("console_accounts.welcome", "console_accounts.reset"),
}
# They change nothing: a question to a gateway is no act.
QUESTIONS = {"console_gateways.test"}
OURS = ("app.", "tenants.", "invoices.")
_PLACE = re.compile(r"<(?:(?P<kind>\w+)(?:\((?P<choices>[^)]*)\))?:)?\w+>")
_EXAMPLES = {"uuid": str(UUID(int=7)), None: "x"}


def forms(app: Any) -> list[Rule]:
    """This function will return every address of the console that takes a form."""
    found = [
        rule
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/console")
        and "POST" in rule.methods
        and rule.endpoint not in OPEN_TO_ALL
    ]
    assert len(found) > 60
    return found


def path_of(rule: Rule) -> str:
    """This function will return an address of a rule, of things that are not there."""
    return _PLACE.sub(
        lambda place: (place["choices"] or "").split(",")[0] or _EXAMPLES[place["kind"]], rule.rule
    )


class TestAViewer:
    def test_is_refused_by_every_form(self, app: Any, client: Any) -> None:
        sign_in_staff(client, "viewer")
        token = csrf_token(client, "/console/invoices/bundles")
        answered = {
            rule.endpoint: client.post(path_of(rule), data={"csrf_token": token}).status_code
            for rule in forms(app)
        }
        assert {name: status for name, status in answered.items() if status != 403} == {}


class TestEveryAct:
    def test_is_written_to_the_audit_trail(self, app: Any) -> None:
        """By what each form's code can come to: a new form without a line is named here."""
        silent = {
            rule.endpoint
            for rule in forms(app)
            if rule.endpoint not in QUESTIONS
            and not ({audit.append, audit.append_many} & called(app.view_functions[rule.endpoint]))
        }
        assert silent == set()


def called(view: Any) -> set[FunctionType]:
    """This function will return every function of ours that one can come to call."""
    seen: set[FunctionType] = set()
    waiting = [inspect.unwrap(view)]
    while waiting:
        function = waiting.pop()
        if function not in seen:
            seen.add(function)
            waiting += named_in(function)
    return seen


def named_in(function: FunctionType) -> Iterator[FunctionType]:
    """By their names in its code, and by what the objects are that it is given."""
    names = set(names_of(function.__code__))
    taken = map(str, function.__annotations__.values())
    given = {(word, None) for kind in taken for word in kind.split()}
    for name, attribute in names | given:
        value = function.__globals__.get(name)
        # Of a class, all that it can do; of a table of acts, any of them.
        held = vars(value) if isinstance(value, type) and attribute is None else value
        inner = held.values() if isinstance(held, Mapping) else ()
        for found in (value, inspect.getattr_static(value, attribute or "", None), *inner):
            if isinstance(found, FunctionType) and found.__module__.startswith(OURS):
                yield inspect.unwrap(found)


def names_of(code: CodeType) -> Iterator[tuple[str, str | None]]:
    """What a code takes from its module, with what it takes of that: (`audit`, `append`)."""
    steps = [*dis.get_instructions(code), None]
    for step, following in pairwise(steps):
        if step.opname == "LOAD_GLOBAL":
            part = following is not None and following.opname in ("LOAD_ATTR", "LOAD_METHOD")
            yield step.argval, following.argval if part else None
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from names_of(inner)


class TestActsThatWroteNothingOnce:
    """Each told of by who did it, what, and to what."""

    def test_a_fresh_link_for_staff(self, client: Any) -> None:
        sign_in_staff(client, "admin")
        staff_member("viewer")
        with control_session() as session:
            viewer = session.scalars(select(Staff).where(Staff.role == "viewer")).one()
        page = "/console/staff"
        assert send(client, page, {}, to=f"{page}/{viewer.id}/invite-again").status_code == 303
        assert last_act("admin") == ("staff.invited_again", str(viewer.id))

    def test_a_bank_s_layout_and_a_statement(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        page = "/console/transfers"
        fields = {"name": "우리 은행", "day": "일자", "amount": "입금", "currency": "KRW"}
        assert send(client, page, fields, to=f"{page}/layouts").status_code == 303
        assert last_act("finance") == ("statement_layout.saved", "우리 은행")
        text = "거래일시,입금액,의뢰인\n2026-03-20,1000,누구\n"
        fields = {"layout": "usual", "file": (io.BytesIO(text.encode("cp949")), "3월.csv")}
        assert send(client, page, fields, to=f"{page}/import").status_code == 303
        assert last_act("finance")[0] == "statement.imported"

    def test_a_day_held_against_the_books_again(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        page = "/console/reconciliation"
        assert send(client, page, {"day": "2026-03-09"}, to=f"{page}/ask").status_code == 303
        assert last_act("finance") == ("reconciliation.asked", "2026-03-09")


def last_act(role: str) -> tuple[str, str]:
    """What the one member of staff with a role did last."""
    with control_session() as session:
        who = session.scalars(select(Staff.id).where(Staff.role == role)).one()
        found = session.scalars(
            select(AuditEvent)
            .where(AuditEvent.actor_kind == "staff", AuditEvent.actor_id == str(who))
            .order_by(AuditEvent.id.desc())
        ).first()
    assert found is not None
    return found.action, found.subject_id
