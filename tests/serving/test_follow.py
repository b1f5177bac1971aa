"""Another champion while serving: taken up without a failed request, refused where it is broken, and rolled back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from features.errors import RegistryError, StoreError
from features.options import ReadOptions
from features.orders import OrderLog
from features.raw import RawOrders
from features.validation import Intake, validate
from model.bundle import CHAMPION, REGISTERED, load_bundle, signed
from serving.follower import Follower
from serving.pointer import Pointer, read_pointer, write_pointer
from serving.requests import answer
from serving.served import Served
from serving.store import ModelStore
from training.registry import Registry
from training.train import Trained, train

pytestmark = pytest.mark.slow
BODY = json.dumps(
    {
        "customers": [{"customer_id": "a", "orders": [{"ordered_at": "2024-01-01", "amount": 5.0}] * 3}],
        "as_of": "2024-03-01",
    }
).encode()


def version_of(bundle_folder: Path, folder: Path, version: str, shift: float) -> Path:
    """Copy of a bundle under a version of its own, whose probabilities are shifted."""
    shutil.copytree(bundle_folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, blend in manifest["blends"].items():
        if name.startswith("churn"):
            blend["level"] += shift
    (folder / "manifest.json").write_text(json.dumps(signed(manifest)))
    (folder / REGISTERED).write_text(json.dumps({"name": "clv", "version": version}))
    return folder


@pytest.fixture
def versions(bundle_folder: Path, tmp_path: Path) -> dict[str, Path]:
    return {number: version_of(bundle_folder, tmp_path / number, number, int(number) / 10) for number in ("1", "2")}


@pytest.fixture
def served(tmp_path: Path, versions: dict[str, Path], free_port: int) -> Iterator[httpx.Client]:
    """Two workers that follow `pointer`, which names version 1."""
    write_pointer(tmp_path / "pointer", Pointer(str(versions["1"])))
    words = [sys.executable, "-m", "bentoml", "serve", "serving.service:ClvService", "--working-dir", str(tmp_path)]
    environment = {
        **os.environ, "CLV_BUNDLE": str(tmp_path / "pointer"), "CLV_HOME": str(tmp_path), "CLV_WORKERS": "2",
        "PYTHONSAFEPATH": "1", "BENTOML_HOME": str(tmp_path / "b"),
    }  # fmt: skip
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([*words, "--port", str(free_port)], env=environment, stderr=log, stdout=log)
    with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=60) as client:
        try:
            wait_until(client, lambda found: found["model"]["version"] == "1", seconds=90)
            yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


def wait_until(client: httpx.Client, holds: Any, seconds: float = 30.0) -> None:
    """Wait until what every worker says of itself holds: it is asked until it holds ten times in a row."""
    deadline, in_a_row = time.monotonic() + seconds, 0
    while in_a_row < 10 and time.monotonic() < deadline:
        try:
            found = httpx.get(client.base_url.join("/readyz")).json()
            in_a_row = in_a_row + 1 if found["ready"] and holds(found) else 0
        except httpx.TransportError:
            in_a_row = 0
        if not in_a_row:
            time.sleep(0.1)
    assert in_a_row == 10


def test_fifty_swaps_and_a_rollback_under_load_fail_no_request(
    served: httpx.Client, versions: dict[str, Path], tmp_path: Path
) -> None:
    wanted = {}
    for number, folder in versions.items():
        found = answer(load_bundle(folder), BODY, time.time_ns() // 1000)["customers"][0]
        wanted[number] = [one["predicted_clv"] for one in found["predictions"]]
    assert wanted["1"] != wanted["2"]
    done, failures, answered = threading.Event(), [], {"1": 0, "2": 0}

    def ask() -> None:
        with httpx.Client(base_url=served.base_url, timeout=60) as client:
            while not done.is_set():
                response = client.post("/v1/predict", content=BODY)
                found = response.json()["customers"][0] if response.status_code == 200 else response.json()
                version = found.get("model", {}).get("version")
                right = version and [one["predicted_clv"] for one in found["predictions"]] == wanted[version]
                if right:
                    answered[version] += 1
                else:
                    failures.append(found)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    for turn in range(51):
        number = "2" if turn % 2 == 0 else "1"
        write_pointer(tmp_path / "pointer", Pointer(str(versions[number])))
        time.sleep(0.6)
    done.set()
    for asker in askers:
        asker.join()
    assert failures == []
    assert min(answered.values()) > 100
    wait_until(served, lambda found: found["model"]["version"] == "2")
    write_pointer(tmp_path / "pointer", Pointer(str(versions["1"])))
    wait_until(served, lambda found: found["model"]["version"] == "1")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timezone", "Nowhere/At_all"),
        ("trained_on", "yesterday"),
        ("value_shares", {"30": "x", "90": "y"}),
        ("features", []),
    ],
)
def test_a_model_that_cannot_answer_is_refused(
    versions: dict[str, Path], tmp_path: Path, field: str, value: object
) -> None:
    manifest = json.loads((versions["2"] / "manifest.json").read_text())
    place = manifest if field in manifest else manifest["provenance"]
    place[field] = value
    (versions["2"] / "manifest.json").write_text(json.dumps(signed(manifest)))
    write_pointer(tmp_path / "pointer", Pointer(str(versions["1"])))
    served = Served(tmp_path / "pointer", f"sqlite:///{tmp_path / 'orders.db'}")
    write_pointer(tmp_path / "pointer", Pointer(str(versions["2"])))
    served.look()
    assert served.bundle is not None
    assert served.bundle.version == "1"
    assert served.refused


class Steady(ModelStore):
    """A registry whose champion is always version 1, unless it is down."""

    def __init__(self, folder: Path) -> None:
        super().__init__("sqlite://", folder)
        self._folder, self.down = folder, False

    def champion(self, name: str) -> str:
        if self.down:
            raise RegistryError("the registry is down")
        return "1"

    def bundle_folder(self, name: str, version: str | None = None) -> Path:
        return self._folder


def test_a_short_outage_of_the_registry_is_forgotten(tmp_path: Path, versions: dict[str, Path]) -> None:
    models = Steady(versions["1"])
    follower, refused = Follower(models, "clv", tmp_path / "pointer", every=5.0), []
    for down in (False, True, False):
        models.down = down
        follower.look()
        refused.append(read_pointer(tmp_path / "pointer").refused)
    assert refused == [None, "the registry is down", None]


def test_a_follower_that_died_is_told_and_its_return_too(
    tmp_path: Path, versions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("serving.served.time.monotonic", lambda: now[0])
    follower = Follower(Steady(versions["1"]), "clv", tmp_path / "pointer", every=5.0)
    follower.look()
    served = Served(tmp_path / "pointer", f"sqlite:///{tmp_path / 'orders.db'}")
    told = []
    for seconds, looks in ((60.0, False), (90.0, False), (1.0, True), (60.0, False)):
        now[0] += seconds
        if looks:
            follower.look()
        served.look()
        told.append(served.refused)
    assert [one is None for one in told] == [True, False, True, True]
    assert "champion" in told[1]


@pytest.mark.parametrize("cut", [None, "{"])
def test_a_pointer_that_is_lost_or_damaged_is_written_again(
    tmp_path: Path, versions: dict[str, Path], cut: str | None
) -> None:
    pointer = tmp_path / "pointer"
    follower = Follower(Steady(versions["1"]), "clv", pointer, every=5.0)
    follower.look()
    written = pointer.read_text()
    pointer.unlink()
    if cut:
        pointer.write_text(cut)
    follower.look()
    assert pointer.read_text() == written


def test_an_outage_of_the_order_store_is_told_once_and_so_is_its_end(
    tmp_path: Path, versions: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str | None]] = []
    served = Served(versions["1"], f"sqlite:///{tmp_path / 'orders.db'}")
    monkeypatch.setattr("serving.served.event", lambda name, *_, why=None, **__: told.append((name, why)))
    assert served.store is not None

    def down(_: object) -> None:
        raise StoreError("the store is down")

    with monkeypatch.context() as outage:
        outage.setattr(type(served.store), "check", down)
        served.check_store()
        served.check_store()
    served.check_store()
    assert told == [("store_unavailable", "the store is down"), ("store_available", None)]


def test_a_broken_model_is_refused_while_the_old_one_serves(
    served: httpx.Client, versions: dict[str, Path], tmp_path: Path
) -> None:
    (versions["2"] / "churn_30.txt").write_text("cut")
    write_pointer(tmp_path / "pointer", Pointer(str(versions["2"])))
    wait_until(served, lambda found: "fail their hash" in (found["refused"] or ""))
    assert str(tmp_path) not in served.get("/readyz").text  # anybody may ask
    response = served.post("/v1/predict", content=BODY)
    assert response.json()["customers"][0]["model"]["version"] == "1"
    write_pointer(tmp_path / "pointer", Pointer(str(versions["1"])))
    wait_until(served, lambda found: found["refused"] is None)


@pytest.fixture(scope="module")
def trained(shop: OrderLog) -> Trained:
    return train(shop, shop.complete_until, [30], "UTC")


@pytest.fixture(scope="module")
def intake(shop: OrderLog) -> Intake:
    columns = {
        "customer_id": np.repeat(shop.customer_ids, np.diff(shop.starts)),
        "ordered_at": pa.array(shop.ordered_at, pa.timestamp("us")),
        "amount": shop.amount,
    }
    return validate(RawOrders(pa.table(columns), {}), ReadOptions(), None)


def test_the_follower_keeps_the_champion_when_the_next_is_damaged(
    trained: Trained, intake: Intake, tmp_path: Path
) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "artifacts").as_uri())
    pointer = tmp_path / "pointer"
    follower = Follower(ModelStore(registry.uri, tmp_path / "bundles"), "clv", pointer, every=5.0)

    def crown(version: str) -> Pointer:
        registry.client().set_registered_model_alias("clv", CHAMPION, version)
        follower.look()
        return read_pointer(pointer)

    follower.look()
    assert not pointer.exists()
    registry.record(trained, intake, "clv")
    of_first = set((tmp_path / "artifacts").rglob("churn_30.txt"))
    registry.record(trained, intake, "clv")
    (damaged,) = set((tmp_path / "artifacts").rglob("churn_30.txt")) - of_first
    first = crown("1")
    assert load_bundle(Path(first.bundle)).version == "1"
    whole = damaged.read_text()
    damaged.write_text("cut")
    kept = crown("2")
    assert kept.bundle == first.bundle
    assert "fail their hash" in (kept.refused or "")
    assert crown("1") == first
    damaged.write_text(whole)
    assert load_bundle(Path(crown("2").bundle)).version == "2"
