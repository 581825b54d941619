"""The catalogue: plans and their immutable versions; a change of price is a new version."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, exists, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from app.base.audit import Actor, append
from app.base.errors import NotFound
from app.base.money import Rounding
from invoices import charges, plan_terms, pricing
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.charges import Charge, ChargeUnsound, Meter
from invoices.models import Plan, PlanVersion, Price
from invoices.periods import Interval
from invoices.plan_terms import PlanTerms
from tenants import entitlements, grants
from tenants import meters as tenant_meters

_LEVELS = frozenset({"max", "min", "latest", "weighted_sum"})


class PlanNotOffered(NotFound):
    """There is no such plan in this currency."""


class PlanRetired(PlanNotOffered):
    """Whoever has the plan keeps it, and nobody else gets it any more."""


def publish(
    *, control_session: Session, terms: PlanTerms, actor: Actor, now: datetime
) -> PlanVersion:
    """This function will publish a plan's terms as its next version, and return it.

    Terms equal to the current version's return that version: publishing twice is harmless.

    Raises: TermsUnsound, GrantUnsound, ChargeUnsound, PricingUnsound.
    """
    plan_terms.check(terms)
    _check_meters(terms, meters(control_session=control_session))
    entitlements.check_meters(control_session=control_session, codes=list(terms.quotas))
    lock(control_session=control_session)
    control_session.execute(
        insert(Plan)
        .values(code=terms.plan_code, position=terms.position)
        .on_conflict_do_nothing(index_elements=["code"])
    )
    latest = _latest(control_session, terms.plan_code, terms.currency)
    if latest is not None and _same(latest, terms):
        return latest
    version = PlanVersion(
        plan_code=terms.plan_code,
        version=(latest.version if latest else 0) + 1,
        currency=terms.currency,
        name_ko=terms.name_ko,
        name_en=terms.name_en,
        limits=terms.limits,
        features=dict(terms.features),
        feature_names=_feature_names(terms),
        quotas=_quotas(terms),
        published_at=now,
        prices=[_price(place, charge) for place, charge in enumerate(terms.charges, 1)],
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

    Raises: PlanNotOffered; PlanRetired for one that only its subscribers keep.
    """
    version = newest(control_session=control_session, plan_code=plan_code, currency=currency)
    if control_session.scalar(_RETIRED, {"code": plan_code}):
        raise PlanRetired(f"The plan {plan_code} is offered to nobody new. Choose another one.")
    return version


def newest(*, control_session: Session, plan_code: str, currency: str) -> PlanVersion:
    """This function will return a plan's newest version, be the plan on offer or retired.

    Raises: PlanNotOffered.
    """
    version = _latest(control_session, plan_code, currency)
    if version is None:
        raise PlanNotOffered(f"There is no plan {plan_code} in {currency}.")
    return version


_RETIRED = select(Plan.retired_at.is_not(None)).where(Plan.code == bindparam("code"))
_newer = aliased(PlanVersion)
_OFFERS = (
    select(PlanVersion)
    .join(Plan, Plan.code == PlanVersion.plan_code)
    .where(
        PlanVersion.currency == bindparam("currency"),
        ~exists().where(
            _newer.plan_code == PlanVersion.plan_code,
            _newer.currency == PlanVersion.currency,
            _newer.version > PlanVersion.version,
        ),
        Plan.retired_at.is_(None),
    )
    .order_by(Plan.position, Plan.code)
)
_NAMES_ON_OFFER = _OFFERS.with_only_columns(
    PlanVersion.plan_code, PlanVersion.name_ko, PlanVersion.name_en
)


_CURRENCIES_ON_OFFER = (
    select(PlanVersion.currency)
    .join(Plan, Plan.code == PlanVersion.plan_code)
    .where(Plan.retired_at.is_(None))
    .distinct()
    .order_by(PlanVersion.currency)
)


def currencies_on_offer(*, control_session: Session) -> list[str]:
    """This function will list the currencies in which some plan is on offer."""
    return list(control_session.scalars(_CURRENCIES_ON_OFFER))


def offers(*, control_session: Session, currency: str) -> list[PlanVersion]:
    """This function will list the current version of every plan on offer, cheapest first."""
    return list(control_session.scalars(_OFFERS, {"currency": currency}))


def names_on_offer(*, control_session: Session, currency: str) -> list[tuple[str, str, str]]:
    """This function will list code, Korean and English name of each plan on offer, no prices."""
    rows = control_session.execute(_NAMES_ON_OFFER, {"currency": currency})
    return [(code, ko, en) for code, ko, en in rows]


def limits_of(version: PlanVersion) -> dict[str, int]:
    """This function will return what a plan allows: `seats` and `storage_bytes`."""
    return {name: int(value) for name, value in version.limits.items()}


def price_of(version: PlanVersion, charge: str) -> Price | None:
    """This function will return a version's price for one charge, if it has that charge."""
    return next((price for price in version.prices if price.charge == charge), None)


def charge_of(price: Price) -> Charge:
    """This function will return a stored price as rating takes it."""
    return Charge(
        code=price.charge,
        name_ko=price.name_ko,
        name_en=price.name_en,
        unit_ko=price.unit_ko,
        unit_en=price.unit_en,
        kind=price.kind,
        timing=price.timing,
        interval=Interval(price.interval_count, price.interval_unit),
        meter=price.meter,
        aggregation=price.aggregation,
        group=price.meter_group,
        pricing=pricing.from_parameters(
            model=price.model,
            unit_amount=price.unit_amount,
            included=price.included,
            parameters=price.parameters,
        ),
        proration=price.proration,
        rounding=Rounding(price.rounding),
        optional=price.optional,
        vat=price.vat,
        vat_included=price.vat_included,
    )


def _latest(control_session: Session, plan_code: str, currency: str) -> PlanVersion | None:
    return control_session.scalar(
        select(PlanVersion)
        .where(PlanVersion.plan_code == plan_code, PlanVersion.currency == currency)
        .order_by(PlanVersion.version.desc())
        .limit(1)
    )


def _price(position: int, charge: Charge) -> Price:
    return Price(
        position=position,
        charge=charge.code,
        name_ko=charge.name_ko,
        name_en=charge.name_en,
        unit_ko=charge.unit_ko,
        unit_en=charge.unit_en,
        kind=charge.kind,
        timing=charge.timing,
        interval_unit=charge.interval.unit,
        interval_count=charge.interval.count,
        meter=charge.meter,
        aggregation=charge.aggregation,
        meter_group=dict(charge.group),
        model=charge.pricing.model,
        unit_amount=charge.pricing.unit_amount,
        included=charge.pricing.included,
        parameters=pricing.parameters(charge.pricing),
        proration=charge.proration,
        rounding=charge.rounding.value,
        optional=charge.optional,
        vat=charge.vat,
        vat_included=charge.vat_included,
    )


def _quotas(terms: PlanTerms) -> dict[str, Any]:
    return {meter: grants.quota_facts(quota) for meter, quota in terms.quotas.items()}


def _check_meters(terms: PlanTerms, known: Mapping[str, Meter]) -> None:
    for each in terms.charges:
        try:
            charges.check_meter(each, known)
        except ChargeUnsound as error:
            error.field = f"charges.{each.code}.{error.field}"
            raise


def meters(*, control_session: Session) -> dict[str, Meter]:
    """This function will return what charges can be counted by, the newest version of each."""
    found = tenant_meters.current(control_session=control_session)
    return {
        code: Meter(
            by_day=each.source != "events",
            group_by=each.group_by,
            held=each.source == "events" and each.aggregation in _LEVELS,
        )
        for code, each in found.items()
    }


def lock(*, control_session: Session) -> None:
    """This function will make whoever else publishes wait until this transaction is over.

    The one who waited sees what was published meanwhile, so that two never make one version.
    """
    control_session.execute(text("SELECT pg_advisory_xact_lock(hashtext('catalogue'))"))


def terms_of(version: PlanVersion, *, position: int) -> PlanTerms:
    """This function will return a stored version as the terms that were published."""
    limits = limits_of(version)
    return PlanTerms(
        plan_code=version.plan_code,
        position=position,
        currency=version.currency,
        name_ko=version.name_ko,
        name_en=version.name_en,
        seats_max=limits["seats"],
        storage_bytes_max=limits["storage_bytes"],
        charges=tuple(charge_of(price) for price in version.prices),
        features=version.features,
        feature_names={code: (ko, en) for code, (ko, en) in version.feature_names.items()},
        quotas={meter: grants.read_quota(quota) for meter, quota in version.quotas.items()},
    )


def feature_names(*, control_session: Session) -> dict[str, tuple[str, str]]:
    """This function will return what features are called, as the newest version says that does."""
    rows = control_session.execute(
        select(PlanVersion.feature_names)
        .where(PlanVersion.feature_names != {})
        .order_by(PlanVersion.published_at, PlanVersion.version)
    ).scalars()
    return {code: (ko, en) for names in rows for code, (ko, en) in names.items()}


def _feature_names(terms: PlanTerms) -> dict[str, list[str]]:
    return {code: list(names) for code, names in terms.feature_names.items()}


def _same(version: PlanVersion, terms: PlanTerms) -> bool:
    return (
        (version.name_ko, version.name_en) == (terms.name_ko, terms.name_en)
        and limits_of(version) == terms.limits
        and (version.features, version.quotas) == (dict(terms.features), _quotas(terms))
        and version.feature_names == _feature_names(terms)
        and tuple(charge_of(price) for price in version.prices) == terms.charges
    )
