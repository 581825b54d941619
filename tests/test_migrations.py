"""The migrations against the models: whatever one says of a table, the other says too."""

from __future__ import annotations

from typing import Any

from alembic import command

from app.base import installation


def test_the_history_leads_to_what_the_models_describe(scenario: Any) -> None:
    command.check(installation.alembic_config())


def test_the_history_of_pushed_usage_leads_there_too(scenario: Any) -> None:
    command.check(installation.usage_alembic_config())
