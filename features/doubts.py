"""What looks wrong with an order log though every row of it is valid: asked, never mended."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from features.arrays import IntArray
from features.columns import ORDER_ID
from features.events import Events
from features.instants import DAY_US, isoformat, local_us
from features.orders import OrderLog

_LONG_AGO_DAYS: Final = 5 * 365
"""After such a silence the orders before it are no past but placeholder dates."""
_GAP_DAYS: Final = 28
"""Holidays are shorter."""
_MOST_GAPS: Final = 2
"""More of them are how the shop works: billing days, seasons."""
_YEAR: Final = 365
_WEEK: Final = 7
_AROUND_DAYS: Final = 8 * _WEEK
"""What is usual is told from the eight weeks before, and after."""
_SURELY: Final = 20.0
"""Orders that were to be expected where there are none or few."""
_THIN: Final = 0.25
"""Of the usual orders, a thin week has fewer than this share."""
_MOST_THIN_WEEKS: Final = 4
_HEAVY_SHARE, _HEAVIER = 0.05, 10
"""One id has this share of all orders, and so many times those of the next one."""
_MANY: Final = 100
"""Customers, from which on one of them with a twentieth of the orders is a surprise."""
_NEARLY_ALL, _DIFFERENT = 0.9, 0.25
"""Share of orders whose lines are alike, and their different amounts to an order: few prices make lines alike, too."""
_OVERLAP: Final = 0.01
"""Share of rows that customers hardly ever repeat to the second."""
_NOBODY: Final = frozenset(
    {"0", "null", "none", "nan", "na", "n/a", "nil", "-", "\\n", "undefined", "unknown", "guest"}
)
"""Ids, in lower case, that stand for no customer in many systems."""
_PHONE: Final = re.compile(r"'?\+?[\d\s().-]{10,}")
_WRITTEN: Final = "how a phone number is written"
_PHONE_DIGITS: Final = 10
"""What stands before the last ones is a country's code, or what is dialled in its place."""


def doubts(log: OrderLog, *, drawn: bool = False) -> list[str]:
    """Questions that the log raises, a sentence or two each for the one who exported it; none in most logs.

    Of a log that was `drawn`, a sample of customers, nothing is asked that one customer could answer.
    """
    events = Events(log)
    ordered = events.amount > 0.0
    if not ordered.any():
        return []
    days = (events.at[ordered] - log.complete_until) // DAY_US  # -1 is the last one
    a_day = np.bincount(days - days.min(), minlength=-days.min())
    old, a_day = _long_ago(a_day)
    each = np.bincount(events.customer_of_row[ordered], minlength=log.n_customers)
    of_rows = [*old, *_gap(log, a_day), *_thin_end(a_day), *_totals_on_lines(log), *_doubled(log)]
    return of_rows if drawn else [*of_rows, *_nobody(log, each), *_heavy(each), *_alike(log)]


def _long_ago(a_day: IntArray) -> tuple[list[str], IntArray]:
    """Dates that stand for none, and the orders of each day after them."""
    busy = np.flatnonzero(a_day)
    breaks = np.flatnonzero(np.diff(busy) > _LONG_AGO_DAYS)
    if not len(breaks):
        return [], a_day
    begin = busy[breaks[-1] + 1]
    said = f"{a_day[:begin].sum():,} orders are dated {(begin - busy[breaks[-1]]) // _YEAR} years before all others: "
    return [said + "placeholder dates? They count as first orders."], a_day[begin:]


def _gap(log: OrderLog, a_day: IntArray) -> Iterator[str]:
    """Weeks without an order where there were to be many, unless they come again and again."""
    busy = np.flatnonzero(a_day)
    empty = np.diff(busy) - 1
    gaps = [
        (int(empty[k]), int(busy[k]) + 1)
        for k in np.flatnonzero(empty >= _GAP_DAYS)
        if empty[k] * _usual(a_day, busy[k] + 1, busy[k + 1]) >= _SURELY
    ]
    yearly = len(gaps) == 2 and abs(abs(gaps[0][1] - gaps[1][1]) - _YEAR) < _GAP_DAYS
    if gaps and len(gaps) <= _MOST_GAPS and not yearly:
        days, begin = max(gaps)
        first = np.array([log.complete_until + (begin - len(a_day)) * DAY_US])
        date = isoformat(int(local_us(first, log.zone)[0]))[:10]
        other = " (nor in another such time)" if len(gaps) > 1 else ""
        yield (
            f"There is no order on the {days} days from {date}{other}: was the shop closed, or were they lost in the "
            "export? Lost days are taken for customers' silence."
        )


def _usual(a_day: IntArray, begin: int, end: int) -> float:
    """Orders a day in the weeks around the days [begin, end)."""
    around = np.concatenate([a_day[max(begin - _AROUND_DAYS, 0) : begin], a_day[end : end + _AROUND_DAYS]])
    return float(around.mean())


def _thin_end(a_day: IntArray) -> Iterator[str]:
    """Last weeks that are hardly there, and were there a year before."""
    n_days = len(a_day)
    year_before = any(_thin(a_day, n_days - _YEAR + shift) for shift in range(-_WEEK, _WEEK + 1))
    if (found := _thin(a_day, n_days)) and not year_before:
        n_weeks, share = found
        yield (
            f"The last {n_weeks * _WEEK} days have {share:.0%} of the usual orders: is the export complete? If it is "
            "not, leave them out."
        )


def _thin(a_day: IntArray, end: int) -> tuple[int, float] | None:
    """How many weeks before `end` have surely too few orders, and what share of the usual ones; None without any."""
    for n_weeks in range(_MOST_THIN_WEEKS, 0, -1):
        begin = end - n_weeks * _WEEK - _AROUND_DAYS
        if begin < 0:
            continue
        weeks = a_day[begin:end].reshape(-1, _WEEK).sum(axis=1)
        usual, last = weeks[:-n_weeks], weeks[-n_weeks:]
        if usual.min() >= _SURELY and last.max() < min(usual.min() / 2.0, _THIN * usual.mean()):
            return n_weeks, float(last.mean() / usual.mean())
    return None


def _totals_on_lines(log: OrderLog) -> Iterator[str]:
    """Orders whose every line has the same amount, though amounts differ between orders: a total, most likely."""
    if log.event is None:
        return
    first = np.flatnonzero(np.append(True, log.event[1:] != log.event[:-1]))
    several = np.diff(np.append(first, log.n_rows)) > 1
    most, least = (ufunc.reduceat(log.amount, first)[several] for ufunc in (np.maximum, np.minimum))
    alike = most == least
    if len(alike) >= _MANY and alike.mean() >= _NEARLY_ALL and len(np.unique(most)) >= _DIFFERENT * len(alike):
        yield (
            f"{alike.mean():.0%} of the orders of several lines have one amount on all of them: is it the order's "
            "total, repeated? Then it counts once a line: leave it on one line, or map what each line cost."
        )


def _doubled(log: OrderLog) -> Iterator[str]:
    """Rows without an order id that equal another in every column, the time of day among them."""
    if ORDER_ID in log.optional:
        return
    same = np.ones(log.n_rows - 1, dtype=np.bool_)
    same[log.starts[(log.starts > 0) & (log.starts < log.n_rows)] - 1] = False
    for column in (log.ordered_at, log.amount, *log.optional.values()):
        behind, ahead = column[:-1], column[1:]
        same &= (behind == ahead) | ((behind != behind) & (ahead != ahead))
    timed = local_us(log.ordered_at[1:][same], log.zone) % DAY_US != 0
    n_doubled = int(timed.sum())
    if n_doubled >= _SURELY and n_doubled >= _OVERLAP * log.n_rows:
        yield (
            f"{n_doubled:,} of {log.n_rows:,} rows equal another, the time of day included: do two exports overlap? "
            "Both rows count: leave one of them out, or map order_id, of which copies are dropped."
        )


def _nobody(log: OrderLog, orders: IntArray) -> Iterator[str]:
    """An id that says there is none, on more orders than one in a hundred customers has."""
    usual = np.quantile(orders, 0.99)
    for place, one in enumerate(log.customer_ids.tolist()):
        if str(one).strip().lower() in _NOBODY and orders[place] > usual:
            yield (
                f"The customer id {str(one)!r} has {orders[place]:,} orders: does it stand for guests, or for no "
                "customer? It is taken for one: leave it empty in the export."
            )


def _heavy(orders: IntArray) -> Iterator[str]:
    """One id that is no customer."""
    if np.count_nonzero(orders) < _MANY:
        return
    second, most = np.partition(orders, -2)[-2:]
    if most >= _HEAVY_SHARE * orders.sum() and most >= _HEAVIER * second:
        yield (
            f"One customer id has {most / orders.sum():.0%} of all orders, {most:,}, the next one {second:,}: a guest "
            "account or a till? What is no customer is better left out of the export."
        )


def _alike(log: OrderLog) -> Iterator[str]:
    """Ids that people would take for the same."""
    ids = [str(one) for one in log.customer_ids]
    phones = any(_PHONE.fullmatch(one) and not one.isdecimal() for one in ids)
    folded = [_folded(one, phones) for one in ids]
    counts = Counter(key for key, _ in folded)
    alike = [how for key, how in folded if counts[key] > 1]
    if alike:
        ways = sorted(set().union(*alike))
        of_phones = ", of phone numbers the last ten digits" if _WRITTEN in ways else ""
        yield (
            f"{len(alike):,} customer ids differ from another only by {', '.join(ways)} and count as different ones: "
            f"if they are the same, write them alike before they are read, in a sheet by LOWER(TRIM(…)){of_phones}."
        )


def _folded(name: str, phones: bool) -> tuple[str, set[str]]:
    """An id without what is easily changed on the way, and what that was.

    Capitals matter in ids that are no e-mail addresses; long numbers are phone numbers where `phones` are among ids.
    """
    bare = name.strip()
    spaces = {"spaces around them"} if bare != name else set()
    if "@" in bare:
        return bare.casefold(), spaces | ({"an address's capitals"} if bare != bare.casefold() else set())
    if phones and _PHONE.fullmatch(bare):
        return re.sub(r"\D", "", bare)[-_PHONE_DIGITS:], {_WRITTEN}
    whole = re.sub(r"\.0+$", "", bare)
    if not whole.isdecimal():
        return bare, spaces
    number = whole.lstrip("0") or "0"
    behind = {"`.0` behind"} if whole != bare else set()
    return number, spaces | behind | ({"zeros in front"} if number != whole else set())
