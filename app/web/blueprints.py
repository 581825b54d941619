"""Every blueprint, in the order a visitor meets them."""

from __future__ import annotations

from flask import Blueprint

from app.web.console.accounts import console_accounts
from app.web.console.review import review
from app.web.console.trails import console_trails
from app.web.ops import ops
from app.web.site import site

BLUEPRINTS: list[Blueprint] = [ops, site, console_accounts, console_trails, review]
