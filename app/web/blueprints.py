"""Every blueprint, in the order a visitor meets them."""

from __future__ import annotations

from flask import Blueprint

from app.web.console.accounts import console_accounts
from app.web.console.trails import console_trails

BLUEPRINTS: list[Blueprint] = [console_accounts, console_trails]
