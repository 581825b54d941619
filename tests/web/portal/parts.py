"""A tenant's administrator at the portal: rows that requests can see, and the way in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from app.base.db import control_session
from tenants.models import Tenant, TenantAdmin
from tests.factories import PASSWORD, make_catalogue, make_tenant
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
