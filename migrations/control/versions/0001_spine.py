"""The spine: every table of the road

Revision ID: 0001
Revises:
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA statutory")
    op.execute("CREATE TYPE uuidrange AS RANGE (subtype = uuid)")
    op.execute('CREATE TYPE chargerange AS RANGE (subtype = text, collation = "C")')
    op.create_table(
        "access_entry",
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=True),
        sa.Column("tenant_id", sa.UUID(), nullable=True),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("agent", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_entry")),
    )
    op.create_index(op.f("ix_access_entry_at"), "access_entry", ["at"], unique=False)
    op.create_index(op.f("ix_access_entry_tenant_id"), "access_entry", ["tenant_id"], unique=False)
    op.create_table(
        "audit_event",
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=True),
        sa.Column("from_state", sa.Text(), nullable=True),
        sa.Column("to_state", sa.Text(), nullable=True),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_at"), "audit_event", ["at"], unique=False)
    op.create_index(
        op.f("ix_audit_event_subject_kind_subject_id_at"),
        "audit_event",
        ["subject_kind", "subject_id", "at"],
        unique=False,
    )
    op.create_index(op.f("ix_audit_event_tenant_id_at"), "audit_event", ["tenant_id", "at"], unique=False)
    op.create_table(
        "cluster",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("capacity", sa.BigInteger(), nullable=False),
        sa.Column("reserved", sa.BigInteger(), nullable=False),
        sa.Column("template_name", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("reserved BETWEEN 0 AND capacity", name=op.f("ck_cluster_capacity")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cluster")),
        sa.UniqueConstraint("name", name=op.f("uq_cluster_name")),
    )
    op.create_table(
        "consent",
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("text_sha256", sa.Text(), nullable=False),
        sa.Column("granted", sa.Boolean(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_subject_id"), "consent", ["subject_id"], unique=False)
    op.create_table(
        "erasure",
        sa.Column("number", sa.BigInteger(), autoincrement=True, nullable=False),
        sa.Column("subject_kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("data_classes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_on", sa.Date(), nullable=False),
        sa.Column("destroyed_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.Text(), nullable=False),
        sa.Column("operator", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("verified", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_erasure")),
        sa.UniqueConstraint("subject_id", name=op.f("uq_erasure_subject_id")),
    )
    op.create_table(
        "gateway_event",
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("trust", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("gateway_payment_id", sa.Text(), nullable=True),
        sa.Column("received_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("applied_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_event")),
        sa.UniqueConstraint("gateway", "event_id", name=op.f("uq_gateway_event_gateway_event_id")),
    )
    op.create_index(
        "ix_gateway_event_due", "gateway_event", ["received_at"], unique=False, postgresql_where="applied_at IS NULL"
    )
    op.create_table(
        "message",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=True),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("html", sa.Text(), nullable=False),
        sa.Column("advertising", sa.Boolean(), nullable=False),
        sa.Column("regarding_id", sa.UUID(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("sent_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('due', 'sent', 'failed')", name=op.f("ck_message_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_message_dedupe_key")),
    )
    op.create_index(op.f("ix_message_created_at"), "message", ["created_at"], unique=False)
    op.create_index("ix_message_due", "message", ["retry_at"], unique=False, postgresql_where="state = 'due'")
    op.create_index("ix_message_failed", "message", ["created_at"], unique=False, postgresql_where="state = 'failed'")
    op.create_index(op.f("ix_message_regarding_id"), "message", ["regarding_id"], unique=False)
    op.create_table(
        "number_series",
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=False),
        sa.Column("next_number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("series", "year", name=op.f("pk_number_series")),
    )
    op.create_table(
        "one_time_token",
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("used_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_one_time_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_one_time_token_token_hash")),
    )
    op.create_index(op.f("ix_one_time_token_expires_at"), "one_time_token", ["expires_at"], unique=False)
    op.create_index(op.f("ix_one_time_token_subject_id"), "one_time_token", ["subject_id"], unique=False)
    op.create_table(
        "plan",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_plan")),
    )
    op.create_table(
        "session_cache_epoch",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session_cache_epoch")),
    )
    op.create_table(
        "sign_in_failure",
        sa.Column("key_hash", sa.Text(), nullable=False),
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_failure")),
    )
    op.create_index(op.f("ix_sign_in_failure_key_hash_at"), "sign_in_failure", ["key_hash", "at"], unique=False)
    op.create_table(
        "slot",
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("due_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slot")),
        sa.UniqueConstraint("task", "due_at", name=op.f("uq_slot_task_due_at")),
    )
    op.create_index("ix_slot_open", "slot", ["due_at"], unique=False, postgresql_where="done_at IS NULL")
    op.create_table(
        "staff",
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("disabled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'sales', 'finance', 'viewer')", name=op.f("ck_staff_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_staff")),
    )
    op.create_index("uq_staff_email", "staff", [sa.literal_column("lower(email)")], unique=True)
    op.create_table(
        "paper",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.UUID(), nullable=False),
        sa.Column("number_text", sa.Text(), nullable=False),
        sa.Column("issued_on", sa.Date(), nullable=False),
        sa.Column("keep_until", sa.Date(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("data_sha256", sa.Text(), nullable=False),
        sa.Column("file_sha256", sa.Text(), nullable=True),
        sa.Column("set_apart_at", postgresql.TIMESTAMP(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_paper")),
        sa.UniqueConstraint("kind", "source_id", name=op.f("uq_paper_kind_source_id")),
        schema="statutory",
    )
    op.create_index(op.f("ix_paper_tenant_id"), "paper", ["tenant_id"], unique=False, schema="statutory")
    op.create_table(
        "visit_event",
        sa.Column("at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("visitor_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("page", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=True),
        sa.Column("referrer", sa.Text(), nullable=True),
        sa.Column("utm", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("at", "id", name=op.f("pk_visit_event")),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(op.f("ix_visit_event_visitor_id_at"), "visit_event", ["visitor_id", "at"], unique=False)
    op.create_table(
        "web_session",
        sa.Column("id_hash", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("user_id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("seen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("absolute_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id_hash", name=op.f("pk_web_session")),
    )
    op.create_index(op.f("ix_web_session_expires_at"), "web_session", ["expires_at"], unique=False)
    op.create_index(op.f("ix_web_session_tenant_id"), "web_session", ["tenant_id"], unique=False)
    op.create_index(op.f("ix_web_session_user_id"), "web_session", ["user_id"], unique=False)
    op.create_table(
        "application",
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("dedupe_hash", sa.Text(), nullable=True),
        sa.Column("company", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("registration_number", sa.Text(), nullable=True),
        sa.Column("contact_name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_domain", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("seats_expected", sa.BigInteger(), nullable=False),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("visitor_id", sa.UUID(), nullable=True),
        sa.Column("submitted_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("confirmed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("sla_due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.UUID(), nullable=True),
        sa.Column("claimed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decided_by", sa.UUID(), nullable=True),
        sa.Column("decided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("reject_reason", sa.Text(), nullable=True),
        sa.Column("erased_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "state IN ('submitted', 'confirmed', 'approved', 'rejected', 'erased')", name=op.f("ck_application_state")
        ),
        sa.CheckConstraint(
            "state NOT IN ('approved', 'rejected') OR (decided_by IS NOT NULL AND decided_at IS NOT NULL)",
            name=op.f("ck_application_decided"),
        ),
        sa.CheckConstraint("(claimed_by IS NULL) = (claimed_at IS NULL)", name=op.f("ck_application_claimed")),
        sa.ForeignKeyConstraint(["claimed_by"], ["staff.id"], name=op.f("fk_application_claimed_by")),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.id"], name=op.f("fk_application_decided_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application")),
        sa.UniqueConstraint("dedupe_hash", name=op.f("uq_application_dedupe_hash")),
        sa.UniqueConstraint("reference", name=op.f("uq_application_reference")),
    )
    op.create_index(
        "ix_application_due", "application", ["sla_due_at", "id"], unique=False, postgresql_where="state = 'confirmed'"
    )
    op.create_index("ix_application_email", "application", [sa.literal_column("lower(email)")], unique=False)
    op.create_index("ix_application_email_domain", "application", ["email_domain"], unique=False)
    op.create_index(op.f("ix_application_phone"), "application", ["phone"], unique=False)
    op.create_index("ix_application_queue", "application", ["state", "submitted_at"], unique=False)
    op.create_index(op.f("ix_application_registration_number"), "application", ["registration_number"], unique=False)
    op.create_table(
        "document_bundle",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.UUID(), nullable=False),
        sa.Column("requested_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("filters", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("done_count", sa.BigInteger(), nullable=False),
        sa.Column("total_count", sa.BigInteger(), nullable=True),
        sa.Column("ready_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('due', 'ready', 'expired')", name=op.f("ck_document_bundle_state")),
        sa.ForeignKeyConstraint(["requested_by"], ["staff.id"], name=op.f("fk_document_bundle_requested_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_bundle")),
    )
    op.create_table(
        "plan_version",
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("name_ko", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("published_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["plan_code"], ["plan.code"], name=op.f("fk_plan_version_plan_code")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_version")),
        sa.UniqueConstraint(
            "plan_code", "version", "currency", name=op.f("uq_plan_version_plan_code_version_currency")
        ),
    )
    op.create_table(
        "price",
        sa.Column("plan_version_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=True),
        sa.Column("timing", sa.Text(), nullable=False),
        sa.Column("unit_amount", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("included", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("charge IN ('base', 'seats', 'storage')", name=op.f("ck_price_charge")),
        sa.CheckConstraint("timing IN ('advance', 'arrears')", name=op.f("ck_price_timing")),
        sa.CheckConstraint("unit_amount >= 0 AND included >= 0", name=op.f("ck_price_not_negative")),
        sa.ForeignKeyConstraint(["plan_version_id"], ["plan_version.id"], name=op.f("fk_price_plan_version_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_price")),
        sa.UniqueConstraint("plan_version_id", "charge", name=op.f("uq_price_plan_version_id_charge")),
    )
    op.create_table(
        "tenant",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("application_id", sa.UUID(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("plan_code", sa.Text(), nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("limits_version", sa.BigInteger(), nullable=False),
        sa.Column("limits_version_written", sa.BigInteger(), nullable=False),
        sa.Column("billing_profile", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("trial_days", sa.BigInteger(), nullable=False),
        sa.Column("trial_starts_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("trial_ends_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("converted_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("past_due_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("suspended_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("suspend_reason", sa.Text(), nullable=True),
        sa.Column("destroy_after", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("destroyed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("legal_hold", sa.Boolean(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("(state = 'suspended') = (suspended_at IS NOT NULL)", name=op.f("ck_tenant_suspended")),
        sa.CheckConstraint(
            "state IN ('approved', 'trialing', 'active', 'past_due', 'suspended', 'destroying', 'destroyed')",
            name=op.f("ck_tenant_state"),
        ),
        sa.ForeignKeyConstraint(["application_id"], ["application.id"], name=op.f("fk_tenant_application_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant")),
        sa.UniqueConstraint("application_id", name=op.f("uq_tenant_application_id")),
        sa.UniqueConstraint("slug", name=op.f("uq_tenant_slug")),
    )
    op.create_index(op.f("ix_tenant_destroy_after"), "tenant", ["destroy_after"], unique=False)
    op.create_index(op.f("ix_tenant_state"), "tenant", ["state"], unique=False)
    op.create_index(op.f("ix_tenant_trial_ends_at"), "tenant", ["trial_ends_at"], unique=False)
    op.create_table(
        "card_registration",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("customer_key", sa.Text(), nullable=False),
        sa.Column("gateway_reference", sa.Text(), nullable=True),
        sa.Column("begun_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("completed_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_card_registration_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_registration")),
    )
    op.create_table(
        "destruction_run",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("steps_done", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_destruction_run_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_destruction_run")),
    )
    op.create_table(
        "document",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.UUID(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("data_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("template_version", sa.Text(), nullable=True),
        sa.Column("rendered_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('due', 'ready')", name=op.f("ck_document_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_document_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
        sa.UniqueConstraint("kind", "subject_id", "language", name=op.f("uq_document_kind_subject_id_language")),
    )
    op.create_index("ix_document_due", "document", ["created_at"], unique=False, postgresql_where="state = 'due'")
    op.create_index(op.f("ix_document_tenant_id"), "document", ["tenant_id"], unique=False)
    op.create_table(
        "ledger_entry",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("cause_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("booked_on", sa.Date(), nullable=False),
        sa.Column("booked_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("kind IN ('issue', 'payment', 'void')", name=op.f("ck_ledger_entry_kind")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_ledger_entry_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("kind", "cause_id", name=op.f("uq_ledger_entry_kind_cause_id")),
    )
    op.create_index(
        op.f("ix_ledger_entry_tenant_id_booked_on"), "ledger_entry", ["tenant_id", "booked_on"], unique=False
    )
    op.create_table(
        "metering_day",
        sa.Column("id", sa.UUID(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("done_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_metering_day_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_metering_day")),
    )
    op.create_index("ix_metering_day_due", "metering_day", ["day"], unique=False, postgresql_where="done_at IS NULL")
    op.create_index("uq_metering_day_tenant_id_day", "metering_day", ["tenant_id", "day"], unique=True)
    op.create_table(
        "payment_method",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("customer_key", sa.Text(), nullable=False),
        sa.Column("token_sealed", sa.Text(), nullable=False),
        sa.Column("masked", sa.Text(), nullable=False),
        sa.Column("brand", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("registered_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("revoked_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payment_method_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_method")),
    )
    op.create_index(
        "uq_payment_method_default",
        "payment_method",
        ["tenant_id"],
        unique=True,
        postgresql_where="revoked_at IS NULL AND is_default",
    )
    op.create_table(
        "provisioning_run",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("steps_done", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("started_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_provisioning_run_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_provisioning_run")),
        sa.UniqueConstraint("run", name=op.f("uq_provisioning_run_run")),
    )
    op.create_table(
        "reading",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("evidence_sha256", sa.Text(), nullable=False),
        sa.Column("taken_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_reading_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", "meter", "day", name=op.f("pk_reading")),
    )
    op.create_table(
        "subscription",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("plan_version_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("timezone", sa.Text(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("next_bill_on", sa.Date(), nullable=False),
        sa.Column("blocked_reason", sa.Text(), nullable=True),
        sa.Column("consent_id", sa.UUID(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('active', 'cancelled')", name=op.f("ck_subscription_state")),
        sa.ForeignKeyConstraint(["consent_id"], ["consent.id"], name=op.f("fk_subscription_consent_id")),
        sa.ForeignKeyConstraint(["plan_version_id"], ["plan_version.id"], name=op.f("fk_subscription_plan_version_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_subscription_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
    )
    op.create_index(
        "ix_subscription_next_bill_on",
        "subscription",
        ["next_bill_on"],
        unique=False,
        postgresql_where="state = 'active'",
    )
    op.create_index(
        "uq_subscription_tenant_active", "subscription", ["tenant_id"], unique=True, postgresql_where="state = 'active'"
    )
    op.create_table(
        "tenant_admin",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=True),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("disabled_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_tenant_admin_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant_admin")),
    )
    op.create_index("ix_tenant_admin_lower_email", "tenant_admin", [sa.literal_column("lower(email)")], unique=False)
    op.create_index(
        "uq_tenant_admin_email", "tenant_admin", ["tenant_id", sa.literal_column("lower(email)")], unique=True
    )
    op.create_table(
        "tenant_database",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("cluster_id", sa.UUID(), nullable=False),
        sa.Column("database_name", sa.Text(), nullable=False),
        sa.Column("role_name", sa.Text(), nullable=False),
        sa.Column("password_sealed", sa.Text(), nullable=False),
        sa.Column("schema_revision", sa.Text(), nullable=True),
        sa.Column("placement_version", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["cluster_id"], ["cluster.id"], name=op.f("fk_tenant_database_cluster_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_tenant_database_tenant_id")),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_tenant_database")),
        sa.UniqueConstraint("database_name", name=op.f("uq_tenant_database_database_name")),
        sa.UniqueConstraint("role_name", name=op.f("uq_tenant_database_role_name")),
    )
    op.create_table(
        "tenant_export",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("requested_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("ready_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state IN ('due', 'ready', 'expired')", name=op.f("ck_tenant_export_state")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_tenant_export_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant_export")),
    )
    op.create_index(op.f("ix_tenant_export_tenant_id"), "tenant_export", ["tenant_id"], unique=False)
    op.create_table(
        "invoice",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("subscription_id", sa.UUID(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("year", sa.BigInteger(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("number_text", sa.Text(), nullable=True),
        sa.Column("period", postgresql.DATERANGE(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("subtotal_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("seller", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("buyer", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("supplied_on", sa.Date(), nullable=False),
        sa.Column("created_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("issued_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("due_on", sa.Date(), nullable=True),
        sa.Column("content_sha256", sa.Text(), nullable=True),
        sa.Column("paid_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("voided_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("void_reason", sa.Text(), nullable=True),
        sa.Column("collect_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("evidence_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("set_apart_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint("state <> 'paid' OR paid_at IS NOT NULL", name=op.f("ck_invoice_paid")),
        sa.CheckConstraint("state IN ('draft', 'issued', 'paid', 'void')", name=op.f("ck_invoice_state")),
        sa.CheckConstraint("state IN ('draft', 'void') OR number IS NOT NULL", name=op.f("ck_invoice_numbered")),
        sa.CheckConstraint("subtotal_minor + tax_minor = total_minor", name=op.f("ck_invoice_adds_up")),
        sa.ForeignKeyConstraint(["subscription_id"], ["subscription.id"], name=op.f("fk_invoice_subscription_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_invoice_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice")),
        sa.UniqueConstraint("number_text", name=op.f("uq_invoice_number_text")),
        sa.UniqueConstraint("series", "year", "number", name=op.f("uq_invoice_series_year_number")),
    )
    op.create_index(
        "ix_invoice_collect_at", "invoice", ["collect_at"], unique=False, postgresql_where="collect_at IS NOT NULL"
    )
    op.create_index(
        "ix_invoice_evidence_due",
        "invoice",
        ["supplied_on"],
        unique=False,
        postgresql_where="evidence_at IS NULL AND state IN ('issued', 'paid')",
    )
    op.create_index(
        "ix_invoice_issued_at",
        "invoice",
        ["issued_at", "id"],
        unique=False,
        postgresql_include=("state", "due_on", "currency", "subtotal_minor", "tax_minor", "total_minor"),
    )
    op.create_index(op.f("ix_invoice_period"), "invoice", ["period"], unique=False, postgresql_using="gist")
    op.create_index(
        "ix_invoice_state",
        "invoice",
        ["state", "issued_at", "id"],
        unique=False,
        postgresql_include=("due_on", "currency", "subtotal_minor", "tax_minor", "total_minor"),
    )
    op.create_index(op.f("ix_invoice_tenant_id_issued_at"), "invoice", ["tenant_id", "issued_at"], unique=False)
    op.create_table(
        "ledger_line",
        sa.Column("entry_id", sa.UUID(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("debit_minor", sa.BigInteger(), nullable=False),
        sa.Column("credit_minor", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "account IN ('receivable', 'cash', 'revenue', 'vat_payable')", name=op.f("ck_ledger_line_account")
        ),
        sa.CheckConstraint(
            "(debit_minor > 0 AND credit_minor = 0) OR (credit_minor > 0 AND debit_minor = 0)",
            name=op.f("ck_ledger_line_one_side"),
        ),
        sa.ForeignKeyConstraint(["entry_id"], ["ledger_entry.id"], name=op.f("fk_ledger_line_entry_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_line")),
    )
    op.create_index(op.f("ix_ledger_line_entry_id"), "ledger_line", ["entry_id"], unique=False)
    op.create_table(
        "billed_span",
        sa.Column("subscription_id", sa.UUID(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("period", postgresql.DATERANGE(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("uuidrange(subscription_id, subscription_id, '[]')"), "&&"),
            (sa.text("chargerange(charge, charge, '[]')"), "&&"),
            (sa.text("period"), "&&"),
            where=sa.text("state <> 'void'"),
            using="gist",
            name="ex_billed_span_once",
        ),
        sa.CheckConstraint("state IN ('billed', 'void')", name=op.f("ck_billed_span_state")),
        sa.CheckConstraint("NOT isempty(period)", name=op.f("ck_billed_span_period")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_billed_span_invoice_id")),
        sa.ForeignKeyConstraint(["subscription_id"], ["subscription.id"], name=op.f("fk_billed_span_subscription_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_billed_span")),
    )
    op.create_index(op.f("ix_billed_span_invoice_id"), "billed_span", ["invoice_id"], unique=False)
    op.create_index(op.f("ix_billed_span_subscription_id"), "billed_span", ["subscription_id"], unique=False)
    op.create_table(
        "invoice_line",
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("name_ko", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("period", postgresql.DATERANGE(), nullable=False),
        sa.Column("quantity", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("unit_amount", sa.Numeric(precision=38, scale=12), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("price_id", sa.UUID(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("readings_sha256", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_invoice_line_invoice_id")),
        sa.ForeignKeyConstraint(["price_id"], ["price.id"], name=op.f("fk_invoice_line_price_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_line")),
        sa.UniqueConstraint("invoice_id", "position", name=op.f("uq_invoice_line_invoice_id_position")),
    )
    op.create_table(
        "payment_attempt",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("attempt_number", sa.BigInteger(), nullable=False),
        sa.Column("method_id", sa.UUID(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("key_expires_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("begun_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("finished_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("decline_class", sa.Text(), nullable=True),
        sa.Column("decline_code", sa.Text(), nullable=True),
        sa.Column("decline_message", sa.Text(), nullable=True),
        sa.Column("gateway_payment_id", sa.Text(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.Column("lease_until", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("retry_at", postgresql.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'unknown', 'needs_person', 'succeeded', 'declined')",
            name=op.f("ck_payment_attempt_state"),
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_payment_attempt_invoice_id")),
        sa.ForeignKeyConstraint(["method_id"], ["payment_method.id"], name=op.f("fk_payment_attempt_method_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payment_attempt_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_attempt")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_payment_attempt_idempotency_key")),
        sa.UniqueConstraint("invoice_id", "attempt_number", name=op.f("uq_payment_attempt_invoice_id_attempt_number")),
        sa.UniqueConstraint("order_id", name=op.f("uq_payment_attempt_order_id")),
    )
    op.create_index(
        "ix_payment_attempt_due",
        "payment_attempt",
        ["state"],
        unique=False,
        postgresql_where="state IN ('open', 'unknown')",
    )
    op.create_index(
        "ix_payment_attempt_person",
        "payment_attempt",
        ["begun_at"],
        unique=False,
        postgresql_where="state = 'needs_person'",
    )
    op.create_index(
        "uq_payment_attempt_succeeded",
        "payment_attempt",
        ["invoice_id"],
        unique=True,
        postgresql_where="state = 'succeeded'",
    )
    op.create_index(
        "uq_payment_attempt_under_way",
        "payment_attempt",
        ["invoice_id"],
        unique=True,
        postgresql_where="state IN ('open', 'unknown', 'needs_person')",
    )
    op.create_table(
        "payment",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("attempt_id", sa.UUID(), nullable=True),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("gateway_payment_id", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("paid_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("received_on", sa.Date(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=True),
        sa.Column("recorded_by", sa.UUID(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("(gateway = 'manual') = (attempt_id IS NULL)", name=op.f("ck_payment_attempt")),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_payment_amount")),
        sa.ForeignKeyConstraint(["attempt_id"], ["payment_attempt.id"], name=op.f("fk_payment_attempt_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_payment_invoice_id")),
        sa.ForeignKeyConstraint(["recorded_by"], ["staff.id"], name=op.f("fk_payment_recorded_by")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_payment_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment")),
        sa.UniqueConstraint("attempt_id", name=op.f("uq_payment_attempt_id")),
        sa.UniqueConstraint("gateway", "gateway_payment_id", name=op.f("uq_payment_gateway_gateway_payment_id")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_payment_invoice_id")),
    )
    op.create_table(
        "vat_evidence",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payment_id", sa.UUID(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("chosen_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("(kind = 'card_slip') = (payment_id IS NOT NULL)", name=op.f("ck_vat_evidence_card_slip")),
        sa.CheckConstraint(
            "(kind IN ('none_foreign', 'by_hand')) = (reason IS NOT NULL)", name=op.f("ck_vat_evidence_reason")
        ),
        sa.CheckConstraint(
            "kind IN ('card_slip', 'tax_invoice', 'none_foreign', 'by_hand')", name=op.f("ck_vat_evidence_kind")
        ),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_vat_evidence_invoice_id")),
        sa.ForeignKeyConstraint(["payment_id"], ["payment.id"], name=op.f("fk_vat_evidence_payment_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_vat_evidence_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vat_evidence")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_vat_evidence_invoice_id")),
    )
    op.create_index(
        "ix_vat_evidence_by_hand", "vat_evidence", ["invoice_id"], unique=False, postgresql_where="kind = 'by_hand'"
    )
    op.create_table(
        "tax_invoice",
        sa.Column("evidence_id", sa.UUID(), nullable=False),
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("issue_id", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("written_on", sa.Date(), nullable=False),
        sa.Column("issued_at", postgresql.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("supply_minor", sa.BigInteger(), nullable=False),
        sa.Column("tax_minor", sa.BigInteger(), nullable=False),
        sa.Column("total_minor", sa.BigInteger(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("content_sha256", sa.Text(), nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("purpose IN ('receipt', 'claim')", name=op.f("ck_tax_invoice_purpose")),
        sa.CheckConstraint("state IN ('issued')", name=op.f("ck_tax_invoice_state")),
        sa.CheckConstraint("supply_minor + tax_minor = total_minor", name=op.f("ck_tax_invoice_adds_up")),
        sa.ForeignKeyConstraint(["evidence_id"], ["vat_evidence.id"], name=op.f("fk_tax_invoice_evidence_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_tax_invoice_invoice_id")),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_tax_invoice_tenant_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tax_invoice")),
        sa.UniqueConstraint("evidence_id", name=op.f("uq_tax_invoice_evidence_id")),
        sa.UniqueConstraint("invoice_id", name=op.f("uq_tax_invoice_invoice_id")),
        sa.UniqueConstraint("issue_id", name=op.f("uq_tax_invoice_issue_id")),
    )
    op.execute((Path(__file__).parents[1] / "extras.sql").read_text())
