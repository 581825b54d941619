"""python -m app.mailbox: the mail catcher alone, without the rest of the product."""

from app.mailbox.command import mail_catcher_command

mail_catcher_command()
