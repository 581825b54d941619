"""What the audit trail notes of a contract by code, by its name: charges and plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import g
from sqlalchemy import select

from app.base.audit import AuditEvent
from app.web.db import control
from app.web.format import number
from app.web.i18n import language
from invoices.models import PlanVersion, Price, SubscriptionItem


def named(event: AuditEvent) -> Mapping[str, Any]:
    """This function will return an event's details with names where its contract has codes."""
    if event.subject_kind != "subscription":
        return event.details
    found = dict(event.details)
    if "charge" in found:
        names = _charges(UUID(event.subject_id))
        found["charge"] = names.get(found["charge"], found["charge"])
    if "plan" in found and "plan_version" in found:
        found["plan"] = _plan(found["plan"], found["plan_version"])
    if _is_figure(found.get("quantity")):
        found["quantity"] = number(found["quantity"])
    return found


def _is_figure(quantity: Any) -> bool:
    return str(quantity).replace(".", "", 1).isdigit()


def _charges(subscription_id: UUID) -> dict[str, str]:
    """The names of all that a subscription has or had, read once a request."""
    kept: dict[UUID, dict[str, str]] = g.setdefault("charge_names", {})
    if subscription_id not in kept:
        name = Price.name_ko if language() == "ko" else Price.name_en
        rows = control().execute(
            select(Price.charge, name)
            .join(SubscriptionItem, SubscriptionItem.price_id == Price.id)
            .where(SubscriptionItem.subscription_id == subscription_id)
            .order_by(SubscriptionItem.starts_at)
        )
        kept[subscription_id] = {row[0]: row[1] for row in rows}
    return kept[subscription_id]


def _plan(code: str, version: int) -> str:
    kept: dict[tuple[str, int], str] = g.setdefault("plan_names", {})
    key = (code, int(version))
    if key not in kept:
        name = PlanVersion.name_ko if language() == "ko" else PlanVersion.name_en
        said = control().scalar(
            select(name)
            .where(PlanVersion.plan_code == code, PlanVersion.version == key[1])
            .limit(1)
        )
        kept[key] = said or code
    return kept[key]


def plan_names(codes: list[str]) -> str:
    """This function will name plans by their codes, as the latest version of each does."""
    return ", ".join(_catalogue().get(code, (code, {}))[0] for code in codes)


def charge_names(codes: list[str], plans: list[str]) -> str:
    """This function will name charges by their codes; one that plans call differently keeps its."""
    known = [each for code, each in _catalogue().items() if not plans or code in plans]
    said = []
    for code in codes:
        names = {charges[code] for _, charges in known if code in charges}
        said.append(names.pop() if len(names) == 1 else code)
    return ", ".join(said)


def _catalogue() -> dict[str, tuple[str, dict[str, str]]]:
    """Each plan's code with its name and its charges' names, of every version the latest."""
    kept: dict[str, tuple[str, dict[str, str]]] | None = g.get("catalogue_names")
    if kept is None:
        korean = language() == "ko"
        rows = control().execute(
            select(
                PlanVersion.plan_code,
                PlanVersion.name_ko if korean else PlanVersion.name_en,
                Price.charge,
                Price.name_ko if korean else Price.name_en,
            )
            .join(Price, Price.plan_version_id == PlanVersion.id)
            .order_by(PlanVersion.version)
        )
        kept = {}
        for plan_code, plan, charge, name in rows:
            charges = kept[plan_code][1] if plan_code in kept else {}
            kept[plan_code] = (plan, charges | {charge: name})
        g.catalogue_names = kept
    return kept
