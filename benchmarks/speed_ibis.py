"""The plain-log features of the catalogue as an Ibis expression, run by DuckDB; the same plan as the SQL by hand."""

from __future__ import annotations

import math
import os
from datetime import datetime
from pathlib import Path

import ibis
import ibis.expr.datatypes as dt
from ibis import _
from ibis.expr.types import Table, Value

DAY_US = 86_400_000_000
WINDOWS = (30, 90, 180, 365)
HALF_LIVES = (15, 45, 120)
TRENDS = (90, 180)
QUARTERS = (1, 2, 3, 4)


@ibis.udf.scalar.builtin
def epoch_us(at: dt.timestamp) -> dt.int64:
    """DuckDB's own function."""


def write_features(folder: Path, out: Path, as_of: str) -> None:
    """Parquet folder in, Parquet file out."""
    out.mkdir(parents=True, exist_ok=True)
    settings = {"threads": os.cpu_count() or 1, "temp_directory": str(out), "preserve_insertion_order": False}
    connection = ibis.duckdb.connect(**settings)
    moment = datetime.fromisoformat(as_of).replace(tzinfo=None)
    log = connection.read_parquet(f"{folder}/*.parquet")
    known = _placed(log, moment).group_by("customer_id").aggregate(**_aggregates())
    features = known.filter(_.frequency > 0).mutate(**_derived())
    helpers = [name for name in known.columns if name.startswith("helper_")]
    features.drop(*helpers).to_parquet(out / "features.parquet", compression="snappy")


def _placed(log: Table, moment: datetime) -> Table:
    """Rows before the moment, each with its place among the orders, or the refunds, of its customer."""
    us = int((moment - datetime(1970, 1, 1)).total_seconds() * 1_000_000)
    seen = log.filter(_.ordered_at < ibis.timestamp(moment))
    rows = seen.mutate(
        buys=_.amount > 0,
        refunds=_.amount < 0,
        age_us=us - epoch_us(seen.ordered_at),
        day=_.ordered_at.truncate("D"),
        month=_.ordered_at.year() * 12 + _.ordered_at.month(),
    )
    rows = rows.mutate(age_days=(rows.age_us // DAY_US).cast("float64"))
    everyone = ibis.window(group_by=["customer_id", "buys"])
    following = ibis.window(group_by=["customer_id", "buys"], order_by=["ordered_at", "amount"])
    return rows.mutate(
        nth=ibis.row_number().over(following),
        n=_.count().over(everyone),
        gap=(_.age_us.lag().over(following) - _.age_us) / float(DAY_US),
        first_day=_.day.min().over(everyone),
        first_age=_.age_days.max().over(everyone),
        new_day=_.day.lag().over(following).fill_null(ibis.timestamp("1900-01-01")) != _.day,
        new_month=_.month.lag().over(following).fill_null(-1) != _.month,
    )


def _aggregates() -> dict[str, Value]:
    """Everything per customer that is not made of other aggregates; `helper_` names are dropped at the end."""
    buys, refunds, last, first = _.buys, _.refunds, _.buys & (_.nth == _.n - 1), _.buys & (_.nth == 0)
    amount, gap, at = _.amount, _.gap, _.ordered_at
    weekend = at.day_of_week.index() >= 5
    return _windowed() | {
        "recency_days": _.age_days.min(where=buys),
        "tenure_days": _.age_days.max(where=buys),
        "frequency": _.count(where=buys),
        "purchase_days": _.count(where=buys & _.new_day),
        "active_months": _.count(where=buys & _.new_month),
        "historic_clv": amount.sum(),
        "gross_spend": amount.sum(where=buys),
        "spend_mean": amount.mean(where=buys),
        "spend_median": amount.median(where=buys),
        "spend_std": amount.std(where=buys),
        "spend_min": amount.min(where=buys),
        "spend_max": amount.max(where=buys),
        "spend_last": amount.max(where=last),
        "spend_recent_mean": amount.mean(where=buys & (_.n - _.nth <= 3)),
        "spend_log_mean": amount.nullif(0).abs().ln().mean(where=buys),
        "spend_log_std": amount.nullif(0).abs().ln().std(where=buys),
        "gap_mean_days": gap.mean(where=buys),
        "gap_median_days": gap.median(where=buys),
        "gap_std_days": gap.std(where=buys),
        "gap_max_days": gap.max(where=buys),
        "gap_last_days": gap.max(where=last),
        "second_order_gap_days": gap.max(where=buys & (_.nth == 1)),
        "n_refunds": _.count(where=refunds),
        "days_since_refund": _.age_days.min(where=refunds),
        "first_spend": amount.max(where=first),
        "first_day_spend": amount.sum(where=buys & (_.day == _.first_day)),
        "first_month": at.month().max(where=first),
        "first_on_weekend": weekend.cast("int8").max(where=first),
        "helper_refunded": -amount.sum(where=refunds).fill_null(0.0),
        "helper_late": _.count(where=buys & (2 * _.age_days < _.first_age)),
        "helper_weekend": _.count(where=buys & weekend),
        "helper_evening": _.count(where=buys & (at.hour() >= 18)),
        "helper_month_end": _.count(where=buys & (at.day() >= 25)),
        **{f"helper_q{q}": _.count(where=buys & (at.quarter() == q)) for q in QUARTERS},
    }


def _windowed() -> dict[str, Value]:
    """Sums over windows, the windows before them, and fading sums."""
    columns: dict[str, Value] = {}
    for w in WINDOWS:
        within = _.age_us <= w * DAY_US
        columns[f"orders_{w}d"] = _.count(where=_.buys & within)
        columns[f"spend_{w}d"] = _.amount.sum(where=within).fill_null(0.0)
    for w in TRENDS:
        before = (_.age_us > w * DAY_US) & (_.age_us <= 2 * w * DAY_US)
        columns[f"helper_orders_{w}"] = _.count(where=_.buys & before)
        columns[f"helper_spend_{w}"] = _.amount.sum(where=before).fill_null(0.0)
    for h in HALF_LIVES:
        weight = (_.age_days * (math.log(0.5) / h)).exp()
        columns[f"orders_decayed_{h}d"] = weight.sum(where=_.buys)
        columns[f"spend_decayed_{h}d"] = (_.amount * weight).sum(where=_.buys)
    return columns


def _derived() -> dict[str, Value]:
    """Features made of aggregates."""
    n, tenure, recency = _.frequency, _.tenure_days, _.recency_days
    return {
        "monetary": _.historic_clv / n,
        "spend_cv": _.spend_std / _.spend_mean,
        "spend_last_to_mean": _.spend_last / _.spend_mean,
        "spend_per_day": _.historic_clv / ibis.greatest(tenure, 1.0),
        "gap_cv": _.gap_std_days / _.gap_mean_days.nullif(0),
        "recency_in_gaps": recency / _.gap_mean_days.nullif(0),
        "recency_in_longest_gap": recency / _.gap_max_days.nullif(0),
        "orders_per_30_days": n * 30.0 / ibis.greatest(tenure, 30.0),
        "recency_in_tenure": recency / tenure.nullif(0),
        "gap_trend": _.gap_last_days / _.gap_mean_days.nullif(0),
        "spend_last_to_first": _.spend_last / _.first_spend,
        "refund_share": _.helper_refunded / _.gross_spend,
        "late_orders_share": _.helper_late / n,
        "weekend_share": _.helper_weekend / n,
        "evening_share": _.helper_evening / n,
        "month_end_share": _.helper_month_end / n,
        "q4_share": _.helper_q4 / n,
        "peak_quarter_share": ibis.greatest(*(_[f"helper_q{q}"] for q in QUARTERS)) / n,
        "first_spend_to_mean": _.first_spend / _.spend_mean,
        **{f"orders_trend_{w}d": _[f"orders_{w}d"] - _[f"helper_orders_{w}"] for w in TRENDS},
        **{f"spend_trend_{w}d": _[f"spend_{w}d"] - _[f"helper_spend_{w}"] for w in TRENDS},
    }
