"""Speed and memory from a million orders up, beside pandas, Polars, DuckDB, Ibis and pymc-marketing.

`python benchmarks/speed.py [--orders 1 10 100] [--folder DIR]` makes logs of so many million orders (kept in DIR, if it
is given, and used again), checks that all compute the same features, measures each contender in fresh processes, and
writes `docs/performance.md`; where it is interrupted, of what it has run by then. 1 and 10 take about half an hour; 100
takes about as long again, and 10 GB of disk. Polars, DuckDB and Ibis run in an environment of their own, made in
build/tables from the dependency group `speed`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from speed_measure import Run, asked, job, measured
from speed_page import page
from speed_peers import PYMC_SCRIPT, TABLE_PEERS, pymc_python, tables_python
from speed_ratios import (
    BY_CUSTOMER,
    BY_TIME,
    EXAMPLES,
    FEATURES,
    FIT,
    GIANT,
    HELD,
    HORIZON_DAYS,
    MOMENTS,
    MOMENTS_OF,
    OURS,
    PANDAS,
    PYMC,
    SCORE,
    TRAIN,
    Found,
    Key,
)  # fmt: skip

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
CDNOW = ROOT / "training" / "data" / "cdnow_orders.csv.gz"
CLV = Path(sys.executable).parent / "clv"
ORDERS_PER_CUSTOMER = 9.2
ONCE_ABOVE = PEERS_UP_TO = 20.0  # millions of orders; pandas would need ten times the memory of 10 million
GIANT_ORDERS = 2_000_000
SMALL = 0.1
CONTENDERS = (OURS, PANDAS, *TABLE_PEERS)
HOLDERS = (OURS, PANDAS, "polars")
PARTS = (FEATURES, HELD, MOMENTS, TRAIN, SCORE, "giant", "stages", FIT, "small")


@dataclass(frozen=True)
class Plan:
    """What is to be measured.

    Attributes
    ----------
    millions
        Sizes of the logs, millions of orders, ascending.
    parts
        Of PARTS.
    folder
        Where logs are kept.
    scratch
        Where everything else is written.
    bundle
        Model to score with.
    limit_bytes
        Hard limit of our own jobs' data, or None.
    """

    millions: tuple[float, ...]
    parts: frozenset[str]
    repetitions: int
    folder: Path
    scratch: Path
    bundle: Path
    limit_bytes: int | None

    @property
    def small(self) -> float:
        """Size at which stages and fits are compared."""
        return min(1.0, *self.millions)

    @property
    def giant(self) -> float | None:
        """Size at which a giant customer is added: the largest at which the peers run."""
        return max((size for size in self.millions if size <= PEERS_UP_TO), default=None)


Task = tuple[Key, Callable[[], Run]]


def made_log(plan: Plan, found: Found, millions: float, *, giant: bool = False) -> Path:
    """The folder of a log, made when it is not there; its rows are noted."""
    folder = plan.folder / f"{millions:g}-million{'-giant' * giant}"
    done = folder / "rows"
    if not done.exists():
        shutil.rmtree(folder, ignore_errors=True)
        giant_orders = min(GIANT_ORDERS, round(millions * 2e5)) * giant
        told = asked("log", str(folder), str(round(millions * 1e6 / ORDERS_PER_CUSTOMER)), str(giant_orders))
        done.write_text(str(told["rows"]))
    found.rows[millions, GIANT if giant else OURS] = int(done.read_text())
    return folder


def python_of(who: str) -> str:
    """The interpreter of a contender."""
    return tables_python() if who in TABLE_PEERS else sys.executable


def agreement(plan: Plan, found: Found) -> None:
    """Compare everyone's features with ours; SystemExit when one differs."""
    cdnow = plan.scratch / "cdnow"
    asked("cdnow", str(cdnow))
    small = made_log(plan, found, SMALL) / BY_TIME
    for name, log, as_of in (
        ("CDNOW at 1998-04-02", cdnow, "1998-04-02T00:00:00Z"),
        (f"{SMALL * 1e6:,.0f} simulated orders at 2024-10-01", small, "2024-10-01T00:00:00Z"),
    ):
        outs = {who: str(plan.scratch / "agreement" / log.name / who) for who in CONTENDERS}
        for who, out in outs.items():
            asked("features", who, str(log), out, as_of, python=python_of(who))
        told = asked("compared", *outs.values())
        wrong = {who: told[out] for who, out in outs.items() if told.get(out)}
        if wrong:
            raise SystemExit(f"{name}: features differ, nothing was timed: {wrong}")
        peers = ", ".join(CONTENDERS[1:])
        found.agreed.append(f"Features of {peers} on {name}: customers and nulls the same, values within 1e-9")


def tasks(plan: Plan, found: Found, millions: float) -> Iterator[Task]:
    """Everything to be measured on the logs of one size."""
    log, peers = made_log(plan, found, millions), millions <= PEERS_UP_TO
    if FEATURES in plan.parts:
        for layout in (BY_TIME, BY_CUSTOMER):
            for who in CONTENDERS if peers else (OURS,):
                yield _features(plan, Key(FEATURES, who, layout, millions), log / layout)
    if HELD in plan.parts and peers:
        for layout in (BY_TIME, BY_CUSTOMER):
            for who in HOLDERS:
                yield _held(plan, Key(HELD, who, layout, millions), log / layout)
    if MOMENTS in plan.parts and peers:
        for n, who in MOMENTS_OF.items():
            yield _moments(plan, Key(MOMENTS, who, BY_TIME, millions), log / BY_TIME, n)
            yield _examples(plan, Key(EXAMPLES, who, BY_TIME, millions), log / BY_TIME, n)
    if TRAIN in plan.parts:
        yield _train(plan, Key(TRAIN, OURS, BY_TIME, millions), log / BY_TIME)
    if SCORE in plan.parts:
        for layout in (BY_TIME, BY_CUSTOMER):
            yield _score(plan, Key(SCORE, OURS, layout, millions), log / layout)
    if "giant" in plan.parts and millions == plan.giant:
        log = made_log(plan, found, millions, giant=True) / BY_TIME
        yield _features(plan, Key(FEATURES, GIANT, BY_TIME, millions), log)
        yield _score(plan, Key(SCORE, GIANT, BY_TIME, millions), log)


def _features(plan: Plan, key: Key, log: Path) -> Task:
    who = OURS if key.who == GIANT else key.who
    limit = plan.limit_bytes if who == OURS else None
    return key, lambda: _in_scratch(
        plan, lambda out: job("features", who, str(log), str(out), python=python_of(who), limit_bytes=limit)
    )


def _held(plan: Plan, key: Key, log: Path) -> Task:
    limit = plan.limit_bytes if key.who == OURS else None
    return key, lambda: job("held", key.who, str(log), python=python_of(key.who), limit_bytes=limit)


def _moments(plan: Plan, key: Key, log: Path, n: int) -> Task:
    return key, lambda: _in_scratch(
        plan, lambda out: job("moments", str(n), str(log), str(out), limit_bytes=plan.limit_bytes)
    )


def _examples(plan: Plan, key: Key, log: Path, n: int) -> Task:
    return key, lambda: job("examples", str(n), str(log), limit_bytes=plan.limit_bytes)


def _train(plan: Plan, key: Key, log: Path) -> Task:
    def run(out: Path) -> Run:
        words = [str(CLV), "train", str(log), "--horizon-days", str(HORIZON_DAYS)]
        return measured(words, env=environment(out), limit_bytes=plan.limit_bytes, cwd=out)

    return key, lambda: _in_scratch(plan, run)


def _score(plan: Plan, key: Key, log: Path) -> Task:
    def run(out: Path) -> Run:
        words = [str(CLV), "score", str(log), "--bundle", str(plan.bundle), "--out", f"{out}/scores/"]
        return measured(words, env=environment(out), limit_bytes=plan.limit_bytes, cwd=out)

    return key, lambda: _in_scratch(plan, run)


def _in_scratch(plan: Plan, run: Callable[[Path], Run]) -> Run:
    """Run with a folder for the output, which is deleted afterwards."""
    with tempfile.TemporaryDirectory(dir=plan.scratch) as name:
        return run(Path(name))


def fits(plan: Plan, found: Found) -> Iterator[Task]:
    """Fitting and predicting: ours, and pymc-marketing where its environment exists."""
    log, summary, out = made_log(plan, found, plan.small), plan.scratch / "summary.parquet", plan.scratch / "pymc.json"
    asked("summary", str(log / BY_CUSTOMER), str(summary))
    yield Key(FIT, OURS, BY_CUSTOMER, plan.small), lambda: job("fit", str(summary))
    if python := pymc_python():
        words = [python, str(PYMC_SCRIPT), str(summary), str(out), "--horizon-days", str(HORIZON_DAYS), "--how", "map"]
        env = {**os.environ, "PYTENSOR_FLAGS": f"base_compiledir={plan.scratch}/compiled"}
        measured(words, env=env)  # compiles
        yield Key(FIT, PYMC, BY_CUSTOMER, plan.small), lambda: measured(words, env=env).told_by(out)


def repeated(found: Found, todo: Sequence[Task], repetitions: int) -> None:
    """All repetitions: everyone once within each, in a random order, for who ran before leaves memory warm or cold."""
    for turn in range(repetitions):
        for key, run in random.Random(turn).sample(todo, len(todo)):
            done = run()
            found.runs.setdefault(key, []).append(done)
            figures = f"CPU {done.cpu_s:8.2f} s  wall {done.wall_s:8.2f} s  peak {done.peak_mb:8.0f} MiB"
            print(f"{key.what:8} {key.who:30} {key.layout:11} {key.millions:g}M  {figures}  {done.failed}", flush=True)


def everything(plan: Plan, found: Found) -> None:
    """Agreement first; then the small measurements, and the logs by size."""
    agreement(plan, found)
    if "small" in plan.parts:
        found.online = asked("online")
        found.bits = asked("bits", str(made_log(plan, found, SMALL) / BY_TIME))
    if "stages" in plan.parts:
        found.stages = asked("stages", str(made_log(plan, found, plan.small) / BY_CUSTOMER), str(plan.bundle))
    if FIT in plan.parts:
        repeated(found, list(fits(plan, found)), plan.repetitions)
    for millions in plan.millions:
        todo = list(tasks(plan, found, millions))
        if todo:
            repeated(found, todo, plan.repetitions if millions <= ONCE_ABOVE else 1)


def environment(home: Path) -> dict[str, str]:
    """What `clv` is given: this state folder, and nothing of the caller's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLV_", "MLFLOW_", "BENTOML_"))}
    path = f"{CLV.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "CLV_HOME": str(home), "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}


def bundle_of(home: Path | None, scratch: Path) -> Path:
    """The champion of a state folder as a bundle; without one, trained on CDNOW with one horizon."""
    steps, bundle = [["bundle", str(scratch / "bundle")]], scratch / "bundle"
    if home is None:
        train = ["train", str(CDNOW), "--currency", "USD", "--horizon-days", str(HORIZON_DAYS)]
        home, steps = scratch / "home", [train, ["promote"], *steps]
        home.mkdir()
    for step in steps:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([str(CLV), *step], cwd=scratch, env=environment(home), check=True, timeout=1200, **quiet)
    return bundle


def commit() -> str:
    """This checkout's commit; asked in another process, for a child counts its parent's memory as its own peak."""
    code = "from training.fingerprint import git_commit; print(git_commit())"
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=float, nargs="+", default=[1.0, 10.0], metavar="MILLIONS")
    parser.add_argument("--folder", type=Path, help="where logs are kept and found again; temporary if absent")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure; all by default")
    parser.add_argument("--repetitions", type=int, default=3, choices=range(1, 31), metavar="N")
    parser.add_argument("--home", type=Path, help="state folder with a champion; without it one is trained")
    parser.add_argument("--limit-gib", type=float, help="hard limit of the data of each of our own processes")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what runs is stopped, and scratch removed
    limit = int(given.limit_gib * 2**30) if given.limit_gib else None
    found = Found(given.repetitions, ONCE_ABOVE, limit, os.getloadavg(), commit())
    with tempfile.TemporaryDirectory(prefix="clv-speed-", dir=given.folder) as name:
        scratch = Path(name)
        bundle = bundle_of(given.home and given.home.resolve(), scratch)
        folder = given.folder.resolve() if given.folder else scratch / "logs"
        sizes, parts = tuple(sorted(set(given.orders))), frozenset(given.parts)
        with contextlib.suppress(KeyboardInterrupt):  # what has been run by then is written
            everything(Plan(sizes, parts, given.repetitions, folder, scratch, bundle, limit), found)
    if not found.runs:
        sys.exit(130)
    text = page(found)
    given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
