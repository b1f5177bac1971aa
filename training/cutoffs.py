"""Which moments of the past to learn from, and which window to hold out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from features.errors import HorizonError, listed
from features.instants import DAY_US
from features.orders import OrderLog

DEFAULT_HORIZONS: Final = (30, 90, 180, 365)
MIN_HISTORY_DAYS: Final = 28
"""Days of orders that must lie before a cut-off for its features to mean anything."""
MAX_CUTOFFS: Final = 12
STEP_DAYS: Final = 30


def history_days(log: OrderLog, as_of: int) -> int:
    """Whole days from the first order to `as_of`, or to the end of the log where that is earlier."""
    return max(0, (min(as_of, log.complete_until) - log.first_at) // DAY_US)


def training_cutoffs(log: OrderLog, as_of: int, horizon_days: int) -> list[int]:
    """Cut-offs whose label windows [c, c + horizon) end at or before `as_of`, newest first.

    A month apart, or a third of the horizon where that is shorter; at most twelve, so that a
    year's seasons are seen; none with less than MIN_HISTORY_DAYS of orders behind it.
    """
    step = min(STEP_DAYS, max(7, horizon_days // 3)) * DAY_US
    newest = min(as_of, log.complete_until) - horizon_days * DAY_US
    oldest = log.first_at + MIN_HISTORY_DAYS * DAY_US
    return [cutoff for k in range(MAX_CUTOFFS) if (cutoff := newest - k * step) >= oldest]


def longest_horizon(log: OrderLog, as_of: int) -> int:
    """Longest horizon in days that leaves one training window and one held-out window."""
    return max(0, (history_days(log, as_of) - MIN_HISTORY_DAYS) // 2)


def checked_horizons(log: OrderLog, as_of: int, asked: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(horizons to fit, defaults that were dropped), both ascending.

    Raises
    ------
    HorizonError
        An explicit horizon does not fit the history, or not even the shortest default does.
    """
    longest = longest_horizon(log, as_of)
    if asked:
        wrong = sorted({days for days in asked if not 1 <= days <= longest})
        if wrong:
            raise HorizonError(_too_long(wrong, log, as_of, longest))
        return tuple(sorted(set(asked))), ()
    kept = tuple(days for days in DEFAULT_HORIZONS if days <= longest)
    if not kept:
        raise HorizonError(_too_long(list(DEFAULT_HORIZONS[:1]), log, as_of, longest))
    return kept, tuple(days for days in DEFAULT_HORIZONS if days > longest)


def _too_long(wrong: Sequence[int], log: OrderLog, as_of: int, longest: int) -> str:
    return (
        f"A horizon of {listed(wrong)} days does not fit: the log has {history_days(log, as_of)} days before as_of, and a "
        f"horizon needs {MIN_HISTORY_DAYS} days of history, one label window to learn from and one held out. "
        + (f"The longest possible is {longest} days." if longest >= 1 else "No horizon is possible: bring more history.")
    )
