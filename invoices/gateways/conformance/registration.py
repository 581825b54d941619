"""Cases: a payment method is registered in a browser, and revoked."""

from __future__ import annotations

import pytest

from invoices.gateways.conformance.declared import CHARGES, Cases, needs
from invoices.gateways.conformance.purchases import purchase
from invoices.gateways.conformance.till import Card, Till
from invoices.gateways.port import (
    Capability,
    DeclineClass,
    Declined,
    RegistrationRefused,
)

# A whole card number has at least twelve digits; a mask shows at most the first and last few.
_DIGITS_SHOWN_MAX = 11


class RegistrationCases(Cases):
    """Registering and revoking."""

    needed = (Capability.REGISTER,)

    def test_begins_at_an_address_or_in_a_script(self, till: Till) -> None:
        started = till.gateway.begin_registration(
            customer_key="customer-1", return_url="http://127.0.0.1:9/back", language="ko"
        )
        assert (started.redirect_url is None) is not (started.script is None)

    def test_gives_a_method_whose_token_no_log_line_shows(self, till: Till) -> None:
        method = purchase(till).method
        assert method.kind in ("card", "account")
        assert sum(letter.isdigit() for letter in method.masked) <= _DIGITS_SHOWN_MAX
        assert method.masked
        assert method.token
        assert method.token not in repr(method)

    def test_that_was_cancelled_says_so(self, till: Till) -> None:
        params = till.browser_cancels(customer_key="customer-1")
        with pytest.raises(RegistrationRefused):
            till.gateway.complete_registration(customer_key="customer-1", params=params)

    def test_of_one_customer_cannot_be_completed_by_another(self, till: Till) -> None:
        params = till.browser_returns(customer_key="customer-1", card=Card.PAYS)
        with pytest.raises(RegistrationRefused):
            till.gateway.complete_registration(customer_key="customer-2", params=params)

    def test_completed_twice_gives_the_same_method(self, till: Till) -> None:
        params = till.browser_returns(customer_key="customer-1", card=Card.PAYS)
        complete = till.gateway.complete_registration
        first = complete(customer_key="customer-1", params=params)
        assert complete(customer_key="customer-1", params=params) == first

    @pytest.mark.parametrize(
        "made_up", ["guessed", "../payments", "x\r\nHost: elsewhere", "", "가" * 400, "?a=b#c"]
    )
    def test_with_made_up_parameters_is_refused(self, till: Till, made_up: str) -> None:
        params = till.browser_returns(customer_key="customer-1", card=Card.PAYS)
        with pytest.raises(RegistrationRefused):
            till.gateway.complete_registration(
                customer_key="customer-1", params=dict.fromkeys(params, made_up)
            )

    def test_with_no_parameters_is_refused(self, till: Till) -> None:
        with pytest.raises(RegistrationRefused):
            till.gateway.complete_registration(customer_key="customer-1", params={})

    @needs(Capability.LOOKUP_METHOD)
    def test_stands_until_it_is_revoked(self, till: Till) -> None:
        method = purchase(till).method
        named = {"token": method.token, "customer_key": method.customer_key}
        assert till.gateway.method_stands(**named) is True
        till.gateway.revoke(**named)
        assert till.gateway.method_stands(**named) is False

    @needs(Capability.REVOKE, *CHARGES)
    def test_revoked_can_be_revoked_again_but_not_charged(self, till: Till) -> None:
        buying = purchase(till)
        for _ in range(2):
            till.gateway.revoke(token=buying.method.token, customer_key=buying.method.customer_key)
        result = buying.at(till.gateway)
        assert isinstance(result, Declined)
        assert result.decline_class is DeclineClass.NEW_METHOD_NEEDED
