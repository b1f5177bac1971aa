"""A log that is sorted by customer: its parts are read where they lie, and nothing is copied."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from threading import Lock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.types import is_integer, is_large_string, is_string

from features.arrays import IntArray
from features.arrow import to_numpy
from features.columns import CUSTOMER_ID
from features.dealing import in_bulk, with_rows
from features.raw import RawSource, RowsFrom


class Clustered:
    """Parts of whole customers, each a range of a log's rows.

    Parameters
    ----------
    rows_from
        Reads the log from a row on.
    edges
        Row at which each part begins, and how many rows there are.
    column_names
        Of the log.
    """

    def __init__(self, rows_from: RowsFrom, edges: list[int], column_names: list[str]) -> None:
        self.column_names = column_names
        self._rows_from = rows_from
        self._edges = edges
        self._lock = Lock()
        self._next, self._ahead = 0, self._from(0)

    def table(self, place: int) -> pa.Table:
        """All columns of a part, and ROW. The log is opened anew unless the call before was for the part before."""
        with self._lock:
            ahead = self._ahead if place == self._next else self._from(place)
            self._next = -1  # what fails is begun again
            table = next(ahead)
            self._next, self._ahead = place + 1, ahead
        return with_rows(table, np.arange(self._edges[place], self._edges[place + 1]))

    @property
    def n_parts(self) -> int:
        """How many there are."""
        return len(self._edges) - 1

    def tables(self, names: Collection[str] = (), /) -> Iterator[pa.Table]:
        """Some columns of each part, of those that there are; without names all, and ROW."""
        return self._from(0, names) if names else map(self.table, range(self.n_parts))

    def _from(self, place: int, names: Collection[str] | None = None) -> Iterator[pa.Table]:
        sizes = [end - begin for begin, end in pairwise(self._edges[place:])]
        return _portions(in_bulk(self._rows_from(names, self._edges[place])), sizes)


def _portions(tables: Iterator[pa.Table], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """Tables of so many rows, out of tables of other lengths."""
    rest = next(tables)
    for size in sizes:
        held = [rest]
        while sum(table.num_rows for table in held) < size:
            held.append(next(tables))
        whole = pa.concat_tables(held)
        rest = whole.slice(size)
        yield whole.slice(0, size)


def clustered(source: RawSource, n_parts: int) -> Clustered | None:
    """Parts of about the same size; None where rows are not sorted by customer id, or can be read but once.

    Only the ids are looked at, until one is out of order. Rows without a customer are nobody's: they are to be spread.
    """
    if source.rows_from is None:
        return None
    wanted = np.arange(n_parts) * source.n_rows_about // n_parts
    edges: list[int] = []
    last, n_rows = None, 0
    for table in in_bulk(source.rows_from([CUSTOMER_ID], 0)):
        begins = _begins(table.column(CUSTOMER_ID), last)
        if begins is None:
            return None
        found = np.searchsorted(begins + n_rows, wanted[len(edges) :])
        edges += (begins[found[found < len(begins)]] + n_rows).tolist()
        n_rows += table.num_rows
        last = table.column(CUSTOMER_ID)[-1].as_py() if table.num_rows else last
    column_names = next(source.rows_from(None, 0)).column_names
    return Clustered(source.rows_from, [*edges, *[n_rows] * (n_parts + 1 - len(edges))], column_names)


def _begins(column: pa.ChunkedArray, last: int | str | None) -> IntArray | None:
    """Rows where another customer begins, after the id `last`; None where ids are not ascending, or there is none."""
    if column.null_count or not (is_integer(column.type) or is_string(column.type) or is_large_string(column.type)):
        return None
    if not len(column):
        return np.empty(0, dtype=np.int64)
    ids = column.combine_chunks()
    first, before, after = ids[0].as_py(), ids.slice(0, len(ids) - 1), ids.slice(1)
    if not str(first).strip() or (last is not None and first < last) or pc.any(pc.greater(before, after)).as_py():
        return None
    begins = to_numpy(pc.indices_nonzero(pc.not_equal(before, after))).astype(np.int64) + 1
    return begins if first == last else np.append(0, begins)
