"""The cut: what was known of each customer before `as_of`, as views that features are written on.

This is the only place that cuts the past (`ordered_at < as_of`). Three views of the same
customers, in the same order:

- `Purchases` (`o`): orders with a positive value, the view a feature receives;
- `o.events`: orders and refunds at their own times, for net values;
- `o.items`: rows with a positive amount (line items where the log has them), for products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from itertools import accumulate
from typing import Final

import numpy as np

from features.arrays import AnyArray, BoolArray, FloatArray, IntArray
from features.events import Events, Items, Refunds
from features.instants import DAY_US, local_us, month_of_day
from features.once import once
from features.orders import OrderLog
from features.segments import Ranks, Segments
from features.traits import MARKS, TRAITS, codes

WINDOW_EDGES_DAYS: Final = (30, 90, 180, 360, 365)
"""Ages at which a window may begin or end, ascending."""
_WINDOW_EDGES_US: Final = tuple(days * DAY_US for days in WINDOW_EDGES_DAYS)
EVENING_US: Final = 18 * 3_600_000_000


def before(log: OrderLog, as_of: int) -> OrderLog:
    """Return the rows before `as_of`, for the same customers; complete until then at the latest."""
    known = log.ordered_at < as_of
    past = log if known.all() else log.rows(known)
    return past if past.complete_until <= as_of else replace(past, complete_until=as_of)


def _edge(days: int) -> int:
    if days not in WINDOW_EDGES_DAYS:
        raise ValueError(f"no window begins or ends {days} days before as_of: add it to WINDOW_EDGES_DAYS")
    return WINDOW_EDGES_DAYS.index(days)


class Purchases(Segments):
    """Orders with a positive value: the `o` of every feature definition. `log` ends before `as_of`.

    Columns are float64 of shape (n_rows,) unless said otherwise, oldest first per customer.
    """

    def __init__(self, log: OrderLog, as_of: int, resolve: Callable[[Purchases, str], FloatArray]) -> None:
        self.as_of = as_of
        self._zone = log.zone
        self._resolve = resolve
        self._memo: dict[str, FloatArray] = {}
        self._halved: dict[int, FloatArray] = {}
        self.events = Events(log)
        self.available = frozenset(log.optional)
        positive = self.events.amount > 0.0
        self._places = None if positive.all() else np.flatnonzero(positive)
        self._orders_before = np.zeros(0 if self._places is None else self.events.n_rows + 1, dtype=np.int64)
        if self._places is None:
            self._adopt(self.events)
        else:
            before_row = self._orders_before
            np.cumsum(positive, out=before_row[1:])
            super().__init__(before_row[self.events.ends] - before_row[self.events.starts])

    @property
    def items(self) -> Items:
        """Rows of the log with a positive amount."""
        return self.events.items

    @once
    def refunds(self) -> Refunds:
        """Events with a negative value."""
        return Refunds(self.events)

    def __getitem__(self, feature: str) -> FloatArray:
        """Another feature's values, shape (n_customers,), computed once."""
        known = self._memo.get(feature)
        if known is None:
            known = self._memo[feature] = self._resolve(self, feature)
        return known

    def _of(self, events: AnyArray) -> AnyArray:
        return events if self._places is None else events[self._places]

    @once
    def customer_of_row(self) -> IntArray:
        """Position of each order's customer."""
        return self._of(self.events.customer_of_row)

    @once
    def amount(self) -> FloatArray:
        """Value of the order, > 0."""
        return self._of(self.events.amount)

    @once
    def log_amount(self) -> FloatArray:
        """Natural logarithm of the value."""
        return np.log(self.amount)

    @once
    def at(self) -> IntArray:
        """Instant of the order, int64 µs UTC."""
        return self._of(self.events.at)

    @once
    def age_us(self) -> IntArray:
        """Microseconds from the order to `as_of`, int64, > 0."""
        return self.as_of - self.at

    @once
    def age_days(self) -> FloatArray:
        """Whole days from the order to `as_of`."""
        return (self.age_us // DAY_US).astype(np.float64)

    @once
    def _between_edges(self) -> FloatArray:
        """Orders, and net value of the events, from edge to edge, shape (2, n_edges + 1, n_customers)."""
        events = self.events
        older = np.zeros(events.n_rows, dtype=np.int8)
        for edge in _WINDOW_EDGES_US:
            older += events.at < self.as_of - edge
        opens = np.flatnonzero(events.opens_run(older))
        cells = events.customer_of_row[opens] + older[opens] * np.int64(self.n_customers)
        found = np.zeros((2, (len(WINDOW_EDGES_DAYS) + 1) * self.n_customers))
        first_order = opens if self._places is None else self._orders_before[opens]
        found[0, cells[:-1]] = first_order[1:] - first_order[:-1]
        found[0, cells[-1:]] = self.n_rows - first_order[-1:]
        found[1, cells] = np.add.reduceat(events.amount, opens)
        return found.reshape(2, -1, self.n_customers)

    @once
    def _since_edges(self) -> list[tuple[FloatArray, FloatArray]]:
        orders, value = (accumulate(cells, np.add) for cells in self._between_edges)
        return list(zip(orders, value, strict=True))

    def orders_within(self, days: int) -> FloatArray:
        """Orders in [as_of - days, as_of), cut on microseconds; `days` is one of WINDOW_EDGES_DAYS."""
        orders, _ = self._since_edges[_edge(days)]
        return orders

    def net_value(self, days: int) -> FloatArray:
        """Net value of the events in [as_of - days, as_of)."""
        _, value = self._since_edges[_edge(days)]
        return value

    def net_value_before(self, until: int, days: int) -> FloatArray:
        """Net value of the events in [as_of - days, as_of - until)."""
        edges = slice(_edge(until) + 1, _edge(days) + 1)
        return reduce(np.add, self._between_edges[1, edges])

    def halved(self, days: int) -> FloatArray:
        """0.5 ** (age in whole days / days), float64."""
        if days not in self._halved:
            self._halved[days] = np.exp2(self.age_days * (-1.0 / days))
        return self._halved[days]

    @once
    def value_ranks(self) -> Ranks:
        """Smallest, median and largest order."""
        return self.ranks(self.amount, self.lengths)

    @once
    def gap_ranks(self) -> Ranks:
        """Shortest, median and longest gap in days; null for one order."""
        return self.ranks(self.gap_days, np.maximum(self.lengths - 1, 0))

    @once
    def _local_us(self) -> IntArray:
        return local_us(self.at, self._zone)

    @once
    def day(self) -> IntArray:
        """Local calendar day, int64 days since 1970-01-01."""
        return self._local_us // DAY_US

    @once
    def first_day(self) -> IntArray:
        """Local calendar day of the customer's first order, int64, shape (n_customers,)."""
        return self.day.take(self.starts, mode="clip")

    @once
    def with_trait(self) -> dict[str, FloatArray]:
        """Orders that bear each of TRAITS, by its name, shape (n_customers,) each."""
        in_evening = self._local_us - self.day * DAY_US >= EVENING_US
        code = codes(self.day, self.opens_run(self.day), self.opens_run(month_of_day(self.day)), in_evening)
        return dict(zip(TRAITS, self.tally(code, MARKS), strict=True))

    @once
    def gap_days(self) -> FloatArray:
        """Days since the order before (fractions kept); +inf for the customer's first."""
        gaps = np.empty(self.n_rows)
        np.subtract(self.at[1:], self.at[:-1], out=gaps[1:])
        gaps /= DAY_US
        gaps[self.opens] = np.inf
        return gaps

    @property
    def first_gap_days(self) -> FloatArray:
        """Gap between the first two orders; null for one order."""
        return self._gap_at(self.starts + 1)

    @property
    def last_gap_days(self) -> FloatArray:
        """Gap between the last two orders; null for one order."""
        return self._gap_at(self.ends - 1)

    def _gap_at(self, places: IntArray) -> FloatArray:
        return np.where(self.lengths > 1, self.gap_days.take(places, mode="clip"), np.nan)

    @once
    def n_gaps(self) -> FloatArray:
        """Gaps between consecutive orders: one less than orders."""
        return self.count - 1.0

    @once
    def span_days(self) -> FloatArray:
        """Days from the first order to the last (fractions kept), shape (n_customers,)."""
        return (self.at.take(self.ends - 1, mode="clip") - self.at.take(self.starts, mode="clip")) / DAY_US

    @once
    def discount(self) -> FloatArray:
        """Discount given on the order, money; needs `discount_amount`."""
        return self._of(self.events.number("discount_amount"))

    @once
    def quantity(self) -> FloatArray:
        """Pieces in the order; needs `quantity`."""
        return self._of(self.events.number("quantity"))

    @once
    def has_coupon(self) -> BoolArray:
        """Whether a coupon was used; needs `coupon_code`."""
        return self._of(self.events.any_text("coupon_code"))

    @once
    def channel(self) -> IntArray:
        """Code of the order's channel, negative: null; needs `channel`."""
        return self._of(self.events.first_code("channel"))
