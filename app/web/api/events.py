"""`POST /api/v1/events`: what was used, by whom and when, told by our own programs."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import structlog
from flask import Response, g

from app.base import clock
from app.base.db import usage_statements
from app.web.api import formats
from app.web.api.door import api, key_required
from app.web.db import control
from tenants import events as usage
from tenants.events import Outcome

log = structlog.get_logger(__name__)


@api.post("/events")
@key_required("events:write")
def push() -> Response:
    """This function will store the new ones of these events and answer for each of them.

    What it calls accepted is on disk: storing is one statement, which commits before the answer.
    """
    sent = formats.events()
    usage.check_count(sent)
    with usage_statements() as statements:
        outcomes = usage.accept(
            usage_session=statements, control_session=control(), events=sent, now=clock.now()
        )
    counts: Counter[str] = Counter(outcome.outcome for outcome in outcomes)
    log.info("events.pushed", api_key=g.api_key.prefix, **counts)
    told = {word: counts[word] for word in usage.OUTCOMES} | {
        "events": [
            _answer(index, each, outcome)
            for index, (each, outcome) in enumerate(zip(sent, outcomes, strict=True))
        ]
    }
    return Response(json.dumps(told), mimetype="application/json")


def _answer(index: int, sent: Any, outcome: Outcome) -> dict[str, Any]:
    answer: dict[str, Any] = {"index": index}
    if isinstance(sent, dict) and isinstance(sent.get("id"), str):
        answer["id"] = sent["id"]
    answer["outcome"] = outcome.outcome
    if outcome.refusal is not None:
        answer["reason"] = outcome.refusal.reason
        answer["detail"] = outcome.refusal.detail
        if outcome.refusal.field:
            answer["field"] = outcome.refusal.field
    return answer
