"""Looking ahead: half-open windows, refunds at their own time, nothing beyond what has matured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from features.errors import HorizonError, TrainingError
from features.history import before
from features.instants import DAY_US, parse_instant
from features.orders import OrderLog
from training.cutoffs import checked_horizons, longest_horizon, training_cutoffs
from training.labels import label_window
from training.prior import first_horizons, fit_prior

Make = Callable[..., OrderLog]
AS_OF = parse_instant("2024-03-01")


def window(log: OrderLog, days: int = 30) -> tuple[list[float], list[float], list[float]]:
    found = label_window(log, np.arange(log.n_customers), AS_OF, days)
    return found.n_orders.tolist(), found.spend.tolist(), found.left_out.tolist()


def test_an_order_on_each_edge_of_the_window(log_of: Make) -> None:
    log = log_of(
        [
            ("a", "2024-02-29T23:59:59.999999", 1.0),
            ("a", "2024-03-01T00:00:00", 2.0),
            ("a", "2024-03-30T23:59:59.999999", 4.0),
            ("a", "2024-03-31T00:00:00", 8.0),
        ]
    )
    assert window(log) == ([2.0], [6.0], [0.0])


def test_refunds_net_within_the_window_and_never_below_zero(log_of: Make) -> None:
    log = log_of(
        [
            ("nets", "2024-03-02", 10.0),
            ("nets", "2024-03-05", -4.0),
            ("beyond", "2024-03-02", 10.0),
            ("beyond", "2024-03-05", -14.0),
            ("only refund", "2024-03-05", -3.0),
            ("zero", "2024-03-05", 0.0),
            ("end", "2024-04-30", 1.0),
        ]
    )
    n_orders, spend, left_out = window(log)
    assert dict(zip(log.customer_ids, n_orders, strict=True)) == {
        "beyond": 1, "end": 0, "nets": 1, "only refund": 0, "zero": 0,
    }  # fmt: skip
    assert dict(zip(log.customer_ids, spend, strict=True)) == {
        "beyond": 0, "end": 0, "nets": 6, "only refund": 0, "zero": 0,
    }  # fmt: skip
    assert sum(left_out) == -4.0 - 3.0


def test_what_rounding_leaves_of_a_refund_is_no_value(log_of: Make) -> None:
    rows = [("back", "2024-03-02", 0.1), ("back", "2024-03-03", 0.2), ("back", "2024-03-05", -0.3)]
    assert window(log_of([*rows, ("end", "2024-04-30", 1.0)]))[1] == [0.0, 0.0]


def test_a_window_that_has_not_matured_is_refused(log_of: Make) -> None:
    log = log_of([("a", "2024-01-01", 1.0), ("a", "2024-03-30T10:00", 1.0)])
    window(log, 30)
    with pytest.raises(HorizonError, match="complete only until 2024-03-31"):
        window(log, 31)


def test_training_windows_end_at_or_before_the_moment_trained_for(shop: OrderLog) -> None:
    as_of = shop.first_at + 300 * DAY_US
    for horizon in (7, 30, 90, 120):
        cutoffs = training_cutoffs(before(shop, as_of), as_of, horizon)
        assert cutoffs
        assert max(cutoffs) + horizon * DAY_US == as_of
        assert min(cutoffs) >= shop.first_at + 30 * DAY_US
        assert cutoffs == sorted(set(cutoffs), reverse=True)


def test_the_longest_possible_horizon_is_possible_and_the_next_is_not(shop: OrderLog) -> None:
    as_of = shop.complete_until
    longest = longest_horizon(shop, as_of)
    assert checked_horizons(shop, as_of, [longest]) == ((longest,), ())
    with pytest.raises(HorizonError, match=f"longest possible is {longest} days"):
        checked_horizons(shop, as_of, [longest + 1])


def test_default_horizons_that_do_not_fit_are_dropped_and_named(shop: OrderLog) -> None:
    assert checked_horizons(shop, shop.complete_until, None) == ((30, 90, 180), (365,))


def test_a_placeholder_date_does_not_make_a_century_of_cutoffs(log_of: Make) -> None:
    log = log_of([("a", "1900-01-01", 1.0), ("a", "2024-03-01", 1.0)])
    assert len(training_cutoffs(log, log.complete_until, 30)) < 70


def test_a_shop_began_with_its_first_orders_after_trials_and_placeholders(log_of: Make) -> None:
    sold = [("b", f"2024-{month:02d}-{day:02d}", 1.0) for month in range(1, 7) for day in range(1, 29)] * 13
    for first, began in (("2024-01-01", "2024-01-01"), ("2023-12-20", "2023-12-20"), ("2023-12-03", "2024-01-01")):
        log = log_of([("a", first, 1.0), *sold])
        assert log.n_rows > 2_000
        assert log.began_at == parse_instant(began)
    assert log_of([("a", "2023-11-01", 1.0)] * 9 + sold).began_at == parse_instant("2023-11-01")  # more than a trial


def test_no_horizon_at_all_is_the_logs_fault_and_one_that_was_asked_for_the_users(log_of: Make) -> None:
    log = log_of([("a", "2024-01-01", 1.0), ("a", "2024-01-02", 1.0), ("a", "2024-03-01", 1.0)])
    with pytest.raises(TrainingError, match="the log has 61 days") as short:
        checked_horizons(log, log.complete_until, None)
    assert short.value.exit_code == 1
    with pytest.raises(HorizonError, match="the log has 61 days") as asked:
        checked_horizons(log, log.complete_until, [30])
    assert asked.value.exit_code == 2


def test_the_prior_counts_only_customers_whose_horizon_has_passed(log_of: Make) -> None:
    log = log_of(
        [
            ("back", "2024-01-01", 5.0),
            ("back", "2024-01-11", 7.0),
            ("gone", "2024-01-02", 5.0),
            ("too new", "2024-02-20", 5.0),
            ("too new", "2024-02-21", 50.0),
        ]
    )
    found = fit_prior(log, AS_OF, (30,))
    assert (found.purchase_probability[0], found.orders[0], found.clv[0]) == (0.5, 0.5, 3.5)


def test_the_prior_of_a_cut_log_looks_at_the_newer_half(log_of: Make) -> None:
    """Those first seen at the beginning of an export come back every time: they were customers before."""
    days = [f"2023-{month:02}-{day:02}" for month in range(1, 9) for day in range(1, 11)]
    first = [(f"{place:03}", day, 5.0) for place, day in enumerate(days)]
    again = [(name, f"{day}T12:00", 9.0) for name, day, _ in first[:40]]
    log = log_of([*first, *again])
    assert first_horizons(log, 0, AS_OF, 30).means()[0] == 0.5
    assert 0.0 < fit_prior(log, AS_OF, (30,)).purchase_probability[0] < 0.5  # who came of late counts the more
    found = fit_prior(log, AS_OF, (30,), cut=True)
    assert (found.purchase_probability[0], found.clv[0]) == (0.0, 0.0)
    few = first_horizons(log_of([*first[:50], *again]), 0, AS_OF, 30).newer_half()  # 30 at least: 20 came back
    assert few.means() == pytest.approx((2 / 3, 2 / 3, 6.0))
