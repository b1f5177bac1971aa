"""Features on Spark: the engine through `applyInArrow` against the same features written as Spark SQL.

`python benchmarks/spark.py [--customers 100000 1000000] [--out docs/spark_speed.md]` simulates logs, checks that both
agree to 1e-9, and measures each in one warm session of two threads: CPU seconds of the whole process tree (JVM and
Python workers), wall seconds; the rows go nowhere (`noop`). Plain features are one aggregation without order among the
rows; the others need the order of a customer's orders, medians or distinct days. Up to three million orders: medians of
three runs; beyond: one run.
"""

from __future__ import annotations

import sys

sys.path.append(sys.path.pop(0))  # beside this file lies a serving.py: what is installed comes first

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import pyarrow as pa
import pyspark
from pyspark.sql import DataFrame, SparkSession
from speed_log import AS_OF, LogPlan, write_log

from features.catalogue import CATALOGUE
from features.instants import parse_instant
from features.matrix import feature_matrix
from features.options import ReadOptions
from serving.java import find_java
from serving.spark import spark_batch
from serving.spark_parts import PART, Reading

MOMENT = parse_instant(AS_OF)
WINDOWS, TRENDS, HALF_LIVES = (30, 90, 180, 365), (90, 180), (15, 45, 120)
WARM_CUSTOMERS, REPS = 20_000, 3

ROWS = f"""
SELECT customer_id, t, amount, ({MOMENT} - t) AS age_us, floor(({MOMENT} - t) / 86400000000D) AS age,
    timestamp_micros(t) AS at, amount > 0 AS buys
FROM (SELECT customer_id, amount, unix_micros(cast(ordered_at AS timestamp)) AS t FROM log) WHERE t < {MOMENT}
"""


def plain_columns() -> dict[str, str]:
    """SQL of the features that are sums, extremes and shares."""
    n = "count_if(buys)"
    recency, tenure = "min(age) FILTER (WHERE buys)", "max(age) FILTER (WHERE buys)"
    mean, std = "avg(amount) FILTER (WHERE buys)", "stddev_samp(amount) FILTER (WHERE buys)"
    share = f"count_if(buys AND {{}}) / {n}"

    def within(far: int, near: int = 0) -> str:
        return f"age_us > {near * 86_400_000_000} AND age_us <= {far * 86_400_000_000}"

    out = {
        "recency_days": recency,
        "tenure_days": tenure,
        "frequency": n,
        "historic_clv": "sum(amount)",
        "gross_spend": "sum(amount) FILTER (WHERE buys)",
        "monetary": f"sum(amount) / {n}",
        "spend_mean": mean,
        "spend_std": std,
        "spend_cv": f"{std} / {mean}",
        "spend_min": "min(amount) FILTER (WHERE buys)",
        "spend_max": "max(amount) FILTER (WHERE buys)",
        "spend_per_day": f"sum(amount) / greatest({tenure}, 1)",
        "spend_log_mean": "avg(ln(amount)) FILTER (WHERE buys)",
        "spend_log_std": "stddev_samp(ln(amount)) FILTER (WHERE buys)",
        "orders_per_30_days": f"30 * {n} / greatest({tenure}, 30)",
        "recency_in_tenure": f"try_divide({recency}, {tenure})",
        "weekend_share": share.format("weekday(at) >= 5"),
        "evening_share": share.format("hour(at) >= 18"),
        "month_end_share": share.format("day(at) >= 25"),
        "q4_share": share.format("month(at) >= 10"),
    }
    for w in WINDOWS:
        out[f"orders_{w}d"] = f"count_if(buys AND {within(w)})"
        out[f"spend_{w}d"] = f"coalesce(sum(amount) FILTER (WHERE {within(w)}), 0)"
    for w in HALF_LIVES:
        out[f"orders_decayed_{w}d"] = f"sum(pow(0.5D, age / {w})) FILTER (WHERE buys)"
        out[f"spend_decayed_{w}d"] = f"sum(amount * pow(0.5D, age / {w})) FILTER (WHERE buys)"
    for w in TRENDS:
        out[f"orders_trend_{w}d"] = f"2 * {out[f'orders_{w}d']} - count_if(buys AND {within(2 * w)})"
        earlier = f"coalesce(sum(amount) FILTER (WHERE {within(2 * w, w)}), 0)"
        out[f"spend_trend_{w}d"] = f"{out[f'spend_{w}d']} - {earlier}"
    return out


PLAIN = plain_columns()
RANKED = f"""
SELECT *, n - nth AS from_last, (t - lag(t) OVER w) / 86400000000D AS gap FROM (
    SELECT *, row_number() OVER w AS nth, count(*) OVER own AS n, min(t) OVER own AS first_t,
        max(age) OVER own AS tenure
    FROM (SELECT * FROM ({ROWS}) DISTRIBUTE BY customer_id)
    WINDOW w AS (PARTITION BY customer_id, buys ORDER BY t, amount), own AS (PARTITION BY customer_id, buys)
) WINDOW w AS (PARTITION BY customer_id, buys ORDER BY t, amount)
"""


def ordered_columns() -> dict[str, str]:
    """SQL of the other features that need no optional column."""

    def first(what: str) -> str:
        return f"max({what}) FILTER (WHERE buys AND nth = 1)"

    def last(what: str) -> str:
        return f"max({what}) FILTER (WHERE buys AND from_last = 0)"

    def gaps(of: str) -> str:
        return f"{of}(gap) FILTER (WHERE buys)"

    n, mean, recency = "count_if(buys)", PLAIN["spend_mean"], PLAIN["recency_days"]
    first_date = "to_date(timestamp_micros(first_t))"
    quarters = ", ".join(f"count_if(buys AND quarter(at) = {place})" for place in (1, 2, 3, 4))
    return {
        "purchase_days": "count(DISTINCT CASE WHEN buys THEN to_date(at) END)",
        "spend_median": "median(amount) FILTER (WHERE buys)",
        "spend_last": last("amount"),
        "spend_last_to_mean": f"{last('amount')} / {mean}",
        "spend_recent_mean": "avg(amount) FILTER (WHERE buys AND from_last < 3)",
        "gap_mean_days": gaps("avg"),
        "gap_median_days": gaps("median"),
        "gap_std_days": gaps("stddev_samp"),
        "gap_cv": f"try_divide({gaps('stddev_samp')}, {gaps('avg')})",
        "gap_max_days": gaps("max"),
        "gap_last_days": last("gap"),
        "recency_in_gaps": f"try_divide({recency}, {gaps('avg')})",
        "recency_in_longest_gap": f"try_divide({recency}, {gaps('max')})",
        "active_months": "count(DISTINCT CASE WHEN buys THEN trunc(at, 'MM') END)",
        "peak_quarter_share": f"greatest({quarters}) / {n}",
        "gap_trend": f"try_divide({last('gap')}, {gaps('avg')})",
        "late_orders_share": f"count_if(buys AND 2 * age < tenure) / {n}",
        "spend_last_to_first": f"{last('amount')} / {first('amount')}",
        "first_spend": first("amount"),
        "first_day_spend": f"sum(amount) FILTER (WHERE buys AND to_date(at) = {first_date})",
        "first_spend_to_mean": f"{first('amount')} / {mean}",
        "second_order_gap_days": "max(gap) FILTER (WHERE buys AND nth = 2)",
        "first_month": first("month(at)"),
        "first_on_weekend": first("CASE WHEN weekday(at) >= 5 THEN 1 ELSE 0 END"),
    }


ALL = {**PLAIN, **ordered_columns()}


def by_sql(spark: SparkSession, path: str, columns: dict[str, str]) -> DataFrame:
    """Features as Spark works them out."""
    spark.read.parquet(path).createOrReplaceTempView("log")
    listed = ", ".join(f"{text} AS {name}" for name, text in columns.items())
    rows = ROWS if columns is PLAIN else RANKED
    return spark.sql(f"SELECT customer_id, {listed} FROM ({rows}) GROUP BY customer_id HAVING count_if(buys) > 0")


def by_engine(path: str, columns: dict[str, str], take: Callable[[DataFrame], object]) -> None:
    """Features as the engine works them out, raw rows validated, on all parts of the log."""
    names, reading = tuple(columns), Reading(ReadOptions(), MOMENT, frozenset())

    def features(rows: pa.Table) -> pa.Table:
        log = reading.intake(rows.drop_columns([PART])).log
        matrix = feature_matrix(log, MOMENT, names)
        found = [pa.array(matrix.column(name), from_pandas=True) for name in names]
        return pa.table(
            [pa.array(log.customer_ids[matrix.customers], pa.string()), *found], names=["customer_id", *names]
        )

    schema = "customer_id string, " + ", ".join(f"{name} double" for name in names)
    with spark_batch(path, ReadOptions(), MOMENT, "unused", 4 * 10**9) as batch:
        take(batch.frame.groupBy(PART).applyInArrow(features, schema))


def disagreements(spark: SparkSession, path: str, columns: dict[str, str]) -> list[str]:
    """Features that differ in a null, or by more than 1e-9."""
    kept: list[pa.Table] = []
    by_engine(path, columns, lambda frame: kept.append(frame.toArrow()))
    mine, theirs = (table.sort_by("customer_id") for table in (kept[0], by_sql(spark, path, columns).toArrow()))
    if not mine.column("customer_id").equals(theirs.column("customer_id")):
        return ["customers"]
    out = []
    for name in columns:
        a, b = (table.column(name).cast("float64").to_numpy() for table in (mine, theirs))
        if not np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True):
            out.append(name)
    return out


def cpu_seconds() -> float:
    """User and system time of this process and of all that it started, the finished ones among them."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


@dataclass(frozen=True)
class Measured:
    cpu_s: float
    wall_s: float


def measured(work: Callable[[], object], reps: int) -> Measured:
    """Medians over runs."""
    runs = []
    for _ in range(reps):
        cpu, wall = cpu_seconds(), time.perf_counter()
        work()
        runs.append((cpu_seconds() - cpu, time.perf_counter() - wall))
    return Measured(median(cpu for cpu, _ in runs), median(wall for _, wall in runs))


def nowhere(frame: DataFrame) -> None:
    frame.write.format("noop").mode("overwrite").save()


def line(spark: SparkSession, path: str, columns: dict[str, str], n_orders: int) -> str:
    """What both cost."""
    reps = REPS if n_orders < 3_000_000 else 1
    engine = measured(lambda: by_engine(path, columns, nowhere), reps)
    sql = measured(lambda: nowhere(by_sql(spark, path, columns)), reps)
    kind = "plain ones" if columns is PLAIN else "all without optional columns"
    return (
        f"| {n_orders:,} | {len(columns)}: {kind} | {engine.cpu_s:.1f} | {sql.cpu_s:.1f} "
        f"| {sql.cpu_s / engine.cpu_s:.1f} | {engine.wall_s:.1f} | {sql.wall_s:.1f} |"
    )


def table(spark: SparkSession, sizes: list[int], folder: Path) -> list[str]:
    """One line for each size and set of features."""
    lines = []
    write_log(folder / "warm", LogPlan(WARM_CUSTOMERS, text_ids=True))
    warm = str(folder / "warm" / "by_time")
    for columns in (PLAIN, ALL):
        wrong = disagreements(spark, warm, columns)
        print(f"{len(columns)} features, {len(wrong)} disagree: {wrong}", file=sys.stderr)
    for size in sizes:
        n_orders = write_log(folder / str(size), LogPlan(size, text_ids=True, seed=2))
        path = str(folder / str(size) / "by_time")
        for columns in (PLAIN, ALL):
            lines.append(line(spark, path, columns, n_orders))
            print(lines[-1], file=sys.stderr, flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    find_java()
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.log.level", "ERROR").config("spark.ui.showConsoleProgress", "false")
    builder = builder.config("spark.driver.memory", "4g").config("spark.sql.session.timeZone", "UTC")
    spark = builder.getOrCreate()
    with tempfile.TemporaryDirectory() as folder:
        lines = table(spark, given.customers, Path(folder))
    text = "\n".join(
        [
            "# Features on Spark",
            "",
            "Written by `benchmarks/spark.py`; do not edit.",
            "",
            " ".join(str(__doc__).split("\n\n")[1].split()),
            f"Spark {pyspark.__version__}, Python {platform.python_version()}; {len(CATALOGUE)} features in all.",
            "",
            "| orders | features | engine, CPU s | SQL, CPU s | SQL / engine | engine, wall s | SQL, wall s |",
            "|--:|---|--:|--:|--:|--:|--:|",
            *lines,
            "",
        ]
    )
    print(text)
    if given.out:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
