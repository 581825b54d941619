"""The migrations against the models: whatever one says of a table, the other says too."""

from __future__ import annotations

from typing import Any

from alembic import command

from app.base import installation


def test_the_history_leads_to_what_the_models_describe(scenario: Any) -> None:
    command.check(installation.alembic_config())
