"""What `speed.py` checks and measures on small logs: agreement, bits, and one customer a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pandas_features import pandas_features
from speed_jobs import FEATURES_AS_OF
from speed_ours import names

import training
from features import matrix
from features.arrays import FloatArray
from features.assemble import assemble
from features.instants import to_us
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from features.reading import read_orders
from features.typed import Codes, TypedOrders

CDNOW = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz"
AS_OF = pd.Timestamp(FEATURES_AS_OF).tz_localize(None)
TOLERANCE = 1e-9
Numbers = dict[str, float]


def write_cdnow(out: Path) -> None:
    """The bundled log as Parquet: text ids, and dates without times, so that orders tie."""
    frame = pd.read_csv(CDNOW, dtype={"customer_id": "str"}, parse_dates=["ordered_at"])
    out.mkdir(parents=True)
    kept = frame.assign(ordered_at=frame["ordered_at"].astype("datetime64[us]"))[
        ["customer_id", "ordered_at", "amount"]
    ]
    kept.to_parquet(out / "orders.parquet", index=False)


def disagreements(mine: Path, other: Path) -> list[str]:
    """Features that differ: in their names, their customers, a null, or by more than 1e-9."""
    ours, theirs = _sorted(mine), _sorted(other)
    if sorted(theirs.columns) != sorted(names()):
        return ["names"]
    if list(ours.index) != list(theirs.index):
        return ["customers"]
    return [name for name in names() if not _close(ours[name], theirs[name])]


def _sorted(folder: Path) -> pd.DataFrame:
    """All files of a folder, by id as text; a NaN that should have been a null is told as infinite."""
    table = pq.read_table(folder)
    ids = table["customer_id"].cast("string").to_pylist()
    columns = {name: _numbers(table[name]) for name in table.column_names if name != "customer_id"}
    return pd.DataFrame(columns, index=ids).sort_index()


def _numbers(column: pa.ChunkedArray) -> FloatArray:
    as_floats = column.cast("float64")
    return pc.fill_null(pc.if_else(pc.is_nan(as_floats), np.inf, as_floats), np.nan).to_numpy()


def _close(mine: pd.Series, theirs: pd.Series) -> bool:
    return bool(np.allclose(mine, theirs, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def per_call_us(call: Callable[[], object], calls: int) -> float:
    """CPU microseconds of one call, after one to warm up."""
    call()
    before = time.process_time()
    for _ in range(calls):
        call()
    return (time.process_time() - before) / calls * 1e6


def online() -> Numbers:
    """One customer of 20 orders, validated columns → features."""
    rng = np.random.default_rng(7)
    at = np.sort(rng.integers(0, 730 * 86_400, 20)) * 1_000_000 + to_us(AS_OF - pd.Timedelta(days=730))
    instants, amounts, as_of = at.tolist(), np.round(rng.gamma(6.0, 5.0, 20), 2).tolist(), to_us(AS_OF)
    ids = np.array(["c1"], dtype=object)

    def engine() -> FeatureMatrix:
        customer = Codes(np.zeros(len(amounts), dtype=np.int32), ids)
        typed = TypedOrders(customer, np.array(instants, dtype=np.int64), np.array(amounts, dtype=np.float64))
        return feature_matrix(assemble(typed).log, as_of, names())

    frame = pd.DataFrame({"customer_id": ["c1"] * 20, "ordered_at": at.astype("M8[us]"), "amount": amounts})
    rounds = [(per_call_us(engine, 500), per_call_us(lambda: pandas_features(frame, AS_OF), 30)) for _ in range(5)]
    return {"ours_us": median(ours for ours, _ in rounds), "pandas_us": median(pandas for _, pandas in rounds)}


def bits(folder: str) -> Numbers:
    """Values that differ in any bit between the whole base and other partitions of it."""
    log = read_orders(folder).log
    whole = feature_matrix(log, to_us(AS_OF), names())
    picked = np.random.default_rng(3).choice(log.n_customers, min(3_000, log.n_customers), replace=False).tolist()
    each = (feature_matrix(log.customers(one, one + 1), to_us(AS_OF), names()) for one in picked)
    alone = sum(_differing(whole, other, one) for one, other in zip(picked, each, strict=True))
    blocks = {f"blocks of {n:,} rows": _differing(whole, _with_blocks(log, n)) for n in (5_000, log.n_rows)}
    return {f"{len(picked):,} customers one a call": alone, **blocks}


def _differing(whole: FeatureMatrix, other: FeatureMatrix, low: int = 0) -> float:
    """How many values of `other`, whose customers begin at `low`, differ in any bit."""
    rows = np.searchsorted(whole.customers, other.customers + low)
    mine, theirs = np.ascontiguousarray(whole.values[rows]), np.ascontiguousarray(other.values)
    return float((mine.view(np.int64) != theirs.view(np.int64)).sum())


def _with_blocks(log: OrderLog, rows: int) -> FeatureMatrix:
    """Features with another block size."""
    matrix.BLOCK_ROWS = rows
    return feature_matrix(log, to_us(AS_OF), names())
