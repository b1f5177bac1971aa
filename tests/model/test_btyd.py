"""The formulas against the published fit, direct numerical routes, and their own limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import hyp2f1

from features.arrays import FloatArray
from model.btyd import BgNbd, Btyd, GammaGamma, Summary, counted_days
from training.btyd import Fits, fit_bg_nbd, fit_gamma_gamma
from training.examples import Snapshots
from training.simulation import PURCHASES, VALUES, simulate

SAMPLE = Path(__file__).parents[1] / "data" / "cdnow_sample_rfm.csv"


def summary(x: list[float], last: list[float], tenure: list[float]) -> Summary:
    ones = np.ones(len(x))
    return Summary(
        np.array(x, float), np.array(last, float), np.array(tenure, float), ones, ones, np.array(x) + 1.0, 0.0
    )


def test_the_published_cdnow_fit_is_found() -> None:
    rows = np.genfromtxt(SAMPLE, delimiter=",", skip_header=1)
    fitted = fit_bg_nbd(summary(rows[:, 1], rows[:, 2] * 7, rows[:, 3] * 7))
    found = (fitted.r, fitted.alpha / 7, fitted.a, fitted.b)
    assert found == pytest.approx((0.243, 4.414, 0.793, 2.426), abs=5.1e-4)


def test_orders_of_a_purchase_day_are_ones_own_as_far_as_they_are_known() -> None:
    btyd = Btyd(PURCHASES, VALUES, VALUES, orders_a_day=1.2)
    of = replace(summary([0, 0, 96], [0, 0, 90], [100, 100, 100]), orders=np.array([1.0, 9.0, 970.0]))
    assert btyd.own_orders_a_day(of) == pytest.approx([4.6 / 4.0, 12.6 / 4.0, 973.6 / 100.0])
    once = replace(of, orders=of.repeats + 1.0)
    assert (replace(btyd, orders_a_day=1.0).own_orders_a_day(once) == 1.0).all()
    assert Fits(of).textbook.orders_a_day == pytest.approx((1.0 + 9.0 + 10.0) / 3.0)


def test_expected_purchases_equal_the_papers_equation() -> None:
    model, of, h = BgNbd(0.25, 30.0, 0.8, 2.4), summary([0, 2, 30], [0, 100, 300], [400, 400, 400]), 90.0
    x, last, tenure = of.repeats, of.last_days, of.tenure_days
    z = h / (model.alpha + tenure + h)
    whole = (model.a + model.b + x - 1) / (model.a - 1)
    tail = (1 - z) ** (model.r + x) * hyp2f1(model.r + x, model.b + x, model.a + model.b + x - 1, z)
    gone = np.where(x > 0, model.a / (model.b + x - 1), 0) * ((model.alpha + tenure) / (model.alpha + last)) ** (
        model.r + x
    )
    np.testing.assert_allclose(model.expected_purchases(of, h), whole * (1 - tail) / (1 + gone), rtol=1e-12)


def test_expected_purchases_of_an_active_customer_are_an_integral() -> None:
    """Second route: integrate over rate and leaving chance of a customer without repeats."""
    model, tenure, h = BgNbd(0.7, 20.0, 1.4, 2.2), 50.0, 60.0

    def given_leaving(chance: float) -> float:
        def given_rate(rate: float) -> float:
            weight = rate ** (model.r - 1) * np.exp(-rate * (model.alpha + tenure))
            return weight * (1 - np.exp(-rate * chance * h)) / chance

        norm = quad(lambda rate: rate ** (model.r - 1) * np.exp(-rate * (model.alpha + tenure)), 0, np.inf)[0]
        return quad(given_rate, 0, np.inf)[0] / norm * chance ** (model.a - 1) * (1 - chance) ** (model.b - 1)

    beta = quad(lambda c: c ** (model.a - 1) * (1 - c) ** (model.b - 1), 0, 1)[0]
    expected = quad(given_leaving, 0, 1)[0] / beta
    assert model.expected_purchases(summary([0], [0], [tenure]), h)[0] == pytest.approx(expected, rel=1e-6)


def test_huge_counts_and_one_time_buyers_stay_finite() -> None:
    model = BgNbd(0.25, 30.0, 0.8, 2.4)
    of = summary([0, 0, 5000, 200_000], [0, 0, 400, 400], [1, 4000, 400, 401])
    for values in (model.p_alive(of), model.expected_purchases(of, 90), model.purchase_probability(of, 90)):
        assert np.isfinite(values).all()
        assert (values >= 0).all()
    assert model.expected_purchases(of, 90)[2] == pytest.approx(5000 / 400 * 90, rel=0.2)


def test_probabilities_rise_with_the_horizon_and_stay_below_one() -> None:
    model, of = BgNbd(0.25, 30.0, 0.8, 2.4), summary([0, 1, 9], [0, 30, 200], [210, 210, 210])
    over = np.array([model.purchase_probability(of, h) for h in (1, 30, 90, 365, 10_000)])
    assert (np.diff(over, axis=0) > 0).all()
    assert (over <= model.p_alive(of)).all()


@pytest.mark.parametrize("a", [1.0, 0.999999, 1.000001])
def test_the_pole_at_a_equal_one_is_no_hole(a: float) -> None:
    of = summary([3.0], [50.0], [80.0])
    near = BgNbd(0.5, 20.0, 1.001, 2.0).expected_purchases(of, 60)[0]
    assert BgNbd(0.5, 20.0, a, 2.0).expected_purchases(of, 60)[0] == pytest.approx(near, rel=2e-3)


def test_the_modified_model_is_what_its_story_says() -> None:
    """Second route: customers simulated with a chance to leave after every purchase, the first included."""
    rng, model, h = np.random.default_rng(5), BgNbd(0.8, 30.0, 0.9, 2.0, modified=True), 60.0
    n = 400_000
    rate = rng.gamma(model.r, 1 / model.alpha, n)
    leave = rng.beta(model.a, model.b, n)
    alive = rng.random(n) >= leave
    tenure = 100.0
    gap = rng.exponential(1.0, n) / rate
    silent = ~(alive & (gap < tenure))  # one purchase at 0, none until the tenure
    still = alive & silent
    of = summary([0], [0], [tenure])
    assert still.sum() / silent.sum() == pytest.approx(model.p_alive(of)[0], abs=0.004)
    buys = still & (rng.exponential(1.0, n) / rate < h)
    assert buys.sum() / silent.sum() == pytest.approx(model.purchase_probability(of, h)[0], abs=0.004)
    counts = np.minimum(rng.poisson(rate * h), rng.geometric(np.clip(leave, 1e-9, 1.0)))
    expected = (counts * still).sum() / silent.sum()
    assert expected == pytest.approx(model.expected_purchases(of, h)[0], rel=0.03)


def test_the_modified_model_is_recovered_from_its_own_customers() -> None:
    rng, true = np.random.default_rng(6), BgNbd(0.8, 45.0, 0.9, 3.0, modified=True)
    n = 20_000
    rate, leave = rng.gamma(true.r, 1 / true.alpha, n), rng.beta(true.a, true.b, n)
    tenure = rng.uniform(200, 500, n)
    x, last, now = np.zeros(n), np.zeros(n), np.zeros(n)
    active = np.flatnonzero(rng.random(n) >= leave)
    while len(active):
        now[active] += rng.exponential(1.0, len(active)) / rate[active]
        active = active[now[active] < tenure[active]]
        x[active] += 1
        last[active] = now[active]
        active = active[rng.random(len(active)) >= leave[active]]
    of = summary(x, last, tenure)
    fits = Fits(of)
    assert fits.prefers_modified()
    found = fits.modified.purchases
    for name in ("r", "alpha", "a", "b"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=0.2), name


def panel(n: int, days: float, shape: float, alpha: float) -> tuple[Summary, FloatArray]:
    """Customers who have bought by a Gamma(shape, alpha) rate for ever, seen from day 0 on; and their next 60 days."""
    rng = np.random.default_rng(8)
    rate = rng.gamma(shape, 1.0 / alpha, n)
    first = rng.exponential(1.0, n) / rate
    rate, first = rate[first < days], first[first < days]
    x = rng.poisson(rate * (days - first)).astype(float)
    last = (days - first) * rng.beta(np.maximum(x, 1.0), 1.0)  # the greatest of x even draws
    ones = np.ones(len(x))
    of = Summary(x, np.where(x > 0, last, 0.0), days - first, ones, ones, x + 1.0, as_of_day=days)
    return of, rng.poisson(rate * 60.0).astype(float)


def test_who_is_first_seen_late_in_a_log_cut_from_a_longer_one_buys_less() -> None:
    """Second route: customers who were all there before the log began, none of whom leaves."""
    of, later = panel(4_000_000, 300.0, 0.8, 400.0)
    model = BgNbd(1.8, 400.0, 1e-4, 10.0, truncation=1.0, until_day=300.0)
    expected = model.expected_purchases(of, 60.0)
    early, late = of.tenure_days > 200, of.tenure_days < 50
    for some in (early, late, late & (of.repeats == 0)):
        assert expected[some].mean() == pytest.approx(later[some].mean(), rel=0.025)
    textbook = fit_bg_nbd(of).expected_purchases(of, 60.0)
    assert textbook[late].mean() > 1.15 * later[late].mean()


def test_how_much_of_a_past_was_cut_off_is_recovered() -> None:
    cut = fit_bg_nbd(panel(100_000, 300.0, 0.8, 400.0)[0], truncated=True)
    assert (cut.truncation, cut.r, cut.alpha) == pytest.approx((1.0, 1.8, 400.0), rel=0.15)
    log = simulate(5_000, 600, seed=3, joined_over=1.0).log()
    whole = Snapshots(log).at(log.complete_until).fits.textbook.purchases
    assert whole.truncation < 0.01


def test_customers_first_seen_after_the_fit_are_like_the_last_ones_before() -> None:
    model = BgNbd(0.8, 40.0, 0.9, 3.0, truncation=0.5, began_day=100.0, until_day=300.0)
    of = replace(summary([2, 2, 2, 2], [10] * 4, [330, 260, 60, 20]), as_of_day=360.0)
    assert of.unseen_days(100.0, 300.0).tolist() == [0.0, 0.0, 200.0, 200.0]
    late = 40.0 + 0.5 * counted_days(np.array([200.0]), 40.0)[0]
    assert model.alpha_of(of).tolist() == [40.0, 40.0, late, late]


def test_the_first_unseen_days_count_in_full_and_the_last_hardly() -> None:
    found = counted_days(np.array([0.0, 1.0, 200.0, 1e5]), 40.0)
    assert found == pytest.approx([0.0, 1.0, 200.0 * (1 - np.exp(-1)), 200.0], rel=0.01)


def test_gamma_gamma_shrinks_from_the_population_mean_to_the_own_mean() -> None:
    model = GammaGamma(6.0, 4.0, 15.0)
    population = model.p * model.v / (model.q - 1)
    seen = model.expected_value(np.array([0.0, 1.0, 5.0, 10_000.0]), np.full(4, 200.0))
    assert seen[0] == pytest.approx(population)
    assert (np.diff(seen) > 0).all()
    assert seen[-1] == pytest.approx(200.0, rel=1e-3)


def test_simulated_truth_is_recovered() -> None:
    """Recorded tolerance: with 20,000 customers over 600 days the parameters come back within 15 %."""
    shop = simulate(20_000, 600, seed=3)
    days = np.bincount(shop.customer) - 1.0
    first, last = (np.full(20_000, fill) for fill in (np.inf, -np.inf))
    np.minimum.at(first, shop.customer, shop.day)
    np.maximum.at(last, shop.customer, shop.day)
    means = np.bincount(shop.customer, shop.amount) / (days + 1)
    of = Summary(days, np.where(days > 0, last - first, 0.0), 600 - first, means, means, days + 1.0, 600.0)
    fits = Fits(of)
    fitted, textbook = fits.textbook, fits.textbook.purchases
    assert not fits.prefers_modified()
    for name in ("r", "alpha", "a", "b"):
        assert getattr(textbook, name) == pytest.approx(getattr(PURCHASES, name), rel=0.15), name
    for name in ("p", "q", "v"):
        assert getattr(fitted.value, name) == pytest.approx(getattr(VALUES, name), rel=0.15), name


@pytest.mark.parametrize("repeats", [0.0, 1.0])
def test_logs_without_information_give_finite_parameters(repeats: float) -> None:
    n = 30
    of = Summary(
        np.full(n, repeats),
        np.full(n, repeats * 5),
        np.full(n, 50.0),
        np.full(n, 10.0),
        np.full(n, 10.0),
        np.full(n, repeats + 1.0),
        50.0,
    )
    fits = Fits(of)
    for fitted in (fits.textbook, fits.modified):
        assert isinstance(fitted, Btyd)
        assert np.isfinite(fitted.conditional(of, 90)).all()


def test_values_spread_beyond_any_mean_leave_newcomers_one() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(1, 4, 500).astype(np.float64)
    mean = 50.0 * np.exp(2.2 * rng.standard_normal(500))
    of_nobody = fit_gamma_gamma(x, mean).expected_value(np.zeros(1), np.zeros(1))[0]
    assert 0.5 < of_nobody / np.average(mean, weights=x) <= 2.0 + 1e-9


def test_gamma_gamma_of_nobody_and_of_one() -> None:
    empty = np.empty(0)
    assert fit_gamma_gamma(empty, empty).v == 1.0
    assert fit_gamma_gamma(np.ones(1), np.full(1, 25.0)).expected_value(np.zeros(1), np.zeros(1))[0] == 25.0
