"""How banks write their statements: the usual layout, and those that finance described."""

from __future__ import annotations

import re
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import audit, ids
from app.base.audit import Actor
from app.base.errors import Invalid
from invoices import statements
from invoices.models import StatementLayout
from invoices.statements import Layout

NAME_LENGTH_MAX = 60
HEADINGS_MAX = 8
# A day, maybe with the time that stands behind it: what is written else is read word for word.
_DAY_SIGNS = re.compile(r"(?:[^%]|%[YymdHIMSfp])*")


def listed(*, control_session: Session) -> list[Layout]:
    """This function will list the layouts that there are, the usual one first."""
    saved = control_session.scalars(select(StatementLayout).order_by(StatementLayout.name))
    return [
        statements.USUAL,
        *(Layout(row.name, row.columns, row.day_format, row.currency) for row in saved),
    ]


def named(*, control_session: Session, name: str) -> Layout:
    """This function will return a layout by its name.

    Raises: Invalid (field `layout`).
    """
    for each in listed(control_session=control_session):
        if each.name == name:
            return each
    raise Invalid("Choose a layout from the list.", field="layout")


def save(
    *,
    control_session: Session,
    name: str,
    headings: dict[str, str],
    day_format: str,
    currency: str,
    actor: Actor,
    now: datetime,
) -> Layout:
    """This function will keep a layout under a name; one of that name is replaced.

    `headings` gives each field the headings that may stand over its column, parted by commas.

    Raises: Invalid for the field that is wrong.
    """
    title = " ".join(name.split())
    if not 1 <= len(title) <= NAME_LENGTH_MAX or title == statements.USUAL.name:
        raise Invalid("Give the layout a short name of its own.", field="name")
    columns = {}
    for field in statements.FIELDS:
        named = [part.strip() for part in headings.get(field, "").split(",") if part.strip()]
        if (not named and field in statements.NEEDED) or len(named) > HEADINGS_MAX:
            raise Invalid("Name the heading of this column as the bank writes it.", field=field)
        columns[field] = named
    if currency not in ("KRW", "USD", "EUR", "JPY"):
        raise Invalid("Choose a currency from the list.", field="currency")
    shape = day_format.strip()
    if shape and not _reads_a_day(shape):
        raise Invalid("Write the day's form as %Y-%m-%d, or leave it empty.", field="day_format")
    values = {"columns": columns, "day_format": shape, "currency": currency, "saved_at": now}
    control_session.execute(
        postgresql.insert(StatementLayout)
        .values(id=ids.uuid7(), name=title, **values)
        .on_conflict_do_update(index_elements=["name"], set_=values)
    )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="statement_layout.saved",
        subject_kind="statement_layout",
        subject_id=title,
        now=now,
        details={"columns": columns, "day_format": shape, "currency": currency},
    )
    return Layout(title, columns, shape, currency)


def _reads_a_day(shape: str) -> bool:
    """Year, month and day once each: what names one twice can't be read, and none has no sense."""
    signs = re.findall("%.", shape)
    return (
        _DAY_SIGNS.fullmatch(shape) is not None
        and len(signs) == len(set(signs))
        and {"%m", "%d"} <= set(signs)
        and len({"%Y", "%y"} & set(signs)) == 1
    )
