"""The catalogue: plans and their immutable versions; a change of price is a new version."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.base.audit import Actor, append
from app.base.errors import Invalid, NotFound
from invoices.catalogue_default import DEFAULT_PLANS, ChargeTerms, PlanTerms
from invoices.models import CHARGES, Plan, PlanVersion, Price
from tenants.models import METERS


class PlanNotOffered(NotFound):
    """There is no such plan in this currency."""


class TermsUnsound(Invalid):
    """A plan's terms contradict themselves; nothing was published."""


def publish(
    *, control_session: Session, terms: PlanTerms, actor: Actor, now: datetime
) -> PlanVersion:
    """This function will publish a plan's terms as its next version, and return it.

    Terms equal to the current version's return that version: publishing twice is harmless.

    Raises: TermsUnsound.
    """
    _check(terms)
    control_session.execute(
        insert(Plan)
        .values(code=terms.plan_code, position=terms.position)
        .on_conflict_do_nothing(index_elements=["code"])
    )
    # Whoever holds the plan's row decides the next number; a second publisher waits and sees it.
    control_session.execute(
        select(Plan.code).where(Plan.code == terms.plan_code).with_for_update()
    ).one()
    latest = _latest(control_session, terms.plan_code, terms.currency)
    if latest is not None and _says(latest) == _wanted(terms):
        return latest
    version = PlanVersion(
        plan_code=terms.plan_code,
        version=(latest.version if latest else 0) + 1,
        currency=terms.currency,
        name_ko=terms.name_ko,
        name_en=terms.name_en,
        limits={"seats": terms.seats_max, "storage_bytes": terms.storage_bytes_max},
        published_at=now,
        prices=[_price(place, charge) for place, charge in enumerate(terms.charges, start=1)],
    )
    control_session.add(version)
    control_session.flush()
    append(
        control_session=control_session,
        actor=actor,
        action="plan_version.published",
        subject_kind="plan_version",
        subject_id=version.id,
        details={"plan": terms.plan_code, "currency": terms.currency, "version": version.version},
        now=now,
    )
    return version


def publish_default(*, control_session: Session, actor: Actor, now: datetime) -> list[PlanVersion]:
    """This function will publish the price list of a new installation, as far as it is not yet.

    A plan that has a version already is left alone, so that running setup again never undoes a
    price that somebody has changed since.
    """
    known = set(control_session.execute(select(PlanVersion.plan_code, PlanVersion.currency)))
    return [
        publish(control_session=control_session, terms=terms, actor=actor, now=now)
        for terms in DEFAULT_PLANS
        if (terms.plan_code, terms.currency) not in known
    ]


def current(*, control_session: Session, plan_code: str, currency: str) -> PlanVersion:
    """This function will return the version that a new subscriber of a plan gets.

    Raises: PlanNotOffered.
    """
    version = _latest(control_session, plan_code, currency)
    if version is None:
        raise PlanNotOffered(f"There is no plan {plan_code} in {currency}.")
    return version


def offers(*, control_session: Session, currency: str) -> list[PlanVersion]:
    """This function will list the current version of every plan on offer, cheapest first."""
    return list(control_session.scalars(_on_offer(select(PlanVersion), currency)))


def names_on_offer(*, control_session: Session, currency: str) -> list[tuple[str, str, str]]:
    """This function will list code, Korean and English name of each plan on offer, no prices."""
    named = select(PlanVersion.plan_code, PlanVersion.name_ko, PlanVersion.name_en)
    return [(code, ko, en) for code, ko, en in control_session.execute(_on_offer(named, currency))]


def _on_offer(query: Any, currency: str) -> Any:
    newer = aliased(PlanVersion)
    superseded = exists().where(
        newer.plan_code == PlanVersion.plan_code,
        newer.currency == PlanVersion.currency,
        newer.version > PlanVersion.version,
    )
    return (
        query.join(Plan, Plan.code == PlanVersion.plan_code)
        .where(PlanVersion.currency == currency, ~superseded, Plan.retired_at.is_(None))
        .order_by(Plan.position, Plan.code)
    )


def limits_of(version: PlanVersion) -> dict[str, int]:
    """This function will return what a plan allows: `seats` and `storage_bytes`."""
    return {name: int(value) for name, value in version.limits.items()}


def charge_of(version: PlanVersion, charge: str) -> Price | None:
    """This function will return a version's price for one charge, if it has that charge."""
    return next((price for price in version.prices if price.charge == charge), None)


def _latest(control_session: Session, plan_code: str, currency: str) -> PlanVersion | None:
    return control_session.scalar(
        select(PlanVersion)
        .where(PlanVersion.plan_code == plan_code, PlanVersion.currency == currency)
        .order_by(PlanVersion.version.desc())
        .limit(1)
    )


def _price(position: int, terms: ChargeTerms) -> Price:
    return Price(
        position=position,
        charge=terms.charge,
        meter=terms.meter,
        timing=terms.timing,
        unit_amount=terms.unit_amount,
        included=terms.included,
    )


def _check(terms: PlanTerms) -> None:
    charges = [each.charge for each in terms.charges]
    if not charges or len(set(charges)) != len(charges) or not set(charges) <= set(CHARGES):
        raise TermsUnsound(f"Name each of {', '.join(CHARGES)} at most once.", field="charges")
    for each in terms.charges:
        if each.unit_amount < 0 or each.included < 0:
            raise TermsUnsound("Amounts and inclusions can't be negative.", field=each.charge)
        if (each.charge == "base") != (each.meter is None):
            raise TermsUnsound("A metered charge names its meter, a base fee none.", field="meter")
        if each.meter is not None and each.meter not in METERS:
            raise TermsUnsound(f"Nothing reads a meter called {each.meter}.", field="meter")
        if each.meter is not None and each.timing != "arrears":
            raise TermsUnsound(
                "Usage is known only afterwards: bill it in arrears.", field="timing"
            )
    if terms.seats_max < 1 or terms.storage_bytes_max < 1:
        raise TermsUnsound("A plan allows at least one seat and some storage.", field="limits")


def _says(version: PlanVersion) -> dict[str, Any]:
    return {
        "names": (version.name_ko, version.name_en),
        "limits": limits_of(version),
        "charges": [
            (each.charge, each.meter, each.timing, each.unit_amount, each.included)
            for each in version.prices
        ],
    }


def _wanted(terms: PlanTerms) -> dict[str, Any]:
    return {
        "names": (terms.name_ko, terms.name_en),
        "limits": {"seats": terms.seats_max, "storage_bytes": terms.storage_bytes_max},
        "charges": [
            (each.charge, each.meter, each.timing, each.unit_amount, each.included)
            for each in terms.charges
        ],
    }
