"""Lifecycle and flags on hand-written customers: exactly one status, no flicker between two orders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from features.instants import DAY_US, parse_instant
from features.matrix import feature_matrix
from features.orders import OrderLog
from serving.lifecycle import NEEDED, STATUSES, flags, status

Make = Callable[..., OrderLog]
USUAL = 30.0
START = parse_instant("2024-01-01")


def orders(customer: str, *days: int, amount: float = 10.0) -> list[tuple[str, str, float]]:
    return [(customer, str(np.datetime64("2024-01-01") + day), amount) for day in days]


def status_of(log_of: Make, days: tuple[int, ...], today: int) -> str:
    matrix = feature_matrix(log_of(orders("a", *days)), START + today * DAY_US, NEEDED)
    return str(status(matrix, USUAL)[0])


@pytest.mark.parametrize(
    ("days", "today", "expected"),
    [
        ((0,), 10, "new"),
        ((0,), 59, "new"),
        ((0,), 60, "at_risk"),
        ((0,), 120, "lapsed"),
        ((0, 40), 60, "active"),
        ((0, 10, 20, 30), 35, "loyal"),
        ((0, 60, 120, 180), 200, "active"),  # regular, but seldom: not what the shop calls loyal
        ((0, 60, 120, 180), 300, "at_risk"),
        ((0, 60, 120, 180), 400, "lapsed"),
        ((0, 10, 20, 200), 205, "reactivated"),
        ((0, 10, 20, 200, 210), 215, "active"),
    ],
)
def test_a_status_follows_from_the_own_rhythm(log_of: Make, days: tuple[int, ...], today: int, expected: str) -> None:
    assert status_of(log_of, days, today) == expected


def test_between_two_orders_a_status_only_ages(log_of: Make) -> None:
    for days in ((0,), (0, 40), (0, 10, 20, 30), (0, 10, 20, 200)):
        seen = [status_of(log_of, days, days[-1] + later) for later in range(1, 500)]
        ages = [("at_risk", "lapsed").index(name) + 1 if name in ("at_risk", "lapsed") else 0 for name in seen]
        assert ages == sorted(ages)
        assert len(set(seen)) <= 3
        assert set(seen) <= set(STATUSES)


def test_flags_say_what_to_know(log_of: Make) -> None:
    log = log_of(
        orders("long silence", 0, 10, 20)
        + orders("once", 50)
        + orders("outlier", 0, 30, 60)
        + orders("outlier", 90, amount=500.0)
        + orders("plain", 0, 40, 80)
    )
    matrix = feature_matrix(log, START + 95 * DAY_US, NEEDED)
    found = dict(zip(log.customer_ids, flags(matrix), strict=True))
    assert found == {
        "long silence": ["long_gap"],
        "once": ["single_order"],
        "outlier": ["amount_outlier"],
        "plain": [],
    }
