"""pymc-marketing's BG/NBD and gamma-gamma, default priors and samplers, on an RFM summary in days.

`python peer_pymc.py SUMMARY.parquet OUT.json --horizon-days 90 --how map` runs in an environment of its own
(`pip install pymc-marketing pyarrow`) and writes OUT.json (seconds, peak memory, parameters, versions) and
OUT.parquet (clv, orders, probability; a row per customer). The fit keeps every draw; predictions are means over at
most 200 draws, evenly spaced, as every draw costs a value per customer. Seconds include what pytensor has to compile:
everything where `PYTENSOR_FLAGS=base_compiledir=...` names an empty directory (cold), little after a first fit (warm).
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from pymc_marketing.clv import BetaGeoModel, GammaGammaModel

DAYS = 7.0  # the default priors suit weeks (alpha: Weibull(2, 10)), the unit of the library's own CDNOW notebook
PREDICTION_DRAWS = 200
SEED = 7
PACKAGES = ("pymc-marketing", "pymc", "pytensor", "arviz", "numpy", "scipy")
Models = tuple[BetaGeoModel, GammaGammaModel]


def read_summary(path: Path) -> pd.DataFrame:
    """Summary in the library's columns: whole purchases, times in weeks."""
    frame = pd.read_parquet(path, columns=["frequency", "recency", "T", "monetary_value"])
    weeks = {name: frame[name].astype("float64") / DAYS for name in ("recency", "T")}
    return frame.assign(**weeks, frequency=frame["frequency"].astype("int64"), customer_id=np.arange(len(frame)))


def fit(summary: pd.DataFrame, how: str) -> Models:
    """Both models; gamma-gamma on those with a repeat purchase only, as the library demands."""
    models = BetaGeoModel(), GammaGammaModel()
    settings = {"random_seed": SEED} if how == "mcmc" else {}
    for model, data in zip(models, (summary, summary[summary["frequency"] > 0]), strict=True):
        model.fit(data, method=how, progressbar=False, **settings)
    return models


def thinned(models: Models) -> Models:
    """The same models with at most PREDICTION_DRAWS draws."""
    draws = models[0].fit_result.sizes["chain"] * models[0].fit_result.sizes["draw"]
    every = -(-draws // PREDICTION_DRAWS)
    return models if every == 1 else tuple(model.thin_fit_result(keep_every=every) for model in models)


def predict(models: Models, summary: pd.DataFrame, horizon_days: float) -> pd.DataFrame:
    """Expected spend, purchases and probability of a purchase within the horizon.

    Customers without a repeat purchase spend what a new customer would. For them `expected_probability_no_purchase`
    counts a chance of having dropped out, which `expected_probability_alive` rules out; it is taken as it comes.
    """
    buying, spending = thinned(models)
    horizon = horizon_days / DAYS
    orders = _mean(buying.expected_purchases(summary, future_t=horizon))
    probability = 1.0 - _mean(buying.expected_probability_no_purchase(horizon, summary))
    spend = np.full(len(summary), float(spending.expected_new_customer_spend().mean()))
    repeat = summary["frequency"].to_numpy() > 0
    spend[repeat] = _mean(spending.expected_customer_spend(summary[repeat]))
    return pd.DataFrame({"clv": orders * spend, "orders": orders, "probability": probability})


def _mean(draws: object) -> np.ndarray:
    """Posterior mean of each customer."""
    return draws.mean(("chain", "draw")).to_numpy()


def parameters(models: Models) -> dict[str, float]:
    """Posterior means, or the mode after MAP; times in weeks."""
    named = zip(models, (("r", "alpha", "a", "b"), ("p", "q", "v")), strict=True)
    return {name: float(model.fit_result[name].mean()) for model, names in named for name in names}


def peak_mb() -> dict[str, float]:
    """Peak memory of this process, and of its largest child (a chain of MCMC, or the C compiler)."""
    whose = {"peak_mb": resource.RUSAGE_SELF, "peak_mb_child": resource.RUSAGE_CHILDREN}
    return {name: resource.getrusage(who).ru_maxrss / 1024.0 for name, who in whose.items()}


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summary", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--horizon-days", type=float, required=True)
    parser.add_argument("--how", choices=("map", "mcmc"), required=True)
    options = parser.parse_args()
    summary = read_summary(options.summary)
    start = time.perf_counter()
    models = fit(summary, options.how)
    fitted = time.perf_counter()
    predicted = predict(models, summary, options.horizon_days)
    seconds = {"seconds_fit": fitted - start, "seconds_predict": time.perf_counter() - fitted}
    predicted.to_parquet(options.out.with_suffix(".parquet"), index=False)
    sizes = {name: int(models[0].fit_result.sizes[name.removesuffix("s")]) for name in ("chains", "draws")}
    versions = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    document = {"how": options.how, "customers": len(summary), **seconds, **peak_mb(), **sizes}
    document |= {"parameters": parameters(models), "versions": versions}
    options.out.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
