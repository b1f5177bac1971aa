"""Pareto/NBD against the published fit, the published equations, integrals over customers and simulated futures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import gammaln, hyp2f1
from scipy.stats import gamma

from features.arrays import BoolArray, FloatArray
from model.btyd import Summary
from training.pareto_nbd import ParetoNbd, fit_pareto_nbd

SAMPLE = Path(__file__).parents[1] / "data" / "cdnow_sample_rfm.csv"
SLOW_LEAVERS = ParetoNbd(0.55, 74.0, 0.61, 82.0)
FAST_LEAVERS = ParetoNbd(1.4, 60.0, 1.8, 35.0)
PUBLISHED = (0.553, 10.578, 0.606, 11.669)  # time in weeks


def summary(x: list[float], last: list[float], tenure: list[float]) -> Summary:
    ones = np.ones(len(x))
    return Summary(
        np.array(x, float), np.array(last, float), np.array(tenure, float), ones, ones, np.array(x) + 1.0, 0.0
    )


def cdnow_sample(unit_days: float) -> Summary:
    """The sample in whole days, as it was recorded: weeks of two decimals move beta by .001."""
    x, last, tenure = np.genfromtxt(SAMPLE, delimiter=",", skip_header=1)[:, 1:].T
    ones = np.ones(len(x))
    return Summary(x, np.round(last * 7) / unit_days, np.round(tenure * 7) / unit_days, ones, ones, x + 1.0, 0.0)


PASTS = summary([0, 0, 1, 2, 12, 40], [0, 0, 30, 200, 250, 299], [10, 300, 300, 210, 300, 300])


def population(
    model: ParetoNbd, n: int, days: float, horizon: float, seed: int = 0
) -> tuple[Summary, BoolArray, FloatArray]:
    """Pasts of customers who all joined at once, whether they live at the end, and their purchases after it."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(model.r, 1 / model.alpha, n)
    dies = rng.exponential(1.0, n) / rng.gamma(model.s, 1 / model.beta, n)
    lived = np.minimum(dies, days)
    x = rng.poisson(rate * lived).astype(float)
    last = np.where(x > 0, lived * rng.random(n) ** (1 / np.maximum(x, 1)), 0.0)  # the latest of x even draws
    later = rng.poisson(rate * (np.minimum(dies, days + horizon) - lived)).astype(float)
    return Summary(x, last, np.full(n, days), np.ones(n), np.ones(n), x + 1.0, days), dies > days, later


def by_integral(model: ParetoNbd, x: float, last: float, tenure: float, h: float) -> tuple[float, float, float, float]:
    """(log likelihood, p_alive, expected purchases, purchase probability) as means over rates and hazards."""
    part = (np.arange(2000) + 0.5) / 2000
    rate = gamma.ppf(part, model.r + x, scale=1 / (model.alpha + last))[:, None]  # the likelihood's own Gamma
    hazard = gamma.ppf(part, model.s, scale=1 / model.beta)[None, :]
    alive = np.exp(-rate * (tenure - last) - hazard * tenure)
    weight = (hazard * np.exp(-hazard * last) + rate * alive) / (rate + hazard)
    scale = gammaln(model.r + x) - gammaln(model.r) + model.r * np.log(model.alpha)
    buys = -rate / (rate + hazard) * np.expm1(-(rate + hazard) * h)
    each = (alive, -alive * rate / hazard * np.expm1(-hazard * h), alive * buys)
    log_likelihood = scale - (model.r + x) * np.log(model.alpha + last) + np.log(weight.mean())
    return log_likelihood, *(of.mean() / weight.mean() for of in each)


def test_the_published_cdnow_fit_is_found() -> None:
    fitted = fit_pareto_nbd(cdnow_sample(unit_days=1.0))
    found = (fitted.r, fitted.alpha / 7, fitted.s, fitted.beta / 7)
    assert found == pytest.approx(PUBLISHED, abs=5.1e-4)


def test_the_published_log_likelihood_is_found() -> None:
    assert ParetoNbd(*PUBLISHED).log_likelihood(cdnow_sample(unit_days=7.0)).sum() == pytest.approx(-9595.0, abs=0.05)


@pytest.mark.parametrize("model", [SLOW_LEAVERS, FAST_LEAVERS])
def test_the_likelihood_equals_the_notes_equation(model: ParetoNbd) -> None:
    r, alpha, s, beta = model.r, model.alpha, model.s, model.beta
    x, last, tenure = PASTS.repeats, PASTS.last_days, PASTS.tenure_days
    second, above = (s + 1, alpha) if alpha >= beta else (r + x, beta)

    def term(t: FloatArray) -> FloatArray:
        z = abs(alpha - beta) / (above + t)
        return hyp2f1(r + s + x, second, r + s + x + 1, z) / (above + t) ** (r + s + x)

    weight = (alpha + tenure) ** -(r + x) * (beta + tenure) ** -s + s / (r + s + x) * (term(last) - term(tenure))
    expected = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + s * np.log(beta) + np.log(weight)
    np.testing.assert_allclose(model.log_likelihood(PASTS), expected, rtol=1e-11)


@pytest.mark.parametrize("model", [SLOW_LEAVERS, FAST_LEAVERS])
def test_the_answers_are_integrals_over_rates_and_hazards(model: ParetoNbd) -> None:
    h = 90.0
    pasts = zip(PASTS.repeats, PASTS.last_days, PASTS.tenure_days, strict=True)
    expected = np.array([by_integral(model, *past, h) for past in pasts]).T
    found = (model.log_likelihood(PASTS), model.p_alive(PASTS), model.expected_purchases(PASTS, h))
    np.testing.assert_allclose((*found, model.purchase_probability(PASTS, h)), expected, rtol=2e-3)


@pytest.mark.parametrize("model", [SLOW_LEAVERS, FAST_LEAVERS])
def test_simulated_futures_are_foretold(model: ParetoNbd) -> None:
    """Within four standard errors, over all customers and within groups of the same past."""
    h = 120.0
    of, alive, later = population(model, 200_000, 300.0, h)
    answers = (
        (model.p_alive(of), alive.astype(float)),
        (model.expected_purchases(of, h), later),
        (model.purchase_probability(of, h), (later > 0).astype(float)),
    )
    for group in (of.repeats >= 0, of.repeats == 0, of.repeats == 1, of.repeats > 4, of.last_days > 200):
        for foretold, happened in answers:
            off = (happened - foretold)[group]
            assert abs(off.mean()) < 4 * off.std() / np.sqrt(group.sum())


def test_simulated_truth_is_recovered() -> None:
    """Recorded tolerance: with 50,000 customers over 700 days the parameters come back within 15 %."""
    of, _, _ = population(FAST_LEAVERS, 50_000, 700.0, 0.0, seed=1)
    fitted = fit_pareto_nbd(of)
    for name in ("r", "alpha", "s", "beta"):
        assert getattr(fitted, name) == pytest.approx(getattr(FAST_LEAVERS, name), rel=0.15), name


def test_neither_the_order_of_customers_nor_their_doubles_move_the_fit() -> None:
    of, _, _ = population(FAST_LEAVERS, 3000, 700.0, 0.0, seed=2)
    order = np.concatenate([np.arange(3000)[::-1], np.arange(3000)])
    again = of.rows(order)
    np.testing.assert_allclose(
        fit_pareto_nbd(again).expected_purchases(of, 90), fit_pareto_nbd(of).expected_purchases(of, 90), rtol=1e-3
    )


def test_huge_counts_and_one_time_buyers_stay_finite() -> None:
    of = summary([0, 0, 5000, 200_000, 300], [0, 0, 400, 400, 2], [0, 4000, 400, 401, 900])
    for model in (SLOW_LEAVERS, FAST_LEAVERS, ParetoNbd(0.3, 400.0, 2.0, 1.0), ParetoNbd(0.3, 1.0, 0.01, 400.0)):
        answers = (model.p_alive(of), model.expected_purchases(of, 90), model.purchase_probability(of, 90))
        assert np.isfinite((model.log_likelihood(of), *answers)).all()
        assert (np.array(answers) >= 0).all()
    assert SLOW_LEAVERS.expected_purchases(of, 90)[2] == pytest.approx(5000 / 400 * 90, rel=0.2)


def test_probabilities_rise_with_the_horizon_to_less_than_being_alive() -> None:
    over = np.array([FAST_LEAVERS.purchase_probability(PASTS, h) for h in (0, 1, 30, 90, 365, 10_000)])
    assert (over[0] == 0).all()
    assert (np.diff(over, axis=0) > 0).all()
    assert (over <= FAST_LEAVERS.p_alive(PASTS)).all()
    assert (FAST_LEAVERS.purchase_probability(PASTS, 90) <= FAST_LEAVERS.expected_purchases(PASTS, 90)).all()


@pytest.mark.parametrize("s", [1.0, 1.0 - 1e-9, 1.0 + 1e-9])
def test_the_pole_at_s_equal_one_is_no_hole(s: float) -> None:
    near = ParetoNbd(0.5, 20.0, 1.0001, 60.0).expected_purchases(PASTS, 60)
    np.testing.assert_allclose(ParetoNbd(0.5, 20.0, s, 60.0).expected_purchases(PASTS, 60), near, rtol=1e-3)


def test_equal_alpha_and_beta_join_both_cases() -> None:
    below, equal, above = (ParetoNbd(0.5, alpha, 0.7, 60.0) for alpha in (60.0 - 1e-7, 60.0, 60.0 + 1e-7))
    np.testing.assert_allclose(below.log_likelihood(PASTS), equal.log_likelihood(PASTS), rtol=1e-8)
    np.testing.assert_allclose(above.log_likelihood(PASTS), equal.log_likelihood(PASTS), rtol=1e-8)


@pytest.mark.parametrize("repeats", [0.0, 1.0])
def test_logs_without_information_give_finite_answers(repeats: float) -> None:
    of = summary([repeats] * 30, [repeats * 5] * 30, [50.0] * 30)
    fitted = fit_pareto_nbd(of)
    for values in (fitted.p_alive(of), fitted.expected_purchases(of, 90), fitted.purchase_probability(of, 90)):
        assert np.isfinite(values).all()


def test_nobody_gives_a_neutral_model() -> None:
    assert fit_pareto_nbd(summary([], [], [])) == ParetoNbd(1.0, 30.0, 1.0, 30.0)
