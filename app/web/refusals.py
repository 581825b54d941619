"""What rooms refuse, in the reader's language: a sentence for people that says what to do."""

from __future__ import annotations

from app.base.errors import TenantryError
from app.base.states import IllegalMove
from app.web.format import number
from app.web.i18n import gettext, lazy
from app.web.sentences import say
from invoices.catalogue import PlanNotOffered
from invoices.periods import BillingDayUnsound
from invoices.plan_changes import DoesNotFit

# Sentences that a room says with a figure or a code in them.
_BY_KIND = {
    IllegalMove: lazy("Its state has changed meanwhile. Nothing was done; please look again."),
    PlanNotOffered: lazy("Choose a plan from the list."),
    BillingDayUnsound: lazy("The billing day is a number from 1 to 31."),
}


def words_of(error: TenantryError) -> str:
    """This function will say a refusal in the reader's language."""
    if isinstance(error, DoesNotFit):
        return gettext(
            "That plan allows %(allowed)s people and %(active)s are active. Deactivate some first.",
            allowed=number(error.allowed),
            active=number(error.active),
        )
    known = _BY_KIND.get(type(error))
    return str(known) if known is not None else say(error.message)
