"""Stages of a score beside the bare trees, and fitting beside pymc-marketing."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from speed_jobs import FEATURES_AS_OF

from features.arrays import FloatArray
from features.instants import parse_instant
from features.matrix import FeatureMatrix, feature_matrix
from features.reading import read_orders
from model.btyd import SUMMARISED, Btyd, Summary, summarise
from model.bundle import load_bundle
from model.clv import ClvModel, btyd_scores
from serving.output import Writer, output
from serving.scorer import score
from serving.table import SCHEMA, to_table
from training.btyd import Fits

STAGED_CUSTOMERS = 50_000
ROUNDS = 3
HORIZON_DAYS = 90
Numbers = dict[str, float]


def stages(folder: str, path: Path) -> Numbers:
    """CPU seconds of each stage for the same customers, medians of the rounds.

    `trees` is `Booster.predict` of every booster of the model, one thread, on a matrix that is ready; `predict` is
    everything between the features and the predictions, the trees included; `answers` is all from the orders to the
    answers (features and predictions included); `table` and `write` make columns of them and write the file.
    """
    bundle, log, as_of = load_bundle(path), read_orders(folder).log, parse_instant(FEATURES_AS_OF)
    log = log.customers(0, min(STAGED_CUSTOMERS, log.n_customers))
    matrix = feature_matrix(log, as_of, _needed(bundle.model))
    inputs = _inputs(bundle.model, matrix)
    rounds: list[Numbers] = []
    for _ in range(ROUNDS):
        seconds: Numbers = {}
        with _timed(seconds, "trees"):
            _bare(bundle.model, inputs)
        with _timed(seconds, "features"):
            matrix = feature_matrix(log, as_of, _needed(bundle.model))
        with _timed(seconds, "predict"):
            bundle.model.predict(matrix)
        with _timed(seconds, "answers"):
            answers = score(bundle, log, as_of)
        with _timed(seconds, "table"):
            table = to_table(bundle, answers)
        with _timed(seconds, "write"), _written() as writer:
            writer.write(table)
        rounds.append(seconds)
    return {"customers": len(inputs), **{name: median(one[name] for one in rounds) for name in rounds[0]}}


def _needed(model: ClvModel) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*model.features, *SUMMARISED]))


def _inputs(model: ClvModel, matrix: FeatureMatrix) -> FloatArray:
    """What the trees of the longest horizon read."""
    seen = btyd_scores(model.btyd, summarise(matrix), model.horizons[-1])
    return np.ascontiguousarray(np.concatenate([matrix.columns(model.features), seen.inputs], axis=1))


def _bare(model: ClvModel, inputs: FloatArray) -> None:
    for part in model.parts:
        for trees in (part.churn.trees, part.orders.trees, part.spend.trees, part.value.trees):
            trees.predict(inputs, num_threads=1)
    model.next_order.trees.predict(inputs, num_threads=1)


@contextmanager
def _timed(seconds: Numbers, name: str) -> Iterator[None]:
    before = time.process_time()
    yield
    seconds[name] = time.process_time() - before


@contextmanager
def _written() -> Iterator[Writer]:
    with tempfile.TemporaryDirectory() as name, output(f"{name}/scores.parquet", SCHEMA) as writer:
        yield writer


def write_summary(folder: str, out: Path) -> Numbers:
    """Repeats, recency, age and repeat value of the customers of a log, in days, as the peers name them."""
    matrix = feature_matrix(read_orders(folder).log, parse_instant(FEATURES_AS_OF), SUMMARISED)
    of = summarise(matrix)
    columns = {"frequency": of.repeats, "recency": of.last_days, "T": of.tenure_days, "monetary_value": of.repeat_value}
    frame = pd.DataFrame(columns).fillna({"monetary_value": 0.0}).assign(day_value=of.day_value)
    frame.to_parquet(out, index=False)
    return {"customers": len(frame)}


def fit(path: Path) -> Numbers:
    """Maximum likelihood of BG/NBD and gamma-gamma, and what every customer is expected to do; wall seconds of both."""
    frame = pd.read_parquet(path)
    days = (frame[name].to_numpy(np.float64) for name in ("frequency", "recency", "T", "day_value", "monetary_value"))
    repeats, last, tenure, day_value, repeat_value = days
    later = np.where(repeats > 0, repeat_value, np.nan)
    of = Summary(repeats, last, tenure, day_value, later, repeats + 1.0, 0.0)
    fitted, seconds_fit = _clocked(lambda: Fits(of).textbook)
    _, seconds_predict = _clocked(lambda: _expected(fitted, of))
    return {"customers": len(frame), "seconds_fit": seconds_fit, "seconds_predict": seconds_predict}


def _expected(model: Btyd, of: Summary) -> tuple[FloatArray, ...]:
    return model.conditional(of, HORIZON_DAYS)


def _clocked(call: Callable[[], object]) -> tuple[object, float]:
    before = time.perf_counter()
    found = call()
    return found, time.perf_counter() - before
