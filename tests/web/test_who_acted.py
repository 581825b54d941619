"""Whoever may act is named in a timeline by words, and not by what the code calls them."""

from __future__ import annotations

import re
from pathlib import Path

from app.base.config import CHECKOUT
from app.web import event_words

_ACTS = re.compile(r"Actor(\.job)?\(\"([a-z_]+)\"\)")
_PERSON = "staff"


def actors() -> set[tuple[str, str]]:
    found = set()
    for room in ("app", "tenants", "invoices", "jobs"):
        for file in Path(CHECKOUT / room).rglob("*.py"):
            for job, name in _ACTS.findall(file.read_text(encoding="utf-8")):
                found.add(("job" if job else "kind", name))
    return found


def test_every_job_and_every_kind_of_actor_has_a_name() -> None:
    known = {("job", step) for step in event_words._STEPS}
    known |= {("kind", kind) for kind in (*event_words._ACTORS, _PERSON)}
    assert ("job", "destruction") in actors()
    assert actors() - known == set()
