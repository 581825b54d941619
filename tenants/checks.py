"""The tenants' rules that `flask check` asserts, as queries over the whole control database."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.invariants import Found, Invariant
from tenants import events, meters, rollup_checks
from tenants.models import Tenant

_ONE_TENANT_EACH = """
    SELECT 'application' AS kind, a.id, 'approved, but no tenant came of it' AS wrong
    FROM application a LEFT JOIN tenant t ON t.application_id = a.id
    WHERE a.state = 'approved' AND t.id IS NULL
    UNION ALL
    SELECT 'application', a.id, format('%s tenants came of one approval', count(*))
    FROM application a JOIN tenant t ON t.application_id = a.id
    GROUP BY a.id HAVING count(*) > 1
    UNION ALL
    SELECT 'tenant', t.id, format('its application is %s, not approved', a.state)
    FROM tenant t JOIN application a ON a.id = t.application_id
    WHERE a.state NOT IN ('approved', 'erased')
    UNION ALL
    SELECT 'tenant', t.id, 'approved, but nothing was told to make its database'
    FROM tenant t LEFT JOIN provisioning_run r ON r.tenant_id = t.id
    WHERE t.application_id IS NOT NULL AND t.state <> 'destroyed' AND r.tenant_id IS NULL
    UNION ALL
    SELECT 'tenant', t.id, 'approved, but nobody can administer it'
    FROM tenant t LEFT JOIN tenant_admin m ON m.tenant_id = t.id
    WHERE t.application_id IS NOT NULL AND t.state NOT IN ('destroying', 'destroyed')
      AND m.id IS NULL
    UNION ALL
    SELECT 'tenant', t.id, format('%s, but it has no database', t.state)
    FROM tenant t LEFT JOIN tenant_database d ON d.tenant_id = t.id
    WHERE t.application_id IS NOT NULL
      AND t.state IN ('trialing', 'active', 'past_due', 'suspended') AND d.tenant_id IS NULL
"""

# Foreign keys say that a row exists, not whose it is: both ends must name the same tenant.
_NOTHING_CROSSES = """
    SELECT 'web_session' AS kind, left(s.id_hash, 12) AS id,
        'the session serves another tenant than its user' AS wrong
    FROM web_session s JOIN tenant_admin m ON m.id = s.user_id
    WHERE s.audience = 'portal' AND s.tenant_id IS DISTINCT FROM m.tenant_id
    UNION ALL
    SELECT 'web_session', left(s.id_hash, 12), 'a tenant''s session that names no tenant'
    FROM web_session s
    WHERE s.audience IN ('portal', 'workspace') AND s.tenant_id IS NULL
    UNION ALL
    SELECT 'web_session', left(s.id_hash, 12), 'a session of staff that names a tenant'
    FROM web_session s WHERE s.audience = 'staff' AND s.tenant_id IS NOT NULL
    UNION ALL
    SELECT 'web_session', left(s.id_hash, 12), 'a session of a tenant that is destroyed'
    FROM web_session s JOIN tenant t ON t.id = s.tenant_id WHERE t.state = 'destroyed'
    UNION ALL
    SELECT 'tenant_database', d.tenant_id::text, 'two tenants share one database'
    FROM tenant_database d
    JOIN tenant_database o ON o.cluster_id = d.cluster_id AND o.tenant_id <> d.tenant_id
        AND (o.database_name = d.database_name OR o.role_name = d.role_name)
    UNION ALL
    SELECT 'tenant_database', d.tenant_id::text, 'a tenant''s database is the control database'
    FROM tenant_database d JOIN cluster c ON c.id = d.cluster_id
    WHERE d.database_name = current_database()
    UNION ALL
    SELECT 'tenant_database', d.tenant_id::text, 'destroyed, but its place is still written down'
    FROM tenant_database d JOIN tenant t ON t.id = d.tenant_id WHERE t.state = 'destroyed'
    UNION ALL
    SELECT 'audit_event', e.id::text, 'a tenant''s admin acted on another tenant'
    FROM audit_event e JOIN tenant_admin m ON e.actor_id = m.id::text
    WHERE e.actor_kind = 'admin' AND e.tenant_id IS NOT NULL AND e.tenant_id <> m.tenant_id
"""


def _usage_of_nobody(control_session: Session, usage_session: Session) -> Found:
    """Whose events are kept though the tenant is gone: a server was restored by itself."""
    served = set(control_session.scalars(select(Tenant.id).where(Tenant.state != "destroyed")))
    for tenant_id in sorted(events.tenants_with_events(usage_session=usage_session) - served):
        yield "tenant", str(tenant_id), "it is not ours (any more), but there are events of it"


def _rollups_that_differ(control_session: Session, usage_session: Session) -> Found:
    """A sample of hours, computed from their events anew."""
    for found in rollup_checks.differences(
        usage_session=usage_session,
        definitions=meters.counted(control_session=control_session),
        segments=rollup_checks.sample(usage_session=usage_session),
    ):
        hour = f"{found.hour:%Y-%m-%dT%H}Z"
        meter = f"{found.meter} v{found.version} {found.group_key}"
        yield "tenant", str(found.tenant_id), f"{meter} of {hour} is not what its events come to"


INVARIANTS = (
    Invariant(
        code="I9",
        name="one tenant for each approval",
        says="an approval makes exactly one tenant, with an admin and a database, or nothing",
        sql=_ONE_TENANT_EACH,
    ),
    Invariant(
        code="I12",
        name="nothing crosses tenants: places and sessions",
        says="sessions, databases and acts of a tenant belong to that tenant alone",
        sql=_NOTHING_CROSSES,
    ),
    Invariant(
        code="I12",
        name="nothing crosses tenants: pushed usage",
        says="every event is of a tenant that is not destroyed, wherever the events lie",
        look_at_usage=_usage_of_nobody,
    ),
    Invariant(
        code="M1",
        name="rollups are what the events come to",
        says="each hour of a meter that is rolled up equals its events counted anew (a sample)",
        look_at_usage=_rollups_that_differ,
    ),
)
