"""python -m tests.fakes.stripe --port N: this Stripe alone."""

from __future__ import annotations

from pathlib import Path

import click

from app.base.config import settings
from tests.fakes.stripe.server import serve


@click.command()
@click.option("--port", type=int, default=8020, show_default=True, help="0 takes a free one.")
@click.option("--directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--secret-key", default="sk_test_simulator", show_default=True)
@click.option("--webhook-url", default="", help="Where events are sent; without it, nowhere.")
@click.option("--webhook-secret", default="whsec_simulator", show_default=True)
@click.option("--webhook-retry-seconds", type=float, default=1.0, show_default=True)
@click.option("--hang-seconds", type=float, default=90.0, show_default=True)
def main(
    *,
    port: int,
    directory: Path | None,
    secret_key: str,
    webhook_url: str,
    webhook_secret: str,
    webhook_retry_seconds: float,
    hang_seconds: float,
) -> None:
    """Run a Stripe on this machine in which no money exists."""
    serve(
        port=port,
        directory=directory or settings().var_dir / "stripe-simulator",
        secret_key=secret_key,
        webhook_url=webhook_url,
        webhook_secret=webhook_secret,
        webhook_retry_seconds=webhook_retry_seconds,
        hang_seconds=hang_seconds,
    )


main()
