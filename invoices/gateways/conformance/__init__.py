"""The conformance kit: the cases that every gateway adapter must pass, whoever wrote it.

Run it by `pytest -p invoices.gateways.conformance.plugin --gateway=package.module:till`, where
`till` is a function without arguments that is a context manager of a `Till`. Or inherit
`GatewayCases` in a test class of your own and offer a fixture `till`. Only tests import this
package: it needs pytest, which the product does not.
"""

from invoices.gateways.conformance.cases import GatewayCases
from invoices.gateways.conformance.till import Card, Delivery, Till

__all__ = ["Card", "Delivery", "GatewayCases", "Till"]
