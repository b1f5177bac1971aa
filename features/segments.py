"""Rows grouped by customer, and the dozen primitives every feature is made of.

The rows of one customer are contiguous; all customers are reduced in one numpy call
(`ufunc.reduceat`). A result never depends on which other customers share the call:
one customer a call, any chunking and the whole base give the same bits.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np

from features.arrays import AnyArray, BoolArray, FloatArray, IntArray
from features.once import once


class Ranks(NamedTuple):
    """What sorting each customer's rows shows, shape (n_customers,) each."""

    min: FloatArray
    median: FloatArray
    max: FloatArray


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient, null (NaN) where the denominator is 0 or either side is null.

    Callers silence numpy's warning of a division by 0 (`np.errstate`), once for many ratios.
    """
    quotient = numerator / denominator
    quotient[denominator == 0.0] = np.nan
    return quotient


Values = TypeVar("Values", FloatArray, IntArray)


class Segments:
    """`n_rows` rows of `n_customers` customers; a customer may have none.

    Parameters
    ----------
    lengths
        Rows of each customer, shape (n_customers,), summing to n_rows.
    """

    def __init__(self, lengths: IntArray) -> None:
        self.lengths = lengths
        self.ends = np.cumsum(lengths)
        self.starts = self.ends - lengths
        self.n_customers = len(lengths)
        self.n_rows = int(self.ends[-1]) if len(lengths) else 0

    def _adopt(self, other: Segments) -> None:
        """Initialise with the bounds of other segments."""
        self.lengths, self.ends, self.starts = other.lengths, other.ends, other.starts
        self.n_customers, self.n_rows = other.n_customers, other.n_rows

    @once
    def count(self) -> FloatArray:
        """Rows of each customer as float64, shape (n_customers,)."""
        return self.lengths.astype(np.float64)

    @once
    def customer_of_row(self) -> IntArray:
        """Position of each row's customer, shape (n_rows,)."""
        if self.n_customers == 1 or self._filled is not None:
            return np.repeat(np.arange(self.n_customers), self.lengths)
        steps = np.zeros(self.n_rows, dtype=np.int64)  # faster than many short repetitions
        steps[self.starts[1:]] = 1
        return np.cumsum(steps, out=steps)

    def spread(self, values: Values) -> Values:
        """Each customer's value on each of the customer's rows, shape (n_rows,)."""
        return values.take(self.customer_of_row)

    @once
    def _filled(self) -> BoolArray | None:
        """Which customers have rows; None when all have."""
        return None if self.lengths.all() else self.lengths > 0

    @property
    def opens(self) -> IntArray:
        """First row of each customer that has any."""
        return self.starts if self._filled is None else self.starts[self._filled]

    def _reduce(self, ufunc: np.ufunc, rows: AnyArray, empty: float) -> AnyArray:
        if not self.n_rows:
            return np.full(self.n_customers, empty)
        if self._filled is None:
            reduced: AnyArray = ufunc.reduceat(rows, self.starts)
            return reduced
        out = np.full(self.n_customers, empty)
        out[self._filled] = ufunc.reduceat(rows, self.opens)
        return out

    def _pick(self, rows: FloatArray | IntArray | BoolArray, places: IntArray) -> FloatArray:
        if not self.n_rows:
            return np.full(self.n_customers, np.nan)
        if self._filled is None:
            return rows.take(places).astype(np.float64, copy=False)
        out = np.full(self.n_customers, np.nan)
        out[self._filled] = rows[places[self._filled]]
        return out

    def sum(self, rows: FloatArray | BoolArray) -> FloatArray:
        """Sum of the rows (of a mask: how many hold); 0 where a customer has none."""
        return self._reduce(np.add, rows.astype(np.float64, copy=False), 0.0)

    def max(self, rows: FloatArray) -> FloatArray:
        """Largest value; null without rows."""
        return self._reduce(np.maximum, rows, np.nan)

    def min(self, rows: FloatArray) -> FloatArray:
        """Smallest value; null without rows."""
        return self._reduce(np.minimum, rows, np.nan)

    def first(self, rows: FloatArray | IntArray | BoolArray) -> FloatArray:
        """Value of the first row; null without rows."""
        return self._pick(rows, self.starts)

    def last(self, rows: FloatArray | IntArray | BoolArray) -> FloatArray:
        """Value of the last row; null without rows."""
        return self._pick(rows, self.ends - 1)

    def mean(self, rows: FloatArray | BoolArray) -> FloatArray:
        """Arithmetic mean (of a mask: the share that holds); null without rows."""
        total = self.sum(rows)
        return total / self.count if self._filled is None else ratio(total, self.count)

    def std(self, rows: FloatArray, mean: FloatArray) -> FloatArray:
        """Sample standard deviation (n - 1) of rows whose mean is known; null below two rows."""
        deviation = rows - self.spread(mean)
        deviation *= deviation
        return np.sqrt(ratio(self.sum(deviation), np.maximum(self.count - 1.0, 0.0)))

    def std_after_first(self, rows: FloatArray, mean: FloatArray) -> FloatArray:
        """The same of all rows but the customer's first; null below three rows."""
        deviation = rows - self.spread(mean)
        deviation[self.opens] = 0.0
        deviation *= deviation
        return np.sqrt(ratio(self.sum(deviation), np.maximum(self.count - 2.0, 0.0)))

    def ranks(self, rows: FloatArray, counts: IntArray) -> Ranks:
        """Smallest, median (the mean of the two middle values for an even count) and largest; null without any.

        Parameters
        ----------
        rows
            `counts` finite values of each customer; the others are +inf.
        """
        ordered, first = self._sorted_within(rows)
        last = np.maximum(counts - 1, 0)
        middle = (ordered.take(first + (last >> 1)) + ordered.take(first + (counts >> 1))) / 2.0
        found = Ranks(ordered.take(first), middle, ordered.take(first + last))
        if not counts.all():
            for values in found:
                values[counts == 0] = np.nan
        return found

    def _sorted_within(self, rows: FloatArray) -> tuple[FloatArray, IntArray]:
        """Rows sorted inside each customer, and where each customer begins; there may be infinities in between."""
        if self.n_customers == 1 and self.n_rows:
            return np.sort(rows), self.starts
        places, first, tables = self._tables
        ordered = np.full(tables[-1][1] if tables else 0, np.inf)
        ordered[places] = rows
        for low, high, width in tables:
            ordered[low:high].reshape(-1, width).sort(axis=1)
        return ordered, first

    @once
    def _tables(self) -> tuple[IntArray, IntArray, list[tuple[int, int, int]]]:
        """Customers laid out by the power of two that their rows fill, those of one width as a table.

        Short rows of a table are sorted side by side, the fastest that numpy has. Returns each row's
        place, each customer's first place, and each table's [low, high) and width.
        """
        power = np.frexp(self.lengths - 1.0)[1].astype(np.uint8)
        power[power == 2] = 3  # four or eight fill one vector alike
        by_power = np.argsort(power, kind="stable")
        widths = np.left_shift(1, power[by_power], dtype=np.int64)
        ends = np.cumsum(widths)
        first = np.empty_like(ends)
        first[by_power] = ends - widths
        each = np.bincount(power)
        bounds = np.cumsum([0, *(int(n) << place for place, n in enumerate(each))]).tolist()
        tables = [(bounds[place], bounds[place + 1], 1 << place) for place in np.flatnonzero(each).tolist()]
        return np.arange(self.n_rows) + self.spread(first - self.starts), first, tables

    def mean_of_last(self, rows: FloatArray, most: int) -> FloatArray:
        """Mean of the customer's last rows, `most` at most; null without rows."""
        total = self.last(rows)
        for back in range(2, most + 1):
            total += np.where(self.lengths >= back, rows.take(self.ends - back, mode="clip"), 0.0)
        return total / np.minimum(self.count, most)

    def tally(self, keys: AnyArray, marks: BoolArray) -> FloatArray:
        """How many rows of each customer have a key that bears each mark, shape (n_marks, n_customers).

        Several counters share one integer, each wide enough for the customer with the most rows.

        Parameters
        ----------
        keys
            Whole numbers from 0, shape (n_rows,).
        marks
            Which key bears which mark, shape (n_marks, n_keys).
        """
        width = max(1, int(self.lengths.max()).bit_length())
        counts = np.empty((len(marks), self.n_customers))
        for first in range(0, len(marks), 62 // width):
            some = marks[first : first + 62 // width]
            shifts = width * np.arange(len(some))
            words = (1 << shifts) @ some
            total = self._reduce(np.add, words.take(keys), 0)
            counts[first : first + len(some)] = (total >> shifts[:, np.newaxis]) & ((1 << width) - 1)
        return counts

    def n_distinct(self, codes: IntArray) -> FloatArray:
        """Distinct non-negative codes; negative codes are nulls and do not count."""
        known = codes >= 0
        if not known.any():
            return np.zeros(self.n_customers)
        width = int(codes.max()) + 1
        keys = np.unique(self.customer_of_row[known] * width + codes[known])
        return np.bincount(keys // width, minlength=self.n_customers).astype(np.float64)

    def opens_run(self, rows: AnyArray) -> BoolArray:
        """Rows that differ from the customer's row before, and the first ones."""
        opens = np.ones(self.n_rows, dtype=np.bool_)
        np.not_equal(rows[1:], rows[:-1], out=opens[1:])
        opens[self.opens] = True
        return opens

    def select(self, mask: BoolArray) -> Segments:
        """Segments of the rows where `mask` holds, for the same customers."""
        return Segments(self.sum(mask).astype(np.int64))
