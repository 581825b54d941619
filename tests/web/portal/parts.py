"""A tenant's administrator at the portal: rows that requests can see, and the way in."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import coupons
from invoices.coupons import Availability
from invoices.discounts import Coupon
from tenants.models import Tenant, TenantAdmin
from tests.factories import NOW, PASSWORD, make_catalogue, make_tenant
from tests.web.forms import send

Made = TypeVar("Made")
SIGN_IN = "/portal/sign-in"


def committed(make: Callable[..., Made], **fields: Any) -> Made:
    """This function will make something by a factory and commit it."""
    with control_session() as session:
        return make(session, **fields)


def admin_of(tenant: Tenant) -> TenantAdmin:
    """This function will return the tenant's first administrator."""
    with control_session() as session:
        return session.query(TenantAdmin).filter_by(tenant_id=tenant.id).first()


def customer(**fields: Any) -> Tenant:
    """This function will make a tenant with an administrator and the price list beside it."""
    committed(make_catalogue)
    return committed(make_tenant, **fields)


def sign_in(client: Any, tenant: Tenant) -> Any:
    """This function will sign the tenant's administrator in and return the client."""
    answer = send(client, SIGN_IN, {"email": admin_of(tenant).email, "password": PASSWORD})
    assert answer.status_code == 303, answer.text
    return client


def make_coupon(code: str, **terms: Any) -> None:
    """This function will offer a fifth off one bill."""
    coupon = Coupon(
        code=code, name_ko="할인", name_en="Offer", kind="percentage", percent=Decimal(20), **terms
    )
    with control_session() as session:
        coupons.create(
            control_session=session,
            coupon=coupon,
            availability=Availability(),
            actor=SYSTEM,
            now=NOW,
        )
