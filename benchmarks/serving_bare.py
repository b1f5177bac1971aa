"""The bare peer: uvicorn, starlette and orjson around LightGBM's fastest call for one row.

Less than a service: features arrive ready, nothing is checked, blended, ranked or counted. What is left is what
HTTP, JSON and the five boosters of a prediction cost in Python. `/constant` leaves the boosters out as well.
"""

from __future__ import annotations

import ctypes
import os
from math import exp
from pathlib import Path

import lightgbm as lgb
import numpy as np
import orjson
from lightgbm.basic import _LIB, _safe_call
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from features.arrays import FloatArray
from model.bundle import load_bundle

RAW_SCORE, FLOAT64 = 1, 1  # of LightGBM's c_api.h


class FastRow:
    """Raw score of one booster for the row that lies in a buffer (LGBM_BoosterPredictForMatSingleRowFast)."""

    def __init__(self, trees: lgb.Booster, row: FloatArray) -> None:
        self._trees = trees  # owns the handle
        self._config, self._length, self._score = ctypes.c_void_p(), ctypes.c_int64(), ctypes.c_double()
        started = _LIB.LGBM_BoosterPredictForMatSingleRowFastInit(
            trees._handle, RAW_SCORE, 0, -1, FLOAT64, len(row), b"num_threads=1", ctypes.byref(self._config)
        )
        _safe_call(started)
        where = row.ctypes.data_as(ctypes.c_void_p)
        self._arguments = (self._config, where, ctypes.byref(self._length), ctypes.byref(self._score))

    def __call__(self) -> float:
        """Score what lies in the buffer now."""
        _safe_call(_LIB.LGBM_BoosterPredictForMatSingleRowFast(*self._arguments))
        return self._score.value


class FastRows:
    """The five boosters of a one-horizon model, over one buffer."""

    def __init__(self, folder: Path) -> None:
        model = load_bundle(folder).model
        (part,) = model.parts
        trees = [part.churn.trees, part.orders.trees, part.spend.trees, part.value.trees, model.next_order.trees]
        self._row = np.empty(trees[0].num_feature())
        self._fast = [FastRow(one, self._row) for one in trees]

    def __call__(self, row: list[float | None]) -> list[float]:
        """Raw scores: churn, orders, spend, value, next order."""
        self._row[:] = np.array(row, dtype=np.float64)
        return [score() for score in self._fast]


async def predict(request: Request) -> Response:
    """Ready inputs of the trees → a small answer."""
    churn, orders, spend, value, next_order = scores(orjson.loads(await request.body())["row"])
    probability = 1.0 / (1.0 + exp(-churn))
    answer = {
        "purchase_probability": probability,
        "predicted_number_of_orders": probability * (1.0 + exp(orders)),
        "predicted_clv": probability * exp(spend),
        "value": exp(value),
        "next_order_days": exp(next_order),
        "scores": [churn, orders, spend, value, next_order],
    }
    return Response(orjson.dumps(answer), media_type="application/json")


async def constant(request: Request) -> Response:
    """Read the body and answer the same whatever it says."""
    await request.body()
    return Response(b'{"predicted_clv":1.0}', media_type="application/json")


async def alive(_: Request) -> Response:
    """Say that the server is up."""
    return Response()


if "CLV_BUNDLE" in os.environ:
    scores = FastRows(Path(os.environ["CLV_BUNDLE"]))
app = Starlette(
    routes=[
        Route("/predict", predict, methods=["POST"]),
        Route("/constant", constant, methods=["POST"]),
        Route("/", alive),
    ]
)
