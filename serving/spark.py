"""The whole base on Apache Spark: parts of whole customers on its executors, each worked on as `serving.in_parts` does.

A worker gets the rows of a part as Arrow, reads and validates them as any log, and gives back rows of the output and,
last, one row with the part's accounts. Both are written by the same task and committed together: a task that is tried
again counts once.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import pyarrow as pa
from py4j.protocol import Py4JJavaError
from pyspark import StorageLevel
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  its usual name
from pyspark.sql.pandas.types import from_arrow_schema

from features.accounts import NOTHING_READ
from features.columns import CURRENCY, CUSTOMER_ID, LINE_ITEM_COLUMNS, ORDER_ID, ORDERED_AT, Rule
from features.errors import ClvError, OrdersError, OutputError, UsageError
from features.instants import next_midnight
from features.options import ReadOptions
from features.parsing import text_codes
from features.parts import rows_at_once
from features.raw import RawOrders
from features.reading import UNREADABLE_TO_SCORE, refuse_unreadable, refuse_unusable
from features.validation import currency_of, rules_broken
from serving.in_parts import Done, Work
from serving.java import find_java
from serving.spark_parts import FAILED, KIND, MALFORMED, PART, ROWS, Making, Reading, kinds_of, latest_of, raise_first
from serving.spark_places import Folder, is_jdbc, shown_place
from serving.spark_source import opened

_FEWEST_ROWS, _PARTS_A_CORE = 20_000, 3
_SETTINGS: Final = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(1 << 17),
    "spark.sql.maxConcurrentOutputFileWriters": "2",  # rows and accounts, without sorting by kind
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
}


def session() -> SparkSession:
    """Session of its own in Spark's context: that of `spark-submit`, of the calling program, or a new local one.

    Raises
    ------
    UsageError
        There is no Java.
    OrdersError
        Spark does not start.
    """
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.appName("clv")
    if "PYSPARK_GATEWAY_PORT" not in os.environ and SparkSession.getActiveSession() is None:
        find_java()
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        builder = builder.config("spark.log.level", "ERROR").config("spark.ui.showConsoleProgress", "false")
    with _told("Spark does not start", OrdersError):
        own = builder.getOrCreate().newSession()
    own.sparkContext.environment["PYTHONSAFEPATH"] = "1"  # workers take no module from the folder they start in
    for name, value in _SETTINGS.items():
        own.conf.set(name, value)
    return own


@dataclass(frozen=True)
class SparkBatch:
    """An order log that Spark works on.

    Attributes
    ----------
    frame
        Rows under contract names, with the part of each; of a CSV also the text of those that cannot be split.
    shown
        The source, as it may be shown.
    now
        Rows later than one day after it are rejected, µs UTC.
    hint
        A word on a column that is not read and may matter; empty where there is none.
    """

    frame: DataFrame
    shown: str
    options: ReadOptions
    now: int
    hint: str

    @property
    def complete_until(self) -> int:
        """Midnight after the last usable order; 0 without one."""
        found = 0
        with _told(f"{self.shown!r} cannot be read", OrdersError):
            for part, latest in self._latest():
                if next_midnight(latest, self.options.zone) <= found:
                    break  # no row of this part or of those that follow is later, usable or not
                rows = self.frame.filter(F.col(PART) == part).drop(PART).toArrow()
                found = max(found, self._reading.intake(rows).log.complete_until)
        return found

    def run(self, work: Work, out: str, table: str) -> Done:
        """Do the work for all customers.

        Parameters
        ----------
        out
            Folder of Parquet files, replaced whole; or a JDBC URL, whose table is emptied and filled.

        Raises
        ------
        OrdersError
            The orders cannot be used.
        OutputError
            Spark gives up, or the output cannot be written.
        """
        with _told(f"{self.shown!r} cannot be read", OrdersError):
            making = Making(self._reading, work)

        def part(rows: pa.Table) -> pa.Table:
            return making.part(rows)

        kinds = from_arrow_schema(work.schema.append(pa.field(KIND, pa.string())))
        made = self.frame.groupBy(PART).applyInArrow(part, kinds)
        about = {key.decode(): value.decode() for key, value in (work.schema.metadata or {}).items()}
        made = made.withMetadata(CUSTOMER_ID, about)
        with _told(f"Spark could not make {shown_place(out)!r}", OutputError):
            return (
                self._to_database(made, out, table)
                if is_jdbc(out)
                else self._to_folder(made, Folder.at(made.sparkSession.sparkContext, out))
            )

    def _to_folder(self, made: DataFrame, folder: Folder) -> Done:
        beside = folder.beside("unfinished")
        try:
            made.write.partitionBy(KIND).parquet(beside, mode="overwrite", compression="zstd")
            done = self._accounts(made.sparkSession.read.parquet(beside))
            rows = f"{beside}/{KIND}={ROWS}"
            if not folder.holds(rows):
                made.limit(0).drop(KIND).write.parquet(rows)  # no customer has a row
            folder.replace_by(rows)
        finally:
            folder.discard(beside)
        return done

    def _to_database(self, made: DataFrame, url: str, table: str) -> Done:
        made = made.persist(StorageLevel.MEMORY_AND_DISK)
        try:
            done = self._accounts(made)
            rows = made.filter(F.col(KIND) == ROWS).drop(KIND)
            rows.write.option("truncate", "true").jdbc(url, table, mode="overwrite")
        finally:
            made.unpersist()
        return done

    def _accounts(self, made: DataFrame) -> Done:
        """Accounts of all parts, summed in their order; what went wrong in one of them is raised."""
        side = made.filter(F.col(KIND) != ROWS).select(CUSTOMER_ID, KIND).collect()
        raise_first([row[0] for row in side if row[1] == FAILED])
        notes = sorted((json.loads(row[0]) for row in side), key=lambda note: note["part"])
        done = sum((Done.from_json(note["done"]) for note in notes), Done())
        if not done.read.n_valid:
            refuse_unusable(done.read, self.shown)
        refuse_unreadable(done.read, UNREADABLE_TO_SCORE)
        return done

    def _latest(self) -> list[tuple[int, int]]:
        """Each part and the last instant in it that is not in the future, latest first."""
        options, now = self.options, self.now

        def latest(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                yield latest_of(pa.Table.from_batches([batch]), options, now)

        rows = self._sound.select(PART, ORDERED_AT).mapInArrow(latest, f"{PART} long, latest long, failed string")
        found = rows.groupBy(PART).agg(F.max("latest"), F.max("failed")).collect()
        raise_first([row[2] for row in found if row[2] is not None])
        return sorted(((row[0], row[1]) for row in found), key=lambda pair: (-pair[1], pair[0]))

    @cached_property
    def _sound(self) -> DataFrame:
        return self.frame.filter(F.col(MALFORMED).isNull()) if MALFORMED in self.frame.columns else self.frame

    @cached_property
    def _reading(self) -> Reading:
        return Reading(self._with_currency(), self.now, self._conflicting())

    def _with_currency(self) -> ReadOptions:
        """The options, with the one currency of all parts."""
        if CURRENCY not in self.frame.columns:
            return self.options
        found = self._sound.select(CURRENCY).distinct().limit(1_000).toArrow().column(0)
        return replace(self.options, currency=currency_of(text_codes(found, CURRENCY), self.options))

    def _conflicting(self) -> frozenset[tuple[str, int]]:
        """Order ids, with the moment of a refund, that stand on rows which differ, and in more than one part."""
        names = self.frame.columns
        if ORDER_ID not in names or any(name in names for name in LINE_ITEM_COLUMNS):
            return frozenset()
        ids = self._sound.filter(F.col(ORDER_ID).cast("string").rlike(r"\S")).groupBy(ORDER_ID)
        several = ids.agg(F.min(PART).alias("first"), F.max(PART).alias("last")).filter("first < last")
        several = several.select(ORDER_ID).persist()
        try:
            if several.isEmpty():
                return frozenset()
            rows = self._sound.join(F.broadcast(several), ORDER_ID, "left_semi").drop(PART, MALFORMED).toArrow()
        finally:
            several.unpersist()
        raw = RawOrders(rows, {})
        conflicting = rules_broken(raw, self.options, self.now) == Rule.CONFLICTING_ORDER_ID
        return frozenset(
            pair for pair, wrong in zip(kinds_of(raw, self.options), conflicting.tolist(), strict=True) if wrong
        )


@contextmanager
def spark_batch(source: str, options: ReadOptions, now: int, out: str, memory: int) -> Iterator[SparkBatch]:
    """Open an order log as Spark reads it, in parts that stay within so many bytes of memory in each Python worker.

    Parameters
    ----------
    source
        Parquet file, folder or glob, Delta table, CSV, or JDBC URL with `options.table` or `options.query`.

    Raises
    ------
    UsageError
        An output that Spark does not write, or that would replace something else.
    OrdersError
        The log cannot be read, or is empty.
    """
    own, shown = session(), shown_place(source)
    with _told(f"--out {shown_place(out)!r} cannot be written", UsageError):
        if not is_jdbc(out):
            Folder.at(own.sparkContext, out).check()
    with _told(f"{shown!r} cannot be read", OrdersError):
        rows, hint, read_once = opened(own, source, options)
        rows = rows.persist(StorageLevel.MEMORY_AND_DISK) if read_once else rows
    try:
        with _told(f"{shown!r} cannot be read", OrdersError):
            n_rows = rows.count()
        if not n_rows:
            refuse_unusable(NOTHING_READ, shown)
        n_parts = _n_parts(n_rows, memory, own.sparkContext.defaultParallelism)
        yield SparkBatch(rows.withColumn(PART, _part_of(rows, n_parts)), shown, options, now, hint)
    finally:
        if read_once:
            rows.unpersist()


def _n_parts(n_rows: int, memory: int, n_cores: int) -> int:
    return max(1, -(-n_rows // rows_at_once(memory, 1)), min(n_cores * _PARTS_A_CORE, n_rows // _FEWEST_ROWS))


def _part_of(rows: DataFrame, n_parts: int) -> Column:
    """Part of the row's customer; rows of nobody, which are rejected wherever they are, are spread over all parts."""
    customer = F.col(CUSTOMER_ID)
    nobody = customer.isNull() | (customer.cast("string") == "")
    return F.pmod(F.when(nobody, F.xxhash64(*rows.columns)).otherwise(F.xxhash64(customer)), F.lit(n_parts))


@contextmanager
def _told(what: str, kind: type[ClvError]) -> Iterator[None]:
    """Turn what Spark raises into one sentence."""
    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = next((line for line in lines if "calling" not in line), "no cause given").lstrip(": ")
        raise kind(f"{what}: {cause[:300]}") from error
