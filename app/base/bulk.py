"""Bulk: many rows written by COPY, and many found by their keys, in a session's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import ColumnElement, any_, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session


def among(column: Any, values: Iterable[Any]) -> ColumnElement[bool]:
    """This function will return the condition that a column is one of many values.

    They are sent as one array: the statement reads the same for a thousand as for one.
    """
    condition: ColumnElement[bool] = column == any_(literal(list(values), ARRAY(column.type)))
    return condition


def copy(
    *,
    control_session: Session,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """This function will append rows to a table, without an object or a statement for each.

    Values come as psycopg writes them; JSON and ranges come as text in PostgreSQL's own notation.
    What the session has pending is flushed before, so that rows may refer to it.

    Raises: sqlalchemy.exc.DBAPIError, of the same kinds as a statement's (IntegrityError, …).
    """
    control_session.flush()
    connection = control_session.connection().connection.driver_connection
    if not isinstance(connection, psycopg.Connection):
        raise TypeError("rows are copied over a connection of psycopg")
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    try:
        with connection.cursor() as cursor, cursor.copy(statement) as copying:
            for row in rows:
                copying.write_row(row)
    except psycopg.Error as error:
        # Doors tell a database that is away from a row that is refused by SQLAlchemy's names.
        raise DBAPIError.instance(
            statement.as_string(connection), None, error, psycopg.Error
        ) from error
