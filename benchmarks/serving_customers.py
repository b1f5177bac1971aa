"""Made-up customers as the bodies that each server is asked with: raw orders for ours, ready rows for the peers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from features.arrays import FloatArray, IntArray
from features.assemble import assemble
from features.catalogue import CATALOGUE
from features.instants import isoformat, to_us
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from features.typed import Codes, TypedOrders
from model.btyd import summarise
from model.clv import ClvModel, btyd_scores

N_ORDERS = 20
BEGIN, AS_OF = to_us(datetime(1997, 1, 1, tzinfo=UTC)), to_us(datetime(1998, 7, 1, tzinfo=UTC))
HORIZON_DAYS = 90


@dataclass(frozen=True)
class Orders:
    """Orders of n customers, oldest first, shape (n, N_ORDERS) each; the columns of the CDNOW log."""

    ordered_at: IntArray
    amount: FloatArray
    quantity: IntArray

    def __getitem__(self, customers: slice) -> Orders:
        """Some of the customers."""
        return Orders(self.ordered_at[customers], self.amount[customers], self.quantity[customers])

    def log(self) -> OrderLog:
        """As the service assembles them."""
        n_customers = len(self.amount)
        owners = np.repeat(np.arange(n_customers, dtype=np.int32), N_ORDERS)
        codes = Codes(owners, np.arange(n_customers).astype(object))
        numbers = {"quantity": self.quantity.ravel().astype(np.float64)}
        return assemble(TypedOrders(codes, self.ordered_at.ravel(), self.amount.ravel(), numbers=numbers)).log


def simulate(n_customers: int, seed: int = 20) -> Orders:
    """Customers who joined at different times and buy at different paces and prices."""
    rng = np.random.default_rng(seed)
    joined = rng.uniform(0.0, 0.6, (n_customers, 1))
    gone = joined + (1.0 - joined) * rng.uniform(0.3, 1.0, (n_customers, 1))
    at = joined + (gone - joined) * np.sort(rng.random((n_customers, N_ORDERS)), axis=1)
    seconds = (at * ((AS_OF - BEGIN) // 1_000_000 - 1)).astype(np.int64)
    typical = rng.gamma(4.0, 8.0, (n_customers, 1))
    amount = np.maximum(np.round(typical * rng.gamma(6.0, 1 / 6.0, at.shape), 2), 0.01)
    return Orders(BEGIN + seconds * 1_000_000, amount, rng.poisson(1.4, at.shape) + 1)


def as_objects(orders: Orders) -> dict[str, Any]:
    """One object a customer, one object an order."""
    rows = zip(orders.ordered_at.tolist(), orders.amount.tolist(), orders.quantity.tolist(), strict=True)
    customers = [
        {
            "customer_id": f"customer-{place}",
            "orders": [
                {"ordered_at": isoformat(at), "amount": amount, "quantity": quantity}
                for at, amount, quantity in zip(*of_one, strict=True)
            ],
        }
        for place, of_one in enumerate(rows)
    ]
    return {"customers": customers}


def as_columns(orders: Orders) -> dict[str, Any]:
    """One object a customer, one list for each key of the orders."""
    rows = zip(orders.ordered_at.tolist(), orders.amount.tolist(), orders.quantity.tolist(), strict=True)
    customers = [
        {
            "customer_id": f"customer-{place}",
            "orders": {"ordered_at": [isoformat(one) for one in at], "amount": amount, "quantity": quantity},
        }
        for place, (at, amount, quantity) in enumerate(rows)
    ]
    return {"customers": customers}


OURS: dict[str, Callable[[Orders], dict[str, Any]]] = {"objects": as_objects, "columns": as_columns}
"""Kinds of body that our route takes: how each writes customers and orders."""


def our_body(orders: Orders, kind: str) -> bytes:
    """Question about all of some customers, one horizon."""
    return orjson.dumps({**OURS[kind](orders), "as_of": isoformat(AS_OF), "horizon_days": [HORIZON_DAYS]})


@dataclass(frozen=True)
class Ready:
    """Features of customers, computed beforehand: what the peers are given."""

    matrix: FeatureMatrix
    inputs: FloatArray

    def mlflow_body(self, customers: slice) -> bytes:
        """`dataframe_split` with every feature that has a value, which is all the model reads."""
        kept = [name for name in CATALOGUE.names if not np.isnan(self.matrix.column(name)).all()]
        rows = self.matrix.columns(kept)[customers]
        split = {"columns": kept, "data": np.ascontiguousarray(rows)}
        return orjson.dumps({"dataframe_split": split}, option=orjson.OPT_SERIALIZE_NUMPY)

    def bare_body(self, customer: int) -> bytes:
        """The row that the trees read, buy-till-you-die quantities included."""
        return orjson.dumps({"row": np.ascontiguousarray(self.inputs[customer])}, option=orjson.OPT_SERIALIZE_NUMPY)


def ready(orders: Orders, model: ClvModel) -> Ready:
    """Compute the features by the engine itself."""
    matrix = feature_matrix(orders.log(), AS_OF, CATALOGUE.names)
    scores = btyd_scores(model.btyd, summarise(matrix), HORIZON_DAYS)
    return Ready(matrix, np.concatenate([matrix.columns(model.features), scores.inputs], axis=1))
