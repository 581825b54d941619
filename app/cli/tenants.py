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
LEFT_BEHIND, NEWER = 1, 3  # how the command ends; 2 is a wrong call of it


@click.group("tenants")
def tenants_commands() -> None:
    """All tenants' databases: migrate them to the newest revision."""


@tenants_commands.command("migrate")
@click.option("--dry-run", is_flag=True, help="Only say which databases are behind.")
def migrate(*, dry_run: bool) -> None:
    """Bring the database of every live tenant to the newest revision.

    Several may run at once, and one that was killed is simply run again. A database whose migration
    fails keeps its revision, with the reason, and the others go on; it is tried again by the next
    run. One that somebody else holds is skipped, one that is newer than this code is left alone.
    Ends with 1 if any is left behind, with 3 if none is and some are newer.
    """
    if dry_run:
        with control_session() as session:
            listed = schema_upgrades.behind(control_session=session)
        for each in listed:
            click.echo(f"{each.slug}: {each.revision}" + (f", {each.error}" if each.error else ""))
        _name_newer()
        click.echo(f"{len(listed)} behind {template.head_revision()}")
        return
    sys.exit(upgrade_all())


def upgrade_all() -> int:
    """This function will migrate what is behind, say so, and return how it ended: 0 is all well."""
    with control_session() as session:
        schema_upgrades.enlist(control_session=session)
    done = _each_once()
    with control_session() as session:
        left = schema_upgrades.behind(control_session=session)
    newer = _name_newer()
    click.echo(f"{done} brought to {template.head_revision()}, {len(left)} left behind")
    if left:
        return LEFT_BEHIND
    return NEWER if newer else 0


def _name_newer() -> int:
    """Name what is ahead of this code, as after it was rolled back, and return how many are."""
    with control_session() as session:
        found = schema_upgrades.newer(control_session=session)
    for each in found:
        click.echo(f"{each.slug}: {each.revision} is newer than this code, left alone")
    return len(found)


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
            # Somebody else is on it: that is no failure of the migration.
            locked[upgrade.tenant_id] += 1
            if locked[upgrade.tenant_id] == LOCKED_TRIES_MAX:
                tried.add(upgrade.tenant_id)
                click.echo(f"{upgrade.slug}: skipped, somebody else holds it")
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
