"""Charges of every pricing, and subscriptions made of items that begin and end

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# What the three charges of the first price lists were called where they were printed.
CHARGES = """
ALTER TABLE price DISABLE TRIGGER row_is_final;
UPDATE price SET
    name_ko = CASE charge WHEN 'seats' THEN '추가 사용자' WHEN 'storage' THEN '추가 저장공간'
        ELSE (SELECT name_ko || ' 요금제 기본료' FROM plan_version v WHERE v.id = plan_version_id) END,
    name_en = CASE charge WHEN 'seats' THEN 'Additional seats' WHEN 'storage' THEN 'Additional storage'
        ELSE (SELECT name_en || ' plan, base fee' FROM plan_version v WHERE v.id = plan_version_id) END,
    unit_ko = CASE charge WHEN 'seats' THEN '명' WHEN 'storage' THEN 'GB' ELSE '개월' END,
    unit_en = CASE charge WHEN 'seats' THEN 'seats' WHEN 'storage' THEN 'GB' ELSE 'month' END,
    aggregation = CASE charge WHEN 'seats' THEN 'peak' WHEN 'storage' THEN 'average' END,
    model = CASE charge WHEN 'base' THEN 'flat' ELSE 'per_unit' END;
ALTER TABLE price ENABLE TRIGGER row_is_final;
"""

# An item for each charge of each subscription, from its first day; spans then hang from items.
ITEMS = """
INSERT INTO subscription_item
    (id, subscription_id, price_id, charge, quantity, starts_at, ends_at, anchor_on, credit_on_end,
     created_at)
SELECT gen_random_uuid(), s.id, p.id, p.charge, 1,
    s.starts_on::timestamp AT TIME ZONE s.timezone, s.ends_on::timestamp AT TIME ZONE s.timezone,
    s.starts_on, true, s.created_at
FROM subscription s JOIN price p ON p.plan_version_id = s.plan_version_id;

UPDATE billed_span b SET
    item_id = i.id, kind = 'charge', line_id = l.id,
    span = tstzrange(lower(b.period)::timestamp AT TIME ZONE s.timezone,
        upper(b.period)::timestamp AT TIME ZONE s.timezone)
FROM subscription s, subscription_item i, invoice_line l
WHERE s.id = b.subscription_id AND i.subscription_id = s.id AND i.charge = b.charge
  AND l.invoice_id = b.invoice_id AND l.charge = b.charge AND l.period = b.period;
"""


def upgrade() -> None:
    _charges()
    _subscriptions()
    _lines_and_spans()
    _credits()


def _charges() -> None:
    text, jsonb = sa.Text(), postgresql.JSONB(astext_type=sa.Text())
    columns = {
        "name_ko": (text, "''"),
        "name_en": (text, "''"),
        "unit_ko": (text, "''"),
        "unit_en": (text, "''"),
        "kind": (text, "'recurring'"),
        "interval_unit": (text, "'month'"),
        "interval_count": (sa.BigInteger(), "1"),
        "meter_group": (jsonb, "'{}'"),
        "model": (text, "'flat'"),
        "parameters": (jsonb, "'{}'"),
        "proration": (text, "'day'"),
        "rounding": (text, "'down'"),
        "optional": (sa.Boolean(), "false"),
    }
    for name, (kind, before) in columns.items():
        op.add_column("price", sa.Column(name, kind, nullable=False, server_default=sa.text(before)))
    op.add_column("price", sa.Column("aggregation", text, nullable=True))
    op.execute(CHARGES)
    for name in columns:
        op.alter_column("price", name, server_default=None)
    op.drop_constraint(op.f("ck_price_charge"), "price")
    checks = {
        "charge": "charge ~ '^[a-z][a-z0-9_]{0,39}$'",
        "kind": "kind IN ('recurring', 'setup', 'one_off', 'commitment')",
        "interval_unit": "interval_unit IN ('week', 'month', 'year')",
        "interval_count": "interval_count > 0",
        "aggregation": "aggregation IN ('peak', 'average', 'sum', 'last')",
        "model": "model IN ('flat', 'per_unit', 'graduated', 'volume', 'package', 'stairstep',"
        " 'percentage')",
        "proration": "proration IN ('none', 'day', 'second')",
        "rounding": "rounding IN ('down', 'up', 'half_up', 'half_even')",
        "usage_in_arrears": "meter IS NULL OR timing = 'arrears'",
    }
    for name, rule in checks.items():
        op.create_check_constraint(op.f(f"ck_price_{name}"), "price", rule)


def _subscriptions() -> None:
    moment = postgresql.TIMESTAMP(timezone=True)
    op.add_column("subscription", sa.Column("anchor_on", sa.Date(), nullable=True))
    op.execute("UPDATE subscription SET anchor_on = starts_on")
    op.alter_column("subscription", "anchor_on", nullable=False)
    op.alter_column("subscription", "next_bill_on", nullable=True)
    op.add_column("subscription", sa.Column("next_change_at", moment, nullable=True))
    op.add_column("subscription", sa.Column("next_plan_version_id", sa.UUID(), nullable=True))
    op.add_column("subscription", sa.Column("next_state", sa.Text(), nullable=True))
    op.create_foreign_key(
        op.f("fk_subscription_next_plan_version_id"),
        "subscription",
        "plan_version",
        ["next_plan_version_id"],
        ["id"],
    )
    op.drop_constraint(op.f("ck_subscription_state"), "subscription")
    op.create_check_constraint(
        op.f("ck_subscription_state"),
        "subscription",
        "state IN ('scheduled', 'active', 'paused', 'cancelled')",
    )
    op.create_check_constraint(
        op.f("ck_subscription_next_change"),
        "subscription",
        "(next_change_at IS NULL) = (next_plan_version_id IS NULL AND next_state IS NULL)",
    )
    op.drop_index("uq_subscription_tenant_active", "subscription")
    op.drop_index("ix_subscription_next_bill_on", "subscription")
    current = "state <> 'cancelled'"
    op.create_index(
        "uq_subscription_tenant_current", "subscription", ["tenant_id"], unique=True, postgresql_where=current
    )
    op.create_index(
        "ix_subscription_next_bill_on", "subscription", ["next_bill_on"], postgresql_where=current
    )
    op.create_index(
        "ix_subscription_next_change_at",
        "subscription",
        ["next_change_at"],
        postgresql_where="next_change_at IS NOT NULL",
    )
    op.create_table(
        "subscription_item",
        sa.Column("subscription_id", sa.UUID(), nullable=False),
        sa.Column("price_id", sa.UUID(), nullable=False),
        sa.Column("charge", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Numeric(38, 12), nullable=False),
        sa.Column("starts_at", moment, nullable=False),
        sa.Column("ends_at", moment, nullable=True),
        sa.Column("anchor_on", sa.Date(), nullable=False),
        sa.Column("credit_on_end", sa.Boolean(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("uuidrange(subscription_id, subscription_id, '[]')"), "&&"),
            (sa.text("chargerange(charge, charge, '[]')"), "&&"),
            (sa.text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_subscription_item_once",
        ),
        sa.CheckConstraint("ends_at IS NULL OR ends_at >= starts_at", name=op.f("ck_subscription_item_life")),
        sa.CheckConstraint("quantity >= 0", name=op.f("ck_subscription_item_not_negative")),
        sa.ForeignKeyConstraint(
            ["subscription_id"], ["subscription.id"], name=op.f("fk_subscription_item_subscription_id")
        ),
        sa.ForeignKeyConstraint(["price_id"], ["price.id"], name=op.f("fk_subscription_item_price_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription_item")),
    )
    op.create_index(op.f("ix_subscription_item_subscription_id"), "subscription_item", ["subscription_id"])
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON subscription_item TO tenantry_app")


def _lines_and_spans() -> None:
    op.add_column("invoice_line", sa.Column("kind", sa.Text(), nullable=False, server_default="charge"))
    op.alter_column("invoice_line", "kind", server_default=None)
    op.alter_column("invoice_line", "price_id", nullable=True)
    op.create_check_constraint(
        op.f("ck_invoice_line_kind"),
        "invoice_line",
        "kind IN ('charge', 'credit', 'commitment', 'discount', 'prepaid', 'carried', 'adjustment')",
    )
    op.create_check_constraint(
        op.f("ck_invoice_line_priced"),
        "invoice_line",
        "kind NOT IN ('charge', 'credit', 'commitment') OR price_id IS NOT NULL",
    )
    op.add_column("billed_span", sa.Column("item_id", sa.UUID(), nullable=True))
    op.add_column("billed_span", sa.Column("kind", sa.Text(), nullable=True))
    op.add_column("billed_span", sa.Column("span", postgresql.TSTZRANGE(), nullable=True))
    op.add_column("billed_span", sa.Column("line_id", sa.UUID(), nullable=True))
    op.execute(ITEMS)
    for name in ("item_id", "kind", "span", "line_id"):
        op.alter_column("billed_span", name, nullable=False)
    op.drop_constraint("ex_billed_span_once", "billed_span")
    op.drop_constraint(op.f("ck_billed_span_period"), "billed_span")
    op.drop_column("billed_span", "charge")
    op.drop_column("billed_span", "period")
    op.create_check_constraint(op.f("ck_billed_span_span"), "billed_span", "NOT isempty(span)")
    op.create_check_constraint(op.f("ck_billed_span_kind"), "billed_span", "kind IN ('charge', 'credit')")
    for name, table in (("item_id", "subscription_item"), ("line_id", "invoice_line")):
        op.create_foreign_key(op.f(f"fk_billed_span_{name}"), "billed_span", table, [name], ["id"])
    op.execute(
        "ALTER TABLE billed_span ADD CONSTRAINT ex_billed_span_once EXCLUDE USING gist ("
        "uuidrange(item_id, item_id, '[]') WITH &&, chargerange(kind, kind, '[]') WITH &&,"
        " span WITH &&) WHERE (state <> 'void')"
    )


def _credits() -> None:
    moment = postgresql.TIMESTAMP(timezone=True)
    op.create_table(
        "credit_grant",
        sa.Column("tenant_id", sa.UUID(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("used_minor", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("granted_at", moment, nullable=False),
        sa.Column("expires_on", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("carried_by", sa.UUID(), nullable=True),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint(
            "used_minor >= 0 AND used_minor <= amount_minor", name=op.f("ck_credit_grant_not_overdrawn")
        ),
        sa.CheckConstraint(
            "source IN ('change', 'purchase', 'promotion', 'adjustment', 'rollover')",
            name=op.f("ck_credit_grant_source"),
        ),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenant.id"], name=op.f("fk_credit_grant_tenant_id")),
        sa.ForeignKeyConstraint(["carried_by"], ["invoice.id"], name=op.f("fk_credit_grant_carried_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_grant")),
    )
    op.create_index(
        "ix_credit_grant_open", "credit_grant", ["tenant_id"], postgresql_where="used_minor < amount_minor"
    )
    op.create_table(
        "credit_use",
        sa.Column("grant_id", sa.UUID(), nullable=False),
        sa.Column("invoice_id", sa.UUID(), nullable=False),
        sa.Column("line_id", sa.UUID(), nullable=False),
        sa.Column("amount_minor", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("used_at", moment, nullable=False),
        sa.Column("id", sa.UUID(), nullable=False),
        sa.CheckConstraint("amount_minor > 0", name=op.f("ck_credit_use_positive")),
        sa.CheckConstraint("state IN ('used', 'void')", name=op.f("ck_credit_use_state")),
        sa.ForeignKeyConstraint(["grant_id"], ["credit_grant.id"], name=op.f("fk_credit_use_grant_id")),
        sa.ForeignKeyConstraint(["invoice_id"], ["invoice.id"], name=op.f("fk_credit_use_invoice_id")),
        sa.ForeignKeyConstraint(["line_id"], ["invoice_line.id"], name=op.f("fk_credit_use_line_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_use")),
    )
    op.create_index(op.f("ix_credit_use_grant_id"), "credit_use", ["grant_id"])
    op.create_index(op.f("ix_credit_use_invoice_id"), "credit_use", ["invoice_id"])
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON credit_grant, credit_use TO tenantry_app")
