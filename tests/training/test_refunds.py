"""What comes back: forecasts are of net value, though buy-till-you-die models are fitted on what was ordered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from features.instants import DAY_US, parse_instant
from features.orders import OrderLog
from training.backtest import BGNBD_GAMMA_GAMMA, CLV, run_case
from training.examples import Snapshots
from training.simulation import regular

DAYS = 180


def with_refunds(share: float) -> OrderLog:
    """A shop of regular buyers half a year old; so many of its orders are sent back within ten days, whole."""
    sold, rng = regular(1_200, DAYS, seed=2), np.random.default_rng(7)
    back = rng.random(len(sold.amount)) < share
    returned = np.minimum(sold.day[back] + rng.uniform(1.0, 10.0, back.sum()), DAYS - 0.01)
    both = replace(
        sold,
        customer=np.concatenate([sold.customer, sold.customer[back]]),
        day=np.concatenate([sold.day, returned]),
        amount=np.concatenate([sold.amount, -sold.amount[back]]),
    )
    return both.log(parse_instant("2023-01-01"))


def test_without_refunds_all_value_stays(shop: OrderLog) -> None:
    now = Snapshots(shop).at(shop.complete_until)
    assert now.net_share == 1.0
    assert now.btyd(modified=True).value.net_share == 1.0


def test_refunds_alone_say_nothing_of_what_stays(log_of: Callable[..., OrderLog]) -> None:
    log = log_of([("a", "2023-01-01", -5.0), ("b", "2023-01-02", -1.0)])
    assert Snapshots(log).at(log.complete_until).net_share == 1.0


def test_the_share_that_stays_is_that_of_the_past() -> None:
    log = with_refunds(0.3)
    cutoff = log.complete_until - 60 * DAY_US
    seen = log.amount[log.ordered_at < cutoff]
    assert Snapshots(log).at(cutoff).net_share == pytest.approx(seen.sum() / seen[seen > 0.0].sum())


def test_one_absurd_refund_changes_nobody_elses_share() -> None:
    log = with_refunds(0.1)
    usual = Snapshots(log).at(log.complete_until).net_share
    amount = log.amount.copy()
    amount[:2] = 1e9, -1e9
    absurd = Snapshots(replace(log, amount=amount)).at(log.complete_until).net_share
    assert absurd == pytest.approx(usual, abs=0.01)


@pytest.mark.slow
def test_a_young_shop_that_takes_a_third_back_is_not_forecast_gross() -> None:
    """Four months are no history for a level: without the share this was 40 % too high, for both."""
    log = with_refunds(0.3)
    case = run_case(log, log.complete_until - 60 * DAY_US, 60)
    for name in (CLV, BGNBD_GAMMA_GAMMA):
        assert abs(case.models[name].metrics["bias"]) < 0.15
