"""A log that is stored by customer: its parts are read where they lie, and nothing is copied."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from threading import Lock
from typing import Final

import numpy as np
import pyarrow as pa

from features.arrays import IntArray
from features.columns import CUSTOMER_ID
from features.dealing import in_bulk, with_rows
from features.hashing import HashArray, runs
from features.sources import RawSource, RowsFrom

_MOST_IDS: Final = 20_000_000
"""Hashes of more customers are not held to compare them: 8 bytes each, twice while they are sorted."""


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
        """All columns of a part, and ROW. The one behind that of the last call goes on where that one ended."""
        with self._lock:
            if place != self._next:
                self._ahead = self._from(place)
            self._next = place + 1
            table = next(self._ahead)
        return with_rows(table, np.arange(self._edges[place], self._edges[place + 1]))

    def tables(self, names: Collection[str]) -> Iterator[pa.Table]:
        """Some columns of each part."""
        return self._from(0, names)

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
    """Parts of about the same size; None where customers are mixed, or the source can be read but once.

    Only the ids are looked at, until a customer comes back after another one.
    """
    if source.rows_from is None:
        return None
    wanted = np.arange(n_parts) * source.n_rows_about // n_parts
    edges: list[int] = []
    seen: list[HashArray] = [np.empty(0, dtype=np.uint64)]
    last, n_rows, n_ids = seen[0], 0, 0
    for table in in_bulk(source.rows_from([CUSTOMER_ID], 0)):
        begins, ids = runs(table.column(CUSTOMER_ID))
        goes_on = int(len(ids) > 0 and np.array_equal(ids[:1], last))
        seen.append(ids[goes_on:])
        n_ids += len(seen[-1])
        if n_ids > _MOST_IDS or not _distinct(seen[-1]):
            return None
        edges += _first_at_or_after(wanted[len(edges) :], begins[goes_on:] + n_rows)
        last = ids[-1:] if len(ids) else last
        n_rows += table.num_rows
    if not _distinct(np.concatenate(seen)):
        return None
    column_names = next(source.rows_from(None, 0)).column_names
    return Clustered(source.rows_from, [*edges, *[n_rows] * (n_parts + 1 - len(edges))], column_names)


def _first_at_or_after(wanted: IntArray, begins: IntArray) -> list[int]:
    """The first begin at or after each row, for those that have one; ascending both."""
    found = np.searchsorted(begins, wanted)
    out: list[int] = begins[found[found < len(begins)]].tolist()
    return out


def _distinct(ids: HashArray) -> bool:
    ascending = np.sort(ids)
    return bool((ascending[1:] != ascending[:-1]).all())
