"""Many rows with one statement whose text does not depend on how many they are.

Lists and rows travel as one JSON parameter. Such a statement is built once, compiled once by SQLAlchemy and
prepared once by the server; with IN and its parameters each count is another statement (and twenty UUIDs as an
array cost psycopg fifty times what they cost as JSON).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from drover.db.engine import insert_ignore
from drover.objects import codec

__all__ = ["among", "insert_rows", "listed", "recordset"]


class among(FunctionElement[bool]):  # noqa: N801  reads as a word of SQL
    """``among(column, bindparam("ids"))``: the column's text is in the list given by :func:`listed` as ``ids``."""

    inherit_cache = True
    type = sa.Boolean()

    def self_group(self, against: Any = None) -> among:  # noqa: ARG002
        """As it is: what SQLAlchemy would put around a truth value for SQLite keeps it from using an index."""
        return self


@compiles(among, "postgresql")
def _among_postgresql(element: among, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, values = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{column} = ANY (ARRAY(SELECT json_array_elements_text(CAST({values} AS json))))"


@compiles(among, "sqlite")
def _among_sqlite(element: among, compiler: SQLCompiler, **kwargs: Any) -> str:
    column, values = (compiler.process(clause, **kwargs) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608  parts that SQLAlchemy compiled


def listed(values: Iterable[str]) -> str:
    """The parameter of :class:`among`: each value once, in order."""
    return codec.to_json(sorted(set(values)))


def recordset(dialect: str, parameter: str, columns: Mapping[str, str]) -> str:
    """What follows FROM in a statement over rows that are given as one JSON parameter (a list of objects).

    :param columns: SQL type by name.
    """
    if dialect == "postgresql":
        # The function's alias must name its columns, so the statement's own goes around it.
        typed = ", ".join(f"{name} {kind}" for name, kind in columns.items())
        return f"(SELECT * FROM json_to_recordset(CAST(:{parameter} AS json)) AS r({typed}))"  # noqa: S608  no user's words
    extracted = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in columns)
    return f"(SELECT {extracted} FROM json_each(:{parameter}))"  # noqa: S608  no user's words


def insert_rows(
    conn: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, ignore: bool = False
) -> None:
    """Insert rows of JSON values; absent columns become NULL.

    :param ignore: rows whose key is there already are left out.
    :raises drover.errors.StoreConflict: one is there already, and *ignore* is false.
    """
    if not rows:
        return
    if conn.dialect.name == "postgresql":
        name = conn.dialect.identifier_preparer.format_table(table)
        over = " ON CONFLICT DO NOTHING" if ignore else ""
        source = f"json_populate_recordset(CAST(NULL AS {name}), CAST(:rows AS json))"
        conn.execute(sa.text(f"INSERT INTO {name} SELECT * FROM {source}{over}"), {"rows": codec.to_json(rows)})  # noqa: S608  no user's words
    else:
        conn.execute(insert_ignore(conn, table) if ignore else sa.insert(table), list(rows))
