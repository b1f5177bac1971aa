"""Three planted leaks, each of which the harness must notice."""

from __future__ import annotations

import numpy as np
import pytest

import features.matrix
import training.fitting
import training.parts
from features.errors import LeakError
from features.history import before
from features.instants import DAY_US
from features.orders import OrderLog
from training.backtest import run_case
from training.cutoffs import training_cutoffs
from training.train import train
from training.trees import N_FOLDS


def test_a_feature_that_peeks_one_day_ahead_is_refused(shop: OrderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def peeking(log: OrderLog, as_of: int) -> OrderLog:
        return before(log, as_of + DAY_US)

    monkeypatch.setattr(features.matrix, "before", peeking)
    with pytest.raises(LeakError, match="depend on rows from then on: recency_days"):
        run_case(shop, shop.complete_until - 60 * DAY_US, 60)


def test_a_label_window_that_overlaps_the_test_is_refused(shop: OrderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def overlapping(log: OrderLog, as_of: int, horizon_days: int) -> list[int]:
        return [cutoff + 5 * DAY_US for cutoff in training_cutoffs(log, as_of, horizon_days)]

    monkeypatch.setattr(training.fitting, "training_cutoffs", overlapping)
    with pytest.raises(LeakError, match="must be over before the moment"):
        run_case(shop, shop.complete_until - 60 * DAY_US, 60)


def test_a_calibration_fold_that_shares_customers_is_refused(shop: OrderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    def by_row(customers: np.ndarray, seed: int) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, N_FOLDS, len(customers))

    monkeypatch.setattr(training.parts, "fold_of", by_row)
    with pytest.raises(LeakError, match="customers have rows in more than one fold"):
        run_case(shop, shop.complete_until - 60 * DAY_US, 60)


def test_a_leak_at_a_default_horizon_ends_the_training(shop: OrderLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log too thin for one of them only drops it."""

    def overlapping(log: OrderLog, as_of: int, horizon_days: int) -> list[int]:
        late = 5 * DAY_US if horizon_days == 90 else 0
        return [cutoff + late for cutoff in training_cutoffs(log, as_of, horizon_days)]

    monkeypatch.setattr(training.fitting, "training_cutoffs", overlapping)
    with pytest.raises(LeakError, match="must be over before the moment"):
        train(shop, shop.complete_until, None, "UTC")
