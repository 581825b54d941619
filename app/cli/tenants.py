"""`flask tenants`: what is done to all tenants' databases alike."""

from __future__ import annotations

import sys
import time
from collections import Counter
from uuid import UUID

import click

from app.base.db import control_session
from tenants import schema_upgrades, template
from tenants.schema_upgrades import Upgrade

POLL_SECONDS = 0.25
# Somebody may hold a table for a while; so often one run comes back to it.
LOCKED_TRIES_MAX = 3
# So many failures in a row are the migration's own: the rest is left as it is.
FAILURES_IN_A_ROW_MAX = 5


@click.group("tenants")
def tenants_commands() -> None:
    """All tenants' databases: migrate them to the newest revision."""


@tenants_commands.command("migrate")
@click.option("--dry-run", is_flag=True, help="Only say which databases are behind.")
def migrate(*, dry_run: bool) -> None:
    """Bring the database of every live tenant to the newest revision.

    Several may run at once, and one that was killed is simply run again. A database whose migration
    fails keeps its revision, with the reason, and the others go on; it is tried again by the next
    run. Ends with 1 if any is left behind.
    """
    if dry_run:
        with control_session() as session:
            listed = schema_upgrades.behind(control_session=session)
        for each in listed:
            click.echo(f"{each.slug}: {each.revision}" + (f", {each.error}" if each.error else ""))
        click.echo(f"{len(listed)} behind {template.head_revision()}")
        return
    sys.exit(1 if upgrade_all() else 0)


def upgrade_all() -> int:
    """This function will migrate what is behind, say so, and return how many are left behind."""
    with control_session() as session:
        schema_upgrades.enlist(control_session=session)
    done = _each_once()
    with control_session() as session:
        left = schema_upgrades.behind(control_session=session)
    click.echo(f"{done} brought to {template.head_revision()}, {len(left)} left behind")
    return len(left)


def _each_once() -> int:
    """Each once, locked ones a few times; what another run holds is waited for, for its lease."""
    tried: set[UUID] = set()
    locked: Counter[UUID] = Counter()
    done = failed = 0
    while failed < FAILURES_IN_A_ROW_MAX:
        with control_session() as session:
            upgrade = schema_upgrades.begin(control_session=session, tried=tried)
        if upgrade is None:
            with control_session() as session:
                if not schema_upgrades.others_at_work(control_session=session, tried=tried):
                    return done
            time.sleep(POLL_SECONDS)
            continue
        error = _upgraded(upgrade)
        if error is None:
            done, failed = done + 1, 0
            continue
        if schema_upgrades.is_locked(error):
            locked[upgrade.tenant_id] += 1
            if locked[upgrade.tenant_id] < LOCKED_TRIES_MAX:
                continue
        tried.add(upgrade.tenant_id)
        failed += 1
    click.echo(f"{failed} failed in a row: stopped. Look at the migration before the next run.")
    return done


def _upgraded(upgrade: Upgrade) -> Exception | None:
    """Migrate one database, write down what came of it, and say so."""
    try:
        schema_upgrades.perform(upgrade)
    except Exception as error:  # whatever it is, it concerns this tenant alone
        with control_session() as session:
            reason = schema_upgrades.park(control_session=session, upgrade=upgrade, error=error)
        click.echo(f"{upgrade.slug}: stays at {upgrade.revision}. {reason}")
        return error
    with control_session() as session:
        schema_upgrades.record(control_session=session, upgrade=upgrade)
    click.echo(f"{upgrade.slug}: {upgrade.revision} -> {upgrade.target}")
    return None
