"""Publishing a whole price list: what a file would change and whom it touches, then doing it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session

from app.base.audit import Actor, append
from app.base.errors import Invalid
from invoices import catalogue
from invoices.catalogue_difference import Change, changes
from invoices.catalogue_file import CatalogueFile
from invoices.models import Plan, PlanVersion, Subscription
from invoices.plan_terms import PlanTerms


class NoSuchPlan(Invalid):
    """A plan is to be retired that was never sold."""


@dataclass(frozen=True, slots=True)
class VersionInUse:
    """A version of a plan with how many subscriptions are on it; they stay on it."""

    version: int
    subscribers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing that publishing a file does.

    `kind` is new_plan, new_version, position, retire or restore. `version` is the one that will
    be published, `in_use` are the older ones of its plan and currency that somebody is on.
    """

    kind: str
    plan_code: str
    currency: str = ""
    version: int = 0
    changes: tuple[Change, ...] = ()
    in_use: tuple[VersionInUse, ...] = ()
    terms: PlanTerms | None = None

    @property
    def subscribers(self) -> int:
        """How many subscriptions stay on what they have."""
        return sum(each.subscribers for each in self.in_use)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a file changes, in order, and the plans that it does not speak of."""

    steps: tuple[Step, ...]
    unmentioned: tuple[str, ...]


def stored(*, control_session: Session) -> CatalogueFile:
    """This function will return the price list in force as a file would say it."""
    plans = _plans(control_session)
    newest = _newest(control_session)
    return CatalogueFile(
        plans=tuple(
            catalogue.terms_of(version, position=plans[version.plan_code].position)
            for version in sorted(
                newest.values(),
                key=lambda each: (
                    plans[each.plan_code].position,
                    each.plan_code,
                    each.currency,
                ),
            )
            if plans[version.plan_code].retired_at is None
        ),
        retired=tuple(sorted(code for code, plan in plans.items() if plan.retired_at)),
    )


def remarks(*, control_session: Session) -> dict[tuple[str, str], str]:
    """This function will say of each plan and currency which version is in force since when."""
    return {
        key: f"version {version.version}, published {version.published_at:%Y-%m-%d %H:%M} UTC"
        for key, version in _newest(control_session).items()
    }


def difference(*, control_session: Session, wanted: CatalogueFile) -> Difference:
    """This function will say what publishing a file would change; it changes nothing.

    Raises: NoSuchPlan.
    """
    plans, newest = _plans(control_session), _newest(control_session)
    used = subscribers(control_session=control_session)
    steps: list[Step] = []
    codes = dict.fromkeys(terms.plan_code for terms in wanted.plans)
    for terms in wanted.plans:
        steps += _published(terms, plans.get(terms.plan_code), newest, used)
    for code in codes:
        steps += _own(code, wanted.plans, plans.get(code))
    for code in wanted.retired:
        if code not in plans:
            raise NoSuchPlan(f"There is no plan {code} to retire.", field="retired")
        if plans[code].retired_at is None:
            staying = [
                in_use for (plan, _), each in used.items() if plan == code for in_use in each
            ]
            steps.append(Step(kind="retire", plan_code=code, in_use=tuple(staying)))
    silent = [
        code
        for code, plan in plans.items()
        if code not in codes and code not in wanted.retired and plan.retired_at is None
    ]
    return Difference(tuple(steps), tuple(sorted(silent)))


def _published(
    terms: PlanTerms,
    plan: Plan | None,
    newest: dict[tuple[str, str], PlanVersion],
    used: dict[tuple[str, str], list[VersionInUse]],
) -> list[Step]:
    key = (terms.plan_code, terms.currency)
    latest = newest.get(key)
    position = plan.position if plan else terms.position
    old = catalogue.terms_of(latest, position=position) if latest else None
    found = changes(old, terms)
    if not found:
        return []
    return [
        Step(
            kind="new_version" if latest else "new_plan",
            plan_code=terms.plan_code,
            currency=terms.currency,
            version=latest.version + 1 if latest else 1,
            changes=tuple(found),
            in_use=tuple(used.get(key, [])),
            terms=terms,
        )
    ]


def _own(code: str, wanted: Sequence[PlanTerms], plan: Plan | None) -> list[Step]:
    """What is the plan's own and no version's: its place in the list, and whether it is sold."""
    if plan is None:
        return []
    steps = []
    if plan.retired_at is not None:
        steps.append(Step(kind="restore", plan_code=code))
    position = next(terms.position for terms in wanted if terms.plan_code == code)
    if position != plan.position:
        moved = Change("position", str(plan.position), str(position))
        steps.append(Step(kind="position", plan_code=code, version=position, changes=(moved,)))
    return steps


def apply(
    *, control_session: Session, wanted: CatalogueFile, actor: Actor, now: datetime
) -> Difference:
    """This function will publish a file and return what that changed.

    A second call, or one that waited for another, finds nothing left to change. Everything is
    published or nothing, with the caller's transaction; subscribers stay on what they have.

    Raises: NoSuchPlan, TermsUnsound, ChargeUnsound, PricingUnsound.
    """
    catalogue.lock(control_session=control_session)
    found = difference(control_session=control_session, wanted=wanted)
    for step in found.steps:
        if step.terms is not None:
            catalogue.publish(
                control_session=control_session, terms=step.terms, actor=actor, now=now
            )
            continue
        plan = control_session.get_one(Plan, step.plan_code, with_for_update=True)
        if step.kind == "position":
            plan.position = step.version
        else:
            plan.retired_at = now if step.kind == "retire" else None
        append(
            control_session=control_session,
            actor=actor,
            action=_ACTIONS[step.kind],
            subject_kind="plan",
            subject_id=step.plan_code,
            details={each.path: [each.old, each.new] for each in step.changes},
            now=now,
        )
    control_session.flush()
    return found


_ACTIONS = {"retire": "plan.retired", "restore": "plan.restored", "position": "plan.repositioned"}


def subscribers(*, control_session: Session) -> dict[tuple[str, str], list[VersionInUse]]:
    """This function will count the subscriptions on each version, by plan and currency."""
    rows = control_session.execute(
        select(PlanVersion.plan_code, PlanVersion.currency, PlanVersion.version, func.count())
        .join(Subscription, Subscription.plan_version_id == PlanVersion.id)
        .where(Subscription.state != "cancelled")
        .group_by(PlanVersion.plan_code, PlanVersion.currency, PlanVersion.version)
        .order_by(PlanVersion.plan_code, PlanVersion.currency, PlanVersion.version)
    )
    found: dict[tuple[str, str], list[VersionInUse]] = {}
    for code, currency, version, count in rows:
        found.setdefault((code, currency), []).append(VersionInUse(version, count))
    return found


def versions(
    *, control_session: Session, plan_code: str, currency: str
) -> tuple[Plan, list[PlanVersion]]:
    """This function will return a plan and all its versions in a currency, the newest first.

    Raises: PlanNotOffered.
    """
    plan = control_session.get(Plan, plan_code)
    found = control_session.scalars(
        select(PlanVersion)
        .where(PlanVersion.plan_code == plan_code, PlanVersion.currency == currency)
        .order_by(PlanVersion.version.desc())
    ).all()
    if plan is None or not found:
        raise catalogue.PlanNotOffered(f"There is no plan {plan_code} in {currency}.")
    return plan, list(found)


def listed(*, control_session: Session) -> list[tuple[Plan, PlanVersion]]:
    """This function will list every plan with its newest version in each currency, in order."""
    plans = _plans(control_session)
    rows = [(plans[version.plan_code], version) for version in _newest(control_session).values()]
    return sorted(rows, key=lambda row: (row[0].position, row[0].code, row[1].currency))


def _plans(control_session: Session) -> dict[str, Plan]:
    rows = control_session.scalars(
        select(Plan).order_by(Plan.position, Plan.code).execution_options(populate_existing=True)
    )
    return {plan.code: plan for plan in rows}


def _newest(control_session: Session) -> dict[tuple[str, str], PlanVersion]:
    rows = control_session.scalars(
        select(PlanVersion)
        .ext(distinct_on(PlanVersion.plan_code, PlanVersion.currency))
        .order_by(PlanVersion.plan_code, PlanVersion.currency, PlanVersion.version.desc())
    )
    return {(version.plan_code, version.currency): version for version in rows}
