"""Speed of the feature engine against idiomatic pandas: the same features from the same Parquet file.

`python benchmarks/features_speed.py [--customers 1000000] [--out table.md]` checks that both agree on CDNOW,
simulates a log and measures each variant in fresh interpreters: CPU seconds with threads, wall seconds, peak
memory; imports excluded.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pandas_features import pandas_features

import training
from features import matrix
from features.arrays import FloatArray, IntArray
from features.assemble import assemble
from features.catalogue import CATALOGUE
from features.instants import to_us
from features.matrix import FeatureMatrix, feature_matrix
from features.orders import OrderLog
from features.reading import read_orders
from features.typed import Codes, TypedOrders

NAMES = tuple(entry.name for entry in CATALOGUE if not entry.needs)
CDNOW, CDNOW_AS_OF = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz", pd.Timestamp("1998-04-02")
BEGIN, DAYS = pd.Timestamp("2023-01-01"), 730
AS_OF = BEGIN + pd.Timedelta(days=DAYS)
REPS = 3
Numbers = dict[str, float]


def simulate(n_customers: int, seed: int, refund_share: float = 0.02) -> pa.Table:
    """BG/NBD orders with gamma-gamma values over two years, in time order; some orders are sent back."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(0.9, 1.0 / 17.0, n_customers)  # orders per day while active
    joins = rng.uniform(0.0, DAYS - 1.0, n_customers)
    possible = rng.poisson(rate * (DAYS - joins))
    made = np.minimum(possible, rng.geometric(rng.beta(0.8, 11.0, n_customers)) - 1)
    customer, days = _earliest(rng, joins, possible, made)
    customer, days = np.concatenate([np.arange(n_customers), customer]), np.concatenate([joins, days])
    typical = 15.0 * 3.7 / rng.gamma(4.0, 1.0, n_customers)
    amount = np.maximum(np.round(rng.gamma(6.0, typical[customer] / 3.7), 2), 0.01)
    sent_back = np.flatnonzero(rng.random(len(days)) < refund_share)
    customer = np.concatenate([customer, customer[sent_back]])
    days = np.concatenate([days, days[sent_back] + rng.uniform(1.0, 30.0, len(sent_back))])
    amount = np.concatenate([amount, -amount[sent_back]])
    return _table(customer, days, amount)


def _earliest(
    rng: np.random.Generator, joins: FloatArray, possible: IntArray, made: IntArray
) -> tuple[IntArray, FloatArray]:
    """The first `made` of the `possible` repeat orders of each customer: who, and when."""
    customer = np.repeat(np.arange(len(joins)), possible)
    days = joins[customer] + rng.random(len(customer)) * (DAYS - joins[customer])
    order = np.argsort(customer + days / (2.0 * DAYS))  # customer first, then time
    place = np.arange(len(customer)) - np.repeat(np.cumsum(possible) - possible, possible)
    kept = order[place < made[customer]]
    return customer[kept], days[kept]


def _table(customer: IntArray, days: FloatArray, amount: FloatArray) -> pa.Table:
    order = np.argsort(days)
    order = order[days[order] < DAYS]
    at = BEGIN.to_datetime64().astype("datetime64[s]") + (days[order] * 86_400).astype("timedelta64[s]")
    width = len(str(customer.max()))
    texts = pa.array([f"{number:0{width}}" for number in range(int(customer.max()) + 1)])
    columns = {"customer_id": texts.take(pa.array(customer[order])), "ordered_at": at.astype("datetime64[us]")}
    return pa.table({**columns, "amount": amount[order]})


def disagreements(log: OrderLog, frame: pd.DataFrame, as_of: pd.Timestamp) -> list[str]:
    """Features that differ between the two: in their customers, in a null, or by more than 1e-9."""
    mine, theirs = feature_matrix(log, to_us(as_of), NAMES), pandas_features(frame, as_of)[list(NAMES)]
    if list(log.customer_ids[mine.customers]) != list(theirs.index):
        return ["customers"]
    pairs = ((name, mine.column(name), theirs[name].to_numpy(np.float64)) for name in NAMES)
    return [name for name, a, b in pairs if not np.allclose(a, b, rtol=1e-9, atol=1e-9, equal_nan=True)]


def agreement(path: str) -> Numbers:
    """How many features agree, by the base on which the two were compared."""
    cdnow = pd.read_csv(CDNOW, dtype={"customer_id": "str"}, parse_dates=["ordered_at"])
    bases = [("CDNOW at 1998-04-02", str(CDNOW), cdnow, CDNOW_AS_OF)]
    bases += [("the simulated 100,000 customers", path, pd.read_parquet(path), AS_OF)]
    found = {name: disagreements(read_orders(source).log, frame, at) for name, source, frame, at in bases}
    print(*(f"{name}: {wrong}" for name, wrong in found.items() if wrong), sep="\n", file=sys.stderr, end="")
    return {name: float(len(NAMES) - len(wrong)) for name, wrong in found.items()}


def cpu_seconds() -> float:
    """User and system time of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measured(run: Callable[[str], object], path: str) -> Numbers:
    """CPU, wall and peak memory of one run."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    run(path)
    numbers = {"cpu_s": cpu_seconds() - cpu, "wall_s": time.perf_counter() - wall}
    return numbers | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def per_call_us(call: Callable[[], object], calls: int) -> float:
    """CPU microseconds of one call, after one to warm up."""
    call()
    before = cpu_seconds()
    for _ in range(calls):
        call()
    return (cpu_seconds() - before) / calls * 1e6


def online(_: str) -> Numbers:
    """One customer of 20 orders, validated columns → features."""
    rng = np.random.default_rng(7)
    at = np.sort(rng.integers(0, DAYS * 86_400, 20)) * 1_000_000 + to_us(BEGIN)
    instants, amounts, as_of = at.tolist(), np.round(rng.gamma(6.0, 5.0, 20), 2).tolist(), to_us(AS_OF)
    ids = np.array(["c1"], dtype=object)

    def engine() -> FeatureMatrix:
        customer = Codes(np.zeros(len(amounts), dtype=np.int32), ids)
        typed = TypedOrders(customer, np.array(instants, dtype=np.int64), np.array(amounts, dtype=np.float64))
        return feature_matrix(assemble(typed).log, as_of, NAMES)

    frame = pd.DataFrame({"customer_id": ["c1"] * 20, "ordered_at": at.astype("M8[us]"), "amount": amounts})
    rounds = [(per_call_us(engine, 500), per_call_us(lambda: pandas_features(frame, AS_OF), 30)) for _ in range(5)]
    return {"ours_us": median(ours for ours, _ in rounds), "pandas_us": median(pandas for _, pandas in rounds)}


def differing(whole: FeatureMatrix, other: FeatureMatrix, low: int = 0) -> float:
    """How many values of `other`, whose customers begin at `low`, differ in any bit."""
    rows = np.searchsorted(whole.customers, other.customers + low)
    return float((whole.values[rows].view(np.int64) != other.values.view(np.int64)).sum())


def with_blocks(log: OrderLog, rows: int) -> FeatureMatrix:
    """Features with another block size; `BLOCK_ROWS` is bound as a default when `blocks` is defined."""
    matrix.blocks.__defaults__ = (rows,)
    return feature_matrix(log, to_us(AS_OF), NAMES)


def bits(path: str) -> Numbers:
    """Values that differ in any bit between the whole base and other partitions of it."""
    log = read_orders(path).log
    whole = feature_matrix(log, to_us(AS_OF), NAMES)
    picked = np.random.default_rng(3).choice(log.n_customers, min(3_000, log.n_customers), replace=False).tolist()
    alone = sum(differing(whole, feature_matrix(log.customers(i, i + 1), to_us(AS_OF), NAMES), i) for i in picked)
    blocks = {f"blocks of {n:,} rows": differing(whole, with_blocks(log, n)) for n in (5_000, log.n_rows)}
    return {f"{len(picked):,} customers one a call": alone, **blocks}


def generate(path: str, n_customers: int) -> Numbers:
    """Write the simulated log."""
    pq.write_table(simulate(n_customers, seed=11), path, compression="zstd")
    return {"orders": float(pq.read_metadata(path).num_rows)}


def child(job: str, path: str, *rest: str) -> Numbers:
    """Run a job in a fresh interpreter; the parent stays small, for a child inherits its peak memory."""
    command = [sys.executable, __file__, "--job", job, path, *rest]
    return dict(json.loads(subprocess.check_output(command, text=True)))


def run_job(job: str, path: str, *rest: str) -> Numbers:
    """One job of a child process."""
    if job == "generate":
        return generate(path, int(rest[0]))
    return measured(VARIANTS[job], path) if job in VARIANTS else JOBS[job](path)


VARIANTS: dict[str, Callable[[str], object]] = {
    "ours": lambda path: feature_matrix(read_orders(path).log, to_us(AS_OF), NAMES),
    "pandas": lambda path: pandas_features(pd.read_parquet(path), AS_OF),
}
JOBS = {"agreement": agreement, "online": online, "bits": bits}


def compared(path: str) -> dict[str, Numbers]:
    """Medians of interleaved repetitions."""
    runs: dict[str, list[Numbers]] = {"ours": [], "pandas": []}
    for _ in range(REPS):
        for name, done in runs.items():
            done.append(child(name, path))
    return {name: {key: median(run[key] for run in done) for key in done[0]} for name, done in runs.items()}


def table(numbers: dict[str, Numbers], call: Numbers) -> list[str]:
    """Markdown table of the measurements."""
    mine, theirs = numbers["ours"], numbers["pandas"]
    keys = {"CPU seconds": "cpu_s", "wall seconds": "wall_s", "peak memory, MB": "peak_mb"}
    rows = [(label, mine[key], theirs[key]) for label, key in keys.items()]
    rows += [("one customer of 20 orders, CPU ms a call", call["ours_us"] / 1e3, call["pandas_us"] / 1e3)]
    head = ["| | ours | pandas | ours / pandas |", "|---|--:|--:|--:|"]
    return head + [f"| {label} | {a:,.2f} | {b:,.2f} | {a / b:.3f} |" for label, a, b in rows]


def report(folder: str, n_customers: int) -> list[str]:
    """All measurements as markdown."""
    path, small = f"{folder}/log.parquet", f"{folder}/small.parquet"
    n_orders, _ = child("generate", path, str(n_customers))["orders"], child("generate", small, "100000")
    agreeing = [f"{n:.0f} of {len(NAMES)} on {name}" for name, n in child("agreement", small).items()]
    agree = f"Features that agree (index, nulls, rtol 1e-9): {'; '.join(agreeing)}."
    print(agree, flush=True)
    lines = table(compared(path), child("online", small))
    differ = "; ".join(f"{name}: {count:.0f}" for name, count in child("bits", small).items())
    return [
        f"{n_customers:,} customers, {n_orders:,.0f} rows, {len(NAMES)} features; median of {REPS} runs.",
        *("", *lines, ""),
        f"- {agree}",
        f"- Values that differ in any bit from the whole base of 100,000 customers: {differ}.",
        f"- Python {platform.python_version()}, numpy {np.__version__}, pandas {pd.__version__}, "
        f"pyarrow {pa.__version__}; {platform.machine()}, {os.cpu_count()} cores.",
    ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--job", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job:
        print(json.dumps(run_job(*arguments.job)))
        return
    with tempfile.TemporaryDirectory() as folder:
        lines = report(folder, arguments.customers)
    print(*lines, sep="\n")
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
