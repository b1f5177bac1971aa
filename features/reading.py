"""Table of contents of the door: source → raw table → rules → `Intake`."""

from __future__ import annotations

import logging
from typing import Final

from features.accounts import Accounts
from features.errors import OrdersError
from features.instants import from_us
from features.options import ReadOptions
from features.places import shown_source
from features.sources import open_raw
from features.validation import Intake, validate

_log = logging.getLogger(__name__)
UNREADABLE_TO_TRAIN: Final = 0.1
UNREADABLE_TO_SCORE: Final = 0.5
"""Share of rows with a date or an amount that cannot be read, from which on nothing is made of a log."""


def read_orders(source: str, options: ReadOptions | None = None, *, now: int | None = None) -> Intake:
    """Read an order log in one piece and account for every row.

    Parameters
    ----------
    source
        Path, folder, glob, remote path or SQLAlchemy URL; see `features.sources.open_raw`.
    now
        Instant in µs UTC; rows later than one day after it are rejected. None skips the rule.

    Raises
    ------
    OrdersError
        The log cannot be used as a whole.
    """
    settings = options or ReadOptions()
    intake = validate(open_raw(source, settings).read(), settings, now)
    refuse_unusable(intake.accounts, shown_source(source))
    _log.info(
        "orders from %s to %s",
        from_us(intake.log.first_at),
        from_us(intake.log.last_at),
    )
    return intake


def refuse_unreadable(accounts: Accounts, least: float) -> None:
    """Raise OrdersError where dates and amounts of this share of the rows, or more, cannot be read.

    Empty values do not count: they are missing rather than misread.
    """
    dates, amounts = accounts.date_forms.total(), accounts.amount_forms.total()
    if dates + amounts and dates + amounts >= least * accounts.n_read:
        lost = " and ".join(f"{what} of {n:,}" for what, n in (("dates", dates), ("amounts", amounts)) if n)
        raise OrdersError(
            f"{lost.capitalize()} of {accounts.n_read:,} rows could not be read, and the others alone would tell "
            f"another story of these customers. {accounts.repairs}"
        )


def refuse_unusable(accounts: Accounts, shown: str) -> None:
    """Raise OrdersError where no order is usable."""
    if accounts.n_read == 0:
        raise OrdersError(f"{shown!r} has a header but no orders.")
    _log.info(accounts.summary())
    if accounts.n_valid == 0:
        raise OrdersError(f"{shown!r} holds no usable order. {accounts.summary()}")
