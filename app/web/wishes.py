"""What somebody may wish of a subscription: each verb, what its form asks, and the act behind it.

Portal and console ask the same questions and do the same acts; only who may and how far differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.base.audit import Actor
from app.base.errors import Invalid, NotFound
from app.web.db import control
from app.web.i18n import lazy
from invoices import changes
from invoices.models import Subscription
from tenants.texts import one_line

FIELD_LENGTH_MAX = 100
QUANTITY_DIGITS_MAX = 9


class NoSuchVerb(NotFound):
    """Nothing of that name can be done to a subscription."""


class AnswerMissing(Invalid):
    """A question of the form has no answer."""


class NotANumber(Invalid):
    """What should be a whole number is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """One thing that can be done: `asks` are the fields of its form, `may` the customer's right.

    Without a right it is the staff's alone; `staff_asks` are asked of staff besides.
    """

    code: str
    title: Any
    lead: Any
    button: Any
    done: Any
    may: str = ""
    asks: tuple[str, ...] = ()
    staff_asks: tuple[str, ...] = ()
    danger: bool = False

    def fields(self, *, staff: bool) -> tuple[str, ...]:
        """This function will name what is asked of staff, or of a customer."""
        return self.asks + self.staff_asks if staff else self.asks


VERBS = {
    verb.code: verb
    for verb in (
        Verb(
            code="plan",
            title=lazy("Choose another plan"),
            lead=lazy("What was bought stays bought where the new plan has it too."),
            button=lazy("Change the plan"),
            done=lazy("The change of plan is noted."),
            may="plan",
            asks=("plan", "when"),
        ),
        Verb(
            code="quantity",
            title=lazy("Change a quantity"),
            lead=lazy("More is charged from the day of the change; less is given back from then."),
            button=lazy("Change the quantity"),
            done=lazy("The quantity is changed."),
            may="quantity",
            asks=("charge", "quantity", "when"),
        ),
        Verb(
            code="add",
            title=lazy("Add an add-on"),
            lead=lazy("It begins at once."),
            button=lazy("Add it"),
            done=lazy("The add-on is in force."),
            may="addons",
            asks=("charge", "quantity"),
        ),
        Verb(
            code="remove",
            title=lazy("Remove an add-on"),
            lead=lazy("It can be added again at any time."),
            button=lazy("Remove it"),
            done=lazy("The end of the add-on is noted."),
            may="addons",
            asks=("charge", "when"),
            danger=True,
        ),
        Verb(
            code="take-back",
            title=lazy("Take back what lies ahead"),
            lead=lazy("Everything goes on as it is in force now."),
            button=lazy("Take it back"),
            done=lazy("Taken back: everything goes on as before."),
            may="ahead",
        ),
        Verb(
            code="pause",
            title=lazy("Pause the subscription"),
            lead=lazy(
                "The workspace closes at once and nothing is charged until you resume. What is"
                " never prorated is kept until its period is over."
            ),
            button=lazy("Pause and close the workspace"),
            done=lazy("The subscription is paused."),
            may="pause",
            danger=True,
        ),
        Verb(
            code="resume",
            title=lazy("Resume the subscription"),
            lead=lazy("The workspace opens at once and what was in force is charged again."),
            button=lazy("Resume and open the workspace"),
            done=lazy("The subscription goes on."),
            may="pause",
        ),
        Verb(
            code="cancel",
            title=lazy("Cancel the subscription"),
            lead=lazy("Once it has ended the workspace closes; the data is kept for a while."),
            button=lazy("Cancel the subscription"),
            done=lazy("The end of the subscription is noted."),
            may="cancel",
            staff_asks=("when", "credit"),
            danger=True,
        ),
        Verb(
            code="billing-day",
            title=lazy("Change the billing day"),
            lead=lazy(
                "The running period is cut short today and counted anew up to that day. What is"
                " never prorated keeps its own day."
            ),
            button=lazy("Change the billing day"),
            done=lazy("The billing day is changed."),
            staff_asks=("billing_day",),
        ),
    )
}


def verb_of(code: str) -> Verb:
    """This function will return a verb by the name in its address.

    Raises: NoSuchVerb.
    """
    verb = VERBS.get(code)
    if verb is None:
        raise NoSuchVerb("There is no such page here, or it is not yours to see.")
    return verb


@dataclass(frozen=True, slots=True)
class Wish:
    """A verb with what was typed into its form, as it was typed."""

    verb: Verb
    staff: bool
    typed: Mapping[str, str]

    def check_answered(self) -> None:
        """This function will refuse a form in which a question is left open.

        Raises: AnswerMissing.
        """
        for name, answer in self.typed.items():
            if not answer:
                raise AnswerMissing("Please answer this.", field=name)

    def act(
        self, *, tenant_id: UUID, actor: Actor, now: datetime, why: str
    ) -> Callable[[], Subscription]:
        """This function will return the act that was wished for, ready to be done.

        Raises: Invalid for what can't be read. The act raises whatever its verb refuses.
        """
        verb = _ACTS[self.verb.code]
        how: dict[str, Any] = {
            "control_session": control(),
            "tenant_id": tenant_id,
            "actor": actor,
            "now": now,
            "why": why or None,
            **self._answers(),
        }
        return lambda: verb(**how)

    def _answers(self) -> dict[str, Any]:
        """What was typed, by the names and the kinds that the room's function takes."""
        if self.verb.code == "cancel" and not self.staff:
            # A customer has paid the running period and may use it to its end.
            return {"when": "period_end"}
        return {_NAMES.get(name, name): self._value(name) for name in self.typed}

    def _value(self, name: str) -> Any:
        typed = self.typed[name]
        if name == "quantity":
            return Decimal(whole(typed, field=name))
        if name == "billing_day":
            return whole(typed, field=name)
        return typed != "no" if name == "credit" else typed


_NAMES = {"plan": "plan_code"}
_ACTS: dict[str, Callable[..., Subscription]] = {
    "plan": changes.change_plan,
    "quantity": changes.change_quantity,
    "add": changes.add_charge,
    "remove": changes.remove_charge,
    "take-back": changes.take_back,
    "pause": changes.pause,
    "resume": changes.resume,
    "cancel": changes.cancel,
    "billing-day": changes.change_billing_day,
}


def wish(verb: Verb, *, staff: bool, given: Mapping[str, str]) -> Wish:
    """This function will read the fields of a verb from an address or a form."""
    names = verb.fields(staff=staff)
    typed = {name: one_line(given.get(name, ""))[:FIELD_LENGTH_MAX] for name in names}
    return Wish(verb, staff, typed)


def whole(text: str, *, field: str) -> int:
    """This function will read a whole number that somebody typed, thousands grouped or not.

    Raises: NotANumber.
    """
    digits = text.replace(",", "").replace(" ", "")
    if not digits.isascii() or not digits.isdigit() or len(digits) > QUANTITY_DIGITS_MAX:
        raise NotANumber("Give a whole number, 0 or more.", field=field)
    return int(digits)
