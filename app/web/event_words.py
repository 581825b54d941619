"""Lines of the audit trail in words that a colleague reads without a glossary."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select

from app.base.accounts import Staff
from app.base.audit import AuditEvent
from app.web import contract_words
from app.web.chips import chip_face
from app.web.db import control
from app.web.format import day
from app.web.i18n import gettext, lazy
from tenants.usage_models import EventCorrection

_ACTIONS = {
    "month.closed": lazy("Month %(month)s closed"),
    "month.reopened": lazy("Month %(month)s opened again"),
    "quotation.made": lazy("Quotation %(number)s made"),
    "invoice.statement_made": lazy("Statement of items made"),
    "invoice.collected_again": lazy("Charged again by hand"),
    "tenant.trial_extended": lazy("Trial extended"),
    "tenant.billing_profile_changed": lazy("Company details changed"),
    "tenant.vat_decided": lazy("VAT treatment decided"),
    "tenant.legal_hold_set": lazy("Legal hold set"),
    "tenant.legal_hold_lifted": lazy("Legal hold lifted"),
    "tenant.destruction_scheduled": lazy("Erasure scheduled"),
    "tenant.suspension_explained": lazy("Reason of the suspension"),
    "tenant.limits_set": lazy("Plan limits changed"),
    "tenant.entitlement_overridden": lazy("Made an exception from the plan: %(kind)s %(code)s"),
    "tenant.entitlement_restored": lazy("Exception ended: %(kind)s %(code)s"),
    "tenant.currency_changed": lazy("Currency changed to %(currency)s"),
    "subscription.plan_changed": lazy("Plan changed to %(plan)s v%(plan_version)s"),
    "subscription.quantity_changed": lazy("Quantity of %(charge)s changed to %(quantity)s"),
    "subscription.charge_added": lazy("%(charge)s added (%(quantity)s)"),
    "subscription.charge_removed": lazy("%(charge)s removed"),
    "subscription.change_taken_back": lazy("What lay ahead was taken back"),
    "subscription.billing_day_changed": lazy("Billing day changed to %(billing_day)s"),
    "subscription.cancellation_set": lazy("Subscription cancelled"),
    "subscription.billing_retried": lazy("Billing tried again by hand"),
    "invoice.held": lazy("Held back for a person to look"),
    "invoice.released": lazy("Let pass after a look"),
    "credit.kept": lazy("Kept as credit"),
    "vat_evidence.card_slip": lazy("Evidence for VAT: the card slip"),
    "vat_evidence.cash_receipt": lazy("Evidence for VAT: a cash receipt"),
    "vat_evidence.tax_invoice": lazy("Evidence for VAT: a tax invoice"),
    "vat_evidence.by_hand": lazy("Evidence for VAT: decided by hand"),
    "vat_evidence.none_foreign": lazy("Evidence for VAT: none needed"),
    "vat_evidence.noted": lazy("A paper issued elsewhere was noted"),
    "credit_note.paper_noted": lazy("The paper of %(credit_note)s was noted"),
    "credit_note.paper_again": lazy("The paper of %(credit_note)s was tried again"),
    "tax_invoice.handed_in": lazy("Tax invoice noted as handed in: %(number)s"),
    "coupon.redeemed": lazy("Coupon redeemed"),
    "coupon.released": lazy("Coupon taken away"),
    "credit.granted": lazy("Credit recorded"),
    "credit.revoked": lazy("Credit taken back"),
    "credit.lapsed": lazy("Credit expired"),
    "payment_method.registered": lazy("Card registered"),
    "payment_method.revoked": lazy("Card removed"),
    "payment_method.made_default": lazy("Card made the one that is charged first"),
    "payment_method.fallback_allowed": lazy("Card allowed to stand in for a declined one"),
    "payment_method.fallback_ended": lazy("Card stands in for a declined one no longer"),
    "admin.password_set": lazy("Administrator chose a password"),
    "admin.disabled": lazy("Administrator shut out of the portal"),
    "admin.enabled": lazy("Administrator let in again"),
    "export.requested": lazy("Export asked for"),
    "export.ready": lazy("Export ready"),
    "export.expired": lazy("Export no longer kept"),
    "event.amended": lazy("Usage event amended"),
    "event.voided": lazy("Usage event voided"),
    "dunning.held": lazy("Collecting rests until %(until)s"),
    "dunning.hold_lifted": lazy("Collecting goes on"),
    "dunning.forgiven": lazy("Not followed up any more"),
    "dunning.rule_set": lazy("Rules of collecting changed"),
    "work.tried_again": lazy("Tried again by hand"),
    "provisioning.undone": lazy("What was made of it was undone"),
    "provisioning.given_up": lazy("Given up: what was made of it is undone"),
    "tenant.final_warning": lazy("Final warning sent"),
    "tenant.retention_ended": lazy("Will not be erased for now"),
    "tenant.erasure_moved_on": lazy("Erasure moved on by a day: nobody was warned"),
    "tenant.retention_begun": lazy("Days until the erasure began"),
    "virtual_account.taken_back": lazy("The bank took the deposit back"),
    "cash_receipt.declared": lazy("What became of a cash receipt was said by a person"),
    "payment.reversed": lazy("A payment was taken back"),
    "invoice.given_up": lazy("Written off"),
    "credit_note.issued": lazy("Credit note issued"),
    "document_bundle.requested": lazy("Papers asked for in one file"),
    "document_bundle.ready": lazy("Papers ready in one file"),
    "document_bundle.expired": lazy("Papers in one file no longer kept"),
}
_KINDS = {
    "invoice": lazy("Invoice"),
    "payment_attempt": lazy("Card charge"),
    "refund": lazy("Refund"),
    "virtual_account": lazy("Virtual account"),
    "bank_transfer": lazy("Deposit"),
    "price_consent": lazy("Consent to a new price"),
    "tax_invoice": lazy("Tax invoice"),
    "cash_receipt": lazy("Cash receipt"),
    "tenant": lazy("Company"),
    "subscription": lazy("Subscription"),
    "document": lazy("Paper"),
    "application": lazy("Application"),
    "export": lazy("Export"),
}
_ACTORS = {
    "admin": lazy("The customer's administrator"),
    "api_key": lazy("A program, by its API key"),
    "visitor": lazy("A visitor"),
    "gateway": lazy("The payment service"),
    "system": lazy("The system"),
}
# Steps of ours, as the timeline names who acted.
_STEPS = {
    "bundles": lazy("bundles"),
    "business_status": lazy("status of businesses"),
    "cash_receipts": lazy("cash receipts"),
    "consents": lazy("consents"),
    "credits": lazy("credit"),
    "destruction": lazy("erasure"),
    "documents": lazy("papers"),
    "dunning": lazy("dunning"),
    "evidence": lazy("tax papers"),
    "exports": lazy("exports"),
    "housekeeping": lazy("tidying up"),
    "invoicing": lazy("billing"),
    "lifecycle": lazy("terms of accounts"),
    "payment": lazy("payment"),
    "provisioning": lazy("provisioning"),
    "quotas": lazy("quotas"),
    "receipt": lazy("receipts"),
    "reconciliation": lazy("reconciliation"),
    "refunds": lazy("refunds"),
    "settlement": lazy("settlement"),
    "tax_papers": lazy("tax papers"),
    "transfers": lazy("deposits"),
}
_TONES = {"good": "good", "bad": "bad", "warn": "warn"}


def said(event: AuditEvent, names: dict[str, str]) -> dict[str, Any]:
    """This function will return one event as the timeline prints it."""
    face = chip_face(event.subject_kind, event.to_state) if event.to_state else None
    return {
        "at": event.at,
        "who": actor(event, names),
        "what": what(event),
        "why": gettext(event.why) if event.why else "",
        "tone": _TONES.get(face.tone, "calm") if face else "calm",
    }


def actor(event: AuditEvent, names: dict[str, str]) -> str:
    """This function will name who acted: a colleague, a job's step, the customer."""
    if event.actor_kind == "staff":
        return names.get(event.actor_id or "", gettext("A former colleague"))
    if event.actor_kind == "job":
        step = event.actor_id or ""
        return gettext("Job: %(step)s", step=_STEPS.get(step, step))
    return str(_ACTORS.get(event.actor_kind, event.actor_kind))


def what(event: AuditEvent) -> str:
    """This function will say what happened; an unforeseen action shows its own name."""
    known = _ACTIONS.get(event.action)
    if known is not None:
        return _filled(str(known), contract_words.named(event)) + _from(event.details)
    kind = _KINDS.get(event.subject_kind)
    if event.to_state and kind:
        return f"{kind}: {chip_face(event.subject_kind, event.to_state).word}"
    return event.action.replace("_", " ").replace(".", ": ")


def _filled(words: str, details: Mapping[str, Any]) -> str:
    """The words with what is written down; an older event may lack some of it."""
    if "%(" not in words:
        return words
    return words % _Known(details)


class _Known(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "–"


def _from(details: Mapping[str, Any]) -> str:
    """From when it holds, where that is written down."""
    if details.get("ends_on"):
        return gettext(", ends on %(day)s", day=day(date.fromisoformat(details["ends_on"])))
    moment = details.get("effective_at")
    if not moment:
        return ""
    return gettext(", from %(day)s", day=day(datetime.fromisoformat(moment)))


def staff_names(events: list[AuditEvent]) -> dict[str, str]:
    """This function will look up the names of staff in a list of events, in one query."""
    ids = {UUID(each.actor_id) for each in events if each.actor_kind == "staff" and each.actor_id}
    if not ids:
        return {}
    return _names(ids)


def _names(ids: Collection[UUID]) -> dict[str, str]:
    rows = control().execute(select(Staff.id, Staff.name).where(Staff.id.in_(ids)))
    return {str(staff_id): name for staff_id, name in rows}


def actor_names(made: Iterable[EventCorrection]) -> dict[str, str]:
    """This function will name who made corrections, by what stands beside the events."""
    actors = {each.actor for each in made}
    ids = {UUID(actor.removeprefix("staff:")) for actor in actors if actor.startswith("staff:")}
    names = {f"staff:{staff_id}": name for staff_id, name in (_names(ids) if ids else {}).items()}
    former = gettext("A former colleague")
    return {
        actor: names.get(actor, former)
        if actor.startswith("staff:")
        else str(_ACTORS.get(actor.split(":")[0], actor))
        for actor in actors
    }
