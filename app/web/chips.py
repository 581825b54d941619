"""The face of every state: its word, its colour and its icon, for the status chip.

A word is never its colour alone: each tone comes with an icon and the state's name in words.
Machines share words where they mean the same; an entry with a machine's name goes before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from app.web.i18n import lazy


class Face(NamedTuple):
    """What a chip shows for one state."""

    tone: str  # good | warn | bad | info | calm
    icon: str
    word: Any  # translated when it is printed


_SHARED = {
    "draft": Face("calm", "dashed", lazy("Draft")),
    "due": Face("info", "clock", lazy("Due")),
    "pending": Face("info", "clock", lazy("Waiting")),
    "running": Face("info", "half", lazy("Under way")),
    "ready": Face("good", "done", lazy("Ready")),
    "done": Face("good", "done", lazy("Done")),
    "succeeded": Face("good", "done", lazy("Succeeded")),
    "sent": Face("good", "done", lazy("Sent")),
    "failed": Face("bad", "stop", lazy("Failed")),
    "blocked": Face("bad", "lock", lazy("Blocked")),
    "declined": Face("bad", "stop", lazy("Declined")),
    "void": Face("calm", "slash", lazy("Void")),
    "expired": Face("calm", "slash", lazy("Expired")),
    "active": Face("good", "done", lazy("Active")),
    "invited": Face("info", "mail", lazy("Invited")),
    "inactive": Face("calm", "slash", lazy("Inactive")),
    "disabled": Face("calm", "slash", lazy("Disabled")),
    "approved": Face("good", "check", lazy("Approved")),
    "rejected": Face("bad", "cross", lazy("Rejected")),
    "trialing": Face("info", "clock", lazy("On trial")),
    "past_due": Face("warn", "warn", lazy("Payment overdue")),
    "suspended": Face("warn", "pause", lazy("Suspended")),
    "destroying": Face("warn", "half", lazy("Being erased")),
    "destroyed": Face("calm", "slash", lazy("Erased")),
    "erased": Face("calm", "slash", lazy("Erased")),
    "issued": Face("info", "receipt", lazy("Issued")),
    "paid": Face("good", "done", lazy("Paid")),
}

_OF_ONE_MACHINE = {
    ("application", "submitted"): Face("calm", "mail", lazy("Mail not confirmed")),
    ("application", "confirmed"): Face("info", "inbox", lazy("Waiting for review")),
    ("tenant", "approved"): Face("info", "half", lazy("Being set up")),
    ("invoice", "issued"): Face("info", "clock", lazy("Awaiting payment")),
    ("invoice", "credited"): Face("calm", "slash", lazy("Credited")),
    ("invoice", "written_off"): Face("calm", "slash", lazy("Written off")),
    ("document", "due"): Face("info", "half", lazy("Being made")),
    ("payment_attempt", "open"): Face("info", "half", lazy("Under way")),
    ("payment_attempt", "taken_back"): Face("bad", "stop", lazy("Lost in a dispute")),
    ("payment_attempt", "unknown"): Face("warn", "warn", lazy("Outcome unknown")),
    ("payment_attempt", "needs_person"): Face("bad", "person", lazy("Needs a person")),
    ("subscription", "scheduled"): Face("info", "clock", lazy("Begins later")),
    ("subscription", "paused"): Face("warn", "pause", lazy("Paused")),
    ("subscription", "cancelled"): Face("calm", "slash", lazy("Cancelled")),
    ("invoice", "overdue"): Face("warn", "warn", lazy("Overdue")),
    ("tax_invoice", "issued"): Face("info", "receipt", lazy("Issued, not transmitted")),
    ("tax_invoice", "sent"): Face("info", "half", lazy("With the tax service")),
    ("tax_invoice", "accepted"): Face("good", "done", lazy("Accepted")),
    ("tax_invoice", "amended"): Face("calm", "done", lazy("Amended")),
    ("tax_invoice", "cancelled"): Face("calm", "slash", lazy("Taken back")),
    ("cash_receipt", "wanted"): Face("info", "clock", lazy("Asked for")),
    ("cash_receipt", "confirmed"): Face("good", "done", lazy("Accepted")),
    ("cash_receipt", "withdrawn"): Face("calm", "slash", lazy("Withdrawn")),
    ("cash_receipt", "cancelled"): Face("calm", "slash", lazy("Cancelled")),
    ("message", "due"): Face("info", "clock", lazy("Waiting to be sent")),
    ("price_consent", "asked"): Face("info", "clock", lazy("Asked")),
    ("price_consent", "given"): Face("good", "check", lazy("Agreed")),
    ("price_consent", "refused"): Face("warn", "cross", lazy("Refused")),
    ("price_consent", "lapsed"): Face("calm", "slash", lazy("Not answered")),
    ("price_consent", "withdrawn"): Face("calm", "slash", lazy("No longer asked")),
    ("refund", "due"): Face("info", "clock", lazy("Due")),
    ("refund", "open"): Face("info", "half", lazy("Under way")),
    ("refund", "unknown"): Face("warn", "warn", lazy("Outcome unknown")),
    ("refund", "needs_person"): Face("bad", "person", lazy("Needs a person")),
    ("refund", "by_hand"): Face("warn", "person", lazy("To be sent by hand")),
    ("refund", "closed"): Face("calm", "slash", lazy("Closed")),
    ("bank_transfer", "new"): Face("info", "half", lazy("Being matched")),
    ("bank_transfer", "open"): Face("warn", "person", lazy("Waits for a person")),
    ("bank_transfer", "ignored"): Face("calm", "slash", lazy("Set aside")),
    ("bank_transfer", "settled"): Face("good", "done", lazy("Settled")),
    ("virtual_account", "opening"): Face("info", "half", lazy("Being opened")),
    ("virtual_account", "waiting"): Face("info", "clock", lazy("Awaiting the deposit")),
    ("virtual_account", "deposited"): Face("good", "done", lazy("Deposited")),
    ("virtual_account", "refused"): Face("bad", "stop", lazy("Not opened")),
}


def chip_face(machine: str, state: str) -> Face:
    """This function will return the face of a state; an unforeseen one shows its own name."""
    face = _OF_ONE_MACHINE.get((machine, state)) or _SHARED.get(state)
    return face or Face("calm", "ring", state.replace("_", " ").capitalize())


def known(machine: str, state: str) -> bool:
    """This function will tell whether a state has a face of its own, rather than its bare name."""
    return (machine, state) in _OF_ONE_MACHINE or state in _SHARED
