"""Every table of the floor, imported in one place for migrations."""

from app.base.accounts import OneTimeToken, SignInFailure, Staff
from app.base.audit import AccessEntry, AuditEvent
from app.base.messages import Message
from app.base.sessions import SessionCacheEpoch, WebSession

__all__ = [
    "AccessEntry",
    "AuditEvent",
    "Message",
    "OneTimeToken",
    "SessionCacheEpoch",
    "SignInFailure",
    "Staff",
    "WebSession",
]
