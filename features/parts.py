"""An order log in parts: whole customers each, small enough for memory, on disk where there are several.

A part is read, validated and assembled exactly as a small log is. What depends on all of them (the last order, the
currency, order ids on rows of several customers) is found from the columns that say it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import AnyArray, BoolArray, IntArray, RuleArray
from features.columns import CURRENCY, CUSTOMER_ID, LINE_ITEM_COLUMNS, ORDER_ID, ORDERED_AT
from features.hashing import HashArray, buckets, hashes
from features.instants import DAY_US, next_midnight
from features.options import ReadOptions
from features.ordering import stable_order
from features.parsing import instants, text_codes
from features.sources import RawSource
from features.validation import Intake, RawOrders, currency_of, numbered, rules_broken, validate

_ROW: Final = "__row__"
"""Column of a part on disk: place of the row among all that were read."""
_SPLIT_ROWS: Final = 1 << 18
_ABOUT, _SHARED = "parts.json", "shared.npz"


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
        Where the parts lie, one Arrow stream each.
    whole
        The only part, where it is held in memory instead.
    """

    options: ReadOptions
    now: int
    n_parts: int
    n_rows: int
    malformed: dict[int, str] = field(default_factory=dict)
    folder: Path | None = None
    whole: pa.Table | None = None

    def intake(self, place: int) -> Intake:
        """Read and validate a part; rows of the source that are in no part are accounted for with the first one.

        Raises
        ------
        OrdersError
            As `validate`.
        """
        return self._only if self.folder is None else validate(self.raw(place), self.settings, self.now)

    @cached_property
    def _only(self) -> Intake:
        return validate(self.raw(0), self.options, self.now)

    def raw(self, place: int) -> RawOrders:
        """Rows of a part as they were read."""
        table, malformed = self._table(place), self.malformed if place == 0 else {}
        if self.folder is None:
            return RawOrders(table, malformed)
        rows = table.column(_ROW).to_numpy()
        refused, rules = self._shared
        found = np.searchsorted(refused, rows)
        rule = np.append(rules, np.uint8(0))[np.where(np.append(refused, -1)[found] == rows, found, len(refused))]
        return RawOrders(table.drop_columns([_ROW]), malformed, numbered(rows, self.malformed), rule)

    @cached_property
    def complete_until(self) -> int:
        """Midnight after the last usable order of all parts; 0 without one."""
        if self.folder is None:
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
        if self.folder is None or not (self.folder / _SHARED).exists():
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint8)
        with np.load(self.folder / _SHARED) as found:
            return found["rows"], found["rules"]

    def _table(self, place: int) -> pa.Table:
        """Rows of a part, mapped rather than loaded: only columns that are looked at are read."""
        if self.folder is None:
            return self.whole
        with pa.memory_map(str(_path(self.folder, place))) as stream:
            return pa.ipc.open_stream(stream).read_all()


def part_orders(
    source: RawSource,
    options: ReadOptions,
    now: int,
    folder: Path,
    rows_at_once: int,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Parts:
    """Part an order log by customer into `folder`, or hold it in memory where it may have `rows_at_once` rows or fewer.

    Raises
    ------
    OrdersError
        The source cannot be read.
    OSError
        The folder cannot be written.
    """
    n_parts = -(-source.n_rows_about // rows_at_once)
    if n_parts <= 1:
        whole = source.read()
        return Parts(options, now, 1, whole.table.num_rows, dict(whole.malformed), whole=whole.table)
    folder.mkdir(parents=True)
    n_rows = _split(source.chunks, folder, n_parts, on_rows)
    parts = Parts(options, now, n_parts, n_rows, source.malformed, folder)
    _note_shared(parts, folder)
    about = {"now": now, "n_parts": n_parts, "n_rows": n_rows, "malformed": source.malformed}
    (folder / _ABOUT).write_text(json.dumps(about))
    return parts


def parts_in(folder: Path, options: ReadOptions) -> Parts | None:
    """Parts that an earlier run left whole in a folder; None where it did not get so far."""
    if not (folder / _ABOUT).exists():
        return None
    about = json.loads((folder / _ABOUT).read_text())
    malformed = {int(number): text for number, text in about.pop("malformed").items()}
    return Parts(options, about["now"], about["n_parts"], about["n_rows"], malformed, folder)


def _path(folder: Path, place: int) -> Path:
    return folder / f"orders-{place:05d}.arrow"


def _split(chunks: Iterator[pa.Table], folder: Path, n_parts: int, on_rows: Callable[[int], None]) -> int:
    """Append each row to the file of its customer's part; returns how many rows there were."""
    n_rows = 0
    with ExitStack() as stack:
        writers: list[pa.ipc.RecordBatchStreamWriter] = []
        for chunk in _joined(chunks):
            table = _plain(chunk)
            if not writers:
                text_codes(table.column(CUSTOMER_ID).slice(0, 0), CUSTOMER_ID)  # refuses a type that cannot be an id
                schema = table.schema.append(pa.field(_ROW, pa.int64()))
                files = [stack.enter_context(pa.OSFile(str(_path(folder, k)), "wb")) for k in range(n_parts)]
                writers = [stack.enter_context(pa.ipc.new_stream(file, schema)) for file in files]
            numbers = pa.array(np.arange(n_rows, n_rows + table.num_rows))
            _deal(table.append_column(_ROW, numbers), writers)
            n_rows += table.num_rows
            on_rows(table.num_rows)
    return n_rows


def _deal(table: pa.Table, writers: list[pa.ipc.RecordBatchStreamWriter]) -> None:
    part = buckets(table.column(CUSTOMER_ID), len(writers))
    ends = np.cumsum(np.bincount(part, minlength=len(writers)))
    ordered = table.take(pa.array(stable_order(part.astype(np.int32))))
    for writer, end, begin in zip(writers, ends.tolist(), [0, *ends[:-1].tolist()], strict=True):
        if end > begin:
            writer.write_table(ordered.slice(begin, end - begin))


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


def _note_shared(parts: Parts, folder: Path) -> None:
    """Judge the rows of order ids that stand in several parts side by side, and keep what they break."""
    names = parts._table(0).column_names
    if ORDER_ID not in names or any(name in names for name in LINE_ITEM_COLUMNS):
        return
    shared = _in_several(parts, folder)
    if not len(shared):
        return
    tables = [_rows_of(parts._table(place), shared) for place in range(parts.n_parts)]
    together = pa.concat_tables(tables)
    rules = rules_broken(RawOrders(together.drop_columns([_ROW]), {}), parts.options, parts.now)
    rows = together.column(_ROW).to_numpy()
    order = np.argsort(rows)
    kept = order[rules[order] > 0]
    np.savez(folder / _SHARED, rows=rows[kept], rules=rules[kept])


def _rows_of(table: pa.Table, ids: HashArray) -> pa.Table:
    return table.filter(pa.array(_holds(ids, hashes(table.column(ORDER_ID)))))


def _holds(ids: HashArray, hashed: HashArray) -> BoolArray:
    places = np.minimum(np.searchsorted(ids, hashed), len(ids) - 1)
    return np.asarray(ids[places] == hashed)


def _in_several(parts: Parts, folder: Path) -> HashArray:
    """Hashes of order ids that stand in more than one part, ascending; dealt to files by hash, each fits memory."""
    files = [folder / f"ids-{place:05d}.bin" for place in range(parts.n_parts)]
    for place in range(parts.n_parts):
        column = parts._table(place).column(ORDER_ID)
        own = np.setdiff1d(hashes(column), np.zeros(1, dtype=np.uint64))
        bounds = np.searchsorted(own, _edges(parts.n_parts))
        for file, some in zip(files, np.split(own, bounds), strict=True):
            with file.open("ab") as stream:
                stream.write(some.tobytes())
    found: list[AnyArray] = []
    for file in files:
        several = np.sort(np.fromfile(file, dtype=np.uint64))
        found.append(np.unique(several[1:][several[1:] == several[:-1]]))
        file.unlink()
    return np.concatenate(found)


def _edges(n_parts: int) -> HashArray:
    """Hashes that cut the range of all hashes into equal pieces, n_parts - 1 of them."""
    return np.asarray([(2**64 * place) // n_parts for place in range(1, n_parts)], dtype=np.uint64)
