"""What a source delivers: tables under contract names, in which nothing was parsed yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from features.arrays import IntArray, RuleArray

RowsFrom = Callable[[Collection[str] | None, int], Iterator[pa.Table]]


@dataclass(frozen=True)
class RawOrders:
    """What a source delivered: a table with contract names, and the rows no reader could split.

    Attributes
    ----------
    table
        Columns under contract names, in the types of the source.
    malformed
        Text of each row that is not in the table, by its 1-based row number in the source.
    numbers
        1-based number in the source of each row of the table; None where the table is the whole source.
    refused
        `Rule` that each row breaks beside rows that are not in the table, 0 where it does not; None: none does.
    """

    table: pa.Table
    malformed: Mapping[int, str]
    numbers: IntArray | None = None
    refused: RuleArray | None = None

    def row_numbers(self, places: IntArray) -> IntArray:
        """1-based numbers in the source of rows of the table."""
        return numbered(places, self.malformed) if self.numbers is None else self.numbers[places]


def numbered(places: IntArray, malformed: Mapping[int, str]) -> IntArray:
    """1-based numbers in the source of rows that were read, by their place among them."""
    if not malformed:
        return places + 1
    skipped = np.sort(np.fromiter(malformed, dtype=np.int64, count=len(malformed)))
    return places + 1 + np.searchsorted(skipped - np.arange(len(skipped)) - 1, places, side="right")


@dataclass(frozen=True)
class RawSource:
    """An order log about to be read, once.

    Attributes
    ----------
    n_rows_about
        Rows it may hold: exact for Parquet, guessed high from the size of a CSV file, 0 where nobody knows.
    chunks
        Tables under contract names, all of one schema, in the order of the source.
    malformed
        Text of each row that no reader could split, by its 1-based number; complete when `chunks` is exhausted.
    may_change
        Whether another reading may find other rows without a sign of it, as in a database.
    hint
        A word on a column that is not read and may matter; empty where there is none.
    rows_from
        Reads it again, as often as wanted: the columns of these contract names (None: all) from a row on, as `chunks`;
        None where it can be read but once.
    """

    n_rows_about: int
    chunks: Iterator[pa.Table]
    malformed: dict[int, str] = field(default_factory=dict)
    may_change: bool = False
    hint: str = ""
    rows_from: RowsFrom | None = None

    def read(self) -> RawOrders:
        """Read it whole."""
        return RawOrders(pa.concat_tables(self.chunks), self.malformed)


def renamed(table: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """Columns of a table under contract names."""
    return pa.table({name: table.column(column) for name, column in columns.items()})


def empty(schema: pa.Schema) -> pa.Table:
    """A table without rows; `schema.empty_table()` would import pandas."""
    return pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)
