"""Rows of an order log, as they are read → parts of whole customers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from features.arrays import IntArray
from features.arrow import array
from features.columns import CUSTOMER_ID
from features.hashing import hashes
from features.ordering import stable_order
from features.parsing import text_codes

ROW: Final = "__row__"
"""Column of a part: place of the row among all that were read."""
MOST_IN_MEMORY: Final = 2**31
"""Rows that `in_memory` can number, in four bytes each."""
_AT_ONCE: Final = 1 << 18


@dataclass(frozen=True)
class Held:
    """Parts that lie in memory."""

    parts: tuple[pa.Table, ...]

    @property
    def n_parts(self) -> int:
        """How many there are."""
        return len(self.parts)

    @property
    def column_names(self) -> list[str]:
        """Of every part."""
        return list(self.parts[0].column_names)

    def table(self, place: int) -> pa.Table:
        """Rows of a part."""
        return self.parts[place]

    def tables(self, _: Collection[str] = (), /) -> Iterator[pa.Table]:
        """All parts, one after the other."""
        return iter(self.parts)


@dataclass(frozen=True)
class Filed:
    """Parts that lie in a folder, an Arrow stream each; mapped, not loaded: only what is looked at is read."""

    folder: Path
    n_parts: int

    @property
    def column_names(self) -> list[str]:
        """Of every part."""
        return list(self.table(0).column_names)

    def table(self, place: int) -> pa.Table:
        """Rows of a part."""
        with pa.memory_map(str(self.path(place))) as stream:
            return pa.ipc.open_stream(stream).read_all()

    def tables(self, _: Collection[str] = (), /) -> Iterator[pa.Table]:
        """All parts, one after the other."""
        return (self.table(place) for place in range(self.n_parts))

    def path(self, place: int) -> Path:
        """Where a part lies."""
        return self.folder / f"orders-{place:05d}.arrow"


def into_files(chunks: Iterator[pa.Table], filed: Filed, on_rows: Callable[[int], None]) -> int:
    """Deal rows out to files by the hash of their customer; returns how many there were."""
    dealer: _Dealer | None = None
    with ExitStack() as stack:
        for table in in_bulk(chunks):
            if dealer is None:
                paths = map(filed.path, range(filed.n_parts))
                files = [stack.enter_context(pa.OSFile(str(path), "wb")) for path in paths]
                schema = with_rows(table, np.empty(0, dtype=np.int64)).schema
                dealer = _Dealer([stack.enter_context(pa.ipc.new_stream(file, schema)) for file in files], np.int64)
            dealer.deal(table)
            on_rows(table.num_rows)
    return dealer.n_rows if dealer else 0


def in_memory(chunks: Iterator[pa.Table], n_parts: int, on_rows: Callable[[int], None]) -> Held:
    """Deal rows out to tables, MOST_IN_MEMORY of them at most, by the hash of their customer."""
    piles = [_Pile() for _ in range(n_parts)]
    dealer = _Dealer(piles, np.int32)
    for table in in_bulk(chunks):
        dealer.deal(table)
        on_rows(table.num_rows)
    return Held(tuple(pa.concat_tables(pile.held) for pile in piles))


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

    def __init__(self, takers: Sequence[_Takes], row_type: type[np.signedinteger[Any]]) -> None:
        self._takers = takers
        self._row_type = row_type
        self.n_rows = 0

    def deal(self, table: pa.Table) -> None:
        """Deal the rows that come next."""
        hashed = hashes(table.column(CUSTOMER_ID))
        nobody = np.flatnonzero(hashed == 0)
        hashed[nobody] = np.arange(len(nobody))  # rows without a customer are rejected wherever they are: spread
        part = (hashed % np.uint64(len(self._takers))).astype(np.int64)
        ends = np.cumsum(np.bincount(part, minlength=len(self._takers)))
        order = stable_order(part.astype(np.int32))
        ordered = with_rows(table.take(array(order)), (order + self.n_rows).astype(self._row_type, copy=False))
        self.n_rows += table.num_rows
        for taker, end, begin in zip(self._takers, ends.tolist(), [0, *ends[:-1].tolist()], strict=True):
            if end > begin or not table.num_rows:  # an empty table tells the schema
                taker.write_table(ordered.slice(begin, end - begin))


def with_rows(table: pa.Table, rows: IntArray) -> pa.Table:
    """The table with the place of each row among all that were read."""
    return table.append_column(ROW, array(rows))


def in_bulk(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables of about a quarter of a million rows without dictionaries, after an empty one that tells the schema."""
    held: list[pa.Table] = []
    n_held = 0
    for number, chunk in enumerate(chunks):
        if number == 0 and CUSTOMER_ID in chunk.column_names:
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
