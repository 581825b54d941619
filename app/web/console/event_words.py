"""Lines of the audit trail in words that a colleague reads without a glossary."""

from __future__ import annotations

from typing import Any

from app.base.audit import AuditEvent
from app.base.errors import TenantryError
from app.base.states import IllegalMove
from app.web.chips import chip_face
from app.web.i18n import gettext, lazy

_ACTIONS = {
    "invoice.collected_again": lazy("Charged again by hand"),
    "tenant.trial_extended": lazy("Trial extended"),
    "tenant.billing_profile_changed": lazy("Company details changed"),
    "tenant.legal_hold_set": lazy("Legal hold set"),
    "tenant.legal_hold_lifted": lazy("Legal hold lifted"),
    "tenant.destruction_scheduled": lazy("Erasure scheduled"),
    "tenant.suspension_explained": lazy("Reason of the suspension"),
    "tenant.limits_set": lazy("Plan limits changed"),
    "subscription.cancellation_set": lazy("Subscription cancelled by the customer"),
    "subscription.billing_retried": lazy("Billing tried again by hand"),
    "payment_method.registered": lazy("Card registered"),
    "payment_method.revoked": lazy("Card removed"),
    "admin.password_set": lazy("Administrator chose a password"),
    "admin.disabled": lazy("Administrator shut out of the portal"),
    "admin.enabled": lazy("Administrator let in again"),
    "export.requested": lazy("Export asked for"),
}
_KINDS = {
    "invoice": lazy("Invoice"),
    "payment_attempt": lazy("Card charge"),
    "tenant": lazy("Company"),
    "subscription": lazy("Subscription"),
    "document": lazy("Paper"),
    "application": lazy("Application"),
    "export": lazy("Export"),
}
_ACTORS = {
    "admin": lazy("The customer's administrator"),
    "visitor": lazy("A visitor"),
    "system": lazy("The system"),
}
_TONES = {"good": "good", "bad": "bad", "warn": "warn"}


def said(event: AuditEvent, names: dict[str, str]) -> dict[str, Any]:
    """This function will return one event as the timeline prints it."""
    face = chip_face(event.subject_kind, event.to_state) if event.to_state else None
    return {
        "at": event.at,
        "who": actor(event, names),
        "what": what(event),
        "why": event.why or "",
        "tone": _TONES.get(face.tone, "calm") if face else "calm",
    }


def actor(event: AuditEvent, names: dict[str, str]) -> str:
    """This function will name who acted: a colleague, a job's step, the customer."""
    if event.actor_kind == "staff":
        return names.get(event.actor_id or "", gettext("A former colleague"))
    if event.actor_kind == "job":
        return gettext("Job: %(step)s", step=event.actor_id or "")
    return str(_ACTORS.get(event.actor_kind, event.actor_kind))


def what(event: AuditEvent) -> str:
    """This function will say what happened; an unforeseen action shows its own name."""
    known = _ACTIONS.get(event.action)
    if known is not None:
        return str(known)
    kind = _KINDS.get(event.subject_kind)
    if event.to_state and kind:
        return f"{kind}: {chip_face(event.subject_kind, event.to_state).word}"
    return event.action.replace("_", " ").replace(".", ": ")


def words_of(error: TenantryError) -> str:
    """This function will say a refusal in the reader's language."""
    if isinstance(error, IllegalMove):
        return gettext("Its state has changed meanwhile. Nothing was done; please look again.")
    return gettext(error.message)
