"""Orders, refunds and line items of customers, as segments: what `features.history` is a view of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from features.arrays import AnyArray, BoolArray, FloatArray, IntArray
from features.once import once
from features.orders import OrderLog
from features.segments import Segments

ROUNDING: Final = 1e-12
"""Share of what was added up that is no more than rounding."""


class Items(Segments):
    """Rows with a positive amount; columns come as codes (negative: null)."""

    def __init__(self, segments: Segments, optional: Mapping[str, AnyArray], mask: BoolArray) -> None:
        super().__init__(segments.lengths if mask.all() else segments.select(mask).lengths)
        self._optional = optional
        self._mask = mask

    def codes(self, name: str) -> IntArray:
        """Return the codes of an optional text column, shape (n_rows,)."""
        return np.asarray(self._optional[name][self._mask], dtype=np.int64)


class Events(Segments):
    """Orders and refunds: rows of the log, or line items summed to the event they belong to."""

    def __init__(self, log: OrderLog) -> None:
        self._optional = log.optional
        self._rows = Segments(log.starts[1:] - log.starts[:-1])
        if log.event is None:
            self._first_rows = None
            self._adopt(self._rows)
            self.amount, self.at = log.amount, log.ordered_at
        else:
            opens = np.ones(log.n_rows, dtype=np.bool_)
            np.not_equal(log.event[1:], log.event[:-1], out=opens[1:])
            self._first_rows = np.flatnonzero(opens)
            super().__init__(self._rows.select(opens).lengths)
            event_at = log.ordered_at if log.event_at is None else log.event_at
            self.amount, self.at = self._netted(log.amount), event_at[self._first_rows]
        self._row_amount = log.amount

    @once
    def items(self) -> Items:
        """Rows with a positive amount."""
        return Items(self._rows, self._optional, self._row_amount > 0.0)

    def _netted(self, rows: FloatArray) -> FloatArray:
        """Sum the lines of each event; what is left of lines that cancel out is rounding, and becomes 0."""
        total = self._summed(rows)
        return np.where(np.abs(total) <= ROUNDING * self._summed(np.abs(rows)), 0.0, total)

    def _summed(self, rows: FloatArray) -> FloatArray:
        if self._first_rows is None:
            return rows
        return np.add.reduceat(rows, self._first_rows) if len(rows) else rows

    def number(self, name: str) -> FloatArray:
        """Sum of an optional number over the rows of each event; null rows count as 0."""
        return self._summed(np.nan_to_num(self._optional[name], nan=0.0))

    def any_text(self, name: str) -> BoolArray:
        """Whether any row of the event carries a value in an optional text column."""
        return self._summed((self._optional[name] >= 0).astype(np.float64)) > 0.0

    def first_code(self, name: str) -> IntArray:
        """Return the code of an optional text column on the first row of each event."""
        codes = self._optional[name]
        return np.asarray(codes if self._first_rows is None else codes[self._first_rows])


class Refunds(Segments):
    """Events with a negative value, oldest first per customer."""

    def __init__(self, events: Events) -> None:
        self._places = np.flatnonzero(events.amount < 0.0)
        super().__init__(np.bincount(events.customer_of_row[self._places], minlength=events.n_customers))
        self.value = -events.amount[self._places]
        self.at = events.at[self._places]
