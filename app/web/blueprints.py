"""Every blueprint, in the order a visitor meets them."""

from __future__ import annotations

from flask import Blueprint

BLUEPRINTS: list[Blueprint] = []
