"""The pandas face: frames in, frames out. The only module of the package that imports pandas."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from features.catalogue import CATALOGUE, NEVER
from features.instants import parse_instant, to_us
from features.mapping import resolve
from features.matrix import FeatureMatrix, feature_matrix
from features.options import ReadOptions
from features.orders import OrderLog
from features.raw import RawOrders
from features.validation import Intake, validate


def orders_from_frame(orders: pd.DataFrame, options: ReadOptions | None = None) -> Intake:
    """Validate a frame of orders; the index is ignored. See `features.reading.read_orders`."""
    settings = options or ReadOptions()
    columns = resolve([str(name) for name in orders.columns], settings.mapping)
    named = orders.set_axis([str(name) for name in orders.columns], axis=1)
    table = pa.table({name: _array(named[column]) for name, column in columns.items()})
    return validate(RawOrders(table, {}), settings, now=None)


def _array(column: pd.Series[Any]) -> pa.Array:
    if isinstance(column.dtype, pd.DatetimeTZDtype):  # pandas warns when arrow takes zoned values itself
        naive = pa.Array.from_pandas(column.dt.tz_convert("UTC").dt.tz_localize(None))
        return naive.cast(pa.timestamp(naive.type.unit, tz="UTC"))
    if column.dtype == object and not len(column):
        return pa.array([], pa.string())
    try:
        return pa.Array.from_pandas(column)
    except pa.ArrowException:  # a column of several types
        return pa.array([None if missing else str(value) for value, missing in zip(column, column.isna(), strict=True)])


def build_features(
    orders: OrderLog | pd.DataFrame,
    as_of: str | datetime,
    options: ReadOptions | None = None,
) -> pd.DataFrame:
    """One row of features per customer with at least one order before `as_of`.

    Parameters
    ----------
    orders
        A valid log, or a frame with the columns of the order contract; its unusable rows are
        counted in a warning (`orders_from_frame` gives the rows themselves).
    as_of
        Instant the features speak for; ISO text or datetime, naive is UTC.

    Returns
    -------
    DataFrame
        Index `customer_id`, one column per catalogue entry: int64 where the entry says `int` and
        null never occurs, else float64 with NaN for null.
    """
    if isinstance(orders, pd.DataFrame):
        intake = orders_from_frame(orders, options)
        if intake.accounts.n_rejected:
            warnings.warn(intake.accounts.summary(), stacklevel=2)
        orders = intake.log
    instant = parse_instant(as_of) if isinstance(as_of, str) else to_us(as_of)
    return to_frame(feature_matrix(orders, instant), orders)


def to_frame(matrix: FeatureMatrix, log: OrderLog) -> pd.DataFrame:
    """Feature matrix as a frame indexed by customer id."""
    index = pd.Index(log.customer_ids[matrix.customers], name="customer_id", dtype="str")
    frame = pd.DataFrame(matrix.values, index=index, columns=list(matrix.names))
    whole = [name for name in matrix.names if CATALOGUE[name].dtype == "int" and CATALOGUE[name].null == NEVER]
    return frame.astype(dict.fromkeys(whole, np.int64))
