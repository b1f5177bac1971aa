"""Beyond the table: rivals, signal, dates, and shops that the textbook does not describe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from features.instants import DAY_US, parse_instant
from features.matrix import feature_matrix
from features.orders import OrderLog
from model.standing import rfm_scores
from training.backtest import Case, run_case
from training.bootstrap import Estimate
from training.examples import Snapshots
from training.gate import gate
from training.rivals import ON_REQUEST, fit_rfm_score
from training.simulation import SHOPS

START = parse_instant("2023-01-01")


@cache
def case_of(shop: str) -> Case:
    log = SHOPS[shop](1500, 500, 4).log(START)
    return run_case(log, log.complete_until - 60 * DAY_US, 60)


def test_rivals_are_shown_on_request(shop: OrderLog) -> None:
    case = run_case(shop, shop.complete_until - 60 * DAY_US, 60, rivals=tuple(ON_REQUEST))
    assert {"lightgbm_tweedie", "pareto_nbd"} <= set(case.models)
    assert case.models["lightgbm_tweedie"].metrics["auc"] is None
    assert case.models["pareto_nbd"].metrics["auc"] > 0.6
    assert case.models["bgnbd_gamma_gamma"].metrics["coverage"] > 0.7


def test_rfm_scores_run_from_one_to_five_and_cells_bring_what_they_brought(shop: OrderLog) -> None:
    as_of = shop.complete_until
    known = Snapshots(shop)
    fitted = fit_rfm_score(known, shop, as_of, 60)
    found = rfm_scores(known.at(as_of).matrix, fitted.edges)
    assert found.min() >= 1
    assert found.max() <= 5
    matrix = known.at(as_of).matrix
    best = found[:, 0] == 5
    assert matrix.column("recency_days")[best].max() <= matrix.column("recency_days")[found[:, 0] == 1].min()
    answers = fitted.predict(matrix)
    assert (answers.clv[:, 0] == fitted.clv[found.sum(axis=1)]).all()


def test_no_signal_is_said_and_refused() -> None:
    case = case_of("unpredictable")
    verdict = gate(case)[0]
    assert not case.has_signal
    assert not verdict.holds
    assert verdict.text.startswith("no usable signal: Spearman")
    assert case.document()["usable_signal"] is False


def test_customers_who_are_all_alike_leave_nothing_to_rank(log_of: Callable[..., OrderLog]) -> None:
    days = np.arange("2023-01-01", "2024-01-01", 10, dtype="datetime64[D]")
    log = log_of([(f"c{who}", str(day), 10.0) for who in range(60) for day in days])
    verdicts = [verdict.text for verdict in gate(run_case(log, log.complete_until - 30 * DAY_US, 30))]
    alike = "all spent or were predicted the same in the held-out window"
    assert verdicts[:2] == [f"no usable signal: {alike}", f"normalised Gini is undefined: {alike}"]


@pytest.mark.parametrize(("upper", "holds"), [(0.01, True), (0.0, True), (-0.0004, False)])
def test_a_model_that_surely_ranks_worse_than_the_formulas_is_refused(upper: float, holds: bool) -> None:
    case = case_of("bg_nbd")
    less = {"normalized_gini": Estimate(-0.005, -0.006, upper)}
    judged = replace(case, differences={**case.differences, "bgnbd_gamma_gamma": less})
    verdict = gate(judged)[2]
    assert verdict.holds is holds
    assert f"{upper:+.4f}]; the interval must reach 0" in verdict.text


def test_a_contract_is_known_by_its_rhythm() -> None:
    """Regular customers: far better than BG/NBD, and dates nearer than by the mean gap."""
    case = case_of("contract")
    ours, theirs = case.models["clv"].metrics, case.models["bgnbd_gamma_gamma"].metrics
    assert case.has_signal
    assert ours["auc"] > theirs["auc"] + 0.05
    assert ours["spearman"] > theirs["spearman"] + 0.1
    assert ours["interval_score"] < theirs["interval_score"]


@pytest.mark.parametrize("shop", ["bg_nbd", "regular"])
def test_next_orders_are_dated_better_than_by_the_mean_gap(shop: str) -> None:
    found = case_of(shop).checks["next_order"]
    assert found["pinball_days"] < found["pinball_days_mean_gap"]
    assert 0.7 < found["window_coverage"] < 0.95


def test_newcomers_are_worth_what_the_prior_says() -> None:
    log = SHOPS["regular"](4000, 500, 4).log(START)
    found = run_case(log, log.complete_until - 60 * DAY_US, 60).checks["newcomers"]
    assert found["n"] > 100
    assert found["predicted_clv"] == pytest.approx(found["actual_clv"], rel=0.2)


def test_columns_of_noise_do_not_hurt(shop: OrderLog) -> None:
    """Permuted channels and discounts leave the ranking within its own interval."""
    rng = np.random.default_rng(2)
    noise = {
        "channel": rng.integers(0, 4, shop.n_rows).astype(np.int32),
        "discount_amount": rng.gamma(1.0, 3.0, shop.n_rows),
    }
    noisy = replace(shop, optional={**shop.optional, **noise})
    as_of = shop.complete_until - 60 * DAY_US
    assert all(
        np.isfinite(feature_matrix(log, as_of).column("n_channels")).any() == (log is noisy) for log in (shop, noisy)
    )
    plain, beside = (run_case(log, as_of, 60) for log in (shop, noisy))
    low, high = plain.intervals["spearman"].lower, plain.intervals["spearman"].upper
    assert low < beside.models["clv"].metrics["spearman"] < high
