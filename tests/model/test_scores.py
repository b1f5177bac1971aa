"""The short way to a booster's scores gives the bits of the long one."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from model.bundle import Bundle
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


def test_rows_of_another_width_are_refused(bundle: Bundle) -> None:
    with pytest.raises(lgb.basic.LightGBMError, match="number of features"):
        raw_scores(bundle.model.parts[0].churn.trees, np.zeros((2, 3)), 1)
