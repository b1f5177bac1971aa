"""Segments: rules as data, edges of calendar windows, what is unknown is neither in nor out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from features.instants import DAY_US, isoformat, parse_instant
from features.orders import OrderLog
from model.bundle import Bundle
from model.standing import Standing
from serving.scorer import score
from serving.segments import SEGMENTS, _holds, months_before, segments

Make = Callable[..., OrderLog]
STANDING = Standing(np.arange(101.0), np.zeros((3, 4)), 30.0, historic_clv_p90=100.0, average_order_value_p80=50.0)
AS_OF = parse_instant("2024-05-31")


@pytest.mark.parametrize(
    ("as_of", "months", "expected"),
    [
        ("2024-05-31", 3, "2024-02-29"),
        ("2023-05-31", 3, "2023-02-28"),
        ("2024-01-15", 3, "2023-10-15"),
        ("2024-12-31T12:30:00", 6, "2024-06-30T12:30:00"),
    ],
)
def test_months_are_calendar_months_with_the_end_clamped(as_of: str, months: int, expected: str) -> None:
    assert isoformat(months_before(parse_instant(as_of), months)) == isoformat(parse_instant(expected))


def columns(**given: object) -> dict[str, np.ndarray]:
    plain = {
        "frequency": 1.0, "historic_clv": 10.0, "monetary": 10.0, "spend_max": 10.0, "coupon_orders_share": np.nan,
        "discounted_orders_share": np.nan, "tenure_days": 10.0, "peak_quarter_share": 1.0, "last_order_age_us": 0.0,
        "value_tier": "middle", "purchase_probability": 0.1,
    }  # fmt: skip
    return {
        name: np.array([value], dtype=object if isinstance(value, str) else float)
        for name, value in {**plain, **given}.items()
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"first_time_buyers", "bought_last_3_months"}),
        ({"frequency": 2.0}, {"repeat_buyers", "bought_last_3_months"}),
        ({"spend_max": 150.0}, {"first_time_buyers", "bought_last_3_months"}),
        ({"spend_max": 150.01}, {"first_time_buyers", "bought_last_3_months", "large_single_order"}),
        ({"last_order_age_us": 92.0 * DAY_US}, {"first_time_buyers", "bought_last_3_months"}),
        ({"last_order_age_us": 92.0 * DAY_US + 1}, {"first_time_buyers"}),
        ({"last_order_age_us": 400.0 * DAY_US}, {"first_time_buyers", "not_bought_last_6_months"}),
        ({"historic_clv": 100.0}, {"first_time_buyers", "bought_last_3_months", "big_spenders"}),
        ({"discounted_orders_share": 0.0}, {"first_time_buyers", "bought_last_3_months", "no_discount_buyers"}),
        (
            {"frequency": 3.0, "value_tier": "top", "purchase_probability": 0.5},
            {"repeat_buyers", "bought_last_3_months", "vip"},
        ),
    ],
)
def test_rules_hold_on_their_edges(given: dict[str, object], expected: set[str]) -> None:
    assert set(segments(columns(**given), AS_OF, STANDING, "EUR")[0]) == expected


def test_the_unknown_is_neither_in_nor_out() -> None:
    used = SEGMENTS["used_a_coupon"]
    for rule in (used, {"not": used}, {"all": [used, {"not": used}]}):
        assert not _holds(rule, columns(), AS_OF, STANDING).any()
    assert _holds({"not": used}, columns(coupon_orders_share=0.0), AS_OF, STANDING).all()
    assert _holds({"any": [used, SEGMENTS["first_time_buyers"]]}, columns(), AS_OF, STANDING).all()


def test_an_order_on_the_edge_of_the_window_counts(bundle: Bundle, log_of: Make) -> None:
    log = log_of([("on", "2024-02-29", 10.0), ("before", "2024-02-28T23:59:59", 10.0), ("none", "2024-03-01", -1.0)])
    found = score(bundle, log, AS_OF)
    named = dict(zip(log.customer_ids, found.place.segments, strict=True))
    assert "bought_last_3_months" in named["on"]
    assert "bought_last_3_months" not in named["before"]
    assert named["none"] == []
