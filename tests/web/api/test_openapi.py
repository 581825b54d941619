"""What the API's description promises, asked of the API itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser

from app.base.config import Settings
from app.base.db import control_session
from app.web.api.reference import DOCUMENT, REASONS
from tenants import api_keys, event_bodies
from tenants.api_key_models import ApiKey
from tests.browser import chromium, faults, open_page
from tests.web.api.calling import make_customer, make_key, push
from tests.web.site.serving import serve

DESCRIBED = json.loads(DOCUMENT.read_text(encoding="utf-8"))
PUSH = DESCRIBED["paths"]["/events"]["post"]
# When the examples were written.
THEN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
FORMS = PUSH["requestBody"]["content"]
EXAMPLES = [(form, name) for form, kind in FORMS.items() for name in kind["examples"]]


def resolve(node: Any) -> Any:
    """What a $ref points at, or the node itself."""
    while "$ref" in node:
        found: Any = DESCRIBED
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def key(client: Any, set_clock: Callable[[datetime], None]) -> str:
    set_clock(THEN)
    make_customer()
    return make_key()


class TestTheDocument:
    def test_is_served_to_everybody_as_it_is_written(self, client: Any) -> None:
        answer = client.get("/api/v1/openapi.json")
        assert (answer.status_code, answer.mimetype) == (200, "application/json")
        assert answer.json == DESCRIBED
        assert answer.json["openapi"].startswith("3.1")

    @pytest.mark.parametrize(("form", "name"), EXAMPLES)
    def test_example_is_answered_as_described(
        self, client: Any, key: str, form: str, name: str
    ) -> None:
        value = FORMS[form]["examples"][name]["value"]
        body = value if isinstance(value, str) else json.dumps(value)
        answer = push(client, body, key=key, content_type=form)
        described = PUSH["responses"]["200"]["content"]["application/json"]["examples"][name]
        assert (answer.status_code, answer.json) == (200, described["value"])

    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (400, "", "application/json"),
            (401, "[]", "application/json"),
            (403, "[]", "application/json"),
            (413, " " * (2 * 1024 * 1024 + 1), "application/json"),
            (415, "[]", "text/plain"),
            (422, "[]", "application/json"),
        ],
    )
    def test_problem_is_answered_as_described(
        self, client: Any, key: str, status: int, body: str, kind: str
    ) -> None:
        if status == 403:
            with control_session() as session:
                session.query(ApiKey).update({"scopes": ["other:read"]})
        used = None if status == 401 else key
        answer = push(client, body, key=used, content_type=kind)
        problem = resolve(PUSH["responses"][str(status)])["content"]["application/problem+json"]
        assert (answer.status_code, answer.json) == (status, problem["example"])

    def test_every_reference_leads_somewhere(self) -> None:
        references = re.findall(r'"\$ref": "([^"]+)"', DOCUMENT.read_text())
        assert references
        assert all(resolve({"$ref": reference}) for reference in references)

    def test_names_the_default_limits(self) -> None:
        def default(name: str) -> Any:
            return Settings.model_fields[name].default

        fields = DESCRIBED["components"]["schemas"]
        assert fields["Events"]["maxItems"] == default("event_batch_max")
        one = fields["Event"]["properties"]
        assert set(one) == event_bodies.FIELDS
        assert one["id"]["maxLength"] == default("event_id_length_max")
        assert one["type"]["maxLength"] == event_bodies.NAME_LENGTH_MAX
        assert f"{default('event_backdating_days')} days" in one["time"]["description"]
        assert f"{default('event_clock_skew_seconds')} seconds" in one["time"]["description"]
        assert fields["Properties"]["maxProperties"] == default("event_properties_max")
        assert f"{default('event_properties_bytes_max'):,} bytes" in str(fields["Properties"])
        too_large = DESCRIBED["components"]["responses"]["TooLarge"]["description"]
        assert f"{default('event_body_bytes_max'):,}" in too_large

    def test_names_every_reason_and_scope(self) -> None:
        answer = DESCRIBED["components"]["schemas"]["Answer"]["properties"]["events"]["items"]
        assert answer["properties"]["reason"]["enum"] == list(REASONS)
        schemes = DESCRIBED["components"]["securitySchemes"]["apiKey"]["description"]
        assert [scope for scope in api_keys.SCOPES if scope not in schemes] == []


class TestThePage:
    def test_names_every_field_outcome_reason_and_status(self, client: Any) -> None:
        page = client.get("/api").text
        named = {*event_bodies.FIELDS, *REASONS, *FORMS, "accepted", "conflict", "/api/v1/openapi"}
        statuses = PUSH["responses"].keys() - {"200"}
        assert [word for word in {*named, *statuses} if word not in page] == []

    def test_has_no_faults_in_either_language(self, app: Any, browser: Browser) -> None:
        with serve(app) as address:
            for language in ("ko", "en"):
                with open_page(browser, f"{address}/api", language=language) as page:
                    assert faults(page) == []
