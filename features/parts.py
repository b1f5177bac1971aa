"""An order log in parts: whole customers each, small enough for memory, on disk where all of them are not.

A part is read, validated and assembled exactly as a small log is. What depends on all of them (the last order, the
currency, order ids on rows of several customers) is found from the columns that say it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import IntArray, RuleArray
from features.arrow import to_numpy
from features.clustered import clustered
from features.columns import CURRENCY, CUSTOMER_ID, LINE_ITEM_COLUMNS, ORDER_ID, ORDERED_AT
from features.dealing import MOST_IN_MEMORY, ROW, Filed, Held, in_memory, into_files
from features.instants import DAY_US, next_midnight
from features.machine import read_note, write_note
from features.options import ReadOptions
from features.parsing import instants, text_codes
from features.raw import RawOrders, RawSource, numbered
from features.shared_ids import rows_of_shared_ids
from features.validation import Intake, currency_of, rules_broken, validate

_ABOUT: Final = "parts.json"
_BYTES_TO_START: Final = 400_000_000
_BYTES_A_ROW: Final = 600
"""Of a part that is being worked on."""
_BYTES_HELD: Final = 80
"""Of a row that waits in memory."""
_MOST_ROWS, _FEWEST_ROWS = 300_000, 50_000


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
        waits = n_rows * _BYTES_HELD <= (memory - _BYTES_TO_START) / 4 and n_rows <= MOST_IN_MEMORY
        return Split(n_parts, None if waits or n_parts == 1 else folder)


class Stored(Protocol):
    """Where the parts of a log lie: held in memory, filed in a folder, or in the log itself where it is sorted."""

    @property
    def n_parts(self) -> int:
        """How many there are."""
        ...

    @property
    def column_names(self) -> list[str]:
        """Of every part."""
        ...

    def table(self, place: int) -> pa.Table:
        """Rows of a part, and ROW where there are several."""
        ...

    def tables(self, names: Collection[str] = (), /) -> Iterator[pa.Table]:
        """All parts, one after the other; columns that are not named need not be there. Without names, all are."""
        ...


@dataclass(frozen=True)
class Parts:
    """An order log in parts by customer.

    Attributes
    ----------
    options, now
        How rows are read, and the moment of reading, µs UTC: rows later than one day after it are rejected.
    stored
        Their rows.
    n_rows
        How many in all parts.
    malformed
        Text of each row that is in no part, by its 1-based number in the source.
    folder
        Where there is room for what memory does not hold; None where it holds all.
    """

    options: ReadOptions
    now: int
    stored: Stored
    n_rows: int
    malformed: dict[int, str] = field(default_factory=dict)
    folder: Path | None = None

    @property
    def n_parts(self) -> int:
        """How many parts."""
        return self.stored.n_parts

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
        table, malformed = self.stored.table(place), self.malformed if place == 0 else {}
        if self.n_parts == 1:
            return RawOrders(table, malformed)
        rows = to_numpy(table.column(ROW)).astype(np.int64, copy=False)
        numbers = numbered(rows, self.malformed)
        refused, rules = self._shared
        if not len(refused):
            return RawOrders(table.drop_columns([ROW]), malformed, numbers)
        found = np.searchsorted(refused, rows)
        rule = np.append(rules, np.uint8(0))[np.where(np.append(refused, -1)[found] == rows, found, len(refused))]
        return RawOrders(table.drop_columns([ROW]), malformed, numbers, rule)

    @cached_property
    def complete_until(self) -> int:
        """Midnight after the last usable order of all parts; 0 without one."""
        if self.n_parts == 1:
            return self._only.log.complete_until
        latest = [self._latest(table.column(ORDERED_AT)) for table in self.stored.tables([ORDERED_AT])]
        found = 0
        for place in np.argsort(latest)[::-1].tolist():
            if next_midnight(latest[place], self.options.zone) <= found:
                break  # no row of this part or of those that follow is later, usable or not
            found = max(found, self.intake(place).log.complete_until)
        return found

    def _latest(self, column: pa.ChunkedArray) -> int:
        at = instants(column, self.options)
        return int(at.max(initial=0, where=at <= self.now + DAY_US))

    @cached_property
    def settings(self) -> ReadOptions:
        """The options, with the one currency of all parts."""
        if CURRENCY not in self.stored.column_names:
            return self.options
        found = [pc.unique(table.column(CURRENCY)) for table in self.stored.tables([CURRENCY])]
        return replace(self.options, currency=currency_of(text_codes(pa.chunked_array(found), CURRENCY), self.options))

    @cached_property
    def _shared(self) -> tuple[IntArray, RuleArray]:
        """Places of rows that break a rule beside rows of other parts, ascending, and their rules."""
        names, of = self.stored.column_names, self.stored.tables
        ids_count = ORDER_ID in names and not any(name in names for name in LINE_ITEM_COLUMNS)
        together = rows_of_shared_ids(of([ORDER_ID]), of(), self.folder) if ids_count else None
        if together is None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8)
        rules = rules_broken(RawOrders(together.drop_columns([ROW]), {}), self.options, self.now)
        rows = to_numpy(together.column(ROW))
        order = np.argsort(rows)
        kept = order[rules[order] > 0]
        return rows[kept], rules[kept]

    @property
    def n_ids(self) -> int:
        """Distinct customer ids, those without a usable row included."""
        return sum(pc.count_distinct(table.column(CUSTOMER_ID)).as_py() for table in self.stored.tables([CUSTOMER_ID]))


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
        return Parts(options, now, Held((whole.table,)), whole.table.num_rows, dict(whole.malformed))
    in_place = clustered(source, split.n_parts)
    if split.folder:
        split.folder.mkdir(parents=True)
    if in_place:
        on_rows(source.n_rows_about)
        return Parts(options, now, in_place, source.n_rows_about, folder=split.folder)
    if split.folder is None:
        held = in_memory(source.chunks, split.n_parts, on_rows)
        return Parts(options, now, held, sum(table.num_rows for table in held.parts), source.malformed)
    filed = Filed(split.folder, split.n_parts)
    n_rows = into_files(source.chunks, filed, on_rows)
    about = {"now": now, "n_parts": split.n_parts, "n_rows": n_rows, "malformed": source.malformed}
    write_note(split.folder / _ABOUT, about)
    return Parts(options, now, filed, n_rows, source.malformed, split.folder)


def parts_in(folder: Path, options: ReadOptions) -> Parts | None:
    """Parts that an earlier run left whole in a folder; None where it did not get so far."""
    about = read_note(folder / _ABOUT)
    if not about:
        return None
    malformed = {int(number): text for number, text in about.pop("malformed").items()}
    return Parts(options, about["now"], Filed(folder, about["n_parts"]), about["n_rows"], malformed, folder)
