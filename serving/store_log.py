"""The order store as an order log and as the place of a batch's scores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import sqlalchemy as sa

from features.columns import ORDER_ID, ORDERED_AT, REQUIRED
from features.databases import read_statement
from features.raw import RawSource
from serving.order_store import ORDERS, OrderStore
from serving.score_store import ScoreRun

_INSERTED_AT_ONCE: Final = 2_000


def raw_orders(store: OrderStore) -> RawSource:
    """All stored orders under contract names, with the columns that the store knows.

    Raises
    ------
    OrdersError, StoreError
        The store does not answer.
    """
    names = (*REQUIRED, ORDER_ID, *store.columns())
    statement = sa.text(str(sa.select(*(ORDERS.c[name] for name in names))))
    source = read_statement(store.url, statement, lambda found: {name: name for name in found})
    return replace(source, chunks=map(_with_instants, source.chunks))


def _with_instants(table: pa.Table) -> pa.Table:
    place = table.schema.get_field_index(ORDERED_AT)
    instants = table.column(place).cast(pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    return table.set_column(place, ORDERED_AT, instants)


@dataclass(frozen=True)
class _Rows:
    run: ScoreRun

    def write(self, table: pa.Table) -> None:
        for some in table.to_batches(max_chunksize=_INSERTED_AT_ONCE):
            self.run.write(some.to_pylist())


@contextmanager
def scores_into(store: OrderStore, scored_at: str, primary_horizon_days: int) -> Iterator[_Rows]:
    """Take tables of a batch's rows; they become visible together when the block ends well, or not at all."""
    run = ScoreRun.begin(store, scored_at, primary_horizon_days)
    try:
        yield _Rows(run)
    except BaseException:
        run.drop()
        raise
    run.finish()
