"""A SQL table or query → Arrow table, read in chunks through SQLAlchemy."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from features.engines import engine_for, hidden
from features.errors import OrdersError, UsageError

_CHUNK_ROWS = 50_000


def read_database(url: str, table: str | None, query: str | None) -> pa.Table:
    """Rows of a table or statement, with the column names of the database.

    Raises
    ------
    UsageError
        Neither table nor query was given.
    OrdersError
        The database cannot be reached, or refuses the statement.
    """
    if not (table or query):
        raise UsageError(f"{hidden(url)!r} is a database: say --table NAME or --query 'select …'.")
    engine = engine_for(url)
    statement = sa.text(query) if query else sa.select(sa.text("*")).select_from(_named(table or ""))
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=_CHUNK_ROWS) as connection:
            result = connection.execute(statement)
            names = list(result.keys())
            chunks = [_chunk(names, rows) for rows in result.partitions(_CHUNK_ROWS)]
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise OrdersError(f"{hidden(url)!r} cannot be read: {cause[:200]}.") from error
    finally:
        engine.dispose()
    if not chunks:
        return pa.table({name: pa.array([], pa.string()) for name in names})
    try:
        return pa.concat_tables(chunks, promote_options="permissive")
    except pa.ArrowException:  # a column whose type changes on the way
        texts = [pa.table({name: chunk.column(name).cast(pa.string()) for name in names}) for chunk in chunks]
        return pa.concat_tables(texts)


def _named(table: str) -> sa.TableClause:
    schema, _, name = table.rpartition(".")
    return sa.table(name, schema=schema or None)


def _chunk(names: list[str], rows: Any) -> pa.Table:
    columns = list(zip(*rows, strict=True))
    return pa.table({name: _array(values) for name, values in zip(names, columns, strict=True)})


def _array(values: Any) -> pa.Array:
    if any(isinstance(value, Decimal) for value in values):
        values = [None if value is None else float(value) for value in values]
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):  # SQLite lets a column hold any type
        array = None
    if array is None or isinstance(array.type, pa.BaseExtensionType):  # such as a UUID
        array = pa.array([None if value is None else str(value) for value in values])
    return array
