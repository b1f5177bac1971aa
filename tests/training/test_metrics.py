"""Metrics by hand-counted cases, by second routes (scipy, scikit-learn), and where ties or zeros bite."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from features.arrays import IntArray
from training.bootstrap import drawn, interval, paired_differences
from training.metrics import METRICS, Scored, auc, capture, deciles, evaluate, profit


def scored(actual: list[float], clv: list[float], probability: list[float] | None = None) -> Scored:
    y = np.array(actual, dtype=np.float64)
    none = np.full(len(y), np.nan)
    return Scored(y, y > 0, np.array(clv, dtype=float), np.array(probability or clv, dtype=float), none, none)


def sample(n: int = 500, seed: int = 0) -> Scored:
    rng = np.random.default_rng(seed)
    y = np.where(rng.random(n) < 0.6, 0.0, rng.gamma(1.0, 20.0, n))
    clv = np.round(np.maximum(y * 0.3 + rng.normal(5, 4, n), 0))
    return Scored(y, y > 0, clv, np.round(rng.random(n) * 0.5 + (y > 0) * 0.2, 1), 0.5 * clv, 4.0 * clv)


def taken(s: Scored, rows: IntArray) -> Scored:
    return Scored(*(column[rows] for column in (s.actual, s.purchased, s.clv, s.probability, s.lower, s.upper)))


def value(name: str, s: Scored) -> float:
    found = METRICS[name](s, s.equal_weights)
    assert found is not None
    return found


def test_ranking_metrics_agree_with_scipy_and_scikit_learn_on_ties() -> None:
    s = sample()
    assert value("spearman", s) == pytest.approx(spearmanr(s.clv, s.actual).statistic)
    assert value("auc", s) == pytest.approx(roc_auc_score(s.purchased, s.probability))


def test_gini_of_a_perfect_a_reversed_and_a_constant_order() -> None:
    actual = [0.0, 0.0, 1.0, 5.0]
    assert value("normalized_gini", scored(actual, actual)) == pytest.approx(1.0)
    assert value("normalized_gini", scored(actual, [4, 3, 2, 1])) == pytest.approx(-1.0, abs=0.2)
    for order in ([3, 2, 1, 0], [0, 1, 2, 3]):
        assert value("normalized_gini", scored([actual[i] for i in order], [7.0] * 4)) == pytest.approx(0.0, abs=1e-12)


def test_no_metric_depends_on_the_order_of_the_rows() -> None:
    s = sample()
    order = np.random.default_rng(1).permutation(len(s.actual))
    again = taken(s, order)
    for name, found in evaluate(s).items():
        assert found == pytest.approx(evaluate(again)[name]), name


def test_weights_are_repetitions() -> None:
    s, weights = sample(60), np.random.default_rng(2).integers(0, 4, 60)
    repeated = taken(s, np.repeat(np.arange(60), weights))
    for name, metric in METRICS.items():
        assert metric(s, weights.astype(float)) == pytest.approx(value(name, repeated)), name


def test_errors_by_hand() -> None:
    s = scored([0, 10, 20], [5, 5, 20], [0.5, 0.5, 1.0])
    assert value("mae", s) == pytest.approx(10 / 3)
    assert value("wape", s) == pytest.approx(10 / 30)
    assert value("rmse", s) == pytest.approx(np.sqrt(50 / 3))
    assert value("bias", s) == 0.0
    assert value("brier", s) == pytest.approx(0.5 / 3)


def test_capture_shares_out_ties() -> None:
    s = scored([10, 0, 0, 0, 0, 0, 0, 0, 0, 10], [1] * 9 + [2])
    assert capture(s, s.equal_weights, 0.10) == pytest.approx(0.5)
    assert capture(s, s.equal_weights, 0.20) == pytest.approx(0.5 + 0.5 / 9)


def test_nothing_bought_is_undefined_not_zero() -> None:
    found = evaluate(scored([0, 0, 0], [1, 2, 3], [0.1, 0.2, 0.3]))
    undefined = {name for name, metric in found.items() if metric is None}
    assert undefined >= {"normalized_gini", "auc", "bias", "wape", "decile_mape", "top10_capture", "spearman"}
    assert found["mae"] == 2.0


def test_auc_of_ties_is_a_half() -> None:
    s = scored([0, 1], [1, 1], [0.3, 0.3])
    assert auc(s, s.equal_weights) == 0.5


def test_deciles_are_equal_groups_and_empty_ones_are_not_divided_by() -> None:
    s = replace(sample(1000), clv=np.random.default_rng(4).permutation(1000.0 * np.arange(1000)))
    predicted, actual = deciles(s, s.equal_weights)
    order = np.argsort(s.clv).reshape(10, 100)
    np.testing.assert_allclose(predicted, s.clv[order].mean(axis=1))
    np.testing.assert_allclose(actual, s.actual[order].mean(axis=1))
    nothing_below = scored([0.0] * 90 + [10.0] * 10, [1.0] * 90 + [5.0] * 10)
    assert value("decile_mape", nothing_below) == pytest.approx(0.5)
    assert value("deciles_without_value", nothing_below) == 9
    nothing_in_seven = scored([0.0] * 84 + [8.0] * 36, list(range(1, 121)))  # a tenth of 120 ends at 84, not after it
    assert value("decile_mape", nothing_in_seven) == pytest.approx(((90.5 + 102.5 + 114.5) / 8 - 3) / 3)
    assert value("deciles_without_value", nothing_in_seven) == 7


def test_a_model_does_not_differ_from_itself_and_does_from_a_worse_one() -> None:
    s = sample()
    noise = np.random.default_rng(3).normal(0, 30, len(s.clv))
    worse = replace(s, clv=s.clv + noise)
    assert all(d.estimate == d.lower == d.upper == 0 for d in paired_differences(drawn(s), drawn(s)).values())
    better = paired_differences(drawn(s), drawn(worse))
    assert better["spearman"].lower > 0
    assert better["rmse"].upper < 0
    assert better["spearman"].lower < better["spearman"].estimate < better["spearman"].upper


def test_interval_metrics_by_hand() -> None:
    s = scored([0.0, 4.0, 10.0, 30.0], [1.0, 2.0, 8.0, 9.0])
    s = replace(s, lower=np.array([0.0, 0.0, 5.0, 5.0]), upper=np.array([1.0, 3.0, 12.0, 20.0]), level=0.8)
    found = evaluate(s)
    assert found["coverage"] == 0.5
    assert found["interval_width"] == (1 + 3 + 7 + 15) / 4
    assert found["interval_score"] == pytest.approx(26 / 4 + (1.0 + 10.0) * 10 / 4)
    assert found["coverage_top_decile"] == found["coverage_worst_decile"] == 0.0
    without = evaluate(scored([0.0, 1.0], [1.0, 2.0]))
    assert {without[name] for name in without if name.startswith(("coverage", "interval"))} == {None}


def test_coverage_shares_out_ties() -> None:
    s = scored([0.0, 9.0] * 50, [1.0] * 100)
    s = replace(s, lower=np.zeros(100), upper=np.full(100, 5.0))
    assert value("coverage_worst_decile", s) == pytest.approx(0.5)


def test_a_model_without_probabilities_has_no_auc() -> None:
    s = replace(sample(), probability=np.full(500, np.nan))
    assert evaluate(s)["auc"] is evaluate(s)["brier"] is None


def test_a_metric_of_noise_reaches_zero() -> None:
    s = sample()
    noise = replace(s, clv=np.random.default_rng(9).random(len(s.clv)))
    found, ours = (interval(drawn(one)["spearman"]) for one in (noise, s))
    assert found is not None
    assert ours is not None
    assert found.lower < 0 < found.upper
    assert ours.lower > 0.3


def test_profit_at_the_top_is_margin_on_what_they_spend_less_what_reaching_them_costs() -> None:
    s = scored([0.0] * 8 + [50.0, 100.0], [float(place) for place in range(10)])
    assert profit(s, 0.1, margin=0.3, contact_cost=2.0) == pytest.approx(0.3 * 100 - 2.0)
    assert profit(s, 0.2, margin=0.3, contact_cost=2.0) == pytest.approx(0.3 * 150 - 4.0)
    assert profit(scored([0.0], [1.0]), 0.1, 1.0, 0.0) is None
