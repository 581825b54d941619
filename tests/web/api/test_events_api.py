"""`POST /api/v1/events` from outside: forms, keys, limits, and that 200 means stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.config import Settings, settings
from app.base.db import control_session
from app.factory import create_app
from app.web import security
from app.web.api import door, formats
from tenants.api_key_models import ApiKey
from tenants.usage_models import Event
from tests.conftest import ROOT
from tests.web.api.calling import URL, event, make_customer, make_key, push

CLOUD = {"specversion": "1.0", "source": "/gate/a", "subject": "hanbit"}


@pytest.fixture
def key(client: Any) -> str:
    make_customer()
    return make_key()


def stored() -> int:
    with control_session() as session:
        return session.scalar(select(func.count()).select_from(Event)) or 0


def outcomes(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one.get("reason", one["outcome"]) for one in answer.json["events"]]


def cloud(**fields: Any) -> dict[str, Any]:
    return CLOUD | {"id": "1", "type": "api.call", "time": clock.now().isoformat()} | fields


class TestACall:
    def test_is_answered_event_by_event_and_may_be_repeated(self, client: Any, key: str) -> None:
        batch = [event(id="a"), event(id="b", quantity=-1), event(id="c")]
        answer = push(client, batch, key=key)
        assert outcomes(answer) == ["accepted", "bad_quantity", "accepted"]
        counts = {name: answer.json[name] for name in ("accepted", "duplicate", "refused")}
        assert counts == {"accepted": 2, "duplicate": 0, "refused": 1}
        assert answer.json["events"][1]["index"] == 1
        assert answer.json["events"][1]["field"] == "quantity"
        assert outcomes(push(client, batch, key=key)) == [
            *("duplicate", "bad_quantity", "duplicate")
        ]
        assert stored() == 2

    def test_takes_one_event_an_array_or_an_object_of_them(self, client: Any, key: str) -> None:
        one = event()
        for body in (one, [one], {"events": [one]}):
            assert push(client, body, key=key).status_code == 200
        assert stored() == 1

    def test_takes_a_line_each_and_refuses_a_broken_line_alone(self, client: Any, key: str) -> None:
        lines = [json.dumps(event(id="a")), "{broken", "", json.dumps(event(id="b")), "[" * 99_999]
        answer = push(client, "\r\n".join(lines), key=key, content_type="application/x-ndjson")
        assert outcomes(answer) == ["accepted", "not_json", "accepted", "not_json"]

    def test_takes_cloud_events_whose_ids_count_for_their_source(
        self, client: Any, key: str
    ) -> None:
        batch = [
            cloud(data={"quantity": 2, "properties": {"a": "b"}}),
            cloud(source="/gate/b", comexampleextension="passed over"),
            cloud(source="/gate/b", id="2", subject="nobody", tenant="hanbit"),
            cloud(id="3", data={"seconds": 7}),
            cloud(id="4", specversion="0.3"),
            cloud(id="5", source=""),
            cloud(id="6", data_base64="eA=="),
            "no event",
        ]
        answer = push(
            client,
            json.dumps(batch),
            key=key,
            content_type="application/cloudevents-batch+json; charset=UTF-8",
        )
        assert outcomes(answer) == [
            *("accepted", "accepted", "accepted", "bad_data"),
            *("not_a_cloud_event", "missing", "bad_data", "not_a_cloud_event"),
        ]
        single = push(
            client, json.dumps(cloud()), key=key, content_type="application/cloudevents+json"
        )
        assert outcomes(single) == ["same_id_other_body"]

    def test_keeps_every_digit_of_a_quantity(self, client: Any, key: str) -> None:
        numbers = ["0.1", "12345678901234567890123456.123456789012", "1e2", "NaN", "1e9999999999"]
        body = ",".join(
            json.dumps(event(id=str(place)))[:-1] + f', "quantity": {number}}}'
            for place, number in enumerate([*numbers, "9" * 5_000])
        )
        answer = push(client, f"[{body}]", key=key)
        assert outcomes(answer) == ["accepted"] * 3 + ["bad_quantity"] * 3
        with control_session() as session:
            kept = session.scalars(select(Event.quantity).order_by(Event.id)).all()
        assert kept == [Decimal(number) for number in numbers[:3]]

    def test_survives_naughty_strings_in_every_field(self, client: Any, key: str) -> None:
        naughty = json.loads((ROOT / "tests" / "data" / "naughty_strings.json").read_text("utf-8"))
        for field in ("id", "tenant", "type", "time", "quantity", "properties", "surplus"):
            batch = [event(**{"id": f"{field}{n}", field: text}) for n, text in enumerate(naughty)]
            answer = push(client, batch[:1_000], key=key)
            assert answer.status_code == 200, field
            assert len(answer.json["events"]) == len(batch[:1_000])

    def test_leaves_no_cookie_and_nothing_in_a_cache(self, client: Any, key: str) -> None:
        answer = push(client, event(), key=key)
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"

    def test_notes_when_its_key_was_used(self, client: Any, key: str) -> None:
        push(client, event(), key=key)
        with control_session() as session:
            assert session.scalars(select(ApiKey.last_used_at)).one() is not None


class TestAKey:
    def refusal(self, answer: Any) -> tuple[int, str]:
        assert answer.mimetype == "application/problem+json"
        assert answer.json["status"] == answer.status_code
        assert answer.json["detail"]
        return answer.status_code, answer.headers["WWW-Authenticate"]

    @pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer  ", "Basic dGs6eA==", "tk_x"])
    def test_must_be_there(self, client: Any, header: str | None) -> None:
        headers = {} if header is None else {"Authorization": header}
        answer = client.post(URL, json=event(), headers=headers)
        assert self.refusal(answer) == (401, 'Bearer realm="tenantry"')

    def test_must_be_known(self, client: Any, key: str) -> None:
        for wrong in (key + "x", key[:-1], key.upper(), "tk_é", "tk_" + "x" * 5_000):
            assert self.refusal(push(client, event(), key=wrong))[0] == 401
        assert stored() == 0

    @pytest.mark.parametrize("end", ["expires_at", "revoked_at"])
    def test_must_not_be_over(self, client: Any, end: str) -> None:
        over = make_key(**{end: clock.now()})
        status, challenge = self.refusal(push(client, event(), key=over))
        assert (status, "invalid_token" in challenge) == (401, True)

    def test_works_until_the_moment_at_which_it_ends(self, client: Any) -> None:
        make_customer()
        ending = make_key(expires_at=clock.now() + timedelta(minutes=1))
        assert push(client, event(), key=ending).status_code == 200

    def test_must_have_the_scope(self, client: Any) -> None:
        other = make_key(scopes=["other:read"])
        status, challenge = self.refusal(push(client, event(), key=other))
        assert (status, "insufficient_scope" in challenge) == (403, True)


class TestAWrongCall:
    @pytest.mark.parametrize(
        ("body", "kind", "status"),
        [
            ("", "application/json", 400),
            ("{", "application/json", 400),
            ("[" * 100_000, "application/json", 400),
            (b"\xff\xfe[\x00]\x00", "application/json", 400),
            ("[]", "application/json", 422),
            ('{"events": []}', "application/json", 422),
            ('{"events": {}}', "application/json", 422),
            ('{"events": [1], "more": 1}', "application/json", 422),
            ("\n\n", "application/x-ndjson", 422),
            ("{}", "application/cloudevents-batch+json", 422),
            ("id=1", "application/x-www-form-urlencoded", 415),
            ("[]", "text/plain", 415),
            ("[]", "application/json; charset=utf-16", 415),
        ],
    )
    def test_is_refused_as_a_whole_and_told_why(
        self, client: Any, key: str, body: Any, kind: str, status: int
    ) -> None:
        answer = push(client, body, key=key, content_type=kind)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
        assert answer.json["detail"]

    def test_may_not_be_compressed(self, client: Any, key: str) -> None:
        answer = push(client, b"\x1f\x8b", key=key, **{"Content-Encoding": "gzip"})
        assert answer.status_code == 415

    def test_brings_no_more_events_than_one_call_may(self, client: Any, key: str) -> None:
        most = settings().event_batch_max
        answer = push(client, [event(id=str(n)) for n in range(most + 1)], key=key)
        assert (answer.status_code, stored()) == (422, 0)
        assert str(most) in answer.json["detail"]

    def test_brings_no_more_bytes_than_one_call_may(self, client: Any, key: str) -> None:
        answer = push(client, " " * (settings().event_body_bytes_max + 1), key=key)
        assert answer.status_code == 413
        assert "Send fewer" in answer.json["detail"]

    def test_uses_another_method_or_place(self, client: Any, key: str) -> None:
        assert client.get(URL).status_code == 405
        lost = client.post("/api/v1/nothing", json={})
        assert (lost.status_code, lost.mimetype) == (404, "application/problem+json")


class TestTheRate:
    @pytest.fixture
    def limited(self, app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        counting = settings().model_copy(
            update={"environment": "dev", "event_calls_per_minute_max": 3}
        )
        for module in (security, door):
            monkeypatch.setattr(module, "settings", lambda: counting)
        yield create_app().test_client()
        security.limiter.enabled = False

    def test_is_counted_by_key_and_says_when_to_come_back(self, limited: Any, key: str) -> None:
        other = make_key()
        assert [push(limited, event(), key=key).status_code for _ in range(4)] == [200] * 3 + [429]
        answer = push(limited, event(), key=key)
        assert answer.mimetype == "application/problem+json"
        assert 0 < int(answer.headers["Retry-After"]) <= 60
        assert push(limited, event(), key=other).status_code == 200

    def test_of_guessing_keys_is_counted_by_address(self, limited: Any, key: str) -> None:
        guesses = [push(limited, event(), key=f"tk_{n}").status_code for n in range(61)]
        assert guesses == [401] * 60 + [429]
        assert push(limited, event(), key=key).status_code == 200


def test_the_default_limits_fit_through_the_proxy() -> None:
    config = (ROOT / "deploy" / "nginx" / "tenantry.conf").read_text()
    default = Settings.model_fields["event_body_bytes_max"].default
    assert "client_max_body_size 2m;" in config
    assert default == formats.settings().event_body_bytes_max <= 2 * 1024 * 1024
