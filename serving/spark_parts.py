"""What a Spark executor does with the rows of a part: reads, validates and works on them as on any log."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import pyarrow as pa

from features import errors
from features.arrays import RuleArray
from features.columns import ORDER_ID, ORDERED_AT, Rule
from features.csv_file import refuse_open_quote
from features.errors import ClvError
from features.instants import DAY_US
from features.options import ReadOptions
from features.parsing import amounts, instants, text_codes
from features.raw import RawOrders
from features.validation import Intake, rules_broken, validate
from serving.in_parts import Done, Work

PART: Final = "clv_part"
"""Column of the rows: the part that their customer is in."""
MALFORMED: Final = "clv_malformed"
"""Column of the rows of a CSV: text of a row that cannot be split, null for all others."""
KIND: Final = "clv_kind"
"""Column of what is made: whether a row is output, accounts or an error."""
ROWS, DONE, FAILED = "rows", "done", "failed"


def kinds_of(raw: RawOrders, options: ReadOptions) -> list[tuple[str, int]]:
    """Order id of each row, empty where it has none, and the moment of a refund, 0 of an order."""
    ids = text_codes(raw.table.column(ORDER_ID), ORDER_ID)
    texts = np.append(ids.values, "")[ids.codes]
    refunded_at = np.where(amounts(raw.table, options) < 0.0, instants(raw.table.column(ORDERED_AT), options), 0)
    return list(zip(texts.tolist(), refunded_at.tolist(), strict=True))


def latest_of(rows: pa.Table, options: ReadOptions, now: int) -> pa.RecordBatch:
    """Last instant of each part that is not in the future; an error that ended the reading is told in a column."""
    parts, place = np.unique(rows.column(PART).to_numpy(), return_inverse=True)
    latest, failed = np.zeros(len(parts), dtype=np.int64), None
    try:
        at = instants(rows.column(ORDERED_AT), options)
        np.maximum.at(latest, place, np.where(at <= now + DAY_US, at, 0))
    except ClvError as error:
        failed = _note(error)
    columns = [pa.array(parts), pa.array(latest), pa.array([failed] * len(parts), pa.string())]
    return pa.record_batch(columns, names=[PART, "latest", "failed"])


@dataclass(frozen=True)
class Reading:
    """How the rows of a part are read, on any machine.

    Attributes
    ----------
    conflicting
        Order ids, with the moment of a refund, that stand on rows which differ, in whatever part.
    """

    options: ReadOptions
    now: int
    conflicting: frozenset[tuple[str, int]]

    def intake(self, rows: pa.Table) -> Intake:
        """Read and validate the rows of a part."""
        raw = RawOrders(rows, {})
        if MALFORMED in rows.column_names:
            texts = rows.column(MALFORMED)
            malformed = dict(enumerate(texts.drop_null().to_pylist(), 1))
            refuse_open_quote("the order log", malformed)
            raw = RawOrders(rows.filter(texts.is_null()).drop_columns([MALFORMED]), malformed)
        return validate(replace(raw, refused=self._refused(raw)), self.options, self.now)

    def _refused(self, raw: RawOrders) -> RuleArray | None:
        """Rules that rows break beside rows of other parts."""
        if not self.conflicting:
            return None
        places = [place for place, kind in enumerate(kinds_of(raw, self.options)) if kind in self.conflicting]
        if not places:
            return None
        own = rules_broken(raw, self.options, self.now)[places]
        refused = np.zeros(raw.table.num_rows, dtype=np.uint8)
        refused[places] = np.where((own > 0) & (own < Rule.REPEATED_ORDER_ID), own, Rule.CONFLICTING_ORDER_ID)
        return refused


@dataclass(frozen=True)
class _Collected:
    """Tables of rows, kept."""

    tables: list[pa.Table] = field(default_factory=list)

    def write(self, table: pa.Table) -> None:
        self.tables.append(table)


@dataclass(frozen=True)
class Making:
    """What an executor does with a part."""

    reading: Reading
    work: Work

    def part(self, rows: pa.Table) -> pa.Table:
        """Rows of the output, and one that holds the accounts of the part, or the error that ended it."""
        made, number = _Collected(), rows.column(PART)[0].as_py()
        try:
            intake = self.reading.intake(rows.drop_columns([PART]))
            done = Done(intake.accounts, self.work.rows(intake.log, made, lambda _: None))
            note, kind = json.dumps({"part": number, "done": done.to_json()}), DONE
        except ClvError as error:
            made, note, kind = _Collected(), _note(error), FAILED
        schema = self.work.schema.remove_metadata()
        last = pa.table([[note], *(pa.nulls(1, one.type) for one in list(schema)[1:])], schema=schema)
        whole = pa.concat_tables([*(table.cast(schema) for table in made.tables), last])
        kinds = pa.chunked_array([pa.repeat(ROWS, whole.num_rows - 1), pa.repeat(kind, 1)])
        return whole.append_column(KIND, kinds)


def _note(error: ClvError) -> str:
    return json.dumps([type(error).__name__, str(error)])


def raise_first(notes: list[str]) -> None:
    """Raise what workers noted, the same one in every run."""
    if notes:
        name, text = json.loads(min(notes))
        raise getattr(errors, name)(text)
