"""What looks wrong with an order log though every row of it is valid: asked, never mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from features.arrays import IntArray
from features.events import Events
from features.instants import DAY_US, isoformat
from features.orders import OrderLog

_LEAST_GAP_DAYS: Final = 14
"""Holidays are shorter."""
_AROUND_DAYS: Final = 56
"""What is usual is told from the eight weeks before and after."""
_SURELY: Final = 20.0
"""Orders that were to be expected where there are none or few."""
_THIN: Final = 0.25
"""Of the usual orders, the last week has fewer than this share."""
_HEAVY_SHARE, _HEAVIER = 0.05, 10
"""One id has this share of all orders, and so many times those of the next one."""
_MANY: Final = 100
"""Customers, from which on one of them with a twentieth of the orders is a surprise."""
_WEEK: Final = 7
_SHOWN: Final = 5


def doubts(log: OrderLog) -> list[str]:
    """Questions that the log raises, each a sentence or two for the one who exported it; none in most logs."""
    events = Events(log)
    ordered = events.amount > 0.0
    if not ordered.any():
        return []
    days = (events.at[ordered] - log.complete_until) // DAY_US  # -1 is the last one
    days = days[days >= (log.began_at - log.complete_until) // DAY_US]
    a_day = np.bincount(days - days.min(), minlength=-days.min())
    each = np.bincount(np.repeat(np.arange(log.n_customers), events.lengths)[ordered], minlength=log.n_customers)
    return [*_gap(log, a_day), *_thin_end(a_day), *_heavy(log, each), *_alike(log)]


def _gap(log: OrderLog, a_day: IntArray) -> Iterator[str]:
    """Weeks without an order where there were to be many."""
    busy = np.flatnonzero(a_day)
    empty = np.diff(busy) - 1
    gaps = [
        (int(empty[k]), int(busy[k]) + 1)
        for k in np.flatnonzero(empty >= _LEAST_GAP_DAYS)
        if empty[k] * _usual(a_day, busy[k] + 1, busy[k + 1]) >= _SURELY
    ]
    if gaps:
        days, begin = max(gaps)
        first = isoformat(log.complete_until + (begin - len(a_day)) * DAY_US)[:10]
        others = f" (and {len(gaps) - 1} shorter gaps)" if len(gaps) > 1 else ""
        yield (
            f"There is no order on the {days} days from {first}{others}: was the shop closed, or were they lost in the "
            "export? Lost days are taken for customers' silence."
        )


def _usual(a_day: IntArray, begin: int, end: int) -> float:
    """Orders a day in the weeks around the days [begin, end)."""
    around = np.concatenate([a_day[max(begin - _AROUND_DAYS, 0) : begin], a_day[end : end + _AROUND_DAYS]])
    return float(around.mean())


def _thin_end(a_day: IntArray) -> Iterator[str]:
    """A last week that is hardly there."""
    last, before = int(a_day[-_WEEK:].sum()), a_day[-_WEEK - _AROUND_DAYS : -_WEEK]
    usual = float(before.mean()) * _WEEK if len(before) >= _AROUND_DAYS else 0.0
    if usual >= _SURELY and last < _THIN * usual:
        yield (
            f"The last {_WEEK} days have {last:,} orders, a usual week before them {usual:,.0f}: is the export "
            "complete? --as-of names the day up to which it is."
        )


def _heavy(log: OrderLog, orders: IntArray) -> Iterator[str]:
    """One id that is no customer."""
    if np.count_nonzero(orders) < _MANY:
        return
    second, most = np.partition(orders, -2)[-2:]
    if most >= _HEAVY_SHARE * orders.sum() and most >= _HEAVIER * second:
        yield (
            f"{log.customer_ids[orders.argmax()]!r} has {most / orders.sum():.0%} of all orders, the next one "
            f"{second:,}: a guest account or a till? What is no customer is better left out of the export."
        )


def _alike(log: OrderLog) -> Iterator[str]:
    """Ids that people would take for the same."""
    folded = [_folded(str(one)) for one in log.customer_ids]
    counts = Counter(folded)
    alike = [str(one) for one, key in zip(log.customer_ids, folded, strict=True) if counts[key] > 1]
    if alike:
        shown = ", ".join([repr(one) for one in alike if _folded(one) == _folded(alike[0])][:_SHOWN])
        yield (
            f"{len(alike):,} customer ids differ from another by capitals, spaces around them or zeros in front alone "
            f"({shown}): they count as different customers. Export them alike."
        )


def _folded(name: str) -> str:
    bare = name.strip().casefold()
    return bare.lstrip("0") if bare.isdecimal() else bare
