"""The five ways in which a request can fail; doors map the kind, people read the message.

A room declares its own error next to the function that raises it, as a subclass of one of these.
`message` is a sentence for people that says what to do; `field` names the input at fault.
"""


class TenantryError(Exception):
    """The base of every error that a room raises on purpose."""

    status = 500

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class Invalid(TenantryError):
    """The input is wrong; nothing was changed."""

    status = 422


class Forbidden(TenantryError):
    """The person may not do this."""

    status = 403


class NotFound(TenantryError):
    """There is no such thing, or it is not this person's."""

    status = 404


class Conflict(TenantryError):
    """Somebody else was first, or the state does not allow it any more."""

    status = 409


class Unavailable(TenantryError):
    """Something outside is down; the same call may work later."""

    status = 503
