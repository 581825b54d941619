"""The adapter of popbill, an agent that issues and transmits tax papers for its members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

from invoices import parties
from invoices.tax_papers import popbill_words as words
from invoices.tax_papers import port
from invoices.tax_papers.bare import BareIssuer
from invoices.tax_papers.popbill_wire import PopbillError, PopbillSilent, PopbillWire
from invoices.tax_papers.port import Ability, CashReceiptSheet, Sheet, Stage

S = TypeVar("S")
ABSENT = frozenset({-11000005, -14000003})  # of tax invoices, of cash receipts
_BATCH_DONE = 2
_ISSUED = 1
# Once it is with the tax service, or on its way there, popbill takes nothing back.
_TAKEN_BACK_FROM = frozenset({Stage.ISSUED, Stage.FAILED})


class PopbillIssuer(BareIssuer):
    """One member at popbill. The management key is unique there, so nothing is issued twice."""

    name = "popbill"
    abilities = frozenset({Ability.TRANSMIT, Ability.CANCEL, Ability.BULK, Ability.CASH_RECEIPTS})

    def __init__(self, *, wire: PopbillWire) -> None:
        self._wire = wire

    def issue(self, *, sheet: Sheet) -> port.IssueResult:
        """This function will issue one tax invoice under its management key.

        A key that is taken is refused; whether by this very paper, the look-up says.
        """
        if refused := self._wrong_way(sheet):
            return refused
        try:
            answer = self._wire.post("/Taxinvoice", words.taxinvoice(sheet), override="ISSUE")
        except PopbillSilent as silence:
            return port.Unknown(str(silence))
        except PopbillError as error:
            return self._unless_there(sheet, port.Refused(str(error.code), error.message))
        return _issued(answer)

    def issue_many(
        self, *, sheets: Sequence[Sheet], batch_key: str
    ) -> Mapping[str, port.IssueResult]:
        """This function will hand a batch in, once, and read what became of its papers.

        A batch is worked on after it was handed in: until it is done everything is unknown.
        """
        wrong = {each.management_key: self._wrong_way(each) for each in sheets}
        results: dict[str, port.IssueResult] = {key: no for key, no in wrong.items() if no}
        rest = [each for each in sheets if each.management_key not in results]
        try:
            state = self._batch(batch_key) or self._hand_in(rest, batch_key)
        except PopbillSilent as silence:
            return results | {each.management_key: port.Unknown(str(silence)) for each in rest}
        except PopbillError as error:
            refused = port.Refused(str(error.code), error.message)
            return results | {
                each.management_key: self._unless_there(each, refused) for each in rest
            }
        told = {str(each["invoicerMgtKey"]): each for each in state.get("issueResult") or ()}
        return results | {
            each.management_key: self._of_batch(each, state, told.get(each.management_key))
            for each in rest
        }

    def _batch(self, batch_key: str) -> dict[str, Any] | None:
        try:
            state: dict[str, Any] = self._wire.get(f"/Taxinvoice/BULK/{batch_key}/State")
        except PopbillError:
            return None
        return state

    def _hand_in(self, sheets: Sequence[Sheet], batch_key: str) -> dict[str, Any]:
        self._wire.post(
            "/Taxinvoice",
            {"forceIssue": False, "invoices": [words.taxinvoice(each) for each in sheets]},
            override="BULKISSUE",
            submit_id=batch_key,
        )
        return self._batch(batch_key) or {}

    def _of_batch(
        self, sheet: Sheet, state: Mapping[str, Any], told: Mapping[str, Any] | None
    ) -> port.IssueResult:
        if state.get("txState") != _BATCH_DONE:
            return port.Unknown("popbill is working on the batch")
        if told is None:
            return self._unless_there(sheet, port.Unknown("the batch does not name this paper"))
        if told.get("code") == _ISSUED:
            return _issued(told)
        refused = port.Refused(str(told.get("code")), str(told.get("message", "")))
        return self._unless_there(sheet, refused)

    def _unless_there(self, sheet: Sheet, otherwise: port.IssueResult) -> port.IssueResult:
        """What the key stands for, where it stands for this paper; else what was answered."""
        found = self.lookup(management_key=sheet.management_key)
        if isinstance(found, port.Unknown):
            return found
        same = isinstance(found, port.Standing) and found.total_minor == sheet.paper.total_minor
        if isinstance(found, port.Standing) and same and found.issue_id:
            return port.Issued(found.issue_id)
        return otherwise

    def lookup(self, *, management_key: str) -> port.LookupResult:
        """This function will say what became of a tax invoice of ours."""
        return self._look(f"/Taxinvoice/SELL/{management_key}", words.standing)

    def send(self, *, management_key: str) -> port.SendResult:
        """This function will have a tax invoice transmitted now, not on the next business day."""
        return self._act(f"/Taxinvoice/SELL/{management_key}", None, "NTS")

    def cancel(self, *, management_key: str, reason: str) -> port.CancelResult:
        """This function will take a tax invoice back that is not on its way to the tax service."""
        done = self._act(
            f"/Taxinvoice/SELL/{management_key}", {"memo": reason[:100]}, "CANCELISSUE"
        )
        if not isinstance(done, port.Refused):
            return done
        match self.lookup(management_key=management_key):
            case port.Standing(stage=Stage.CANCELLED):
                return port.Done()
            case port.Standing(stage=stage) if stage not in _TAKEN_BACK_FROM:
                return port.TooLate()
        return done

    def issue_cash_receipt(self, *, sheet: CashReceiptSheet) -> port.CashReceiptResult:
        """This function will issue a cash receipt, or cancel one where the sheet says so."""
        seller = parties.party(parties.seller_snapshot(), language="ko")
        number = self._wire.registration_number
        body, override = (
            (words.revocation(sheet), "REVOKEISSUE")
            if sheet.cancels_number
            else (words.cashbill(sheet, seller_number=number, seller=seller), "ISSUE")
        )
        try:
            answer = self._wire.post("/Cashbill", body, override=override)
        except PopbillSilent as silence:
            return port.Unknown(str(silence))
        except PopbillError as error:
            found = self.cash_receipt(key=sheet.key)
            if isinstance(found, port.Absent):
                return port.Refused(str(error.code), error.message)
            return found
        return port.CashReceiptStanding(
            stage=Stage.ISSUED,
            number=str(answer["confirmNum"]),
            traded_on=date.fromisoformat(str(answer["tradeDate"])),
            total_minor=sheet.total_minor,
        )

    def cash_receipt(self, *, key: str) -> port.CashReceiptLookup:
        """This function will say what became of a cash receipt of ours."""
        return self._look(f"/Cashbill/{key}", words.cash_receipt_standing)

    def _look(
        self, path: str, read: Callable[[Mapping[str, Any]], S | None]
    ) -> S | port.Absent | port.Unknown:
        try:
            found = read(self._wire.get(path))
        except PopbillError as error:
            return port.Absent() if error.code in ABSENT else port.Unknown(str(error))
        except (PopbillSilent, ValueError) as silence:
            return port.Unknown(str(silence))
        return found if found is not None else port.Unknown("popbill names a state we don't know")

    def _act(
        self, path: str, body: Mapping[str, Any] | None, override: str
    ) -> port.Done | port.Refused | port.Unknown:
        try:
            self._wire.post(path, body, override=override)
        except PopbillSilent as silence:
            return port.Unknown(str(silence))
        except PopbillError as error:
            return port.Refused(str(error.code), error.message)
        return port.Done()


def _issued(answer: Mapping[str, Any]) -> port.IssueResult:
    number = str(answer.get("ntsConfirmNum") or "")
    return port.Issued(number) if number else port.Unknown("popbill named no number")
