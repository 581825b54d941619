"""`GET /api/v1/entitlements/{tenant}`: what a tenant may use, and what is left of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import Response, jsonify

from app.base import clock
from app.base.db import control_statements
from app.web.api.door import api, key_required
from tenants import entitlement_sheet
from tenants.entitlement_sheet import Limit, QuotaState, Standing
from tenants.event_bodies import plain


@api.get("/entitlements/<tenant>")
@key_required("entitlements:read")
def entitlements(tenant: str) -> Response:
    """This function will tell features, limits and quotas, each with where it comes from."""
    with control_statements() as statements:
        sheet = entitlement_sheet.of_tenant(
            control_session=statements, tenant=tenant, now=clock.now()
        )
    return jsonify(
        {
            "tenant": str(sheet.tenant_id),
            "slug": sheet.slug,
            "state": sheet.state,
            "plan": sheet.plan_code,
            "features": {
                each.code: {"value": each.value} | _source(each.override) for each in sheet.features
            },
            "limits": {each.key: _limit(each) for each in sheet.limits},
            "quotas": {each.meter: _quota(each) for each in sheet.quotas},
        }
    )


def _limit(limit: Limit) -> dict[str, Any]:
    return {
        "value": limit.value,
        "used": None if limit.used is None else plain(limit.used),
        "remaining": None if limit.remaining is None else plain(limit.remaining),
        "as_of": limit.as_of and limit.as_of.isoformat(),
    } | _source(limit.override)


def _quota(state: QuotaState) -> dict[str, Any]:
    bounds = {"soft": state.quota.soft, "hard": state.quota.hard}
    return {
        **{name: None if bound is None else plain(bound) for name, bound in bounds.items()},
        "period": {"start": _moment(state.start), "end": _moment(state.end)},
        "used": plain(state.used),
        "remaining": plain(state.remaining),
        "over_soft": state.over_soft,
        "allowed": state.allowed,
        "counted_at": state.counted_at and _moment(state.counted_at),
    } | _source(state.override)


def _source(override: Standing | None) -> dict[str, Any]:
    if override is None:
        return {"source": "plan"}
    return {"source": "override", "until": override.expires_at and _moment(override.expires_at)}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
