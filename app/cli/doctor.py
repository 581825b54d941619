"""`flask doctor`: what keeps this installation from working, each with the line that mends it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click
import psycopg
import redis
from pydantic import ValidationError
from sqlalchemy import select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.base import installation, secrets
from app.base.config import Settings, faults, settings
from app.base.db import control_session, usage_is_apart, usage_session
from app.base.errors import TenantryError
from app.embedded import system_libraries

SETUP = "bin/flask setup"
MIGRATE = "bin/flask tenants migrate"
SHOWN_MAX = 20
KEY_LENGTH_MIN = 32


@dataclass(frozen=True, slots=True)
class Finding:
    """Something amiss and what to do about it; `fatal` unless the rest works without it."""

    what: str
    remedy: str
    fatal: bool = True


@click.command("doctor")
def doctor_command() -> None:
    """Look at settings, servers, privileges, schema and libraries; say how to mend each."""
    broken = 0
    for name, look in CHECKS:
        findings = _found_by(look)
        click.echo(f"{'ok  ' if not findings else 'FAIL'} {name}")
        for finding in findings:
            broken += finding.fatal
            click.echo(f"     {finding.what}")
            click.echo(f"     -> {finding.remedy}")
    click.echo("all well" if not broken else f"{broken} to mend")
    sys.exit(1 if broken else 0)


def _found_by(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except (SQLAlchemyError, psycopg.Error) as error:
        return [Finding(f"PostgreSQL can't be asked ({type(error).__name__}).", SETUP)]
    except TenantryError as error:
        return [Finding(error.message, SETUP)]


def _settings() -> Iterator[Finding]:
    try:
        settings()
    except ValidationError as error:
        for fault in faults(error):
            yield Finding(fault, f"correct {fault.partition(':')[0]}")
        return
    try:
        secrets.derive("doctor")
    except TenantryError as error:
        make = "python3 -c 'import secrets; print(secrets.token_hex(32))'"
        yield Finding(error.message, f"export TENANTRY_SECRET_KEYS=$({make})")
    if settings().environment == "production":
        yield from _secrets_that_everybody_knows()
    if settings().environment == "production" and not settings().secure_cookies:
        yield Finding(
            "TENANTRY_PUBLIC_URL is not https: cookies would travel in the clear.",
            "set TENANTRY_PUBLIC_URL=https://…",
        )
    if settings().environment == "production" and not settings().trusted_hosts:
        yield Finding(
            "TENANTRY_TRUSTED_HOSTS is empty: any Host header is believed.",
            "set TENANTRY_TRUSTED_HOSTS to the names people type",
            fatal=False,
        )


def _secrets_that_everybody_knows() -> Iterator[Finding]:
    for name in ("sandbox_gateway_secret", "sandbox_webhook_secret"):
        if getattr(settings(), name) == Settings.model_fields[name].default:
            variable = f"TENANTRY_{name.upper()}"
            yield Finding(
                f"{variable} is the published default: anybody could sign for the gateway.",
                f"set {variable} to a secret of your own",
            )
    for key in settings().secret_keys.get_secret_value().split(","):
        if 0 < len(key.strip()) < KEY_LENGTH_MIN:
            yield Finding(
                "A key of TENANTRY_SECRET_KEYS can be guessed.",
                f"make each at least {KEY_LENGTH_MIN} random characters",
            )


def _folders() -> Iterator[Finding]:
    for folder in (settings().var_dir, settings().files):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / ".doctor"
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            yield Finding(
                f"{folder} can't be written ({error.strerror}).",
                f"chown or free {folder}, or set TENANTRY_VAR_DIR / TENANTRY_FILES_DIR",
            )


def _control() -> Iterator[Finding]:
    with control_session() as session:
        version = int(session.scalar(text("SHOW server_version_num")) or 0)
        if version < 180000:
            yield Finding(f"PostgreSQL is {version // 10000}, not 18.", "upgrade PostgreSQL")
        revision = session.scalar(text("SELECT version_num FROM alembic_version"))
        for table in ("audit_event", "ledger_entry", "ledger_line", "erasure"):
            for act in ("UPDATE", "DELETE"):
                if session.scalar(
                    text("SELECT has_table_privilege(:table, :act)"), {"table": table, "act": act}
                ):
                    yield Finding(f"the runtime role may {act} {table}", SETUP)
        yield from _talkative_log(session)
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - loaded by this check alone

    head = ScriptDirectory.from_config(installation.alembic_config()).get_current_head()
    if revision != head:
        yield Finding(f"control schema is {revision}, newest is {head}", SETUP)


def _talkative_log(session: Session) -> Iterator[Finding]:
    """A server that logs the details of an error logs the row that it refused, people and all."""
    if session.scalar(text("SHOW log_error_verbosity")) != "terse":
        yield Finding(
            "PostgreSQL's log holds personal data: the rows that were refused.",
            "ALTER SYSTEM SET log_error_verbosity = 'terse'; SELECT pg_reload_conf();",
            fatal=False,
        )


def _usage() -> Iterator[Finding]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - loaded by this check alone

    with usage_session() as session:
        version = int(session.scalar(text("SHOW server_version_num")) or 0)
        if version < 180000:
            yield Finding(f"PostgreSQL is {version // 10000}, not 18.", "upgrade PostgreSQL")
        revision = session.scalar(text("SELECT version_num FROM usage_version"))
        for table in ("event", "event_key", "event_correction", "erased_tenant"):
            for act in ("UPDATE", "DELETE"):
                if session.scalar(
                    text("SELECT has_table_privilege(:table, :act)"), {"table": table, "act": act}
                ):
                    yield Finding(f"the runtime role may {act} {table}", SETUP)
    head = ScriptDirectory.from_config(installation.usage_alembic_config()).get_current_head()
    if revision != head:
        yield Finding(f"usage schema is {revision}, newest is {head}", SETUP)
    if usage_is_apart():
        yield from _events_left_behind()


def _events_left_behind() -> Iterator[Finding]:
    """What was pushed before USAGE_DATABASE_URL was set, and would now be taken a second time."""
    with control_session() as session:
        if session.scalar(text("SELECT to_regclass('event_key')")) is None:
            return
        if session.scalar(text("SELECT EXISTS (SELECT FROM event_key)")):
            yield Finding(
                "there are events in the control database, not where USAGE_DATABASE_URL leads",
                "unset USAGE_DATABASE_URL: no command moves events yet",
            )


def _clusters() -> Iterator[Finding]:
    from tenants import reconcile, template  # noqa: PLC0415 - loaded by this check alone
    from tenants.databases import provisioner_connection  # noqa: PLC0415 - likewise
    from tenants.models import Cluster  # noqa: PLC0415 - likewise

    with control_session() as session:
        clusters = session.execute(select(Cluster.name, Cluster.url, Cluster.template_name)).all()
    if not clusters:
        yield Finding("no cluster is written down to hold tenants", SETUP)
    for name, url, template_name in clusters:
        with provisioner_connection(url) as connection:
            for finding in reconcile.doctor(connection, cluster=name):
                yield Finding(f"{name}: {finding.kind} {finding.name}", finding.remedy)
            comment = connection.execute(
                "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
                (template_name,),
            ).fetchone()
        if comment is None or not (comment[0] or "").endswith(f" template {template.digest()}"):
            yield Finding(f"{name}: the tenant template is missing or old", SETUP)


def _tenant_databases() -> Iterator[Finding]:
    from tenants import schema_upgrades, template  # noqa: PLC0415 - loaded by this check alone

    with control_session() as session:
        behind = schema_upgrades.behind(control_session=session)
    for each in behind[:SHOWN_MAX]:
        why = f": {each.error}" if each.error else ""
        yield Finding(
            f"{each.slug} is at {each.revision}, newest is {template.head_revision()}{why}",
            MIGRATE,
        )
    if len(behind) > SHOWN_MAX:
        yield Finding(f"and {len(behind) - SHOWN_MAX} more", MIGRATE)


def _valkey() -> Iterator[Finding]:
    client = redis.Redis.from_url(settings().redis_url, socket_connect_timeout=2, socket_timeout=2)
    try:
        client.ping()
    except redis.RedisError as error:
        yield Finding(
            f"Valkey does not answer ({type(error).__name__}): pages work, jobs wait.",
            "start Valkey, or set REDIS_URL",
        )


def _libraries() -> Iterator[Finding]:
    for missing in system_libraries.missing():
        yield Finding(f"{missing.what} is missing: {missing.why}.", missing.install, fatal=False)


CHECKS: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("settings", _settings),
    ("folders", _folders),
    ("control database", _control),
    ("pushed usage", _usage),
    ("clusters of tenant databases", _clusters),
    ("schemas of tenant databases", _tenant_databases),
    ("Valkey", _valkey),
    ("libraries for papers", _libraries),
)
