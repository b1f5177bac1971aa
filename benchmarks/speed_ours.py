"""Our own side of `speed.py`: a folder of orders → features in Parquet, or examples to learn from."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.arrays import ObjectArray
from features.arrow import array, floats, texts
from features.catalogue import CATALOGUE, NEVER
from features.instants import DAY_US, isoformat, parse_instant
from features.matrix import FeatureMatrix, feature_matrix
from features.options import ReadOptions
from features.parts import Parts, Split, part_orders
from features.sources import open_raw

WRITTEN_ROWS = 100_000
LABEL_DAYS = 30
MEMORY = 4 * 10**9
"""As much as `clv score` and `clv features` may use by default."""


def names() -> tuple[str, ...]:
    """Features that need no column beyond customer, time and amount."""
    return tuple(entry.name for entry in CATALOGUE if not entry.needs)


@contextmanager
def parted(folder: Path) -> Iterator[Parts]:
    """The log in parts where it is large, as all commands read it."""
    options, now = ReadOptions(), time.time_ns() // 1000
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        source = open_raw(str(folder), options)
        split = Split.within(MEMORY, 1, source.n_rows_about, Path(name) / "parts")
        yield part_orders(source, options, now, split)


def matrices(folder: Path, moments: Sequence[int]) -> Iterator[tuple[ObjectArray, FeatureMatrix]]:
    """Features as of each moment with the ids of their rows, some customers after others.

    The one place that says how they are computed: as `clv score` does.
    """
    with parted(folder) as parts:
        for place in range(parts.n_parts):
            log = parts.intake(place).log
            for as_of in moments:
                matrix = feature_matrix(log, as_of, names())
                yield log.customer_ids[matrix.customers], matrix


def hold_features(folder: Path, as_of: str) -> None:
    """Features of every customer in memory, nothing written."""
    list(matrices(folder, [parse_instant(as_of)]))


def draw_examples(folder: Path, moments: Sequence[str]) -> dict[str, float]:
    """Features, inputs from buy-till-you-die models, and labels of the customers that `clv train` draws to learn from.

    Returns how many there are.
    """
    from features.sampling import read_sample
    from training.examples import Snapshots, training_examples

    with parted(folder) as parts:
        log = read_sample(parts).log
    cutoffs = [parse_instant(moment) - LABEL_DAYS * DAY_US for moment in moments]
    drawn = training_examples(Snapshots(log), log, cutoffs, LABEL_DAYS, names(), seed=7, modified=True)
    return {"examples": len(drawn)}


def write_features(folder: Path, out: Path, moments: Sequence[str]) -> None:
    """Write the features of every moment to a file of its own in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    entries = [CATALOGUE[name] for name in names()]
    columns = [pa.field(entry.name, pa.float64(), nullable=entry.null != NEVER) for entry in entries]
    schema = pa.schema([pa.field("customer_id", pa.string(), nullable=False), *columns])
    split = [entry.name for entry in entries if entry.unit != "share"]  # of shares, snappy finds many again whole
    writers: dict[int, pq.ParquetWriter] = {}
    with ExitStack() as opened:
        for ids, matrix in matrices(folder, [parse_instant(moment) for moment in moments]):
            if matrix.as_of not in writers:
                path = out / f"{isoformat(matrix.as_of)[:10]}.parquet"
                writers[matrix.as_of] = opened.enter_context(
                    pq.ParquetWriter(
                        path,
                        schema,
                        use_dictionary=False,
                        use_byte_stream_split=split,
                        write_statistics=False,
                        write_batch_size=WRITTEN_ROWS,
                    )
                )
            for low in range(0, len(ids), WRITTEN_ROWS):
                rows = slice(low, low + WRITTEN_ROWS)
                values = [
                    floats(column) if field.nullable else array(column)
                    for field, column in zip(columns, matrix.values[rows].T, strict=True)
                ]
                writers[matrix.as_of].write_table(pa.table([texts(ids[rows]), *values], schema=schema))
