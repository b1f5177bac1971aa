"""The features of the whole base as rows of a table, one row a customer: what the registered model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pyarrow as pa

from features.arrow import floats, texts
from features.catalogue import CATALOGUE
from features.history import before
from features.instants import isoformat
from features.matrix import blocks, feature_matrix
from features.orders import OrderLog
from serving.output import Writer
from serving.tally import BLOCK_ROWS, NOTHING_MADE, Tally

SCHEMA: Final = pa.schema(
    [("customer_id", pa.string()), ("as_of", pa.string()), *((name, pa.float64()) for name in CATALOGUE.names)]
)


def write_features(log: OrderLog, as_of: int, writer: Writer, on_rows: Callable[[int], None]) -> Tally:
    """Write the features of every customer with an order before `as_of`; null where a feature is undefined.

    `on_rows` is told how many orders were looked at; what it raises ends the work.
    """
    tally, moment = NOTHING_MADE, isoformat(as_of)
    for low, high in blocks(log.starts, BLOCK_ROWS):
        some = log.customers(low, high)
        matrix = feature_matrix(some, as_of)
        n_known = len(matrix.customers)
        columns = [floats(column) for column in matrix.values.T]
        ids = texts(some.customer_ids[matrix.customers])
        writer.write(pa.table([ids, pa.repeat(texts([moment])[0], n_known), *columns], schema=SCHEMA))
        after = some.n_rows - before(some, as_of).n_rows
        tally += Tally(high - low, high - low - n_known, n_known, after)
        on_rows(some.n_rows)
    return tally
