"""The lines of an issued invoice: the database lets nobody add, change or drop one."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from tests.invoices.monthly import START, bill, invoices_of, subscribe

COPIED = (
    "id, invoice_id, position, kind, charge, name_ko, name_en, period, quantity, unit_amount,"
    " amount_minor, tax_minor, price_id, evidence, readings_sha256"
)
ANOTHER = (
    f"INSERT INTO invoice_line ({COPIED})"
    f" SELECT gen_random_uuid(), invoice_id, position + 100{COPIED.partition('position')[2]}"
    " FROM invoice_line WHERE invoice_id = :invoice_id"
)


@pytest.mark.parametrize(
    "statement",
    [
        ANOTHER,
        "UPDATE invoice_line SET amount_minor = 1 WHERE invoice_id = :invoice_id",
        "DELETE FROM invoice_line WHERE invoice_id = :invoice_id",
    ],
    ids=["added", "changed", "dropped"],
)
def test_a_line_is_not(control_session: Session, statement: str) -> None:
    subscription = subscribe(control_session)
    bill(control_session, subscription, on=START)
    (invoice,) = invoices_of(control_session, subscription)
    with pytest.raises(IntegrityError, match=f"the lines of invoice {invoice.id} are issued"):
        control_session.execute(text(statement), {"invoice_id": invoice.id})
