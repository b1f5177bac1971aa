"""The short way to a booster's scores gives the bits of the long one."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from model.bundle import Bundle
from model.forest import forest_of
from model.scores import raw_scores


def test_scores_are_lightgbms_own_to_the_bit(bundle: Bundle) -> None:
    rng = np.random.default_rng(3)
    for part in bundle.model.parts:
        for trees in (
            part.churn.trees,
            part.orders.trees,
            part.spend.trees,
            part.value.trees,
            bundle.model.next_order.trees,
        ):
            inputs = rng.gamma(1.0, 30.0, (2000, trees.num_feature()))
            inputs[rng.random(inputs.shape) < 0.1] = np.nan
            wanted = trees.predict(inputs, raw_score=True, num_threads=1)
            assert raw_scores(trees, inputs, 1).tobytes() == wanted.tobytes()
            assert raw_scores(trees, np.asfortranarray(inputs), 2).tobytes() == wanted.tobytes()
            assert raw_scores(trees, inputs[7:8], 1).tobytes() == wanted[7:8].tobytes()


def grown(rows: np.ndarray, rng: np.random.Generator, **settings: object) -> lgb.Booster:
    known = np.nan_to_num(rows)
    target = known[:, 0] + known[:, 1] * (rows[:, 2] > 0) + 3 * (known[:, 3] == 1) + rng.normal(size=len(rows))
    data = lgb.Dataset(rows, target, free_raw_data=False, categorical_feature=settings.pop("categories", []))
    quiet = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 7}
    return lgb.train({**quiet, **settings}, data, num_boost_round=30)


@pytest.mark.parametrize(
    ("settings", "as_tables"),
    [
        ({}, True),
        ({"use_missing": False}, True),
        ({"num_leaves": 9}, True),
        ({"num_leaves": 2}, True),
        ({"num_leaves": 31}, False),
        ({"zero_as_missing": True}, False),
        ({"categories": [3]}, False),
        ({"linear_tree": True}, False),
    ],
)
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_many_rows_at_once_have_lightgbms_bits(settings: dict[str, object], as_tables: bool, holes: float) -> None:
    rng = np.random.default_rng(5)
    rows = np.round(rng.normal(size=(3000, 5)), 1)
    rows[:, 3] = np.abs(rows[:, 3]) * 10 // 4
    rows[:, 4] = rng.integers(0, 3, 3000)
    rows[rng.random(rows.shape) < holes] = np.nan
    trees = grown(rows, rng, **dict(settings))
    assert (forest_of(trees.model_to_string()) is not None) == as_tables
    asked = np.concatenate([rows, rng.choice([-np.inf, np.inf, np.nan, -0.0, 0.0, 0.1, -0.1, 1e308], (5000, 5))])
    wanted = trees.predict(asked, raw_score=True, num_threads=1)
    for threads in (1, 2):
        assert raw_scores(trees, asked, threads).tobytes() == wanted.tobytes()
    for n in (64, 70, 1023, 1024, 1025, 2049):
        assert raw_scores(trees, asked[:n], 1).tobytes() == wanted[:n].tobytes()
    at_forks = np.repeat([np.float64(line) for line in _thresholds(trees)], 5).reshape(-1, 5)
    edge = np.concatenate([at_forks, np.nextafter(at_forks, np.inf), np.nextafter(at_forks, -np.inf)])
    assert raw_scores(trees, edge, 1).tobytes() == trees.predict(edge, raw_score=True, num_threads=1).tobytes()


def _thresholds(trees: lgb.Booster) -> list[str]:
    lines = [line for line in trees.model_to_string().splitlines() if line.startswith("threshold=")]
    return [number for line in lines for number in line.removeprefix("threshold=").split()]


def test_rows_of_another_width_are_refused(bundle: Bundle) -> None:
    with pytest.raises(lgb.basic.LightGBMError, match="number of features"):
        raw_scores(bundle.model.parts[0].churn.trees, np.zeros((2, 3)), 1)
