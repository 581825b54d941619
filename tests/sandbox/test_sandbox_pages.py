"""The gateway as its customers, its merchants and its disk meet it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.sandbox.cards import CARDS, find
from app.sandbox.journal import Book, DirectoryTaken
from app.sandbox.state import Sandbox
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import (
    CHECKOUT,
    RETURN_URL,
    Ear,
    RunningSandbox,
    eventually,
    returned,
    running,
    type_card,
)

# The right length and check digit for a card, and no number of ours.
REAL_LOOKING = ("4111 1111 1111 1111", "5555555555554444", "9490-1234-5678-9012")


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(directory=tmp_path_factory.mktemp("sandbox")) as process:
        yield process


def open_registration(sandbox: RunningSandbox, **more: str) -> dict[str, str]:
    asked = {"customer_key": "customer-1", "return_url": RETURN_URL, "language": "ko", **more}
    answer = sandbox.ask("POST", "/v1/registrations", json=asked)
    assert answer.status_code == 201, answer.text
    return answer.json()


def token(sandbox: RunningSandbox, number: str = CARDS[0].number) -> str:
    opened = open_registration(sandbox)
    back = returned(type_card(opened["url"], number))
    asked = {"code": back["code"], "customer_key": "customer-1"}
    answer = sandbox.ask("POST", f"/v1/registrations/{opened['id']}/complete", json=asked)
    return str(answer.json()["token"])


def charge(sandbox: RunningSandbox, key: str, **more: object) -> httpx.Response:
    asked = {
        "customer_key": "customer-1",
        "order_id": f"order-{key}",
        "amount": 11_000,
        "currency": "KRW",
        "tax_amount": 1_000,
        "name": "Tenantry 2026-11",
        "attempt_id": key,
        **more,
    }
    return sandbox.ask("POST", "/v1/charges", json=asked, headers={"Idempotency-Key": key})


class TestTheRegistrationPage:
    @pytest.mark.parametrize(
        "number", [*REAL_LOOKING, "", "x", "4242", "４２４２４２４２４２４２４２４２"]
    )
    def test_takes_no_number_that_it_does_not_list(
        self, sandbox: RunningSandbox, number: str
    ) -> None:
        opened = open_registration(sandbox)
        refused = type_card(opened["url"], number)
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
        digits = "".join(filter(str.isdigit, number))
        if len(digits) > 4:
            kept = "".join(p.read_text() for p in sandbox.directory.iterdir())
            squeezed = re.sub(r"[\s-]", "", refused.text + kept)
            assert digits not in squeezed
        # The registration is still open for a listed number.
        assert type_card(opened["url"], CARDS[0].number).status_code == 303

    def test_keeps_no_whole_number_even_of_a_test_card(self, sandbox: RunningSandbox) -> None:
        token(sandbox)
        kept = (sandbox.directory / "journal.jsonl").read_text()
        assert "**** 4242" in kept
        assert CARDS[0].number not in kept

    @pytest.mark.parametrize(
        ("language", "label"), [("ko", "실제 돈이 움직이지 않아요"), ("en", "no real money")]
    )
    def test_says_in_both_languages_that_no_money_moves(
        self, sandbox: RunningSandbox, language: str, label: str
    ) -> None:
        page = httpx.get(
            open_registration(sandbox, language=language)["url"],
            verify=NO_AUTHORITIES,
            trust_env=False,
        )
        assert f'<html lang="{language}">' in page.text
        assert label in page.text
        assert all(card.spaced in page.text for card in CARDS)

    def test_may_lead_nowhere_but_back(self, sandbox: RunningSandbox) -> None:
        page = httpx.get(open_registration(sandbox)["url"], verify=NO_AUTHORITIES, trust_env=False)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self' http://127.0.0.1:9;" in policy

    def test_works_once(self, sandbox: RunningSandbox) -> None:
        url = open_registration(sandbox)["url"]
        assert type_card(url, CARDS[0].number).status_code == 303
        again = httpx.post(
            url, data={"number": CARDS[0].number}, verify=NO_AUTHORITIES, trust_env=False
        )
        assert again.status_code == 410
        assert httpx.get(url, verify=NO_AUTHORITIES, trust_env=False).status_code == 410

    def test_answers_to_no_foreign_name(self, sandbox: RunningSandbox) -> None:
        page = httpx.get(
            sandbox.url, headers={"Host": "rebound.example"}, verify=NO_AUTHORITIES, trust_env=False
        )
        assert page.status_code == 400

    def test_ignores_how_the_number_is_spaced(self) -> None:
        assert find(" 4242-4242 4242\t4242 ") is CARDS[0]


class TestTheInterface:
    @pytest.mark.parametrize("auth", [None, ("", ""), ("sandbox_sk_guess", ""), ("ключ", "")])
    def test_is_shut_without_the_key(
        self, sandbox: RunningSandbox, auth: tuple[str, str] | None
    ) -> None:
        answer = sandbox.ask("POST", "/v1/charges", json={}, auth=auth)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "secret_key_wrong"

    @pytest.mark.parametrize(
        ("wrong", "code"),
        [
            ({"amount": 10.5}, "amount_invalid"),
            ({"amount": True}, "amount_invalid"),
            ({"amount": -1}, "amount_invalid"),
            ({"amount": "11000"}, "amount_invalid"),
            ({"tax_amount": 11_001}, "tax_amount_invalid"),
            ({"currency": "won"}, "currency_invalid"),
            ({"order_id": "a b/../c"}, "order_id_invalid"),
            ({"name": ""}, "name_invalid"),
            ({"attempt_id": {"a": 1}}, "attempt_id_invalid"),
        ],
    )
    def test_names_the_field_that_is_wrong(
        self, sandbox: RunningSandbox, wrong: dict[str, object], code: str
    ) -> None:
        answer = charge(sandbox, "wrong-key", token="mth_1", **wrong)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff"])
    def test_takes_json_objects_only(self, sandbox: RunningSandbox, body: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        answer = sandbox.ask("POST", "/v1/charges", content=body, headers=headers)
        assert answer.json()["error"]["code"] == "body_invalid"

    def test_charges_nothing_without_an_idempotency_key(self, sandbox: RunningSandbox) -> None:
        for key in ("", "k" * 301):
            words = {"order_id": "order-without-key", "attempt_id": "attempt-1"}
            refused = charge(sandbox, key, token=token(sandbox), **words)
            assert refused.json()["error"]["code"] == "idempotency_key_invalid"
        listed = sandbox.ask("GET", "/v1/payments?order_id=order-without-key").json()
        assert listed == {"payments": [], "more": False}

    def test_marks_a_replay_and_refuses_another_body(self, sandbox: RunningSandbox) -> None:
        chargeable = token(sandbox)
        first = charge(sandbox, "replay-1", token=chargeable)
        again = charge(sandbox, "replay-1", token=chargeable)
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json() == first.json()
        assert charge(sandbox, "replay-1", token=chargeable, amount=5_000).status_code == 422

    def test_shows_a_slip_that_is_no_tax_evidence(self, sandbox: RunningSandbox) -> None:
        paid = charge(sandbox, "slip-1", token=token(sandbox)).json()
        slip = httpx.get(
            sandbox.url + paid["receipt_path"] + "?lang=en", verify=NO_AUTHORITIES, trust_env=False
        )
        assert "₩11,000" in slip.text
        assert "not valid as tax evidence" in slip.text


class TestItsMemory:
    def test_survives_kill_9_with_a_half_written_line(self, tmp_path: Path) -> None:
        with running(directory=tmp_path / "gateway") as sandbox:
            chargeable = token(sandbox)
            first = charge(sandbox, "before-the-kill", token=chargeable)
            sandbox.kill()
            with (tmp_path / "gateway" / "journal.jsonl").open("ab") as journal:
                journal.write(b'[["payments",{"id":"pay_torn"')
            sandbox.start()
            assert charge(sandbox, "before-the-kill", token=chargeable).json() == first.json()
            assert charge(sandbox, "after-the-kill", token=chargeable).status_code == 200
            sandbox.kill()
            sandbox.start()
            listed = sandbox.ask("GET", "/v1/payments").json()["payments"]
            assert [payment["order_id"] for payment in listed] == [
                "order-before-the-kill",
                "order-after-the-kill",
            ]

    def test_belongs_to_one_process(self, tmp_path: Path) -> None:
        with running(directory=tmp_path) as sandbox:
            with pytest.raises(DirectoryTaken):
                Book(directory=tmp_path)
            command = [sys.executable, "-m", "app.sandbox", "--port", "0"]
            second = subprocess.run(
                [*command, "--directory", str(tmp_path)],
                cwd=CHECKOUT,
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
            assert second.returncode == 1
            assert "in use by another" in second.stderr
            assert sandbox.end(signal.SIGTERM) == 0

    def test_of_a_key_ends_with_its_window(self, tmp_path: Path) -> None:
        book = Book(directory=tmp_path)
        at = datetime(2026, 11, 2, 3, 4, tzinfo=UTC)
        book.write([("replies", {"id": "/v1/charges k", "at": at.isoformat()})])
        box = Sandbox(book=book, secret_key="sk", hang_seconds=0, key_window=timedelta(hours=24))
        inside = box.reply_of("/v1/charges k", now=at + timedelta(hours=24))
        after = box.reply_of("/v1/charges k", now=at + timedelta(hours=24, seconds=1))
        book.close()
        assert inside is not None
        assert after is None


class TestItsWebhooks:
    def test_come_again_until_they_are_taken(self, tmp_path: Path) -> None:
        ear = Ear()
        with running(directory=tmp_path, webhook_url=ear.url) as sandbox:
            chargeable = token(sandbox)
            eventually(lambda: ear.of_kind("method.registered"))
            ear.refuse_next = 2
            charge(sandbox, "refused-twice", token=chargeable)
            eventually(lambda: len(ear.of_kind("payment.succeeded")) == 3)
            ids = {headers["WEBHOOK-ID"] for headers, _ in ear.of_kind("payment.succeeded")}
            assert len(ids) == 1
            eventually(lambda: sandbox.ask("GET", "/v1/events").json()["events"][-1]["settled"])
        ear.close()

    def test_asked_for_again_while_one_is_under_way_come_again(self, tmp_path: Path) -> None:
        class Impatient(Ear):
            """Asks for the event again before it says that it has it."""

            def _hear(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
                said = super()._hear(environ, start_response)
                if len(self.heard) == 1:
                    event_id = self.heard[0][0]["WEBHOOK-ID"]
                    sandbox.ask("POST", f"/v1/events/{event_id}/deliveries")
                return said

        ear = Impatient()
        with running(directory=tmp_path, webhook_url=ear.url) as sandbox:
            token(sandbox)
            eventually(lambda: len(ear.of_kind("method.registered")) == 2)
            eventually(lambda: sandbox.ask("GET", "/v1/events").json()["events"][-1]["settled"])
        ear.close()

    def test_not_yet_taken_are_sent_by_the_next_process(self, tmp_path: Path) -> None:
        ear = Ear()
        with running(directory=tmp_path, webhook_url=ear.url) as sandbox:
            ear.refuse_next = 1_000_000
            token(sandbox)
            eventually(lambda: ear.of_kind("method.registered"))
            sandbox.kill()
            heard = len(ear.heard)
            ear.refuse_next = 0
            sandbox.start()
            eventually(lambda: len(ear.heard) > heard)
        ear.close()

    def test_are_given_up_after_a_bounded_number_of_tries(self, tmp_path: Path) -> None:
        ear = Ear()
        ear.refuse_next = 1_000_000
        with running(directory=tmp_path, webhook_url=ear.url) as sandbox:
            token(sandbox)
            events = eventually(
                lambda: [
                    event
                    for event in sandbox.ask("GET", "/v1/events").json()["events"]
                    if event["settled"]
                ]
            )
            assert (events[0]["settled"], events[0]["attempts"]) == ("given_up", 9)
        ear.close()
