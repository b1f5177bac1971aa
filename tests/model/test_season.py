"""A model that is asked after its training: the season goes on, ranks and tiers stay."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from features.history import before
from features.instants import DAY_US, parse_instant
from features.matrix import feature_matrix
from features.orders import OrderLog
from model.bundle import Bundle
from model.reasons import explain
from model.season import N_STEPS, Season
from serving.scorer import Question, score
from training.fitting import fit
from training.labels import label_window
from training.level import forecasts
from training.simulation import seasonal
from training.windows import Windows

TRAINED = parse_instant("2023-10-01")
STEPS = np.linspace(0.0, 1.2, 25)
RISING = Season(TRAINED, np.array([STEPS, STEPS / 2]), np.array([2 * STEPS, STEPS]))
"""Two horizons; orders rise by .05 and .025, value by .1 and .05 from step to step."""


@pytest.mark.parametrize(
    ("days", "steps"),
    [
        (-400, 0.0),
        (0, 0.0),
        (0.99, 0.0),
        (15, 0.5),
        (15.99, 0.5),
        (705, 23.5),
        (720, 24.0),
        (755, 389.75 / 30),
        (1851, 390 / 30),
    ],
)
def test_the_level_lies_on_lines_between_the_steps_and_repeats_the_second_year(days: float, steps: float) -> None:
    orders, value = RISING.shifts(TRAINED + round(days * DAY_US))
    np.testing.assert_allclose(orders, [0.05 * steps, 0.025 * steps], atol=1e-9)
    np.testing.assert_allclose(value, [0.1 * steps, 0.05 * steps], atol=1e-9)


def test_orders_and_value_are_multiplied_and_a_chance_stays_one() -> None:
    rng = np.random.default_rng(3)
    probability = np.append(rng.uniform(0.0, 1.0, (500, 2)), [[0.0, 1.0]], axis=0)
    orders, clv = probability * rng.uniform(1.0, 3.0, (501, 2)), probability * 40.0
    for sign in (1.0, -1.0):
        season = Season(TRAINED, sign * RISING.orders, sign * RISING.value)
        chance, more, value = season.turned(TRAINED + 180 * DAY_US, probability, orders, clv)
        factor = np.exp(sign * np.array([0.3, 0.15]))
        np.testing.assert_allclose(value, clv * np.exp(sign * np.array([0.6, 0.3])))
        assert ((chance >= 0.0) & (chance <= 1.0) & (chance <= more)).all()
        np.testing.assert_array_equal(chance[-1], [0.0, 1.0])
        assert (np.sign(chance[:-1] - probability[:-1]) == sign).all()
        usual = more > chance
        np.testing.assert_allclose(more[usual], (orders * factor)[usual])
        small = probability < 0.01
        np.testing.assert_allclose(chance[small], (probability * factor)[small], rtol=0.01)


def test_at_the_training_not_a_bit_changes(bundle: Bundle, shop: OrderLog) -> None:
    matrix = feature_matrix(shop, shop.complete_until)
    level = np.zeros((2, 25))
    frozen = replace(bundle.model, season=Season(shop.complete_until, level, level))
    assert bundle.model.season.trained_on == shop.complete_until
    assert bundle.model.season.value[:, 1:].any()
    assert not bundle.model.season.value[:, 0].any()
    here, there = bundle.model.predict(matrix), frozen.predict(matrix)
    for name in ("purchase_probability", "orders", "clv", "lower", "upper"):
        assert getattr(here, name).tobytes() == getattr(there, name).tobytes()


def test_reasons_tell_the_later_season(bundle: Bundle, shop: OrderLog) -> None:
    model = replace(bundle.model, season=replace(RISING, trained_on=shop.complete_until))
    matrix = replace(feature_matrix(shop, shop.complete_until), as_of=shop.complete_until + 90 * DAY_US)
    answers = model.predict(matrix)
    frozen = replace(model, season=replace(RISING, trained_on=matrix.as_of))
    now = explain(frozen, matrix, frozen.predict(matrix))
    for place, found in enumerate(explain(model, matrix, answers)):
        total = found.typical + found.season + found.horizons + found.effects.sum(axis=1)
        np.testing.assert_allclose(total, answers.clv[:, place], rtol=1e-9)
        assert (found.season > now[place].season).all()
        np.testing.assert_array_equal(found.effects, now[place].effects)


def test_a_season_lifts_values_and_nobodys_tier(bundle: Bundle, shop: OrderLog) -> None:
    later = shop.complete_until + 90 * DAY_US
    level = np.zeros((2, 25))
    usual = replace(bundle, model=replace(bundle.model, season=Season(shop.complete_until, level, level)))
    busy = replace(bundle, model=replace(bundle.model, season=Season(shop.complete_until, level, level + np.log(2.0))))
    asked = Question(horizons=(90,))
    before_it, then = score(usual, shop, later, asked), score(busy, shop, later, asked)
    np.testing.assert_allclose(then.predictions.clv, 2.0 * before_it.predictions.clv)
    np.testing.assert_allclose(then.place.percentile, before_it.place.percentile)
    assert list(then.place.value_tier) == list(before_it.place.value_tier)


def test_no_night_brings_back_what_went_on_at_the_training() -> None:
    """Three quiet years, then two windows of a campaign: its end is not undone when a year is over."""
    place = np.arange(-36.0, 0.0)
    ratios = np.where(place < -2.0, 0.0, 0.4)
    past = Windows(place, 400.0 + 30.0 * np.arange(36), ratios, np.full(36, 0.0025))
    levels = [one.mean for one in forecasts(past, np.full(500, 60.0), TRAINED, 30, np.arange(N_STEPS + 1.0))]
    season = Season(TRAINED, np.zeros((1, N_STEPS + 1)), np.array([levels]) - levels[0])
    nights = np.array([season.shifts(TRAINED + night * DAY_US)[1][0] for night in range(2_000)])
    assert nights[300:].max() < -0.1
    assert np.abs(np.diff(nights)).max() < 0.02


@pytest.mark.slow
def test_a_model_of_early_autumn_knows_when_december_and_summer_come() -> None:
    """The shop sells four times as much around 7 December as in summer, and its log has seen it twice."""
    began = parse_instant("2021-01-01")
    log = seasonal(2_000, 1_460, 4).log(began)
    model = fit(log, TRAINED, [30])
    frozen = replace(model, season=replace(model.season, orders=np.zeros((1, 25)), value=np.zeros((1, 25))))
    for moment in ("2023-11-20", "2024-01-10", "2024-06-01"):
        as_of = parse_instant(moment)
        matrix = feature_matrix(before(log, as_of), as_of)
        truth = label_window(log, matrix.customers, as_of, 30)
        for name, actual in (("clv", truth.spend.sum()), ("orders", truth.n_orders.sum())):
            turned, as_trained = (
                abs(np.log(getattr(one.predict(matrix), name).sum() / actual)) for one in (model, frozen)
            )
            assert turned < as_trained
