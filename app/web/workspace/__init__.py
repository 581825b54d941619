"""The workspace: the tenant's own product. Whose database it is, the session alone says."""

from __future__ import annotations

from app.web.workspace import drawings, entrance, members  # noqa: F401 - they add their pages
from app.web.workspace.blueprint import workspace

__all__ = ["workspace"]
