"""`OrderLog`: valid order rows of many customers in one total order, as numpy columns.

It is what validation hands over and the only thing the engine reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, tzinfo
from typing import Final

import numpy as np

from features.arrays import AnyArray, BoolArray, FloatArray, IntArray, ObjectArray
from features.columns import UNKNOWN_CURRENCY
from features.instants import DAY_US

_SILENCE_DAYS: Final = 28
"""Longer than the holidays of a shop that has begun."""


def earliest(times: FloatArray | IntArray, day: int) -> float:
    """Return the earliest time after placeholders and trials: one in a thousand, before four weeks of silence.

    `day` is how much of the times a day is. Raises ValueError without any.
    """
    place = -(-(len(times) - 1) // 1000)
    first = np.sort(np.partition(times, place)[: place + 1])
    silences = np.flatnonzero(np.diff(first) >= _SILENCE_DAYS * day)
    return float(first[silences[-1] + 1 if len(silences) else 0])


@dataclass(frozen=True)
class OrderLog:
    """Rows sorted by customer, event time, order id, amount, then every other column.

    Attributes
    ----------
    customer_ids
        Distinct ids, ascending, shape (n_customers,).
    starts
        First row of each customer, and n_rows at the end, shape (n_customers + 1,).
    ordered_at
        Instant of each row, int64 µs UTC, shape (n_rows,).
    amount
        Net value of each row, float64, finite, shape (n_rows,); negative: a refund.
    event
        Number of the event (order or refund) a row belongs to, non-decreasing, shape (n_rows,);
        None when each row is an event of its own.
    event_at
        Instant of that event; equals `ordered_at` when each row is an event.
    optional
        The optional columns that were mapped: float64 for numbers, int32 codes for texts
        (-1 is null; the size of a code means nothing), each of shape (n_rows,).
    values
        Texts behind the codes of the acquisition columns (channel, category), shape (n_values,) each.
    complete_until
        Instant until which no order is missing: the midnight (of the zone) after the last row read, or the
        moment the log was cut at.
    zone
        Business time zone: where days, weekdays and hours are cut.
    """

    customer_ids: ObjectArray
    starts: IntArray
    ordered_at: IntArray
    amount: FloatArray
    event: IntArray | None = None
    event_at: IntArray | None = None
    optional: Mapping[str, AnyArray] = field(default_factory=dict)
    values: Mapping[str, ObjectArray] = field(default_factory=dict)
    complete_until: int = 0
    currency: str = UNKNOWN_CURRENCY
    zone: tzinfo = UTC

    @property
    def n_customers(self) -> int:
        """How many distinct customers."""
        return len(self.customer_ids)

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.ordered_at)

    @property
    def first_at(self) -> int:
        """Instant of the earliest row. Raises ValueError on an empty log."""
        return int(self.ordered_at.min())

    @property
    def began_at(self) -> int:
        """When the shop began, as the rows have it, but for placeholders. Raises ValueError on an empty log."""
        return int(earliest(self.ordered_at, DAY_US))

    @property
    def last_at(self) -> int:
        """Instant of the latest row. Raises ValueError on an empty log."""
        return int(self.ordered_at.max())

    def customers(self, low: int, high: int) -> OrderLog:
        """Return the log of the customers at positions [low, high), without copying a row."""
        if low == 0 and high == self.n_customers:
            return self
        rows = slice(int(self.starts[low]), int(self.starts[high]))
        return replace(
            self,
            customer_ids=self.customer_ids[low:high],
            starts=self.starts[low : high + 1] - self.starts[low],
            ordered_at=self.ordered_at[rows],
            amount=self.amount[rows],
            event=None if self.event is None else self.event[rows],
            event_at=None if self.event_at is None else self.event_at[rows],
            optional={name: column[rows] for name, column in self.optional.items()},
        )

    def only(self, customers: IntArray) -> OrderLog:
        """Return the log of the customers at these positions, ascending."""
        first, lengths = self.starts[customers], np.diff(self.starts)[customers]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(first - starts[:-1], lengths)
        places += np.arange(len(places))
        return replace(self._at(places), customer_ids=self.customer_ids[customers], starts=starts)

    def with_rows(self) -> tuple[IntArray, OrderLog]:
        """Return the customers that have rows, as positions, and their log, without copying a row."""
        customers = np.flatnonzero(self.starts[1:] - self.starts[:-1])
        if len(customers) == self.n_customers:
            return customers, self
        starts = np.append(self.starts[customers], self.n_rows)
        return customers, replace(self, customer_ids=self.customer_ids[customers], starts=starts)

    def rows(self, keep: BoolArray) -> OrderLog:
        """Return the log of the rows where the mask holds; its customers stay, some without rows."""
        kept_before = np.zeros(self.n_rows + 1, dtype=np.int64)
        np.cumsum(keep, out=kept_before[1:])
        return replace(self._at(np.flatnonzero(keep)), starts=kept_before[self.starts])

    def _at(self, places: IntArray) -> OrderLog:
        """Return the log with the columns of some rows; `starts` is left to the caller."""
        return replace(
            self,
            ordered_at=self.ordered_at[places],
            amount=self.amount[places],
            event=None if self.event is None else self.event[places],
            event_at=None if self.event_at is None else self.event_at[places],
            optional={name: column[places] for name, column in self.optional.items()},
        )
