"""The cut: what was known of each customer before `as_of`, as views that features are written on.

This is the only place that cuts the past (`ordered_at < as_of`). Three views of the same
customers, in the same order:

- `Purchases` (`o`): orders with a positive value, the view a feature receives;
- `o.events`: orders and refunds at their own times, for net values;
- `o.items`: rows with a positive amount (line items where the log has them), for products.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from features.arrays import AnyArray, BoolArray, FloatArray, IntArray
from features.instants import DAY_US, first_day_of_month, local_us, month_of_day
from features.orders import OrderLog
from features.segments import Segments


def before(log: OrderLog, as_of: int) -> OrderLog:
    """Return the rows before `as_of`, for the same customers; complete until then at the latest."""
    known = log.ordered_at < as_of
    past = log if known.all() else log.rows(known)
    return past if past.complete_until <= as_of else replace(past, complete_until=as_of)


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
            super().__init__(self._rows.lengths)
            self.amount, self.at = log.amount, log.ordered_at
        else:
            opens = np.ones(log.n_rows, dtype=np.bool_)
            np.not_equal(log.event[1:], log.event[:-1], out=opens[1:])
            self._first_rows = np.flatnonzero(opens)
            super().__init__(self._rows.select(opens).lengths)
            event_at = log.ordered_at if log.event_at is None else log.event_at
            self.amount, self.at = self._netted(log.amount), event_at[self._first_rows]
        self.items = Items(self._rows, log.optional, log.amount > 0.0)

    def _netted(self, rows: FloatArray) -> FloatArray:
        """Sum the lines of each event; what is left of lines that cancel out is rounding, and becomes 0."""
        total = self._summed(rows)
        return np.where(np.abs(total) <= 1e-12 * self._summed(np.abs(rows)), 0.0, total)

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


class Purchases(Segments):
    """Orders with a positive value before `as_of`: the `o` of every feature definition.

    Columns are float64 of shape (n_rows,) unless said otherwise, oldest first per customer.
    """

    def __init__(self, log: OrderLog, as_of: int, resolve: Callable[[Purchases, str], FloatArray]) -> None:
        self.as_of = as_of
        self._zone = log.zone
        self._resolve = resolve
        self._memo: dict[str, FloatArray] = {}
        self._halved: dict[int, FloatArray] = {}
        past = before(log, as_of)
        self.events = Events(past)
        self.items = self.events.items
        self.available = frozenset(log.optional)
        self._mask = self.events.amount > 0.0
        self._all = bool(self._mask.all())
        super().__init__(self.events.lengths if self._all else self.events.select(self._mask).lengths)

    def __getitem__(self, feature: str) -> FloatArray:
        """Another feature's values, shape (n_customers,), computed once."""
        if feature not in self._memo:
            self._memo[feature] = self._resolve(self, feature)
        return self._memo[feature]

    def _of(self, events: AnyArray) -> AnyArray:
        return events if self._all else events[self._mask]

    @cached_property
    def amount(self) -> FloatArray:
        """Value of the order, > 0."""
        return self._of(self.events.amount)

    @cached_property
    def log_amount(self) -> FloatArray:
        """Natural logarithm of the value."""
        return np.log(self.amount)

    @cached_property
    def at(self) -> IntArray:
        """Instant of the order, int64 µs UTC."""
        return self._of(self.events.at)

    @cached_property
    def age_us(self) -> IntArray:
        """Microseconds from the order to `as_of`, int64, > 0."""
        return self.as_of - self.at

    @cached_property
    def age_days(self) -> FloatArray:
        """Whole days from the order to `as_of`."""
        return (self.age_us // DAY_US).astype(np.float64)

    @cached_property
    def event_age_us(self) -> IntArray:
        """Microseconds from the order or refund to `as_of`, int64, > 0, one for each row of `events`."""
        return self.as_of - self.events.at

    def within(self, days: int) -> BoolArray:
        """Orders in [as_of - days, as_of), cut on microseconds."""
        return self.age_us <= days * DAY_US

    def halved(self, days: int) -> FloatArray:
        """0.5 ** (age in whole days / days), float64."""
        if days not in self._halved:
            self._halved[days] = np.exp2(self.age_days * (-1.0 / days))
        return self._halved[days]

    @cached_property
    def from_last(self) -> IntArray:
        """How many orders of the customer come after this one, 0 for the last, int64."""
        return np.repeat(self.ends, self.lengths) - np.arange(self.n_rows) - 1

    @cached_property
    def _local_us(self) -> IntArray:
        return local_us(self.at, self._zone)

    @cached_property
    def day(self) -> IntArray:
        """Local calendar day, int64 days since 1970-01-01."""
        return self._local_us // DAY_US

    @cached_property
    def hour(self) -> IntArray:
        """Local hour of the day, 0-23, int64."""
        return self._local_us % DAY_US // (DAY_US // 24)

    @cached_property
    def weekday(self) -> IntArray:
        """Local weekday, Monday 0 to Sunday 6, int64."""
        return (self.day + 3) % 7

    @cached_property
    def calendar_month(self) -> IntArray:
        """Local calendar month, int64 months since 1970-01."""
        return month_of_day(self.day)

    @cached_property
    def month(self) -> IntArray:
        """Month of the year, 1-12, int64."""
        return self.calendar_month % 12 + 1

    @cached_property
    def day_of_month(self) -> IntArray:
        """Day of the month, 1-31, int64."""
        opens = first_day_of_month(self.calendar_month)
        return self.day - opens + 1

    @cached_property
    def gaps(self) -> Segments:
        """Segments of the gaps between consecutive orders: one less than orders, per customer."""
        return Segments(np.maximum(self.lengths - 1, 0))

    @cached_property
    def gap_days(self) -> FloatArray:
        """Gaps in days (fractions kept), shape (n_gaps,), the rows of `gaps`."""
        follows = np.ones(self.n_rows, dtype=np.bool_)
        follows[self.opens] = False
        return (self.at[1:] - self.at[:-1])[follows[1:]] / DAY_US

    @cached_property
    def discount(self) -> FloatArray:
        """Discount given on the order, money; needs `discount_amount`."""
        return self._of(self.events.number("discount_amount"))

    @cached_property
    def quantity(self) -> FloatArray:
        """Pieces in the order; needs `quantity`."""
        return self._of(self.events.number("quantity"))

    @cached_property
    def has_coupon(self) -> BoolArray:
        """Whether a coupon was used; needs `coupon_code`."""
        return self._of(self.events.any_text("coupon_code"))

    @cached_property
    def channel(self) -> IntArray:
        """Code of the order's channel, negative: null; needs `channel`."""
        return self._of(self.events.first_code("channel"))
