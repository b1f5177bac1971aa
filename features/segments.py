"""Rows grouped by customer, and the dozen primitives every feature is made of.

The rows of one customer are contiguous; all customers are reduced in one numpy call
(`ufunc.reduceat`). A result never depends on which other customers share the call:
one customer a call, any chunking and the whole base give the same bits.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from features.arrays import BoolArray, FloatArray, IntArray


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient, null (NaN) where the denominator is 0 or either side is null.

    Callers silence numpy's warning of a division by 0 (`np.errstate`), once for many ratios.
    """
    quotient = numerator / denominator
    quotient[denominator == 0.0] = np.nan
    return quotient


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

    @cached_property
    def count(self) -> FloatArray:
        """Rows of each customer as float64, shape (n_customers,)."""
        return self.lengths.astype(np.float64)

    @cached_property
    def customer_of_row(self) -> IntArray:
        """Position of each row's customer, shape (n_rows,)."""
        return np.repeat(np.arange(self.n_customers), self.lengths)

    @cached_property
    def _filled(self) -> BoolArray | None:
        """Which customers have rows; None when all have."""
        filled = self.lengths > 0
        return None if filled.all() else filled

    @property
    def opens(self) -> IntArray:
        """First row of each customer that has any."""
        return self.starts if self._filled is None else self.starts[self._filled]

    def _reduce(self, ufunc: np.ufunc, rows: FloatArray, empty: float) -> FloatArray:
        if self._filled is None:
            reduced: FloatArray = ufunc.reduceat(rows, self.starts) if self.n_rows else np.empty(0)
            return reduced
        out = np.full(self.n_customers, empty)
        if self.n_rows:
            out[self._filled] = ufunc.reduceat(rows, self.opens)
        return out

    def _pick(self, rows: FloatArray | IntArray | BoolArray, places: IntArray) -> FloatArray:
        if self._filled is None:
            return rows[places].astype(np.float64, copy=False)
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

    def std(self, rows: FloatArray) -> FloatArray:
        """Sample standard deviation (n - 1), two passes; null below two rows."""
        deviation = rows - self.mean(rows)[self.customer_of_row]
        return np.sqrt(ratio(self.sum(deviation * deviation), np.maximum(self.count - 1.0, 0.0)))

    def median(self, rows: FloatArray) -> FloatArray:
        """Median, the mean of the two middle values for an even count; null without rows."""
        ordered = self._sorted_within(rows)
        low, high = self.starts + (self.lengths - 1) // 2, self.starts + self.lengths // 2
        return (self._pick(ordered, low) + self._pick(ordered, high)) / 2.0

    def _sorted_within(self, rows: FloatArray) -> FloatArray:
        """Rows sorted inside each customer: complex numbers sort by real part, then by imaginary part."""
        keyed = np.empty(self.n_rows, dtype=np.complex128)
        keyed.real, keyed.imag = self.customer_of_row, rows
        keyed.sort()
        return keyed.imag

    def n_distinct(self, codes: IntArray) -> FloatArray:
        """Distinct non-negative codes; negative codes are nulls and do not count."""
        known = codes >= 0
        if not known.any():
            return np.zeros(self.n_customers)
        width = int(codes.max()) + 1
        keys = np.unique(self.customer_of_row[known] * width + codes[known])
        return np.bincount(keys // width, minlength=self.n_customers).astype(np.float64)

    def n_runs(self, rows: IntArray) -> FloatArray:
        """Distinct values of a column that does not decrease inside a customer, such as a day."""
        new = np.ones(self.n_rows, dtype=np.bool_)
        np.not_equal(rows[1:], rows[:-1], out=new[1:])
        new[self.opens] = True
        return self.sum(new)

    def select(self, mask: BoolArray) -> Segments:
        """Segments of the rows where `mask` holds, for the same customers."""
        return Segments(self.sum(mask).astype(np.int64))
