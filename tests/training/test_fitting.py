"""Fitting: no leak between folds or windows, small and odd logs, known truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
from training.extremes import most_usual
from training.fingerprint import data_fingerprint
from training.fitting import SEED, fit, fit_and_answer, informative
from training.gate import gate
from training.labels import label_window
from training.parts import TREE_SHARE, calibrate
from training.prior import fit_prior
from training.simulation import PURCHASES, seasonal, simulate
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


def test_a_log_of_old_customers_is_known_as_such(log_of: Make) -> None:
    """Nobody is new here, so early first orders are the regulars': an unknown customer is worth less than they were."""
    rng = np.random.default_rng(4)
    n_orders = rng.poisson(240.0 * rng.gamma(0.8, 1.0 / 40.0, 1_200))
    days = np.datetime64("2023-01-01T00:00") + rng.integers(0, 240 * 1440, n_orders.sum())
    log = log_of(
        [(f"{who:04}", str(day), 10.0) for who, day in zip(np.repeat(np.arange(1_200), n_orders), days, strict=True)]
    )
    model = fit(log, log.complete_until, (30,))
    assert model.btyd.purchases.of_cut_log
    assert model.prior.clv[0] < 0.7 * fit_prior(log, log.complete_until, (30,)).clv[0]


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
    as_of = shop.first_at + 150 * DAY_US
    matrix = feature_matrix(shop, as_of)
    whole = fit(shop, as_of, (30,)).predict(matrix)
    _, past = before(shop, as_of).with_rows()
    assert past.n_customers < shop.n_customers  # others come later
    cut = fit(past, as_of, (30,)).predict(matrix)
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


@pytest.mark.parametrize(("everything", "factor"), [(False, 1e6), (True, 1e6), (False, 1e10)])
def test_an_extreme_order_or_customer_changes_nobody_elses_prediction(everything: bool, factor: float) -> None:
    log = simulate(400, 500, seed=2).log(parse_instant("2022-01-01"))
    who = int(np.diff(log.starts).argmax())
    rows = slice(log.starts[who], log.starts[who + 1] if everything else log.starts[who] + 1)
    amount = log.amount.copy()
    amount[rows] *= factor  # a decimal point forgotten, again and again, or a product's number in place of its price
    as_of, others = log.complete_until, np.arange(log.n_customers) != who
    (sound, before_it), (model, after_it) = (
        fit_and_answer(one, as_of, (90,)) for one in (log, replace(log, amount=amount))
    )
    assert after_it.clv[others].sum() == pytest.approx(before_it.clv[others].sum(), rel=0.1)
    widths = [(one.upper - one.lower)[others].sum() for one in (before_it, after_it)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert model.prior.clv[0] == pytest.approx(sound.prior.clv[0], rel=0.1)


@pytest.mark.parametrize("factor", [0.2, 5.0])
def test_first_orders_that_are_unlike_the_later_ones_are_no_measure_of_them(factor: float) -> None:
    """Trial packs and starter kits: what comes later is worth what it was, in a log too short to have seen it."""
    log = simulate(1_500, 240, seed=4).log(parse_instant("2023-01-01"))
    first = log.starts[:-1]
    amount = log.amount.copy()
    amount[first] *= factor
    as_of = log.complete_until
    (usual, before_it), (unlike, after_it) = (
        fit_and_answer(one, as_of, (60,)) for one in (log, replace(log, amount=amount))
    )
    assert usual.btyd.later_over_first == pytest.approx(1.0, abs=0.02)
    assert unlike.btyd.later_over_first == pytest.approx(1.0 / factor, rel=0.15)
    assert after_it.clv.sum() == pytest.approx(before_it.clv.sum(), rel=0.15)


def test_a_tier_of_large_customers_is_a_part_of_the_shop() -> None:
    values = np.concatenate([np.full(950, 2.0), np.full(50, 1_000.0)])
    assert most_usual(values) == np.inf
    assert most_usual(values[:952]) == pytest.approx(200.0)  # two are as well errors
    assert most_usual(np.tile(values[:951], 12), np.tile(np.arange(951), 12)) == pytest.approx(200.0)
    assert most_usual(np.zeros(5)) == np.inf


def test_a_season_reaches_the_number_of_orders_not_only_the_chance_of_one() -> None:
    start = parse_instant("2020-01-01")
    biases = []
    for seed in range(3):
        log = seasonal(1_000, 1_100, seed).log(start)
        as_of = start + 1_006 * DAY_US  # 3 October of the third year
        past = before(log, as_of)
        answers = fit_and_answer(past, as_of, (75,))[1]
        labels = label_window(log, feature_matrix(past, as_of).customers, as_of, 75)
        biases.append(np.log(answers.orders[:, 0].sum() / labels.n_orders.sum()))
    assert abs(np.mean(biases)) < 0.15


def test_an_invoice_in_two_halves_makes_no_purchase_likelier(log_of: Make) -> None:
    shop = simulate(1_500, 500, seed=5)
    found = []
    for n_halves in (1, 2):
        columns = (np.repeat(column, n_halves) for column in (shop.customer, shop.day.astype(np.int64), shop.amount))
        customer, day, amount = columns
        at = np.datetime64("2022-01-01", "us") + day * np.timedelta64(1, "D")
        ids = np.array([f"c{number}" for number in customer])
        log = log_of([], customer_id=ids, ordered_at=at, amount=amount / n_halves)
        found.append(fit_and_answer(log, log.complete_until, (90,))[1])
    whole, halves = found
    assert halves.purchase_probability.mean() == pytest.approx(whole.purchase_probability.mean(), rel=0.02)
    assert halves.clv.sum() == pytest.approx(whole.clv.sum(), rel=0.05)
    assert halves.orders.sum() == pytest.approx(2.0 * whole.orders.sum(), rel=0.1)


def test_resellers_change_nobody_elses_orders(log_of: Make) -> None:
    """Twenty who order once a day, or ten times: theirs follow, everyone else's stay those of their purchase days."""
    shop, found = simulate(1_500, 500, seed=5), []
    for n_times in (1, 10):
        times = np.where(shop.customer % 75 == 0, n_times, 1)
        customer, day, amount = (np.repeat(column, times) for column in (shop.customer, shop.day, shop.amount))
        at = np.datetime64("2022-01-01", "us") + (day * DAY_US).astype(np.int64).astype("timedelta64[us]")
        ids = np.array([f"c{number:05d}" for number in customer])
        numbers = np.arange(len(ids)).astype(str)
        log = log_of([], customer_id=ids, ordered_at=at, amount=amount, order_id=numbers)
        resells = np.array([int(name[1:]) % 75 == 0 for name in log.customer_ids])
        orders = fit_and_answer(log, log.complete_until, (90,))[1].orders[:, 0]
        found.append((orders[resells].sum(), orders[~resells].sum()))
    (once, others), (ten_times, others_beside) = found
    assert others_beside == pytest.approx(others, rel=0.1)
    assert 4.0 * once < ten_times < 10.0 * once


@pytest.mark.slow
def test_trees_have_more_to_say_where_the_formulas_are_far_off(shop: OrderLog) -> None:
    """Yearly renewals: what was due is known to the week. The textbook's shop keeps the weight it has everywhere."""
    rng, n, days = np.random.default_rng(4), 2_000, 1_000
    renewed = np.cumprod(np.column_stack([np.ones(n), rng.random((n, 6)) < 0.75]), axis=1) > 0.0
    due = rng.uniform(-900.0, days, n)[:, None] + 365.0 * np.arange(7) + rng.normal(0.0, 6.0, (n, 7))
    kept = renewed & (due >= 0.0) & (due < days)
    price = np.broadcast_to(rng.lognormal(4.0, 0.5, n)[:, None], due.shape)
    renewals = replace(simulate(n, days, seed=1), customer=np.nonzero(kept)[0], day=due[kept], amount=price[kept])
    yearly = renewals.log(parse_instant("2020-01-01"))
    usual, more = (1.0 - fit(log, log.complete_until, (90,)).parts[0].churn.blend.btyd for log in (shop, yearly))
    assert usual < TREE_SHARE["churn"] < more


@pytest.mark.slow
def test_where_everyone_keeps_a_rhythm_the_share_of_buyers_is_the_trees_to_say() -> None:
    """The formulas take steady gaps for chance, and orders of few for orders of many."""
    rng, n, days = np.random.default_rng(6), 3_000, 720
    gap, joined = rng.choice([28.0, 56.0, 91.0, 182.0], n), rng.uniform(0.0, 600.0, n)
    left = joined + rng.exponential(700.0, n)
    at = joined[:, None] + gap[:, None] * np.arange(30) + rng.normal(0.0, 2.0, (n, 30))
    kept = (at >= 0.0) & (at < np.minimum(left, days)[:, None])
    price = np.broadcast_to(rng.lognormal(3.0, 0.5, n)[:, None], at.shape)
    log = replace(simulate(n, days, seed=1), customer=np.nonzero(kept)[0], day=at[kept], amount=price[kept]).log()
    moment = log.complete_until - 30 * DAY_US
    _, answers = fit_and_answer(log, moment, (30,))
    labels = label_window(log, feature_matrix(before(log, moment), moment).customers, moment, 30)
    assert answers.purchase_probability.mean() == pytest.approx(labels.purchased.mean(), rel=0.07)
    assert answers.orders.sum() == pytest.approx(labels.n_orders.sum(), rel=0.1)


def test_a_fit_without_a_window_to_learn_from_says_so(shop: OrderLog) -> None:
    with pytest.raises(TrainingError, match="No window of 400 days"):
        fit(shop, shop.complete_until, (400,))


def test_a_shop_where_nobody_orders_twice_within_the_horizon_is_trained_on(log_of: Make) -> None:
    months = np.arange("2023-01", "2024-12", dtype="datetime64[M]")
    rng = np.random.default_rng(3)
    paid = [
        months[first : first + n] for first, n in zip(rng.integers(0, 20, 300), rng.integers(1, 20, 300), strict=True)
    ]
    ids = np.repeat([f"c{number}" for number in range(300)], [len(one) for one in paid])
    log = log_of(
        [], customer_id=ids, ordered_at=np.concatenate(paid).astype("datetime64[us]"), amount=np.full(len(ids), 9.0)
    )
    model = fit(log, log.complete_until, (30,))
    answer = model.predict(feature_matrix(log, log.complete_until))
    assert (answer.purchase_probability > 0.5).sum() > 50
    assert (answer.orders < 1.05 * answer.purchase_probability).all()  # one order, and hardly ever another


def test_a_default_horizon_without_buyers_to_learn_from_is_dropped(shop: OrderLog, log_of: Make) -> None:
    ids = [shop.customer_ids[who] for who in np.repeat(np.arange(shop.n_customers), np.diff(shop.starts))]
    early = np.datetime64("2021-11-20") + 7 * np.arange(12)  # a shop that had hardly opened
    at = [*early.astype("datetime64[us]"), *shop.ordered_at.view("datetime64[us]")]
    log = log_of([], customer_id=[*(f"early {k}" for k in range(12)), *ids], ordered_at=at, amount=[5.0] * len(at))
    trained = train(log, log.complete_until, None, "UTC")
    assert (trained.model.horizons, trained.dropped_horizons) == ((30, 90, 180), (365,))
    with pytest.raises(TrainingError, match=r"365 days 0 of .* examples have a purchase"):
        train(log, log.complete_until, [365], "UTC")


def test_evidence_of_a_training_is_of_those_who_were_there(shop: OrderLog) -> None:
    as_of = shop.first_at + 150 * DAY_US
    _, past = before(shop, as_of).with_rows()
    trained = train(shop, as_of, [30], "UTC")
    assert trained.n_customers == past.n_customers < shop.n_customers
    assert trained.provenance.data_fingerprint == data_fingerprint(past)


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
        (
            [(str(i), d, 0.0) for i in range(99) for d in ("2023-01-01", "2024-01-01")],
            "too small.*99 are 0; only those above 0",
        ),
        (
            [(str(i), d, -5.0) for i in range(99) for d in ("2023-01-01", "2024-01-01")],
            "too small.*99 of its 99 rows are below 0",
        ),
    ],
    ids=["one order", "one customer", "one day", "no repeats", "all zero", "negative"],
)
def test_logs_that_cannot_be_trained_on_say_what_is_missing(log_of: Make, rows: list, why: str) -> None:
    log = log_of(rows)
    with pytest.raises((TrainingError, HorizonError), match=why):
        train(log, log.complete_until, [30], "UTC")


@pytest.mark.parametrize("of_buyers", [False, True], ids=["of everyone", "of buyers"])
def test_spenders_of_one_fold_alone_cannot_be_learnt_from(log_of: Make, of_buyers: bool) -> None:
    """Folds of buyers are drawn for themselves: two spenders of different folds may share one of theirs."""
    folds, of_six = fold_of(np.arange(30), SEED), fold_of(np.arange(6), SEED).tolist()
    some = np.flatnonzero(folds == folds[0])[:3].tolist()
    others: list[int] = []
    if of_buyers:
        low, high = np.flatnonzero(np.array(of_six) == of_six[0])[:2].tolist()
        second = next(who for who in range(12, 24) if folds[who] != folds[6])
        some, others = [6, second], [*range(low), *range(7, 6 + high - low), *range(second + 1, second + 6 - high)]
    rows = [(f"c{who:02d}", f"2023-01-{1 + who % 28:02d}", 10.0) for who in range(30)]
    rows += [(f"c{who:02d}", f"2023-01-{3 + who:02d}", 12.0) for who in range(12)]
    weeks = np.arange("2023-02-01", "2024-02-01", 7, dtype="datetime64[D]")
    bought = [(f"c{who:02d}", str(day), amount) for day in weeks for who in (*some, *others) for amount in (8.0, -8.0)]
    log = log_of([*rows, *(row for row in bought if row[2] > 0.0 or int(row[0][1:]) in others)])
    with pytest.raises(TrainingError, match=f"only {len(some)} of ({6 if of_buyers else 30}) customers spend"):
        fit(log, log.complete_until, (30,))


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
    for days in (10, -100):
        with pytest.raises(HorizonError, match=r"window of 90 days .* complete only until"):
            run_case(shop, shop.complete_until - days * DAY_US, 90)
    with pytest.raises(HorizonError, match="longest possible there"):
        run_case(shop, shop.first_at + 40 * DAY_US, 30)


def test_uninformative_features_are_left_to_the_catalogue(shop: OrderLog) -> None:
    kept = informative(feature_matrix(shop, shop.complete_until))
    assert "frequency" in kept
    assert "n_products" not in kept
    assert set(kept) < set(features.catalogue.CATALOGUE.names)
