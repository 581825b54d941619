"""What can go wrong before there is an application to say it."""


class EmbeddedError(RuntimeError):
    """The machine can't run what was asked; the message says what to do."""
