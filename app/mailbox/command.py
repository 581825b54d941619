"""The command that runs the mail catcher."""

from __future__ import annotations

import threading
from pathlib import Path

import click

from app.base.config import settings
from app.base.loopback import HOST, LoopbackServer, wait_for_stop
from app.mailbox.shelf import LETTERS_MAX, Shelf
from app.mailbox.smtp import SmtpServer
from app.mailbox.web import create_mailbox


@click.command("mail-catcher")
@click.option("--smtp-port", type=int, default=1025, show_default=True, help="0: a free one.")
@click.option("--http-port", type=int, default=8025, show_default=True, help="0: a free one.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the mails lie; by default mail/ in the var directory.",
)
@click.option("--letters-max", type=click.IntRange(min=1), default=LETTERS_MAX, show_default=True)
def mail_catcher_command(
    *, smtp_port: int, http_port: int, directory: Path | None, letters_max: int
) -> None:
    """Take all mail that is sent to this machine, and show it on a page."""
    try:
        shelf = Shelf(directory=directory or settings().var_dir / "mail", letters_max=letters_max)
        smtp = SmtpServer(shelf=shelf, port=smtp_port)
        web = LoopbackServer(application=create_mailbox(shelf=shelf), port=http_port)
    except OSError as error:
        raise click.ClickException(str(error)) from error
    smtp.start()
    threading.Thread(target=web.serve_forever, name="http", daemon=True).start()
    click.echo(f"mail catcher on smtp://{HOST}:{smtp.port} http://{HOST}:{web.server_port}")
    wait_for_stop()
    web.shutdown()
    web.server_close()
    smtp.stop()
