"""Order logs of any size with known truth, as folders of Parquet files, in bounded memory: BG/NBD and gamma-gamma.

Customers are made a chunk at a time, each chunk from its own seed. The chunk is written as it is to `by_customer`, and
its rows go to a file per slice of time; at the end every slice is put in the order of its times and written to
`by_time`, where customers are mixed as in a table that is appended to. Memory is that of one chunk or slice, however
many customers there are. `truth` holds what drives each customer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.arrays import FloatArray, IntArray

BEGIN = np.datetime64("2023-01-01", "s")
DAYS = 731
AS_OF = "2025-01-01T00:00:00Z"
ORDERS_PER_CUSTOMER = 9.2
REFUND_SHARE = 0.02
CHUNK_CUSTOMERS = 100_000
SLICE_ROWS = 3_000_000
LAYOUTS = ("by_time", "by_customer")
DAY_SECONDS = 86_400
ROW = np.dtype([("customer", np.int64), ("second", np.int64), ("amount", np.float64)])


@dataclass(frozen=True)
class LogPlan:
    """A log to be made.

    Attributes
    ----------
    n_customers
        Ordinary ones; about ORDERS_PER_CUSTOMER rows each.
    giant_orders
        Orders of one more customer, the last by id; 0: none.
    text_ids
        Ids as zero-padded text; integers by default.
    """

    n_customers: int
    giant_orders: int = 0
    text_ids: bool = False
    seed: int = 11


@dataclass(frozen=True)
class Chunk:
    """Orders of some customers, by customer and time, and what drives the customers."""

    rows: np.ndarray
    truth: pa.Table


def write_log(folder: Path, plan: LogPlan) -> int:
    """Write both layouts and the truth; the number of rows."""
    for name in (*LAYOUTS, "truth"):
        (folder / name).mkdir(parents=True)
    n_rows = 0
    n_slices = max(int(plan.n_customers * ORDERS_PER_CUSTOMER + plan.giant_orders) // SLICE_ROWS, 1)
    edges = np.linspace(0, DAYS * DAY_SECONDS, n_slices + 1)[1:-1]
    with tempfile.TemporaryDirectory(dir=folder) as name:
        slices = [Path(name) / f"{place:04d}" for place in range(n_slices)]
        for place, chunk in enumerate(chunks(plan)):
            _write(folder / "by_customer" / f"{place:05d}.parquet", chunk.rows, plan)
            pq.write_table(chunk.truth, folder / "truth" / f"{place:05d}.parquet", compression="zstd")
            _append(slices, edges, chunk.rows)
            n_rows += len(chunk.rows)
        for place, path in enumerate(slices):
            rows = np.fromfile(path, dtype=ROW)
            path.unlink()
            _write(folder / "by_time" / f"{place:05d}.parquet", rows[np.argsort(rows["second"], kind="stable")], plan)
    return n_rows


def chunks(plan: LogPlan) -> Iterator[Chunk]:
    """All customers, CHUNK_CUSTOMERS at a time, then the giant."""
    for low in range(0, plan.n_customers, CHUNK_CUSTOMERS):
        rng = np.random.default_rng([plan.seed, low])
        yield _ordinary(rng, low, min(CHUNK_CUSTOMERS, plan.n_customers - low), plan)
    if plan.giant_orders:
        yield _giant(np.random.default_rng([plan.seed, plan.n_customers, 1]), plan)


def _ordinary(rng: np.random.Generator, low: int, n_customers: int, plan: LogPlan) -> Chunk:
    """Poisson orders at the customer's own rate; after each but the first, the customer leaves with the own chance."""
    rate = rng.gamma(0.9, 1.0 / 23.5, n_customers)  # orders per day while active
    dropout = rng.beta(0.8, 11.0, n_customers)
    joins = rng.uniform(0.0, DAYS - 1.0, n_customers)
    possible = rng.poisson(rate * (DAYS - joins))
    made = np.minimum(possible, rng.geometric(np.maximum(dropout, 1e-9)))
    customer, day = _earliest(rng, joins, possible, made)
    customer, day = np.concatenate([np.arange(n_customers), customer]), np.concatenate([joins, day])
    mean_value = 15.0 * 3.7 / rng.gamma(4.0, 1.0, n_customers)
    truth = {"rate": rate, "dropout": dropout, "mean_value": mean_value, "orders": made + 1}
    rows = _rows(rng, customer, day, mean_value[customer])
    rows["customer"] += low
    return Chunk(rows, _truth(np.arange(low, low + n_customers), truth, plan))


def _earliest(
    rng: np.random.Generator, joins: FloatArray, possible: IntArray, made: IntArray
) -> tuple[IntArray, FloatArray]:
    """The first `made` of the `possible` repeat orders of each customer: who, and when."""
    customer = np.repeat(np.arange(len(joins)), possible)
    day = joins[customer] + rng.random(len(customer)) * (DAYS - joins[customer])
    order = np.lexsort((day, customer))
    place = np.arange(len(customer)) - np.repeat(np.cumsum(possible) - possible, possible)
    kept = order[place < made[customer]]
    return customer[kept], day[kept]


def _giant(rng: np.random.Generator, plan: LogPlan) -> Chunk:
    """One customer who never leaves and buys all the time: a marketplace account, or a till without names."""
    day = np.append(0.0, rng.uniform(0.0, DAYS, plan.giant_orders - 1))
    who = np.full(plan.giant_orders, plan.n_customers)
    truth = {"rate": [plan.giant_orders / DAYS], "dropout": [0.0], "mean_value": [20.0], "orders": [plan.giant_orders]}
    return Chunk(_rows(rng, who, day, np.full(len(who), 20.0)), _truth(who[:1], truth, plan))


def _rows(rng: np.random.Generator, customer: IntArray, day: FloatArray, mean_value: FloatArray) -> np.ndarray:
    """Orders with their values and some refunds, by customer and time."""
    amount = np.maximum(np.round(rng.gamma(6.0, mean_value / 6.0), 2), 0.01)
    back = np.flatnonzero(rng.random(len(day)) < REFUND_SHARE)
    back_day = day[back] + rng.uniform(1.0, 30.0, len(back))
    back, back_day = back[back_day < DAYS], back_day[back_day < DAYS]
    rows = np.empty(len(day) + len(back), dtype=ROW)
    rows["customer"] = np.concatenate([customer, customer[back]])
    rows["second"] = np.concatenate([day, back_day]) * DAY_SECONDS
    rows["amount"] = np.concatenate([amount, -amount[back]])
    return rows[np.lexsort((rows["second"], rows["customer"]))]


def _append(slices: list[Path], edges: FloatArray, rows: np.ndarray) -> None:
    """Hand the rows out to the slices of time."""
    place = np.searchsorted(edges, rows["second"], side="right")
    order = np.argsort(place, kind="stable")
    bounds = np.searchsorted(place[order], np.arange(len(slices) + 1))
    with ExitStack() as opened:
        for path, low, high in zip(slices, bounds[:-1], bounds[1:], strict=True):
            rows[order[low:high]].tofile(opened.enter_context(path.open("ab")))


def _ids(numbers: IntArray, plan: LogPlan) -> pa.Array:
    if not plan.text_ids:
        return pa.array(numbers)
    width = len(str(plan.n_customers))
    distinct, codes = np.unique(numbers, return_inverse=True)
    return pa.array([f"{number:0{width}}" for number in distinct.tolist()]).take(pa.array(codes))


def _write(path: Path, rows: np.ndarray, plan: LogPlan) -> None:
    at = (BEGIN + rows["second"].astype("timedelta64[s]")).astype("datetime64[us]")
    columns = {"customer_id": _ids(rows["customer"], plan), "ordered_at": at, "amount": rows["amount"].copy()}
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=500_000)


def _truth(numbers: IntArray, columns: dict[str, object], plan: LogPlan) -> pa.Table:
    return pa.table({"customer_id": _ids(numbers, plan), **columns})
