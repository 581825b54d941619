"""The checker that is set up, if one is."""

from __future__ import annotations

from functools import lru_cache

from app.base.config import settings
from tenants.business_checkers.odcloud import Odcloud
from tenants.business_checkers.port import BusinessChecker


@lru_cache(maxsize=1)
def checker() -> BusinessChecker | None:
    """This function will return who can be asked; None while no service key is set."""
    key = settings().business_service_key.get_secret_value()
    if not key:
        return None
    return Odcloud(
        url=settings().business_status_url,
        service_key=key,
        timeout_seconds=settings().business_status_timeout_seconds,
    )
