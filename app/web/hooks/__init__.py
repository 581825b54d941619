"""The door for payment gateways: what they call in about is checked, stored and answered."""

from app.web.hooks.gateways import hooks

__all__ = ["hooks"]
