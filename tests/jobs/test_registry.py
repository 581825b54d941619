"""Every step of the road has its module, under its own name, on a queue that somebody serves."""

from __future__ import annotations

from jobs.registry import STEP_MODULES, all_steps
from jobs.worker import WORKERS


def test_every_step_loads_under_its_own_name() -> None:
    assert tuple(all_steps()) == STEP_MODULES


def test_every_step_is_on_a_queue_with_workers() -> None:
    assert {step.queue for step in all_steps().values()} == set(WORKERS)


def test_whatever_a_transition_wakes_is_a_step() -> None:
    from app.base.messages import MESSAGE
    from invoices import models as invoices
    from tenants import models as tenants

    machines = (
        MESSAGE,
        tenants.APPLICATION,
        tenants.TENANT,
        invoices.SUBSCRIPTION,
        invoices.INVOICE,
        invoices.ATTEMPT,
        invoices.DOCUMENT,
    )
    woken = {step for machine in machines for step in machine.wakes.values()}
    assert woken <= set(all_steps())
