"""A SQL table or query → chunks of Arrow tables, set aside in a temporary file where they are many."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import sqlalchemy as sa

from features.columns import COUNTED
from features.engines import engine_for, hidden
from features.errors import OrdersError, UsageError
from features.mapping import resolve, unread_status
from features.options import ReadOptions
from features.raw import RawSource

_CHUNK_ROWS: Final = 50_000
_IN_MEMORY: Final = 200_000_000
"""Bytes; more are set aside on disk, in a file without a name that ends with the process."""


def open_database(url: str, options: ReadOptions) -> RawSource:
    """Read the mapped columns of a table or statement.

    Raises
    ------
    UsageError
        Neither table nor query was given.
    OrdersError
        The database cannot be reached, or refuses the statement; a required column is missing.
    """
    if not (options.table or options.query):
        raise UsageError(f"{hidden(url)!r} is a database: say --table NAME or --query 'select …'.")
    every = sa.select(sa.text("*")).select_from(_named(options.table or ""))
    statement = sa.text(options.query) if options.query else every
    return read_statement(url, statement, lambda names: resolve(names, options.mapping))


def read_statement(
    url: str, statement: sa.Executable, columns_of: Callable[[Sequence[str]], Mapping[str, str]]
) -> RawSource:
    """Read what a statement returns: the columns that `columns_of` chooses among its names, by their new name.

    Raises
    ------
    OrdersError
        As `open_database`, and whatever `columns_of` raises.
    """
    engine, kept = engine_for(url), _Kept()
    file = engine.url.database if engine.dialect.name == "sqlite" else None  # SQLite would make an empty one
    if file and not file.startswith(("file:", ":memory:")) and not Path(file).exists():
        raise OrdersError(f"There is no database at {hidden(url)!r}: no such file.")
    try:
        with engine.connect().execution_options(stream_results=True, yield_per=_CHUNK_ROWS) as connection:
            result = connection.execute(statement)
            names = list(result.keys())
            columns = columns_of(names)
            places = {name: names.index(column) for name, column in columns.items()}
            kept.add(pa.table({name: pa.nulls(0) for name in places}))
            for rows in result.partitions(_CHUNK_ROWS):
                values = list(zip(*rows, strict=True))
                kept.add(pa.table({name: _array(values[place], name) for name, place in places.items()}))
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise OrdersError(f"{hidden(url)!r} cannot be read: {cause[:200]}.") from error
    except OSError as error:
        raise OrdersError(
            f"{hidden(url)!r}: its rows cannot be set aside in {tempfile.gettempdir()!r}: {error.strerror or error}. "
            "Set TMPDIR to a folder with more room."
        ) from error
    finally:
        engine.dispose()
    return RawSource(kept.n_rows, kept.tables(), may_change=True, hint=unread_status(names, columns))


class _Kept:
    """Tables of the same columns, the types of which may change on the way."""

    def __init__(self) -> None:
        self._file: Any = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, _closed, self._file)  # also where nobody asks for the tables
        self._schemas: list[pa.Schema] = []
        self.n_rows = 0

    def add(self, table: pa.Table) -> None:
        with pa.ipc.new_stream(self._file, table.schema) as stream:
            stream.write_table(table)
        self._schemas.append(table.schema)
        self.n_rows += table.num_rows

    def tables(self) -> Iterator[pa.Table]:
        """All of them, of one schema: the types that hold every value, or texts where there are none."""
        schema = self._common()
        with self._file as file:
            file.seek(0)
            for _ in self._schemas:
                yield pa.ipc.open_stream(file).read_all().cast(schema)

    def _common(self) -> pa.Schema:
        different = list(dict.fromkeys(self._schemas))
        try:
            schema = pa.unify_schemas(different, promote_options="permissive")
        except pa.ArrowException:
            schema = pa.schema([(name, pa.string()) for name in different[0].names])
        empty = {field.name: pa.string() if pa.types.is_null(field.type) else field.type for field in schema}
        return pa.schema(list(empty.items()))


def _closed(file: Any) -> None:
    with suppress(OSError):  # what a full disk has not taken is not needed any more
        file.close()


def _named(table: str) -> sa.TableClause:
    schema, _, name = table.rpartition(".")
    return sa.table(name, schema=schema or None)


def _array(values: Any, name: str) -> pa.Array:
    if any(isinstance(value, Decimal) for value in values):
        read: Callable[[Any], Any] = float if name in COUNTED else _written  # an id has more digits than a float
        values = [None if value is None else read(value) for value in values]
    try:
        array = pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError):  # SQLite lets a column hold any type
        array = None
    if array is None or isinstance(array.type, pa.BaseExtensionType):  # such as a UUID
        array = pa.array([None if value is None else str(value) for value in values])
    return array


def _written(value: Any) -> str:
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return text.rstrip("0").rstrip(".") if isinstance(value, Decimal) and "." in text else text
