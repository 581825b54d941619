"""The tables of the tenants' room: visits, applications, tenants, databases, readings, erasures."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

APPLICATION = machine(
    "application",
    {
        "submitted": ("confirmed", "erased"),
        "confirmed": ("approved", "rejected"),
        # Taken back where no database could be made.
        "approved": ("rejected", "erased"),
        "rejected": ("erased",),
        "erased": (),
    },
)
TENANT = machine(
    "tenant",
    {
        "approved": ("trialing", "destroyed"),
        "trialing": ("active", "suspended"),
        "active": ("past_due", "suspended"),
        "past_due": ("active", "suspended"),
        "suspended": ("trialing", "active", "past_due", "destroying"),
        # Back as long as its database stands.
        "destroying": ("suspended", "active", "past_due", "trialing", "destroyed"),
        "destroyed": (),
    },
    wakes={"approved": "provisioning", "destroying": "destruction"},
)
EXPORT = machine("export", {"due": ("ready",), "ready": ("expired",), "expired": ()})
# The states in which the workspace opens its doors, and in which usage is metered.
OPEN_STATES = ("trialing", "active", "past_due")
# The states in which a tenant database exists.
LIVE_STATES = ("trialing", "active", "past_due", "suspended")
# The states in which nothing is done for a tenant any more. Out of `destroying` only what
# `tenants.rescue` calls off comes back.
GONE_STATES = ("destroying", "destroyed")
METERS = ("seats", "storage_gb_days", "files_added")


class VisitEvent(Base):
    """One page view or action of a visitor; partitioned by month of `at`."""

    __tablename__ = "visit_event"
    __table_args__ = (
        Index(None, "visitor_id", "at"),
        {"postgresql_partition_by": "RANGE (at)"},
    )

    at: Mapped[datetime] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    visitor_id: Mapped[UUID]
    kind: Mapped[str]  # page | action
    page: Mapped[str]
    action: Mapped[str | None]
    referrer: Mapped[str | None]
    utm: Mapped[dict[str, Any]] = mapped_column(default=dict)
    language: Mapped[str | None]


class Application(Keyed, Base):
    """A trial application; `reference` is what people read out to each other."""

    __tablename__ = "application"
    __table_args__ = (
        APPLICATION.check(),
        CheckConstraint(
            "state NOT IN ('approved', 'rejected')"
            " OR (decided_by IS NOT NULL AND decided_at IS NOT NULL)",
            name="decided",
        ),
        CheckConstraint("(claimed_by IS NULL) = (claimed_at IS NULL)", name="claimed"),
        Index("ix_application_queue", "state", "submitted_at"),
        Index("ix_application_due", "sla_due_at", "id", postgresql_where="state = 'confirmed'"),
        Index(None, "registration_number"),
        Index("ix_application_email", text("lower(email)")),
        Index("ix_application_email_domain", "email_domain"),
        Index(None, "phone"),
    )

    reference: Mapped[str] = mapped_column(unique=True)
    state: Mapped[str] = mapped_column(default="submitted")
    # Hash of the form's content: the same form sent twice is one application.
    dedupe_hash: Mapped[str | None] = mapped_column(unique=True)
    company: Mapped[str]
    country: Mapped[str]  # ISO 3166-1 alpha-2
    registration_number: Mapped[str | None]  # digits only for KR
    contact_name: Mapped[str]
    email: Mapped[str]
    email_domain: Mapped[str]
    phone: Mapped[str | None]  # E.164
    seats_expected: Mapped[int]
    plan_code: Mapped[str]
    message: Mapped[str | None]
    language: Mapped[str]
    visitor_id: Mapped[UUID | None]
    submitted_at: Mapped[datetime]
    confirmed_at: Mapped[datetime | None]
    sla_due_at: Mapped[datetime | None]
    claimed_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    claimed_at: Mapped[datetime | None]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None]
    reject_reason: Mapped[str | None]
    erased_at: Mapped[datetime | None]


class Consent(Keyed, Base):
    """What a person was told and what they answered, with the hash of the text they saw."""

    __tablename__ = "consent"
    __table_args__ = (Index(None, "subject_id"),)

    subject_id: Mapped[UUID]  # application or tenant
    kind: Mapped[str]  # privacy_notice | terms | marketing | conversion
    version: Mapped[str]
    text_sha256: Mapped[str]
    granted: Mapped[bool]
    at: Mapped[datetime]
    channel: Mapped[str]
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Tenant(Keyed, Base):
    """A customer with a database of its own."""

    __tablename__ = "tenant"
    __table_args__ = (
        TENANT.check(),
        CheckConstraint("(state = 'suspended') = (suspended_at IS NOT NULL)", name="suspended"),
        CheckConstraint("suspend_after IS NULL OR past_due_at IS NOT NULL", name="warned"),
        Index(None, "state"),
        Index(None, "trial_ends_at"),
        Index(None, "destroy_after"),
    )

    state: Mapped[str] = mapped_column(default="approved")
    slug: Mapped[str] = mapped_column(unique=True)
    application_id: Mapped[UUID | None] = mapped_column(ForeignKey("application.id"), unique=True)
    name: Mapped[str]
    country: Mapped[str]
    language: Mapped[str]
    timezone: Mapped[str]
    currency: Mapped[str]
    plan_code: Mapped[str]
    # What the plan grants, written down by the invoices' room: limits, features, quotas.
    plan_grants: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # What the tenant may use, overrides included: {"seats": 10, "storage_bytes": …}
    limits: Mapped[dict[str, Any]] = mapped_column(default=dict)
    limits_version: Mapped[int] = mapped_column(default=1)
    limits_version_written: Mapped[int] = mapped_column(default=0)
    # The buyer as papers show it: registration_number, representative, address, email, …
    billing_profile: Mapped[dict[str, Any]] = mapped_column(default=dict)
    trial_days: Mapped[int]
    trial_starts_at: Mapped[datetime | None]
    trial_ends_at: Mapped[datetime | None]
    converted_at: Mapped[datetime | None]
    past_due_at: Mapped[datetime | None]
    # Written with the final warning: nobody who owes is shut out without having had one.
    suspend_after: Mapped[datetime | None]
    suspended_at: Mapped[datetime | None]
    suspend_reason: Mapped[str | None]  # trial_ended | cancelled | unpaid | staff | paused
    destroy_after: Mapped[datetime | None]
    destroyed_at: Mapped[datetime | None]
    legal_hold: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class TenantAdmin(Keyed, Base):
    """A tenant's administrator, known in control so that the portal opens when all else is shut."""

    __tablename__ = "tenant_admin"
    __table_args__ = (
        Index("uq_tenant_admin_email", "tenant_id", text("lower(email)"), unique=True),
        Index("ix_tenant_admin_lower_email", text("lower(email)")),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    email: Mapped[str]
    name: Mapped[str]
    phone: Mapped[str | None]
    password_hash: Mapped[str | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]


class Cluster(Keyed, Base):
    """A PostgreSQL cluster that holds tenant databases; `url` has no credentials."""

    __tablename__ = "cluster"
    __table_args__ = (CheckConstraint("reserved BETWEEN 0 AND capacity", name="capacity"),)

    name: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str]
    capacity: Mapped[int]
    reserved: Mapped[int] = mapped_column(default=0)
    template_name: Mapped[str | None]


class TenantDatabase(Leased, Base):
    """Where a tenant's database is and how its own role signs in; leased to write limits there."""

    __tablename__ = "tenant_database"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    cluster_id: Mapped[UUID] = mapped_column(ForeignKey("cluster.id"))
    database_name: Mapped[str] = mapped_column(unique=True)
    role_name: Mapped[str] = mapped_column(unique=True)
    password_sealed: Mapped[str]
    schema_revision: Mapped[str | None]
    placement_version: Mapped[int] = mapped_column(default=1)


class SchemaUpgrade(Leased, Base):
    """A tenant's database that is to reach the revision `target`; gone once it has."""

    __tablename__ = "schema_upgrade"

    tenant_id: Mapped[UUID] = mapped_column(
        ForeignKey("tenant_database.tenant_id", ondelete="CASCADE"), primary_key=True
    )
    target: Mapped[str]


class ProvisioningRun(Leased, Base):
    """How far the making of a tenant's database has come; `step` is the last one done."""

    __tablename__ = "provisioning_run"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    # Part of the database's and the role's names: how we recognise our own after a crash.
    run: Mapped[str] = mapped_column(unique=True)
    step: Mapped[str | None]
    steps_done: Mapped[list[Any]] = mapped_column(default=list)  # [{step, at}]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    # An admin wants it undone, and its application rejected: {reason, kind, id}.
    given_up: Mapped[dict[str, Any] | None]


class MeteringDay(Leased, Base):
    """One tenant's day to be read; `done_at` stays empty until every meter of it is read."""

    __tablename__ = "metering_day"
    __table_args__ = (
        Index("uq_metering_day_tenant_id_day", "tenant_id", "day", unique=True),
        Index("ix_metering_day_due", "day", postgresql_where="done_at IS NULL"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.uuidv7())
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    day: Mapped[date]
    done_at: Mapped[datetime | None]


class Reading(Base):
    """What a meter read for one day of the contract's time zone, replayed from events."""

    __tablename__ = "reading"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    meter: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    quantity: Mapped[Decimal]
    evidence_sha256: Mapped[str]
    taken_at: Mapped[datetime]


class TenantExport(Keyed, Leased, Base):
    """A tenant's own data as one ZIP, asked for in the portal or made before destruction."""

    __tablename__ = "tenant_export"
    __table_args__ = (
        EXPORT.check(),
        Index(None, "tenant_id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    state: Mapped[str] = mapped_column(default="due")
    requested_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]


class DestructionRun(Leased, Base):
    """How far a tenant's destruction has come; it is never called done before absence is seen."""

    __tablename__ = "destruction_run"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    reason: Mapped[str]
    approver: Mapped[str]
    steps_done: Mapped[list[Any]] = mapped_column(default=list)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class Erasure(Base):
    """The erasure ledger (파기대장): append-only and without personal data."""

    __tablename__ = "erasure"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subject_kind: Mapped[str]  # tenant | application
    subject_id: Mapped[UUID] = mapped_column(unique=True)
    data_classes: Mapped[list[Any]]
    created_on: Mapped[date]
    destroyed_at: Mapped[datetime]
    reason: Mapped[str]
    legal_basis: Mapped[str]
    operator: Mapped[str]
    approver: Mapped[str]
    verified: Mapped[dict[str, Any]]
