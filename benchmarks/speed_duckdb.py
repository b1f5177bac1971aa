"""The plain-log features of the catalogue in DuckDB SQL, by hand: one window, one aggregation.

The window runs over a customer's orders and refunds apart (`amount > 0` is part of the key), so that gaps skip
refunds without a second scan and without a join.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import duckdb

WINDOWS = (30, 90, 180, 365)
HALF_LIVES = (15, 45, 120)
TRENDS = (90, 180)
DAY_US = 86_400_000_000

ROWS = """
SELECT customer_id, amount, ordered_at, amount > 0 AS buys, amount < 0 AS refunds,
    {as_of} - epoch_us(ordered_at) AS age_us, (age_us // {day})::DOUBLE AS age_days,
    year(ordered_at) * 12 + month(ordered_at) AS month_number
FROM read_parquet('{folder}/*.parquet')
WHERE ordered_at < make_timestamp({as_of})
"""

PLACED = """
SELECT *, row_number() OVER following AS nth, count(*) OVER everyone AS n,
    (lag(age_us) OVER following - age_us) / {day}.0 AS gap,
    first_value(ordered_at) OVER following AS first_at,
    max(age_days) OVER everyone AS first_age,
    lag(date_trunc('day', ordered_at)) OVER following IS DISTINCT FROM date_trunc('day', ordered_at) AS new_day,
    lag(month_number) OVER following IS DISTINCT FROM month_number AS new_month
FROM rows
WINDOW following AS (PARTITION BY customer_id, buys ORDER BY ordered_at, amount),
    everyone AS (PARTITION BY customer_id, buys)
"""

AGGREGATES = """
SELECT customer_id,
    min(age_days) FILTER (buys) AS recency_days, max(age_days) FILTER (buys) AS tenure_days,
    count(*) FILTER (buys) AS frequency, count(*) FILTER (buys AND new_day) AS purchase_days,
    sum(amount) AS historic_clv, sum(amount) FILTER (buys) AS gross_spend, avg(amount) FILTER (buys) AS spend_mean,
    median(amount) FILTER (buys) AS spend_median, stddev_samp(amount) FILTER (buys) AS spend_std,
    min(amount) FILTER (buys) AS spend_min, max(amount) AS spend_max,
    max(amount) FILTER (buys AND nth = n) AS spend_last, avg(amount) FILTER (buys AND n - nth < 3) AS spend_recent_mean,
    avg(ln(amount)) FILTER (buys) AS spend_log_mean, stddev_samp(ln(amount)) FILTER (buys) AS spend_log_std,
    avg(gap) FILTER (buys) AS gap_mean_days, median(gap) FILTER (buys) AS gap_median_days,
    stddev_samp(gap) FILTER (buys) AS gap_std_days, max(gap) FILTER (buys) AS gap_max_days,
    max(gap) FILTER (buys AND nth = n) AS gap_last_days, max(gap) FILTER (buys AND nth = 2) AS second_order_gap_days,
    count(*) FILTER (buys AND new_month) AS active_months,
    count(*) FILTER (buys AND 2 * age_days < first_age) AS late,
    count(*) FILTER (refunds) AS n_refunds, coalesce(-sum(amount) FILTER (refunds), 0) AS refunded,
    min(age_days) FILTER (refunds) AS days_since_refund,
    count(*) FILTER (buys AND isodow(ordered_at) >= 6) AS weekend,
    count(*) FILTER (buys AND hour(ordered_at) >= 18) AS evening,
    count(*) FILTER (buys AND day(ordered_at) >= 25) AS month_end,
    {quarters},
    max(amount) FILTER (buys AND nth = 1) AS first_spend,
    sum(amount) FILTER (buys AND ordered_at::DATE = first_at::DATE) AS first_day_spend,
    max(month(ordered_at)) FILTER (buys AND nth = 1) AS first_month,
    max((isodow(ordered_at) >= 6)::INT) FILTER (buys AND nth = 1) AS first_on_weekend,
    {windows}
FROM placed
GROUP BY customer_id
"""

FEATURES = """
SELECT * EXCLUDE (late, refunded, weekend, evening, month_end, q1, q2, q3, q4, {helpers}),
    historic_clv / frequency AS monetary, spend_std / spend_mean AS spend_cv,
    spend_last / spend_mean AS spend_last_to_mean, historic_clv / greatest(tenure_days, 1) AS spend_per_day,
    gap_std_days / nullif(gap_mean_days, 0) AS gap_cv, recency_days / nullif(gap_mean_days, 0) AS recency_in_gaps,
    recency_days / nullif(gap_max_days, 0) AS recency_in_longest_gap,
    frequency * 30 / greatest(tenure_days, 30) AS orders_per_30_days,
    recency_days / nullif(tenure_days, 0) AS recency_in_tenure,
    gap_last_days / nullif(gap_mean_days, 0) AS gap_trend, late / frequency AS late_orders_share,
    spend_last / first_spend AS spend_last_to_first, refunded / gross_spend AS refund_share,
    weekend / frequency AS weekend_share, evening / frequency AS evening_share,
    month_end / frequency AS month_end_share, q4 / frequency AS q4_share,
    greatest(q1, q2, q3, q4) / frequency AS peak_quarter_share, first_spend / spend_mean AS first_spend_to_mean,
    {trends}
FROM aggregates
WHERE frequency > 0
"""


def query(folder: Path, as_of: str) -> str:
    """The whole statement."""
    us = int(datetime.fromisoformat(as_of).timestamp() * 1_000_000)
    rows = ROWS.format(folder=folder, as_of=us, day=DAY_US)
    aggregates = AGGREGATES.format(windows=",\n    ".join(_windows()), quarters=",\n    ".join(_quarters()))
    features = FEATURES.format(trends=",\n    ".join(_trends()), helpers=", ".join(_helpers()))
    placed = PLACED.format(day=DAY_US)
    return f"WITH rows AS ({rows}), placed AS ({placed}), aggregates AS ({aggregates}) {features}"


def _quarters() -> list[str]:
    return [f"count(*) FILTER (buys AND quarter(ordered_at) = {q}) AS q{q}" for q in (1, 2, 3, 4)]


def _windows() -> list[str]:
    """Sums over windows, the windows before them, and fading sums."""
    columns = [f"count(*) FILTER (buys AND age_us <= {w * DAY_US}) AS orders_{w}d" for w in WINDOWS]
    columns += [f"coalesce(sum(amount) FILTER (age_us <= {w * DAY_US}), 0) AS spend_{w}d" for w in WINDOWS]
    for w in TRENDS:
        before = f"age_us > {w * DAY_US} AND age_us <= {2 * w * DAY_US}"
        columns.append(f"count(*) FILTER (buys AND {before}) AS orders_before_{w}")
        columns.append(f"coalesce(sum(amount) FILTER ({before}), 0) AS spend_before_{w}")
    for h in HALF_LIVES:
        weight = f"pow(0.5, age_days / {h}.0)"
        columns.append(f"sum({weight}) FILTER (buys) AS orders_decayed_{h}d")
        columns.append(f"sum(amount * {weight}) FILTER (buys) AS spend_decayed_{h}d")
    return columns


def _helpers() -> list[str]:
    return [f"{what}_before_{w}" for w in TRENDS for what in ("orders", "spend")]


def _trends() -> list[str]:
    return [f"{what}_{w}d - {what}_before_{w} AS {what}_trend_{w}d" for w in TRENDS for what in ("orders", "spend")]


def write_features(folder: Path, out: Path, as_of: str) -> None:
    """Parquet folder in, Parquet file out."""
    out.mkdir(parents=True, exist_ok=True)
    settings = {"threads": os.cpu_count() or 1, "temp_directory": str(out), "preserve_insertion_order": "false"}
    with duckdb.connect(config=settings) as connection:
        connection.execute(f"COPY ({query(folder, as_of)}) TO '{out / 'features.parquet'}' (COMPRESSION snappy)")
