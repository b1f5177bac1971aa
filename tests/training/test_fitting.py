"""Fitting: no leak between folds or windows, small and odd logs, known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import features.catalogue
from features.errors import HorizonError, TrainingError, UsageError
from features.history import before
from features.instants import DAY_US, parse_instant
from features.matrix import feature_matrix
from features.orders import OrderLog
from training.backtest import default_cases, predictions_table, run_case
from training.cutoffs import longest_horizon
from training.examples import Snapshots, training_examples
from training.fitting import fit, informative
from training.gate import gate
from training.level import CALENDAR_SHARE, RETAIL_CALENDAR, Windows, forecast, retail_calendar
from training.parts import calibrate
from training.simulation import PURCHASES, simulate
from training.train import train
from training.trees import N_FOLDS, fold_of

Make = Callable[..., OrderLog]


def test_no_customer_is_on_both_sides_of_a_fold(shop: OrderLog) -> None:
    as_of = shop.complete_until
    cutoffs = [as_of - days * DAY_US for days in (30, 60, 90)]
    examples = training_examples(Snapshots(shop), shop, cutoffs, 30, ("recency_days",), seed=1, modified=True)
    folds = fold_of(examples.customers, seed=1)
    assert set(folds) == set(range(N_FOLDS))
    for customer in np.unique(examples.customers)[:200]:
        assert len(set(folds[examples.customers == customer])) == 1


def test_features_of_a_few_are_those_of_everyone(shop: OrderLog) -> None:
    snapshot = Snapshots(shop).at(shop.complete_until - 60 * DAY_US)
    drawn = np.arange(len(snapshot.customers)) % 7 == 2
    names = snapshot.matrix.names
    few, all_rows = snapshot.features(names, drawn), snapshot.matrix.columns(names)
    assert few.shape == (drawn.sum(), len(names))
    assert (few.view(np.int64) == all_rows[drawn].view(np.int64)).all()
    assert (snapshot.customers == snapshot.matrix.customers).all()


def test_examples_are_sorted_by_cutoff_and_customer(shop: OrderLog) -> None:
    as_of = shop.complete_until
    examples = training_examples(
        Snapshots(shop), shop, [as_of - 30 * DAY_US, as_of - 60 * DAY_US], 30, ("frequency",), 1, True
    )
    keys = examples.cutoff * 10**9 + examples.customers
    assert (np.diff(keys) > 0).all()


def test_a_model_does_not_see_what_happens_after_its_moment(shop: OrderLog) -> None:
    """The same fit, to the bit, from a log that ends at the moment and from one that goes on."""
    as_of = shop.first_at + 300 * DAY_US
    matrix = feature_matrix(shop, as_of)
    whole = fit(shop, as_of, (30,)).predict(matrix)
    cut = fit(before(shop, as_of), as_of, (30,)).predict(matrix)
    assert whole.clv.tobytes() == cut.clv.tobytes()


def test_a_later_snapshot_changes_no_earlier_prediction(shop: OrderLog) -> None:
    as_of, known = shop.complete_until - 60 * DAY_US, Snapshots(shop)
    known.at(shop.complete_until)
    alone = run_case(shop, as_of, 30).models["clv"].scored.clv
    beside = run_case(shop, as_of, 30, snapshots=known).models["clv"].scored.clv
    assert alone.tobytes() == beside.tobytes()


def test_one_placeholder_date_does_not_break_a_training(log_of: Make, shop: OrderLog) -> None:
    ids = np.repeat(shop.customer_ids, np.diff(shop.starts))
    at = [*shop.ordered_at.view("datetime64[us]"), np.datetime64("1900-01-01", "us")]
    log = log_of([], customer_id=[*ids, "old"], ordered_at=at, amount=[*shop.amount, 5.0])
    trained = train(log, log.complete_until, None, "UTC")
    assert trained.model.horizons == (30, 90, 180)
    assert np.isfinite(trained.primary.models["clv"].scored.clv).all()


def test_a_moment_beyond_the_log_is_refused(shop: OrderLog) -> None:
    with pytest.raises(UsageError, match="after the end of the log"):
        train(shop, shop.complete_until + DAY_US, [30], "UTC")


def test_the_order_of_the_rows_changes_no_prediction(shop: OrderLog, log_of: Make) -> None:
    ids = np.repeat(shop.customer_ids, np.diff(shop.starts))
    frame = pd.DataFrame(
        {"customer_id": ids, "ordered_at": shop.ordered_at.view("datetime64[us]"), "amount": shop.amount}
    )
    again = log_of([], **{c: frame.sample(frac=1, random_state=4)[c].to_numpy() for c in frame})
    as_of = shop.complete_until
    a, b = (fit(log, as_of, (30,)).predict(feature_matrix(log, as_of)) for log in (shop, again))
    assert a.clv.tobytes() == b.clv.tobytes()


def test_calibration_brings_stretched_scores_back() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(-1, 1.5, 20_000)
    bought = (rng.random(20_000) < 1 / (1 + np.exp(-true))).astype(float)
    slope, level = calibrate(3.0 * true + 2.0, bought)
    assert slope == pytest.approx(1 / 3, rel=0.05)
    assert level == pytest.approx(-2 / 3, abs=0.05)


def test_known_truth_is_recovered() -> None:
    """Recorded tolerance: total within 12 %, Spearman at most .02 below the true model's own ranking."""
    days, horizon = 500, 60
    shop = simulate(6000, days + horizon, seed=11)
    log = shop.log(parse_instant("2023-01-01"))
    case = run_case(log, parse_instant("2023-01-01") + days * DAY_US, horizon)
    ours, oracle = case.models["clv"].metrics, case.models["bgnbd_gamma_gamma"].metrics
    assert abs(ours["bias"]) < 0.12
    assert ours["spearman"] > oracle["spearman"] - 0.02
    assert ours["auc"] > oracle["auc"] - 0.01
    assert ours["normalized_gini"] > case.models["carry_forward"].metrics["normalized_gini"]
    assert PURCHASES.alpha == 45.0


@pytest.mark.parametrize("n_customers", [60, 600])
def test_small_logs_work(n_customers: int) -> None:
    log = simulate(n_customers, 400, seed=2).log(parse_instant("2023-01-01"))
    case = run_case(log, log.complete_until - 60 * DAY_US, 60)
    assert np.isfinite(case.models["clv"].scored.clv).all()


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([("a", "2024-01-01", 5.0)], "does not fit"),
        ([("a", f"2024-01-{day:02d}", 5.0) for day in range(1, 29)], "does not fit"),
        ([(str(i), "2024-01-01", 5.0) for i in range(500)], "does not fit"),
        ([(str(i), d, 5.0) for i in range(500) for d in ("2023-01-01",)] + [("0", "2024-01-01", 1.0)], "too small"),
        ([(str(i), d, 0.0) for i in range(99) for d in ("2023-01-01", "2024-01-01")], "too small"),
        ([(str(i), d, -5.0) for i in range(99) for d in ("2023-01-01", "2024-01-01")], "too small"),
    ],
    ids=["one order", "one customer", "one day", "no repeats", "all zero", "negative"],
)
def test_logs_that_cannot_be_trained_on_say_what_is_missing(log_of: Make, rows: list, why: str) -> None:
    log = log_of(rows)
    with pytest.raises((TrainingError, HorizonError), match=why):
        train(log, log.complete_until, [30], "UTC")


def test_a_horizon_longer_than_the_history_says_the_longest_possible(shop: OrderLog) -> None:
    longest = longest_horizon(shop, shop.complete_until)
    with pytest.raises(HorizonError, match=f"longest possible is {longest} days"):
        train(shop, shop.complete_until, [400], "UTC")


def test_training_gives_evidence_for_every_horizon(shop: OrderLog) -> None:
    trained = train(shop, shop.complete_until, [30, 90], "UTC")
    assert [case.horizon_days for case in trained.cases] == [30, 90]
    assert trained.primary.horizon_days == 90
    for case in trained.cases:
        assert case.as_of + case.horizon_days * DAY_US == shop.complete_until
        assert set(case.models) == {"clv", "carry_forward", "bgnbd_gamma_gamma", "rfm_score"}
    assert len(trained.verdicts) == 4
    assert trained.verdicts == gate(trained.primary)


def test_backtest_documents_have_every_key(shop: OrderLog) -> None:
    case = run_case(shop, default_cases(shop, 30)[-1], 30)
    document = case.document()
    keys = {
        "spearman", "normalized_gini", "mae", "rmse", "wape", "bias", "decile_mape", "auc", "brier", "coverage",
        "coverage_top_decile", "top10_capture", "top20_capture", "seconds", "ci",
    }  # fmt: skip
    for values in document["models"].values():
        assert keys <= set(values)
    assert document["models"]["bgnbd_gamma_gamma"]["ci"]["spearman"]["lower"] is not None
    table = predictions_table([case])
    assert list(table) == [
        "customer_id", "as_of", "horizon_days", "actual", "predicted_clv", "purchase_probability", "lower", "upper",
    ]  # fmt: skip
    assert float(np.sum(table["actual"])) == pytest.approx(document["actual_total"])


def test_default_cases_are_apart_by_the_horizon_and_matured(shop: OrderLog) -> None:
    cases = default_cases(shop, 30)
    assert len(cases) == 3
    assert set(np.diff(cases)) == {30 * DAY_US}
    assert cases[-1] + 30 * DAY_US == shop.complete_until
    with pytest.raises(HorizonError, match="longest possible"):
        default_cases(shop, 300)


def test_a_backtest_that_looks_beyond_the_log_is_refused(shop: OrderLog) -> None:
    with pytest.raises(HorizonError, match="complete only until"):
        run_case(shop, shop.complete_until - 10 * DAY_US, 30)
    with pytest.raises(HorizonError, match="longest possible there"):
        run_case(shop, shop.first_at + 40 * DAY_US, 30)


def test_uninformative_features_are_left_to_the_catalogue(shop: OrderLog) -> None:
    kept = informative(feature_matrix(shop, shop.complete_until))
    assert "frequency" in kept
    assert "n_products" not in kept
    assert set(kept) < set(features.catalogue.CATALOGUE.names)


def windows(ratios: list[float], variance: float = 0.0025) -> Windows:
    """Matured windows of 30 days, oldest first, the last one just ended."""
    n = len(ratios)
    place = np.arange(-n, 0).astype(float)
    return Windows(place, 400.0 + 30.0 * np.arange(n), np.array(ratios, dtype=float), np.full(n, variance))


OLD = np.full(500, 60.0)
"""Everyone has known the shop for 60 bins: what was learnt from is an average over years."""


SPRING, AUTUMN, NEW_YEAR = (parse_instant(day) for day in ("2023-03-01", "2023-11-01", "2024-01-01"))


def test_the_level_is_the_calendars_without_history_and_near_it_with_little() -> None:
    nothing, one = forecast(windows([]), OLD, SPRING, 30), forecast(windows([0.5]), OLD, SPRING, 30)
    assert nothing.mean == pytest.approx(CALENDAR_SHARE * RETAIL_CALENDAR[2], abs=0.01)
    assert nothing.sd == 0.3
    assert nothing.mean < one.mean < 0.4


def test_a_first_christmas_is_expected_before_it_was_seen() -> None:
    even = windows([0.0] * 7)
    before, after = forecast(even, OLD, AUTUMN, 61), forecast(even, OLD, NEW_YEAR, 31)
    assert 0.05 < before.mean < CALENDAR_SHARE * max(RETAIL_CALENDAR)
    assert -0.1 < after.mean < -0.02


def test_a_christmas_seen_before_is_repeated_and_one_that_was_none_is_not_expected_again() -> None:
    none = forecast(windows([0.0] * 36), OLD, AUTUMN, 61)
    assert abs(none.mean) < 0.05
    months = (AUTUMN // DAY_US + np.arange(-36, 0) * 30 + 15).astype("datetime64[D]").astype("datetime64[M]")
    strong = 2.0 * np.array(RETAIL_CALENDAR)[months.astype(int) % 12]
    assert forecast(windows(list(strong)), OLD, AUTUMN, 61).mean == pytest.approx(2.0 * 0.3, abs=0.12)


def test_the_calendar_is_that_of_the_days_of_each_window() -> None:
    bins = np.array([-1.0, 0.0, 1.0])
    found = retail_calendar(bins, parse_instant("2023-12-01"))  # November, December, its last day and January
    assert found[0] == pytest.approx(RETAIL_CALENDAR[10])
    assert found[1] == pytest.approx(RETAIL_CALENDAR[11])
    assert RETAIL_CALENDAR[0] < found[2] < RETAIL_CALENDAR[0] + 0.03
    assert abs(np.mean(RETAIL_CALENDAR)) < 0.005


def test_the_calendar_is_what_the_census_counted() -> None:
    """Monthly Retail Trade, not adjusted, millions of dollars: GAFO, and electronic shopping and mail-order houses."""
    counted = np.array(
        [
            [
                [43533, 45999, 51526, 51479, 55557, 53585, 52522, 58714, 53061, 56556, 65498, 94583],  # 1996
                [47409, 47286, 55045, 52639, 57737, 55641, 55712, 60967, 55307, 59385, 67945, 98314],  # 1997
            ],
            [
                [4549, 4226, 4703, 4566, 4563, 4250, 4442, 4586, 4875, 5816, 6676, 7854],
                [5042, 4577, 5594, 5491, 5304, 5204, 5198, 5165, 6080, 6693, 7029, 8690],
            ],
        ]
    )
    months = np.arange("1996-01", "1998-02", dtype="datetime64[M]").astype("datetime64[D]")
    days = np.diff(months).astype(int).reshape(2, 12)
    a_day = np.log(counted / days)
    growth = (a_day[:, 1] - a_day[:, 0]).mean(axis=1)  # a year
    of_month = a_day - (growth[:, np.newaxis] * np.arange(24) / 12).reshape(2, 2, 12)
    season = of_month.mean(axis=1)
    season -= np.average(season, axis=1, weights=days.mean(axis=0))[:, np.newaxis]
    assert np.allclose(season.mean(axis=0), RETAIL_CALENDAR, atol=0.006)


def test_the_level_repeats_a_season_seen_before() -> None:
    def season(month: float) -> float:
        return float(0.4 * np.cos(2 * np.pi * (month + 0.5) * 30 / 365.25))

    found = forecast(windows([season(month) for month in range(-36, 0)]), OLD, SPRING, 30)
    assert found.mean == pytest.approx(season(0), abs=0.1)
    assert found.sd < 0.15


def test_the_level_of_a_longer_horizon_is_that_of_all_its_months() -> None:
    ratios = [0.4 * np.cos(2 * np.pi * (month + 0.5) * 30 / 365.25) for month in range(-36, 0)]
    year = forecast(windows(ratios), OLD, SPRING, 365)
    assert abs(year.mean) < 0.08
    assert abs(year.mean) < abs(forecast(windows(ratios), OLD, SPRING, 90).mean)


def test_what_lasts_counts_by_the_share_of_a_year_that_was_seen() -> None:
    found = [forecast(windows([0.2] * n), OLD, SPRING, 90) for n in (3, 6, 9, 13)]
    assert found[1].mean < 0.06  # half a year of it may be half a season
    assert found[-1].mean == pytest.approx(0.2, abs=0.02)
    assert [one.mean for one in found] == sorted(one.mean for one in found)
    assert [one.sd for one in found] == sorted((one.sd for one in found), reverse=True)


def test_the_level_is_clipped() -> None:
    assert forecast(windows([3.0] * 36), OLD, SPRING, 30).mean <= 0.9
