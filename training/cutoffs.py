"""Which moments of the past to learn from, and which window to hold out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from features.errors import HorizonError, TrainingError, listed
from features.instants import DAY_US
from features.orders import OrderLog

DEFAULT_HORIZONS: Final = (30, 90, 180, 365)
MIN_HISTORY_DAYS: Final = 30
"""Days of orders that must lie before a cut-off for its features to mean anything."""


def history_days(log: OrderLog, as_of: int) -> int:
    """Whole days from the first order to `as_of`."""
    return max(0, (as_of - log.began_at) // DAY_US)


def training_cutoffs(log: OrderLog, as_of: int, horizon_days: int) -> list[int]:
    """Cut-offs whose label windows [c, c + horizon) end at or before `as_of`, newest first.

    Back to the start of the log, less half a horizon (30 to 60 days) of history. A month apart
    where that gives at least six, else a fortnight, else a week: short logs get overlapping windows.
    Placeholder dates long before the shop began do not add cut-offs: at most five years are walked.
    """
    newest = as_of - horizon_days * DAY_US
    history = min(max(horizon_days // 2, MIN_HISTORY_DAYS), 60)
    span = (newest - log.began_at) // DAY_US - history
    if span < 0:
        return [newest] if (newest - log.began_at) // DAY_US >= MIN_HISTORY_DAYS else []
    step = 30 if span >= 150 else 14 if span >= 42 else 7
    return [newest - days * DAY_US for days in range(0, min(span, 5 * 365) + 1, step)]


def longest_horizon(log: OrderLog, as_of: int) -> int:
    """Longest horizon in days that leaves one training window and one held-out window."""
    return max(0, (history_days(log, as_of) - MIN_HISTORY_DAYS) // 2)


def checked_horizons(log: OrderLog, as_of: int, asked: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(horizons to fit, defaults that were dropped), both ascending.

    Raises
    ------
    HorizonError
        A horizon that was asked for does not fit the history, and others do.
    TrainingError
        None does, or of the defaults not even the shortest.
    """
    longest = longest_horizon(log, as_of)
    if asked:
        wrong = sorted({days for days in asked if not 1 <= days <= longest})
        if wrong:
            raise (HorizonError if longest else TrainingError)(_too_long(wrong, log, as_of, longest))
        return tuple(sorted(set(asked))), ()
    kept = tuple(days for days in DEFAULT_HORIZONS if days <= longest)
    if not kept:
        raise TrainingError(_too_long(list(DEFAULT_HORIZONS[:1]), log, as_of, longest))
    return kept, tuple(days for days in DEFAULT_HORIZONS if days > longest)


def _too_long(wrong: Sequence[int], log: OrderLog, as_of: int, longest: int) -> str:
    return (
        f"A horizon of {listed(wrong)} days does not fit: the log has {history_days(log, as_of)} days before as_of, "
        f"and a horizon needs {MIN_HISTORY_DAYS} days of history, one label window to learn from and one held out. "
        f"{repair(longest)}"
    )


def repair(longest: int) -> str:
    """What to do about a horizon that does not fit, where the longest that would has so many days."""
    if longest < 1:
        return "No horizon is possible: bring more history."
    return f"The longest possible is {longest} days (--horizon-days {longest})."
