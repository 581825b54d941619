"""What a plan grants its tenants: features, limits and quotas on meters. Pure.

A grant is a plan's; an override puts another value in its place for one tenant.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from app.base.errors import Invalid
from tenants.event_bodies import plain

SEATS = "seats"
STORAGE_BYTES = "storage_bytes"
LIMITS = (SEATS, STORAGE_BYTES)
CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")
TEXT_LENGTH_MAX = 200
FEATURES_MAX = 100
QUOTAS_MAX = 20
LIMIT_MAX = 10**18
BOUND_MAX = Decimal(10**18)
ALERTS_DEFAULT = (80, 100)
ALERTS_MAX = 10
ALERT_PERCENT_MAX = 1_000
KINDS = ("feature", "limit", "quota")
BOUNDS = ("soft", "hard")


class GrantUnsound(Invalid):
    """A feature, limit or quota contradicts itself; `field` says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """How much of a meter a month may hold: past `soft` it is told, at `hard` refused.

    `alerts` are percentages of each bound at which the tenant's administrators are told.
    """

    soft: Decimal | None = None
    hard: Decimal | None = None
    alerts: tuple[int, ...] = ALERTS_DEFAULT

    @property
    def most(self) -> Decimal | None:
        """The bound that what remains is counted to: the hard one where there is one."""
        return self.hard if self.hard is not None else self.soft


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What a plan grants: features by code (on, off or words), limits by key, quotas by meter."""

    limits: Mapping[str, int | None] = field(default_factory=dict)
    features: Mapping[str, bool | str] = field(default_factory=dict)
    quotas: Mapping[str, Quota] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Override:
    """One value in place of the plan's; None takes a limit or a quota away."""

    kind: str
    code: str
    value: bool | str | int | Quota | None


def check_features(features: Mapping[str, bool | str]) -> None:
    """This function will refuse features that are unnamed or say nothing.

    Raises: GrantUnsound.
    """
    if len(features) > FEATURES_MAX:
        raise GrantUnsound(f"A plan has at most {FEATURES_MAX} features.", field="features")
    for code, value in features.items():
        _check_code(code, f"features.{code}")
        if isinstance(value, bool):
            continue
        # The word "true" would come back from a file as the truth.
        sayable = isinstance(value, str) and value.strip() and value not in ("true", "false")
        if not sayable or len(value.splitlines()) > 1:
            raise GrantUnsound("A feature is on, off or a line of words.", field=f"features.{code}")
        if len(value) > TEXT_LENGTH_MAX:
            raise GrantUnsound(
                f"Keep a feature's words to {TEXT_LENGTH_MAX} characters.", field=f"features.{code}"
            )


def check_quotas(quotas: Mapping[str, Quota]) -> None:
    """This function will refuse quotas without a bound, or whose bounds cross.

    Raises: GrantUnsound.
    """
    if len(quotas) > QUOTAS_MAX:
        raise GrantUnsound(f"A plan has at most {QUOTAS_MAX} quotas.", field="quotas")
    for meter, quota in quotas.items():
        check_quota(meter, quota)


def check_quota(meter: str, quota: Quota) -> None:
    """This function will refuse one quota that contradicts itself.

    Raises: GrantUnsound.
    """
    path = f"quotas.{meter}"
    _check_code(meter, path)
    if quota.soft is None and quota.hard is None:
        raise GrantUnsound("A quota has a soft bound, a hard one or both.", field=path)
    for name in BOUNDS:
        bound = getattr(quota, name)
        if bound is not None and not (bound.is_finite() and 0 <= bound <= BOUND_MAX):
            raise GrantUnsound("A bound is a number from 0 on.", field=f"{path}.{name}")
    if quota.soft is not None and quota.hard is not None and quota.soft > quota.hard:
        raise GrantUnsound("The soft bound lies below the hard one.", field=f"{path}.soft")
    alerts = quota.alerts
    rising = all(low < high for low, high in itertools.pairwise(alerts))
    if len(alerts) > ALERTS_MAX or not rising:
        raise GrantUnsound(
            f"Name at most {ALERTS_MAX} percentages, from low to high.", field=f"{path}.alerts"
        )
    if any(not 1 <= percent <= ALERT_PERCENT_MAX for percent in alerts):
        raise GrantUnsound(
            f"A percentage is from 1 to {ALERT_PERCENT_MAX}.", field=f"{path}.alerts"
        )


def _check_code(code: str, path: str) -> None:
    if not CODE.fullmatch(code):
        raise GrantUnsound(
            "Use small letters, digits and underscores, 40 at most, a letter first.", field=path
        )


def check_override(override: Override) -> None:
    """This function will refuse a value that its kind can't have.

    Raises: GrantUnsound.
    """
    code, value = override.code, override.value
    if override.kind == "feature" and isinstance(value, bool | str):
        check_features({code: value})
    elif override.kind == "limit":
        if code not in LIMITS:
            raise GrantUnsound("There are limits of seats and storage_bytes.", field="code")
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and not (whole and 0 <= int(str(value)) <= LIMIT_MAX):
            raise GrantUnsound("A limit is a whole number from 0 on.", field="value")
    elif override.kind == "quota" and (value is None or isinstance(value, Quota)):
        _check_code(code, "code")
        if isinstance(value, Quota):
            check_quota(code, value)
    else:
        raise GrantUnsound("Choose a feature, a limit or a quota.", field="kind")


def effective(grants: Grants, overrides: Iterable[Override]) -> Grants:
    """This function will put overrides in the place of what the plan grants."""
    limits, features, quotas = dict(grants.limits), dict(grants.features), dict(grants.quotas)
    for each in overrides:
        if each.kind == "feature":
            assert isinstance(each.value, bool | str), "checked when it was made"
            features[each.code] = each.value
        elif each.kind == "limit":
            limits[each.code] = each.value if isinstance(each.value, int) else None
        elif isinstance(each.value, Quota):
            quotas[each.code] = each.value
        else:
            quotas.pop(each.code, None)
    return Grants(limits=limits, features=features, quotas=quotas)


def quota_facts(quota: Quota) -> dict[str, Any]:
    """This function will return a quota as JSON, its bounds as texts."""
    bounds = {name: getattr(quota, name) for name in BOUNDS}
    return {name: plain(bound) for name, bound in bounds.items() if bound is not None} | {
        "alerts": list(quota.alerts)
    }


def read_quota(facts: Mapping[str, Any]) -> Quota:
    """This function will return a quota from its JSON.

    Raises: GrantUnsound for a bound that is no number.
    """
    try:
        bounds = {name: Decimal(str(facts[name])) for name in BOUNDS if facts.get(name) is not None}
    except InvalidOperation as error:
        raise GrantUnsound("A bound is a number from 0 on.", field="value") from error
    return Quota(alerts=tuple(facts.get("alerts", ALERTS_DEFAULT)), **bounds)


def facts(grants: Grants) -> dict[str, Any]:
    """This function will return grants as they are kept with a tenant."""
    return {
        "limits": dict(grants.limits),
        "features": dict(grants.features),
        "quotas": {meter: quota_facts(quota) for meter, quota in grants.quotas.items()},
    }


def read(kept: Mapping[str, Any], *, limits: Mapping[str, Any]) -> Grants:
    """This function will return what is kept with a tenant; `limits` are those it began with."""
    return Grants(
        limits=kept.get("limits", dict(limits)),
        features=kept.get("features", {}),
        quotas={meter: read_quota(quota) for meter, quota in kept.get("quotas", {}).items()},
    )


def told(
    *,
    limits: Mapping[str, int | None],
    features: Mapping[str, bool | str] | None,
    quotas: Mapping[str, Any] | None,
) -> Grants:
    """This function will return what a plan's version says as it is stored: quotas as JSON."""
    return Grants(
        limits=dict(limits),
        features=dict(features or {}),
        quotas={meter: read_quota(quota) for meter, quota in (quotas or {}).items()},
    )


def value_facts(value: bool | str | int | Quota | None) -> Any:
    """This function will return an override's value as JSON."""
    return quota_facts(value) if isinstance(value, Quota) else value


def read_override(kind: str, code: str, value: Any) -> Override:
    """This function will return an override as it is kept."""
    return Override(kind, code, read_quota(value) if isinstance(value, Mapping) else value)
