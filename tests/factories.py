"""Rows for tests, by plain arguments: each function makes one thing and what it stands on.

All take the session of the test, flush, and never commit. Times default to `NOW`, a working day at
noon in Seoul.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from app.base import ids, secrets
from app.base.accounts import Staff
from invoices import catalogue, items, periods
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.models import Invoice, PaymentMethod, PlanVersion, Subscription
from tenants.models import (
    Application,
    Cluster,
    Consent,
    MeteringDay,
    Reading,
    Tenant,
    TenantAdmin,
)
from tests.price_list import publish_default

NOW = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)
PASSWORD = "a password for tests 1"
# Ten digits with a right checksum each: companies that exist in no register but look the part.
REGISTRATION_NUMBERS = ("1248100998", "1208147521", "2048631263")
_serial = itertools.count(1)


def make_staff(session: Session, *, role: str = "sales", email: str | None = None) -> Staff:
    """A member of our staff who can sign in with PASSWORD."""
    staff = Staff(
        email=email or f"{role}-{next(_serial)}@tenantry.example",
        name=f"Staff {role}",
        role=role,
        password_hash=secrets.hash_password(PASSWORD),
        created_at=NOW,
    )
    session.add(staff)
    session.flush()
    return staff


def make_application(session: Session, *, state: str = "submitted", **fields: Any) -> Application:
    """A trial application of a Korean company; a confirmed one is in the reviewers' queue."""
    number = next(_serial)
    confirmed = None if state == "submitted" else NOW
    values: dict[str, Any] = {
        "reference": ids.reference("A"),
        "company": f"한빛정밀 {number}",
        "country": "KR",
        "registration_number": REGISTRATION_NUMBERS[number % len(REGISTRATION_NUMBERS)],
        "contact_name": "담당자",
        "email": f"contact@customer-{number}.example",
        "email_domain": f"customer-{number}.example",
        "phone": "+82212345678",
        "seats_expected": 5,
        "plan_code": "team",
        "language": "ko",
        "submitted_at": NOW,
        "confirmed_at": confirmed,
        "sla_due_at": confirmed and confirmed + timedelta(hours=24),
    }
    if state in ("approved", "rejected"):
        values |= {"decided_by": make_staff(session).id, "decided_at": NOW}
    application = Application(state=state, **(values | fields))
    session.add(application)
    session.flush()
    return application


def make_tenant(
    session: Session,
    *,
    state: str = "trialing",
    name: str | None = None,
    currency: str = "KRW",
    country: str = "KR",
    language: str = "ko",
    plan_code: str = "team",
    now: datetime = NOW,
    **fields: Any,
) -> Tenant:
    """A tenant in a state, with one administrator; it has no database of its own."""
    number = next(_serial)
    values: dict[str, Any] = {
        "slug": f"tenant-{number}-{ids.opaque(6)}",
        "name": name or f"대한설계 {number}",
        "timezone": "Asia/Seoul",
        "limits": {"seats": 50, "storage_bytes": 500_000_000_000},
        "billing_profile": {
            "registration_number": REGISTRATION_NUMBERS[number % len(REGISTRATION_NUMBERS)],
            "representative": "대표자",
            "address": "서울특별시 성동구 왕십리로 115",
            "business_type": "제조업",
            "business_item": "금형",
            "email": f"billing-{number}@customer.example",
        },
        "trial_days": 14,
        "created_at": now,
    }
    if state != "approved":
        values |= {"trial_starts_at": now, "trial_ends_at": now + timedelta(days=14)}
    if state == "suspended":
        values |= {"suspended_at": now, "suspend_reason": "trial_ended"}
    tenant = Tenant(
        state=state,
        currency=currency,
        country=country,
        language=language,
        plan_code=plan_code,
        **(values | fields),
    )
    session.add(tenant)
    session.flush()
    make_admin(session, tenant=tenant)
    return tenant


def make_admin(session: Session, *, tenant: Tenant, email: str | None = None) -> TenantAdmin:
    """An administrator of a tenant who can sign in to the portal with PASSWORD."""
    admin = TenantAdmin(
        tenant_id=tenant.id,
        email=email or f"admin-{next(_serial)}@customer.example",
        name="관리자",
        password_hash=secrets.hash_password(PASSWORD),
        created_at=NOW,
    )
    session.add(admin)
    session.flush()
    return admin


def make_cluster(session: Session, *, url: str, capacity: int = 100) -> Cluster:
    """A cluster for tenant databases."""
    cluster = Cluster(name=f"cluster-{next(_serial)}", url=url, capacity=capacity)
    session.add(cluster)
    session.flush()
    return cluster


def make_card(session: Session, *, tenant: Tenant, sealed: str = "billing-key") -> PaymentMethod:
    """A card that the tenant registered at the sandbox gateway, as its default."""
    card = PaymentMethod(
        tenant_id=tenant.id,
        gateway="sandbox",
        customer_key=str(ids.uuid7()),
        token_sealed=secrets.encrypt(sealed),
        masked="4330-12**-****-1234",
        brand="sandbox",
        registered_at=NOW,
    )
    session.add(card)
    session.flush()
    return card


def make_catalogue(session: Session, *, now: datetime = NOW) -> list[PlanVersion]:
    """The default price list, as it stands now."""
    publish_default(session, now=now)
    versions = session.scalars(select(PlanVersion).order_by(PlanVersion.version))
    newest = {(each.plan_code, each.currency): each for each in versions}
    return [newest[terms.plan_code, terms.currency] for terms in DEFAULT_PLANS]


def make_subscription(
    session: Session,
    *,
    tenant: Tenant | None = None,
    starts_on: date | None = None,
    plan_code: str = "team",
    now: datetime = NOW,
    **fields: Any,
) -> Subscription:
    """An active subscription of an active tenant, with the consent behind it."""
    tenant = tenant or make_tenant(session, state="active", converted_at=now)
    first_day = starts_on or now.date()
    publish_default(session, now=now)
    version = catalogue.current(
        control_session=session, plan_code=plan_code, currency=tenant.currency
    )
    consent = Consent(
        subject_id=tenant.id,
        kind="conversion",
        version="test",
        text_sha256="0" * 64,
        granted=True,
        at=now,
        channel="portal",
    )
    session.add(consent)
    session.flush()
    values: dict[str, Any] = {"next_bill_on": first_day, "created_at": now, "state": "active"}
    subscription = Subscription(
        tenant_id=tenant.id,
        plan_version_id=version.id,
        currency=tenant.currency,
        timezone=tenant.timezone,
        starts_on=first_day,
        anchor_on=first_day,
        consent_id=consent.id,
        **(values | fields),
    )
    session.add(subscription)
    session.flush()
    items.begin(
        control_session=session,
        subscription=subscription,
        version=version,
        starts_at=periods.midnight(subscription.starts_on, subscription.timezone),
        now=now,
    )
    if subscription.ends_on is not None:
        items.end(
            control_session=session,
            subscription_id=subscription.id,
            at=periods.midnight(subscription.ends_on, subscription.timezone),
        )
    return subscription


def make_readings(
    session: Session,
    *,
    tenant_id: UUID,
    start: date,
    end: date,
    seats: int | Sequence[int] = 5,
    gigabytes: Decimal | int = 0,
    now: datetime = NOW,
    without: Sequence[date] = (),
) -> None:
    """Readings of every meter for each day of [start, end); `without` leaves days unread."""
    days, rows = [], []
    for place in range((end - start).days):
        day = start + timedelta(days=place)
        if day in without:
            continue
        days.append({"tenant_id": tenant_id, "day": day, "done_at": now})
        peak = seats if isinstance(seats, int) else seats[place]
        for meter, quantity in (
            ("seats", peak),
            ("storage_gb_days", gigabytes),
            ("files_added", 0),
        ):
            rows.append(
                {
                    "tenant_id": tenant_id,
                    "meter": meter,
                    "day": day,
                    "quantity": Decimal(quantity),
                    "evidence_sha256": secrets.hash_token(f"{tenant_id} {meter} {day} {quantity}"),
                    "taken_at": now,
                }
            )
    session.execute(insert(MeteringDay), days)
    session.execute(insert(Reading), rows)


def make_invoice(
    session: Session,
    *,
    tenant: Tenant | None = None,
    now: datetime = NOW,
    starts_on: date | None = None,
    plan_code: str = "team",
) -> Invoice:
    """An issued invoice for the base fee of a first period, made by the billing run itself."""
    from invoices import invoicing

    subscription = make_subscription(
        session, tenant=tenant, starts_on=starts_on, plan_code=plan_code, now=now
    )
    invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=now)
    return session.scalars(select(Invoice).where(Invoice.subscription_id == subscription.id)).one()


def span(start: date, end: date) -> Range[date]:
    """A half-open range of days, as the models hold it."""
    return Range(start, end, bounds="[)")
