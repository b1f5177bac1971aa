"""Prediction intervals: identities at any level, and coverage where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.instants import DAY_US, parse_instant
from features.matrix import feature_matrix
from features.orders import OrderLog
from model.bundle import Bundle
from model.spread import Spread
from training.backtest import run_case
from training.fitting import fit
from training.labels import label_window
from training.simulation import SHOPS, simulate
from training.spread import fit_spread

N = 40
START = parse_instant("2023-01-01")


def lognormal_spread(sd: float, level_sd: float = 0.0) -> Spread:
    rng = np.random.default_rng(0)
    ratio = np.exp(rng.normal(-0.5 * sd * sd, sd, 20_000))
    expected = rng.gamma(2.0, 20.0, 20_000)
    return fit_spread(expected * 0.5, expected, expected * ratio, level_sd)


@settings(max_examples=60, deadline=None)
@given(arrays(float, N, elements=st.floats(0, 1)), arrays(float, N, elements=st.floats(0, 1e6)), st.floats(0.05, 0.99))
def test_bounds_hold_the_expectation_and_widen_with_the_level(
    probability: np.ndarray, clv: np.ndarray, level: float
) -> None:
    spread = lognormal_spread(0.6, level_sd=0.2)
    lower, upper = spread.bounds(probability, clv, level)
    assert ((lower >= 0) & (lower <= clv) & (clv <= upper)).all()
    assert np.isfinite(upper).all()
    wider = spread.bounds(probability, clv, level + (1 - level) / 2)
    assert (wider[1] >= upper - 1e-9 * upper).all()


def test_who_is_likely_to_buy_nothing_gets_an_interval_from_zero() -> None:
    lower, upper = lognormal_spread(0.6).bounds(np.array([0.05, 0.5, 0.95, 1.0]), np.full(4, 50.0), 0.8)
    assert (lower[:2] == 0).all()
    assert (lower[2:] > 0).all()
    assert upper[0] == 50.0  # nothing is more likely than 80 %: only the expectation itself is added
    assert (upper[1:] > 50.0).all()


@pytest.mark.parametrize("probability", [0.3, 0.7, 1.0])
def test_known_mixtures_are_covered_as_often_as_said(probability: float) -> None:
    rng, n = np.random.default_rng(1), 40_000
    spread, spend = lognormal_spread(0.8), rng.gamma(2.0, 20.0, n)
    actual = np.where(rng.random(n) < probability, spend * np.exp(rng.normal(-0.32, 0.8, n)), 0.0)
    lower, upper = spread.bounds(np.full(n, probability), probability * spend, 0.8)
    covered = float(((lower <= actual) & (actual <= upper)).mean())
    assert 0.79 < covered < 0.86  # what is stored is widened by design


@pytest.mark.parametrize("probability", [0.35, 0.7])
def test_an_interval_from_zero_holds_in_nine_of_ten_windows(probability: float) -> None:
    """Windows whose level nobody knew: in each, at least 80 % of the customers must be covered, not only on average."""
    rng, n, level_sd = np.random.default_rng(2), 4000, 0.25
    spread, spend = lognormal_spread(0.8, level_sd), rng.gamma(2.0, 20.0, n)
    _, upper = spread.bounds(np.full(n, probability), probability * spend, 0.8)
    covered = []
    for level in np.exp(rng.normal(0.0, level_sd, 300)):
        chance = 1.0 - (1.0 - probability) ** level
        ratio = level * probability / chance * np.exp(rng.normal(-0.32, 0.8, n))
        covered.append((np.where(rng.random(n) < chance, spend * ratio, 0.0) <= upper).mean())
    assert 0.88 < np.mean(np.array(covered) >= 0.8) < 0.99
    assert np.mean(covered) < 0.9


def test_a_shared_error_widens_every_interval_and_the_sum_most() -> None:
    alone, shared = lognormal_spread(0.6), lognormal_spread(0.6, level_sd=0.3)
    probability, clv = np.full(1000, 0.8), np.full(1000, 50.0)
    assert (shared.bounds(probability, clv, 0.8)[1] > alone.bounds(probability, clv, 0.8)[1]).all()
    widths = []
    for spread in (alone, shared):
        low, high = spread.bounds_of_sum(clv.sum(), spread.variance(probability, clv).sum(), 0.8)
        assert 0 < low < clv.sum() < high
        widths.append(high - low)
    assert widths[1] > 5 * widths[0]
    assert alone.bounds_of_sum(0.0, 0.0, 0.8) == (0.0, 0.0)


def test_bounds_never_fall_with_the_horizon(bundle: Bundle, shop: OrderLog) -> None:
    for level in (0.5, 0.8, 0.95):
        found = bundle.model.predict(feature_matrix(shop, shop.complete_until), level=level)
        for values in (found.lower, found.upper, found.clv):
            assert (np.diff(values, axis=1) >= 0).all()
        assert (found.lower <= found.clv).all()
        assert (found.clv <= found.upper).all()


@pytest.mark.slow
def test_nothing_falls_with_the_horizon_for_any_cdnow_customer(cdnow: OrderLog) -> None:
    model, matrix = fit(cdnow, cdnow.complete_until, (30, 90, 180)), feature_matrix(cdnow, cdnow.complete_until)
    found = model.predict(matrix)
    for values in (found.purchase_probability, found.orders, found.clv, found.lower, found.upper):
        assert values.shape == (23_502, 3)
        assert (np.diff(values, axis=1) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("shop", ["regular", "contract", "growing"])
def test_windows_ahead_are_covered_in_other_shops(shop: str) -> None:
    """Recorded tolerance: at least 76 % of all, 70 % in the worst tenth of 300 customers, where 80 % are meant."""
    log = SHOPS[shop](3000, 600, 3).log(START)
    found = run_case(log, log.complete_until - 60 * DAY_US, 60).models["clv"].metrics
    assert found["coverage"] >= 0.76
    assert found["coverage_worst_decile"] >= 0.70


@pytest.mark.slow
def test_the_sum_over_a_base_is_covered_in_simulated_panels() -> None:
    """16 panels: an 80 % interval must hold the total in at least 10 (11 in 12 tries of a true one)."""
    inside = 0
    for seed in range(16):
        log = simulate(1000, 420, seed=seed, joined_over=0.9).log(START)
        as_of = START + 360 * DAY_US
        model, matrix = fit(log, as_of, (60,)), feature_matrix(log, as_of)
        found = model.predict(matrix)
        probability, clv = found.purchase_probability[:, 0], found.clv[:, 0]
        spread = model.part(60).spread
        low, high = spread.bounds_of_sum(float(clv.sum()), float(spread.variance(probability, clv).sum()), 0.8)
        actual = label_window(log, matrix.customers, as_of, 60).spend.sum()
        inside += bool(low <= actual <= high)
    assert inside >= 10
