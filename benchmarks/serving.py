"""Our HTTP service beside its peers, measured in one run: `python benchmarks/serving.py` writes `docs/serving.md`.

Trains on the bundled CDNOW log in a temporary folder, serves that registered version by `clv serve`, by
`mlflow models serve` and by a bare uvicorn with LightGBM's fastest call, and asks them in interleaved rounds; about
six minutes. Needs Linux, two cores, `taskset` and wrk (`apt-get install wrk`). With `--home`, a state folder whose
champion has one horizon of 90 days is served, and nothing is trained.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from serving_customers import HORIZON_DAYS, OURS, Orders, Ready, our_body, ready, simulate
from serving_load import BARE, CONSTANT, MLFLOW, Contender, Load, Loads, Plan, ask_all, counted, many, ours
from serving_page import page
from serving_servers import BIN, Server, everyone

import training
from features.arrays import FloatArray
from model.bundle import load_bundle
from model.clv import ClvModel

PAGE = Path(__file__).parents[1] / "docs" / "serving.md"
CDNOW = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz"


def require_tools() -> None:
    """Exit with 2 and a sentence when something is missing that cannot be done without."""
    missing = [
        f"{tool} is missing: apt-get install {package}"
        for tool, package in (("wrk", "wrk"), ("taskset", "util-linux"))
        if shutil.which(tool) is None
    ]
    if (os.cpu_count() or 1) < 2:
        missing.append("two cores are needed: one for the servers, one for the load")
    if missing:
        print(*missing, sep="\n", file=sys.stderr)
        raise SystemExit(2)


def environment(home: Path) -> dict[str, str]:
    """What every process is given: this state folder, and nothing of the caller's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLV_", "MLFLOW_", "BENTOML_"))}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"  # mlflow finds its uvicorn there
    own = {"CLV_HOME": str(home), "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", "BENTOML_DO_NOT_TRACK": "True"}
    return {**kept, **own}


def train(folder: Path, home: Path) -> None:
    """Train on CDNOW, one horizon, and promote."""
    words = ["train", str(CDNOW), "--currency", "USD", "--horizon-days", str(HORIZON_DAYS)]
    for step in (words, ["promote"]):
        subprocess.run([str(BIN / "clv"), *step], cwd=folder, env=environment(home), check=True, timeout=1200)


def bundle_of(home: Path) -> Path:
    """The champion's bundle, as a local folder; asked in another process, for this file hides the package `serving`."""
    code = (
        "import sys; from pathlib import Path; from serving.store import ModelStore; h = Path(sys.argv[1]); "
        "print(ModelStore(f'sqlite:///{h}/mlflow.db', h / 'bundles').bundle_folder('clv'))"
    )
    found = subprocess.check_output([sys.executable, "-c", code, str(home)], env=environment(home), cwd=home, text=True)
    return Path(found.splitlines()[-1])


def services(servers: dict[str, Server], orders: Orders, features: Ready, parts: Sequence[slice]) -> list[Contender]:
    """Ours by each kind of body, and mlflow's, asked about these parts of the customers."""
    mine = [
        Contender(ours(kind), servers["ours"], "/v1/predict", [our_body(orders[part], kind) for part in parts])
        for kind in OURS
    ]
    rows = [features.mlflow_body(part) for part in parts]
    return [*mine, Contender(MLFLOW, servers["mlflow"], "/invocations", rows)]


def bare(server: Server, features: Ready, n_customers: int) -> list[Contender]:
    """The bare peers, asked about one customer a call."""
    rows = [features.bare_body(place) for place in range(n_customers)]
    return [Contender(BARE, server, "/predict", rows), Contender(CONSTANT, server, "/constant", rows)]


def agreement(singles: Sequence[Contender], features: Ready, model: ClvModel) -> list[str]:
    """Ask every body once: all answers must be 200, hold a prediction, and say the same."""
    answers = {one.name: [json.loads(body) for body in ask_all(one)] for one in singles}
    theirs = [body["predictions"][0]["predicted_clv"] for body in answers[MLFLOW]]
    lines = []
    for kind in OURS:
        mine = [body["customers"][0]["predictions"][0]["predicted_clv"] for body in answers[ours(kind)]]
        lines.append(f"`predicted_clv` from {kind} and from `{MLFLOW}`: {_apart(np.array(mine), np.array(theirs))}")
    (part,) = model.parts
    boosters = [part.churn.trees, part.orders.trees, part.spend.trees, part.value.trees, model.next_order.trees]
    scores = np.array([body["scores"] for body in answers[BARE]])
    raw = np.stack([one.predict(features.inputs[: len(scores)], raw_score=True) for one in boosters], axis=1)
    return [*lines, f"scores of the {BARE} and of `Booster.predict`: {_apart(scores, raw)}"]


def _apart(a: FloatArray, b: FloatArray) -> str:
    apart = float(np.max(np.abs(a - b) / np.maximum(np.abs(b), 1e-9)))
    if not apart < 1e-6:
        raise SystemExit(f"the servers do not answer alike: relative difference {apart:.3g}")
    return f"largest relative difference {apart:.1e} over {len(a)} customers"


def rounds(plan: Plan, folder: Path, singles: Sequence[Contender], bulks: Sequence[Contender]) -> tuple[Loads, Loads]:
    """All rounds: everyone in turn within each, another one first in each."""
    of_one: Loads = {}
    of_many: Loads = {}
    for turn in range(plan.rounds):
        for connections in plan.connections:
            for one in _rotated(singles, turn):
                load = many(one, folder, connections, plan.seconds, first=turn * 171)
                _note(of_one, (one.name, connections), load)
        for one in _rotated(bulks, turn):
            load = counted(one, plan.bulk_connections, plan.bulk_requests)
            _note(of_many, (one.name, plan.bulk_connections), load)
    return of_one, of_many


def _rotated(contenders: Sequence[Contender], by: int) -> list[Contender]:
    by %= len(contenders)
    return [*contenders[by:], *contenders[:by]]


def _note(loads: Loads, key: tuple[str, int], load: Load) -> None:
    loads.setdefault(key, []).append(load)
    rate = f"{load.per_second:9.1f}/s  p50 {load.p50_ms:8.3f} ms  p99 {load.p99_ms:8.3f} ms"
    print(f"{key[0]:22} c={key[1]:<3} {rate}  CPU {load.cpu_us:10.1f} µs", flush=True)


def measured(plan: Plan, folder: Path, home: Path) -> str:
    """Start everyone, ask, and write it down."""
    load_before, bundle = os.getloadavg(), bundle_of(home)
    model, orders = load_bundle(bundle).model, simulate(plan.n_bulk * plan.n_bulk_bodies)
    features = ready(orders, model)
    with everyone(folder, bundle, environment(home)) as servers:
        each = [slice(place, place + 1) for place in range(plan.n_singles)]
        singles = services(servers, orders, features, each) + bare(servers["bare"], features, plan.n_singles)
        whole = [slice(place * plan.n_bulk, (place + 1) * plan.n_bulk) for place in range(plan.n_bulk_bodies)]
        bulks = services(servers, orders, features, whole)
        agreed = agreement(singles, features, model)
        of_one, of_many = rounds(plan, folder, singles, bulks)
    sizes = {one.name: len(one.bodies[0]) for one in singles if one.name != CONSTANT}
    return page(plan, of_one, of_many, agreed, sizes, load_before)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, choices=range(1, 31), metavar="N")
    parser.add_argument("--seconds", type=int, default=3, choices=range(1, 61), metavar="S", help="of each load")
    parser.add_argument("--home", type=Path, help="state folder with a champion; without it one is trained")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    require_tools()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped
    with tempfile.TemporaryDirectory(prefix="clv-serving-") as name, contextlib.suppress(KeyboardInterrupt):
        folder = Path(name)
        home = given.home.resolve() if given.home else folder / "home"
        if not given.home:
            train(folder, home)
        text = measured(Plan(given.rounds, given.seconds), folder, home)
        given.out.write_text(text)
        print(text)
        return
    sys.exit(130)


if __name__ == "__main__":
    main()
