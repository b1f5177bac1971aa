"""An order log in parts: whole customers each, small enough for memory, on disk where all of them are not.

A part is read, validated and assembled exactly as a small log is. What depends on all of them (the last order, the
currency, order ids on rows of several customers) is found from the columns that say it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import IntArray, RuleArray
from features.arrow import array, to_numpy
from features.columns import CURRENCY, CUSTOMER_ID, ORDERED_AT
from features.hashing import hashes
from features.instants import DAY_US, next_midnight
from features.options import ReadOptions
from features.ordering import stable_order
from features.parsing import instants, text_codes
from features.shared_ids import rows_of_shared_ids
from features.sources import RawSource
from features.validation import Intake, RawOrders, currency_of, numbered, rules_broken, validate

_ROW: Final = "__row__"
"""Column of a part: place of the row among all that were read."""
_SPLIT_ROWS: Final = 1 << 18
_ABOUT: Final = "parts.json"
_BYTES_TO_START: Final = 400_000_000
_BYTES_A_ROW: Final = 600
"""Of a part that is being worked on."""
_BYTES_HELD: Final = 80
"""Of a row that waits in memory."""
_MOST_ROWS, _FEWEST_ROWS = 500_000, 50_000


def rows_at_once(memory: int, n_threads: int) -> int:
    """Rows of a part, so that one in each thread stays within so many bytes of memory."""
    return int(min(max((memory - _BYTES_TO_START) / n_threads / _BYTES_A_ROW, _FEWEST_ROWS), _MOST_ROWS))


def threads_within(memory: int, n_cores: int) -> int:
    """How many parts at a time so many bytes of memory allow, a part on each core at most."""
    return max(1, min(n_cores, (memory - _BYTES_TO_START) // (_FEWEST_ROWS * _BYTES_A_ROW)))


@dataclass(frozen=True)
class Split:
    """How a log is parted: into how many parts, and into which folder; None: they stay in memory."""

    n_parts: int
    folder: Path | None = None

    @staticmethod
    def within(memory: int, n_threads: int, n_rows: int, folder: Path) -> Split:
        """Parts of a log of so many rows, one in each thread at a time, that stay within so many bytes of memory."""
        n_parts = max(1, -(-n_rows // rows_at_once(memory, n_threads)))
        waits = n_rows * _BYTES_HELD <= (memory - _BYTES_TO_START) / 4
        return Split(n_parts, None if waits or n_parts == 1 else folder)


@dataclass(frozen=True)
class Parts:
    """An order log in parts by customer.

    Attributes
    ----------
    options, now
        How rows are read, and the moment of reading, µs UTC: rows later than one day after it are rejected.
    n_parts, n_rows
        How many parts, and rows in all of them.
    malformed
        Text of each row that is in no part, by its 1-based number in the source.
    folder
        Where the parts lie, one Arrow stream each; None where they are held in memory.
    tables
        The parts that are held in memory.
    """

    options: ReadOptions
    now: int
    n_parts: int
    n_rows: int
    malformed: dict[int, str] = field(default_factory=dict)
    folder: Path | None = None
    tables: tuple[pa.Table, ...] = ()

    def intake(self, place: int) -> Intake:
        """Read and validate a part; rows of the source that are in no part are accounted for with the first one.

        Raises
        ------
        OrdersError
            As `validate`.
        """
        return self._only if self.n_parts == 1 else validate(self.raw(place), self.settings, self.now)

    @cached_property
    def _only(self) -> Intake:
        return validate(self.raw(0), self.options, self.now)

    def raw(self, place: int) -> RawOrders:
        """Rows of a part as they were read."""
        table, malformed = self._table(place), self.malformed if place == 0 else {}
        if self.n_parts == 1:
            return RawOrders(table, malformed)
        rows = to_numpy(table.column(_ROW))
        numbers = numbered(rows, self.malformed)
        refused, rules = self._shared
        if not len(refused):
            return RawOrders(table.drop_columns([_ROW]), malformed, numbers)
        found = np.searchsorted(refused, rows)
        rule = np.append(rules, np.uint8(0))[np.where(np.append(refused, -1)[found] == rows, found, len(refused))]
        return RawOrders(table.drop_columns([_ROW]), malformed, numbers, rule)

    @cached_property
    def complete_until(self) -> int:
        """Midnight after the last usable order of all parts; 0 without one."""
        if self.n_parts == 1:
            return self._only.log.complete_until
        latest = [self._latest(place) for place in range(self.n_parts)]
        found = 0
        for place in np.argsort(latest)[::-1].tolist():
            if next_midnight(latest[place]) <= found:
                break  # no row of this part or of those that follow is later, usable or not
            found = max(found, self.intake(place).log.complete_until)
        return found

    def _latest(self, place: int) -> int:
        at = instants(self._table(place).column(ORDERED_AT), self.options)
        return int(at.max(initial=0, where=at <= self.now + DAY_US))

    @cached_property
    def settings(self) -> ReadOptions:
        """The options, with the one currency of all parts."""
        if CURRENCY not in self._table(0).column_names:
            return self.options
        found = [pc.unique(self._table(place).column(CURRENCY)) for place in range(self.n_parts)]
        return replace(self.options, currency=currency_of(text_codes(pa.chunked_array(found), CURRENCY), self.options))

    @cached_property
    def _shared(self) -> tuple[IntArray, RuleArray]:
        """Places of rows that break a rule beside rows of other parts, ascending, and their rules."""
        together = rows_of_shared_ids(self._tables(), self._tables(), self.folder)
        if together is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8)
        rules = rules_broken(RawOrders(together.drop_columns([_ROW]), {}), self.options, self.now)
        rows = to_numpy(together.column(_ROW))
        order = np.argsort(rows)
        kept = order[rules[order] > 0]
        return rows[kept], rules[kept]

    @property
    def n_ids(self) -> int:
        """Distinct customer ids, those without a usable row included."""
        return sum(pc.count_distinct(table.column(CUSTOMER_ID)).as_py() for table in self._tables())

    def _tables(self) -> Iterator[pa.Table]:
        return (self._table(place) for place in range(self.n_parts))

    def _table(self, place: int) -> pa.Table:
        """Rows of a part; on disk they are mapped rather than loaded: only columns that are looked at are read."""
        if self.folder is None:
            return self.tables[place]
        with pa.memory_map(str(_path(self.folder, place))) as stream:
            return pa.ipc.open_stream(stream).read_all()


def part_orders(
    source: RawSource, options: ReadOptions, now: int, split: Split, on_rows: Callable[[int], None] = lambda _: None
) -> Parts:
    """Read an order log and part it by customer.

    Raises
    ------
    OrdersError
        The source cannot be read.
    OSError
        The folder cannot be written.
    """
    if split.n_parts == 1:
        whole = source.read()
        return Parts(options, now, 1, whole.table.num_rows, dict(whole.malformed), tables=(whole.table,))
    if split.folder is None:
        piles = [_Pile() for _ in range(split.n_parts)]
        n_rows = _split(source.chunks, lambda _: piles, on_rows)
        tables = tuple(pa.concat_tables(pile.held) for pile in piles)
        return Parts(options, now, split.n_parts, n_rows, source.malformed, tables=tables)
    split.folder.mkdir(parents=True)
    with ExitStack() as stack:
        n_rows = _split(source.chunks, partial(_files, split.folder, split.n_parts, stack), on_rows)
    about = {"now": now, "n_parts": split.n_parts, "n_rows": n_rows, "malformed": source.malformed}
    (split.folder / _ABOUT).write_text(json.dumps(about))
    return Parts(options, now, split.n_parts, n_rows, source.malformed, split.folder)


def parts_in(folder: Path, options: ReadOptions) -> Parts | None:
    """Parts that an earlier run left whole in a folder; None where it did not get so far."""
    if not (folder / _ABOUT).exists():
        return None
    about = json.loads((folder / _ABOUT).read_text())
    malformed = {int(number): text for number, text in about.pop("malformed").items()}
    return Parts(options, about["now"], about["n_parts"], about["n_rows"], malformed, folder)


class _Takes(Protocol):
    def write_table(self, table: pa.Table) -> None: ...


class _Pile:
    """Rows of a part in memory, as they come."""

    def __init__(self) -> None:
        self.held: list[pa.Table] = []

    def write_table(self, table: pa.Table) -> None:
        self.held.append(table)


def _files(folder: Path, n_parts: int, stack: ExitStack, schema: pa.Schema) -> list[_Takes]:
    files = [stack.enter_context(pa.OSFile(str(_path(folder, place)), "wb")) for place in range(n_parts)]
    return [stack.enter_context(pa.ipc.new_stream(file, schema)) for file in files]


def _path(folder: Path, place: int) -> Path:
    return folder / f"orders-{place:05d}.arrow"


def _split(
    chunks: Iterator[pa.Table], opened: Callable[[pa.Schema], Sequence[_Takes]], on_rows: Callable[[int], None]
) -> int:
    """Give each row to its customer's part; returns how many rows there were."""
    n_rows = 0
    takers: Sequence[_Takes] = ()
    for chunk in _joined(chunks):
        table = _plain(chunk)
        if not takers:
            text_codes(table.column(CUSTOMER_ID).slice(0, 0), CUSTOMER_ID)  # refuses a type that cannot be an id
            takers = opened(table.schema.append(pa.field(_ROW, pa.int64())))
        _deal(table, n_rows, takers)
        n_rows += table.num_rows
        on_rows(table.num_rows)
    return n_rows


def _deal(table: pa.Table, n_before: int, takers: Sequence[_Takes]) -> None:
    hashed = hashes(table.column(CUSTOMER_ID))
    nobody = np.flatnonzero(hashed == 0)
    hashed[nobody] = np.arange(len(nobody))  # rows without a customer, which are rejected wherever they are, are spread
    part = (hashed % np.uint64(len(takers))).astype(np.int64)
    ends = np.cumsum(np.bincount(part, minlength=len(takers)))
    order = stable_order(part.astype(np.int32))
    ordered = table.take(array(order)).append_column(_ROW, array(order + n_before))
    for taker, end, begin in zip(takers, ends.tolist(), [0, *ends[:-1].tolist()], strict=True):
        if end > begin or not table.num_rows:  # an empty table tells the schema
            taker.write_table(ordered.slice(begin, end - begin))


def _joined(chunks: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Tables of about half a million rows, and the empty one that tells the schema."""
    held: list[pa.Table] = []
    n_held = 0
    for number, chunk in enumerate(chunks):
        held.append(chunk)
        n_held += chunk.num_rows
        if n_held >= _SPLIT_ROWS or number == 0:
            yield pa.concat_tables(held)
            held, n_held = [], 0
    if held:
        yield pa.concat_tables(held)


def _plain(table: pa.Table) -> pa.Table:
    """The table without dictionaries, which differ from chunk to chunk."""
    kinds = {field.name: field.type for field in table.schema}
    wide = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    return table.cast(pa.schema(list(wide.items()))) if wide != kinds else table.replace_schema_metadata(None)
