"""What a model is worth months after its training: the season of that day kept, beside the season that goes on.

`python benchmarks/asked_later.py [--online-retail-ii FOLDER]` trains on the logs of `development.py`, asks each model 0
to 180 days later, with the orders known by then, and prints by group of logs how far it was off. All windows end
before the test windows of `accuracy.py`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
from development import Shop, shops

from features.arrays import FloatArray
from features.errors import TrainingError
from features.frame import orders_from_frame
from features.history import before
from features.instants import DAY_US, parse_instant
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from model.clv import ClvModel
from training.fitting import fit
from training.labels import Labels, label_window
from training.metrics import Scored, evaluate

TRAININGS = {
    "CDNOW": ("1997-06-15", "1997-08-01"),
    "Complete Journey": ("2017-05-05", "2017-06-05"),
    "Online Retail II": ("2010-07-15", "2010-09-15", "2010-12-01", "2011-02-01"),
}
HORIZONS = (30, 90)
SPANS = ((0, 0), (30, 60), (90, 180))
LATER_DAYS = range(0, SPANS[-1][1] + 1, 30)


def asked(shop: Shop) -> list[tuple[str, int, FloatArray]]:
    """Group, days after the training, and `errors` of the kept season and of the one that goes on, shape (2, 5)."""
    log = orders_from_frame(shop.orders).log
    found = []
    for trained_on in TRAININGS[shop.group.partition(",")[0]]:
        for horizon in HORIZONS:
            for model in fitted(log, parse_instant(trained_on), horizon):
                for days in LATER_DAYS:
                    as_of = model.season.trained_on + days * DAY_US
                    if as_of + horizon * DAY_US > log.complete_until:
                        break
                    matrix = feature_matrix(before(log, as_of), as_of)
                    truth = label_window(log, matrix.customers, as_of, horizon)
                    kept = replace(model, season=replace(model.season, trained_on=as_of))
                    found.append((shop.group, days, np.stack([errors(one, matrix, truth) for one in (kept, model)])))
    return found


def fitted(log: OrderLog, as_of: int, horizon: int) -> Iterator[ClvModel]:
    """The model, where the history is long enough for one."""
    try:
        yield fit(log, as_of, [horizon])
    except TrainingError:
        return


def errors(model: ClvModel, matrix: FeatureMatrix, truth: Labels) -> FloatArray:
    """Log of actual over predicted value, and orders; mean absolute and root mean square error; Brier score."""
    answers = model.predict(matrix)
    predicted = (answers.clv, answers.purchase_probability, answers.lower, answers.upper)
    found = evaluate(Scored(truth.spend, truth.purchased, *(column[:, 0] for column in predicted)))
    totals = (
        np.log(total.sum() / of.sum()) for total, of in ((truth.spend, answers.clv), (truth.n_orders, answers.orders))
    )
    return np.array([*totals, *(found[metric] for metric in ("mae", "rmse", "brier"))], dtype=np.float64)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--online-retail-ii")
    with ProcessPoolExecutor() as pool:
        found = [row for rows in pool.map(asked, shops(parser.parse_args().online_retail_ii)) for row in rows]
    for group in dict.fromkeys(group for group, _, _ in found):
        for first, last in SPANS:
            rows = np.array([both for of, days, both in found if of == group and first <= days <= last])
            print(f"{group}, {len(rows)} windows {first} to {last} days later: {compared(rows[:, 0], rows[:, 1])}")


def compared(kept: FloatArray, goes_on: FloatArray) -> str:
    """Root mean square of both log totals, then mean log ratios of the errors; rows of `errors`."""
    totals = (np.sqrt((rows[:, :2] ** 2).mean(axis=0)) for rows in (kept, goes_on))
    better = (np.abs(goes_on[:, 0]) < np.abs(kept[:, 0])).sum()
    changes = np.log(goes_on[:, 2:] / kept[:, 2:]).mean(axis=0)
    (value, orders), (value_then, orders_then) = totals
    return (
        f"value {value:.3f} -> {value_then:.3f} ({better} better), orders {orders:.3f} -> {orders_then:.3f}; "
        f"MAE {changes[0]:+.1%}, RMSE {changes[1]:+.1%}, Brier {changes[2]:+.1%}"
    )


if __name__ == "__main__":
    main()
