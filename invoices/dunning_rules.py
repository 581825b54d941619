"""How debts are followed up: the settings, changed for one plan or one tenant by finance."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.base import audit
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Invalid, NotFound
from invoices.models import DunningRule, Plan
from tenants.models import Tenant

DAYS_MAX = 365
RUNGS_MAX = 12
REASON_LENGTH_MAX = 500
_DAYS = re.compile(r"[0-9]{1,3}")


class NoSuchPlan(NotFound):
    """There is no such plan, or no such company."""


class ReasonMissing(Invalid):
    """Whoever makes an exception must say why."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one tenant.

    `ladder_days`: from one declined attempt to the next. `grace_days`: from past due to suspended.
    `warning_days`: from the final warning to suspended, at least.
    """

    ladder_days: tuple[int, ...]
    grace_days: int
    warning_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceptions:
    """What is done otherwise; an empty text leaves a value as it is elsewhere."""

    retry_days: str = ""
    grace_days: str = ""
    warning_days: str = ""


def rules_of(*, control_session: Session, tenant: Tenant) -> Rules:
    """This function will return what holds for a tenant: its own rule, its plan's, the settings."""
    found = control_session.scalars(
        select(DunningRule)
        .where((DunningRule.tenant_id == tenant.id) | (DunningRule.plan_code == tenant.plan_code))
        # The tenant's own comes first.
        .order_by(DunningRule.tenant_id.is_(None))
    ).all()
    ladders = [rule.retry_days for rule in found if rule.retry_days is not None]
    graces = [rule.grace_days for rule in found if rule.grace_days is not None]
    warnings = [rule.warning_days for rule in found if rule.warning_days is not None]
    s = settings()
    return Rules(
        ladder_days=ladder(ladders[0]) if ladders else s.payment_retry_ladder_days,
        grace_days=graces[0] if graces else s.past_due_grace_days,
        warning_days=warnings[0] if warnings else s.suspension_warning_days,
    )


def usual() -> Rules:
    """This function will return what holds where nothing was changed."""
    s = settings()
    return Rules(s.payment_retry_ladder_days, s.past_due_grace_days, s.suspension_warning_days)


def grace_days() -> ColumnElement[int]:
    """This function will return a tenant's days of grace, for a query over tenants."""
    return _in_force(DunningRule.grace_days, settings().past_due_grace_days)


def warning_days() -> ColumnElement[int]:
    """This function will return a tenant's days from the final warning, for such a query."""
    return _in_force(DunningRule.warning_days, settings().suspension_warning_days)


def _in_force(column: InstrumentedAttribute[int | None], otherwise: int) -> ColumnElement[int]:
    own = select(column).where(DunningRule.tenant_id == Tenant.id)
    plans = select(column).where(DunningRule.plan_code == Tenant.plan_code)
    return func.coalesce(
        own.correlate(Tenant).scalar_subquery(),
        plans.correlate(Tenant).scalar_subquery(),
        literal(otherwise),
    )


def ladder(text: str) -> tuple[int, ...]:
    """This function will read a ladder of days, `2,5,7,7`; an empty one tries once and no more.

    Raises: Invalid (field `retry_days`).
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(parts) > RUNGS_MAX or not all(_DAYS.fullmatch(part) for part in parts):
        raise Invalid(f"Write up to {RUNGS_MAX} numbers of days, as 2,5,7,7.", field="retry_days")
    days = tuple(int(part) for part in parts)
    if not all(1 <= day <= DAYS_MAX for day in days):
        raise Invalid(f"A step is 1 to {DAYS_MAX} days long.", field="retry_days")
    return days


def own_rule(
    *, control_session: Session, tenant_id: UUID | None = None, plan_code: str | None = None
) -> DunningRule | None:
    """This function will return what was changed for a tenant, or for a plan."""
    mine = (
        DunningRule.tenant_id == tenant_id
        if tenant_id is not None
        else DunningRule.plan_code == plan_code
    )
    return control_session.scalar(select(DunningRule).where(mine))


def rules_of_plans(*, control_session: Session) -> dict[str, DunningRule]:
    """This function will return what was changed for plans, by their codes."""
    rows = control_session.scalars(select(DunningRule).where(DunningRule.plan_code.is_not(None)))
    return {row.plan_code: row for row in rows if row.plan_code}


def set_rule(
    *,
    control_session: Session,
    exceptions: Exceptions,
    actor: Actor,
    why: str,
    now: datetime,
    tenant_id: UUID | None = None,
    plan_code: str | None = None,
) -> DunningRule | None:
    """This function will change what holds for one tenant or one plan; all empty takes it back.

    Raises: NoSuchPlan; ReasonMissing (field `why`); Invalid for the field that is wrong.
    """
    reason = said(why)
    wanted = _read(exceptions)
    known: Any = (
        control_session.get(Tenant, tenant_id)
        if tenant_id is not None
        else control_session.get(Plan, plan_code)
    )
    if known is None:
        raise NoSuchPlan("There is no such plan or company.")
    rule = own_rule(control_session=control_session, tenant_id=tenant_id, plan_code=plan_code)
    before = _told(rule)
    if any(value is not None for value in wanted.values()):
        if rule is None:
            rule = DunningRule(tenant_id=tenant_id, plan_code=plan_code)
            control_session.add(rule)
        rule.retry_days = wanted["retry_days"]
        rule.grace_days, rule.warning_days = wanted["grace_days"], wanted["warning_days"]
        rule.set_at = now
    elif rule is not None:
        control_session.delete(rule)
        rule = None
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=actor,
        action="dunning.rule_set",
        subject_kind="tenant" if tenant_id else "plan",
        subject_id=tenant_id or plan_code or "",
        tenant_id=tenant_id,
        why=reason,
        details={"before": before, "after": _told(rule)},
        now=now,
    )
    return rule


def said(why: str) -> str:
    """This function will return a reason in one line.

    Raises: ReasonMissing (field `why`).
    """
    reason = " ".join(why.replace("\x00", " ").split())[:REASON_LENGTH_MAX]
    if not reason:
        raise ReasonMissing("Please say why: it is written to the audit trail.", field="why")
    return reason


def _read(exceptions: Exceptions) -> dict[str, Any]:
    typed = asdict(exceptions)
    steps = typed["retry_days"].strip()
    return {
        "retry_days": ",".join(str(day) for day in ladder(steps)) if steps else None,
        "grace_days": _days(typed["grace_days"], "grace_days", least=0),
        "warning_days": _days(typed["warning_days"], "warning_days", least=1),
    }


def _days(text: str, field: str, *, least: int) -> int | None:
    typed = text.strip()
    if not typed:
        return None
    if not _DAYS.fullmatch(typed) or not least <= int(typed) <= DAYS_MAX:
        raise Invalid(f"Enter {least} to {DAYS_MAX} days.", field=field)
    return int(typed)


def _told(rule: DunningRule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    return {
        "retry_days": rule.retry_days,
        "grace_days": rule.grace_days,
        "warning_days": rule.warning_days,
    }
