"""The workspace's blueprint, and what its frame shows."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, g, url_for

from app.web.i18n import gettext

workspace = Blueprint("workspace", __name__, url_prefix="/workspace")


@workspace.context_processor
def frame() -> dict[str, Any]:
    """This function will tell the frame where one may go and who is signed in."""
    if not hasattr(g, "member"):
        return {}
    return {
        "tenant_name": g.tenant.name,
        "workspace_url": url_for("workspace.drawings_page"),
        "nav_items": [
            {
                "key": "drawings",
                "label": gettext("Drawings"),
                "url": url_for("workspace.drawings_page"),
                "icon": "layers",
            },
            {
                "key": "members",
                "label": gettext("Members"),
                "url": url_for("workspace.members_page"),
                "icon": "people",
            },
        ],
        "account": {
            "name": g.member.name,
            "detail": g.member.email,
            "sign_out_url": url_for("workspace.leave"),
        },
    }
