"""The door for programs: JSON in, JSON out, an API key in place of a session."""

from app.web.api import (  # noqa: F401 - they add the views
    corrections,
    entitlements,
    events,
    upcoming,
    usage,
)
from app.web.api.door import api
from app.web.api.reference import api_reference

__all__ = ["api", "api_reference"]
