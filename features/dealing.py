"""Rows of an order log, as they are read → parts of whole customers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from features.arrays import IntArray
from features.arrow import array
from features.columns import CUSTOMER_ID
from features.hashing import HashArray, hashes, runs
from features.ordering import stable_order
from features.parsing import text_codes

ROW: Final = "__row__"
"""Column of a part: place of the row among all that were read."""
_AT_ONCE: Final = 1 << 18


def into_files(chunks: Iterator[pa.Table], paths: Sequence[Path], on_rows: Callable[[int], None]) -> int:
    """Deal rows out to files, an Arrow stream each, by the hash of their customer; returns how many there were."""
    dealer: _Dealer | None = None
    with ExitStack() as stack:
        for table in _tables(chunks):
            if dealer is None:
                files = [stack.enter_context(pa.OSFile(str(path), "wb")) for path in paths]
                schema = table.schema.append(pa.field(ROW, pa.int64()))
                dealer = _Dealer([stack.enter_context(pa.ipc.new_stream(file, schema)) for file in files])
            dealer.deal(table)
            on_rows(table.num_rows)
    return dealer.n_rows if dealer else 0


def in_memory(chunks: Iterator[pa.Table], n_parts: int, on_rows: Callable[[int], None]) -> tuple[pa.Table, ...]:
    """Parts of about the same size: the log cut as it lies where each customer's rows lie together, else dealt out.

    Parts that are cut follow each other as the log does and have no ROW.
    """
    piles = [_Pile() for _ in range(n_parts)]
    dealer, lying, mixed = _Dealer(piles), _Lying(), False
    for table in _tables(chunks):
        if mixed:
            dealer.deal(table)
        elif not lying.take(table):
            mixed = True
            lying.deal(dealer)
        on_rows(table.num_rows)
    if not mixed and lying.is_clustered:
        return lying.cut(n_parts)
    lying.deal(dealer)
    return tuple(pa.concat_tables(pile.held) for pile in piles)


class _Lying:
    """Rows as they were read, as long as no customer may have come back after another one."""

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []
        self._n_rows = 0
        self._last: HashArray = np.empty(0, dtype=np.uint64)
        self._begins: list[IntArray] = []
        self._ids: list[HashArray] = []

    def take(self, table: pa.Table) -> bool:
        """Add a table; whether each customer's rows lie together in it."""
        begins, ids = runs(table.column(CUSTOMER_ID))
        goes_on = int(len(ids) > 0 and np.array_equal(ids[:1], self._last))
        self._ids.append(ids[goes_on:])
        self._begins.append(begins[goes_on:] + self._n_rows)
        self._tables.append(table)
        self._n_rows += table.num_rows
        self._last = ids[-1:] if len(ids) else self._last
        return _distinct(self._ids[-1])

    @property
    def is_clustered(self) -> bool:
        """Whether each customer's rows lie together in all tables."""
        return _distinct(np.concatenate(self._ids))

    def cut(self, n_parts: int) -> tuple[pa.Table, ...]:
        """Parts of the log as it lies."""
        begins = np.concatenate([*self._begins, [self._n_rows]])
        wanted = np.arange(n_parts) * self._n_rows // n_parts
        edges = [*begins[np.searchsorted(begins, wanted)].tolist(), self._n_rows]
        whole = pa.concat_tables(self._tables)
        return tuple(whole.slice(low, high - low) for low, high in pairwise(edges))

    def deal(self, dealer: _Dealer) -> None:
        """Give the tables away."""
        while self._tables:
            dealer.deal(self._tables.pop(0))


def _distinct(ids: HashArray) -> bool:
    ascending = np.sort(ids)
    return bool((ascending[1:] != ascending[:-1]).all())


class _Takes(Protocol):
    def write_table(self, table: pa.Table) -> None: ...


class _Pile:
    """Rows of a part in memory, as they come."""

    def __init__(self) -> None:
        self.held: list[pa.Table] = []

    def write_table(self, table: pa.Table) -> None:
        self.held.append(table)


class _Dealer:
    """Gives each row to its customer's part."""

    def __init__(self, takers: Sequence[_Takes]) -> None:
        self._takers = takers
        self.n_rows = 0

    def deal(self, table: pa.Table) -> None:
        """Deal the rows that come next."""
        hashed = hashes(table.column(CUSTOMER_ID))
        nobody = np.flatnonzero(hashed == 0)
        hashed[nobody] = np.arange(len(nobody))  # rows without a customer are rejected wherever they are: spread
        part = (hashed % np.uint64(len(self._takers))).astype(np.int64)
        ends = np.cumsum(np.bincount(part, minlength=len(self._takers)))
        order = stable_order(part.astype(np.int32))
        ordered = with_rows(table.take(array(order)), order + self.n_rows)
        self.n_rows += table.num_rows
        for taker, end, begin in zip(self._takers, ends.tolist(), [0, *ends[:-1].tolist()], strict=True):
            if end > begin or not table.num_rows:  # an empty table tells the schema
                taker.write_table(ordered.slice(begin, end - begin))


def with_rows(table: pa.Table, rows: IntArray) -> pa.Table:
    """The table with the place of each row among all that were read."""
    return table.append_column(ROW, array(rows))


def _tables(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables of about a quarter of a million rows, after an empty one that tells the schema."""
    held: list[pa.Table] = []
    n_held = 0
    for number, chunk in enumerate(chunks):
        if number == 0:
            text_codes(chunk.column(CUSTOMER_ID).slice(0, 0), CUSTOMER_ID)  # refuses a type that cannot be an id
        held.append(chunk)
        n_held += chunk.num_rows
        if n_held >= _AT_ONCE or number == 0:
            yield _plain(pa.concat_tables(held))
            held, n_held = [], 0
    if held:
        yield _plain(pa.concat_tables(held))


def _plain(table: pa.Table) -> pa.Table:
    """The table without dictionaries, which differ from chunk to chunk."""
    kinds = {field.name: field.type for field in table.schema}
    wide = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    return table.cast(pa.schema(list(wide.items()))) if wide != kinds else table.replace_schema_metadata(None)
