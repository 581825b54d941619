"""The command that runs the gateway."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import click

from app.base.config import settings
from app.sandbox.journal import DirectoryTaken
from app.sandbox.server import serve


@click.command("sandbox-gateway")
@click.option("--port", type=int, default=8010, show_default=True, help="0 takes a free one.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the gateway remembers; by default sandbox/ in the var directory.",
)
@click.option("--webhook-url", default="", help="Where events are sent; without it, nowhere.")
@click.option("--webhook-retry-seconds", type=float, default=1.0, show_default=True)
@click.option(
    "--hang-seconds",
    type=float,
    default=90.0,
    show_default=True,
    help="How long the hanging card holds its answer back.",
)
@click.option("--key-window-hours", type=float, default=24.0, show_default=True)
def sandbox_gateway_command(
    *,
    port: int,
    directory: Path | None,
    webhook_url: str,
    webhook_retry_seconds: float,
    hang_seconds: float,
    key_window_hours: float,
) -> None:
    """Run a payment gateway on this machine in which no money exists."""
    try:
        serve(
            port=port,
            directory=directory or settings().var_dir / "sandbox",
            secret_key=settings().sandbox_gateway_secret.get_secret_value(),
            webhook_url=webhook_url,
            webhook_secret=settings().sandbox_webhook_secret.get_secret_value(),
            webhook_retry_seconds=webhook_retry_seconds,
            hang_seconds=hang_seconds,
            key_window=timedelta(hours=key_window_hours),
        )
    except (DirectoryTaken, OSError) as error:
        raise click.ClickException(str(error)) from error
