"""Margin and discount: a known figure, and what no terms may break."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.predictions import joined
from model.terms import NET_VALUE, Terms, factors

HORIZONS = (30, 90, 180, 365)


def predictions(clv: list[list[float]]) -> object:
    values = np.array(clv)
    half = values / 2.0
    return joined(HORIZONS, values / (values + 1.0), values + 1.0, values, values[:, 0], (half, 3.0 * values))


def test_net_value_is_left_as_it_is() -> None:
    net = predictions([[1.0, 2.0, 3.0, 4.0]])
    assert NET_VALUE.apply(net) is net


def test_money_spread_evenly_over_a_year_is_worth_its_mean() -> None:
    days = (np.arange(200_000) + 0.5) * 365.25 / 200_000
    mean = np.mean(1.1 ** (-days / 365.25))
    assert Terms(0.4, 0.1).weights([365.25]) == pytest.approx([0.4 * mean], rel=1e-9)


def test_a_margin_alone_is_a_factor() -> None:
    net = predictions([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    taken = Terms(margin=0.25).apply(net)
    np.testing.assert_allclose(taken.clv, net.clv / 4.0, rtol=1e-15)
    np.testing.assert_allclose(factors(taken, net), [[0.25] * 4, [1.0] * 4], rtol=1e-15)


@given(
    st.lists(st.floats(0.0, 1e6), min_size=4, max_size=4),
    st.floats(0.01, 1.0),
    st.floats(0.0, 10.0),
)
def test_values_never_fall_and_bounds_hold_on_any_terms(clv: list[float], margin: float, rate: float) -> None:
    net = predictions([sorted(clv)])
    taken = Terms(margin, rate).apply(net)
    slack = 1e-9 * (1.0 + net.clv.max())
    assert (np.diff(taken.clv) >= -slack).all()
    assert (taken.lower <= taken.clv + slack).all()
    assert (taken.clv <= taken.upper + slack).all()
    assert (taken.clv <= margin * net.clv + slack).all()
