"""One run per training, two aliases that move, and plain words when the registry says no."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow.exceptions import MlflowException

from commands import settings
from commands.cli import run
from features.catalogue import CATALOGUE
from features.errors import GateError, RegistryError
from features.frame import build_features
from features.instants import DAY_US, isoformat
from features.matrix import feature_matrix
from features.options import ReadOptions
from features.orders import OrderLog
from features.raw import RawOrders
from features.validation import Intake, validate
from model.bundle import load_bundle
from serving.store import ModelStore
from training.fingerprint import git_commit
from training.gate import Verdict
from training.registry import Registry, input_example
from training.train import Trained, train

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def named_shop(shop: OrderLog) -> OrderLog:
    """The shop with ids that cannot be mistaken for numbers."""
    ids = np.array([f"buyer{place:04d}@shop.example" for place in range(shop.n_customers)], dtype=object)
    return replace(shop, customer_ids=ids)


@pytest.fixture(scope="module")
def trained(named_shop: OrderLog) -> Trained:
    return train(named_shop, named_shop.complete_until, [30], "UTC")


@pytest.fixture(scope="module")
def intake(named_shop: OrderLog) -> Intake:
    shop = named_shop
    columns = {
        "customer_id": [*np.repeat(shop.customer_ids, np.diff(shop.starts)), None],
        "ordered_at": pa.array([*shop.ordered_at.tolist(), 0], pa.timestamp("us")),
        "amount": [*shop.amount, 1.0],
    }
    return validate(RawOrders(pa.table(columns), {}), ReadOptions(), None)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", (folder / "artifacts").as_uri())


@pytest.fixture(scope="module")
def first(registry: Registry, trained: Trained, intake: Intake) -> str:
    return registry.record(replace_gate(trained, holds=True), intake, "clv")


def replace_gate(trained: Trained, *, holds: bool) -> Trained:
    class Judged(Trained):
        @property
        def verdicts(self) -> list[Verdict]:
            return [Verdict(holds, "total bias +99.0% must lie within ±25%")]

    return Judged(**vars(trained))


def files_of(registry: Registry, version: str) -> set[str]:
    client = registry.client()
    run = client.get_model_version("clv", version).run_id
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run))
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_run_carries_its_evidence(registry: Registry, first: str, trained: Trained) -> None:
    client = registry.client()
    run = client.get_run(client.get_model_version("clv", first).run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["seed"] == "7"
    assert run.data.tags["data_fingerprint"] == trained.provenance.data_fingerprint
    assert run.data.tags["git_commit"]
    assert run.data.metrics["rows_rejected"] == 1
    for model in ("clv", "carry_forward", "bgnbd_gamma_gamma"):
        assert f"{model}.normalized_gini.30d" in run.data.metrics
    assert files_of(registry, first) >= {
        "held_out.json",
        "model_card.md",
        "rejected_by_rule.json",
        "plots/calibration_30d.png",
        "plots/deciles_30d.png",
        "plots/gain_curve_30d.png",
        "plots/importance_30d.png",
        "plots/interval_coverage_30d.png",
    }


def test_the_newest_training_is_challenger_until_it_is_promoted(
    registry: Registry, first: str, trained: Trained, intake: Intake
) -> None:
    assert registry.promote("clv") == (first, None)
    second = registry.record(replace_gate(trained, holds=True), intake, "clv")
    assert registry.promote("clv") == (second, first)
    assert registry.rollback("clv") == (first, second)
    assert registry.rollback("clv") == (second, first)
    assert registry.promote("clv", first) == (first, second)
    assert registry.promote("clv", f"0{first}") == (first, first)  # what was champion before is still known
    assert registry.rollback("clv") == (second, first)
    assert registry.rollback("clv") == (first, second)


def test_what_callers_will_notice_of_another_champion_is_told(
    registry: Registry,
    first: str,
    trained: Trained,
    intake: Intake,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    good = replace_gate(trained, holds=True)
    elsewhere = replace(trained.provenance, currency="EUR", timezone="Europe/Berlin")
    before = registry.record(good, intake, "moved")
    registry.promote("moved")
    registry.record(good, intake, "moved")
    assert run(["promote", "--name", "moved"]) == 0
    assert capsys.readouterr().err == f"moved version 2 is champion, before it version {before}.\n"
    registry.record(replace_gate(replace(trained, provenance=elsewhere), holds=True), intake, "moved")
    assert run(["promote", "--name", "moved"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.endswith("Callers will notice: currency XXX, now EUR; time zone UTC, now Europe/Berlin.")
    assert run(["rollback", "--name", "moved"]) == 0
    assert "currency EUR, now XXX" in " ".join(capsys.readouterr().err.split())


def test_a_failed_gate_refuses_with_its_figures(registry: Registry, trained: Trained, intake: Intake) -> None:
    version = registry.record(replace_gate(trained, holds=False), intake, "gated")
    with pytest.raises(GateError, match=rf"Version {version} .*\+99\.0%.*champion stays"):
        registry.promote("gated")
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback("gated")


def test_unknown_names_are_answered_with_the_known_ones(registry: Registry, first: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"'nope'\. Registered: clv"):
        registry.promote("nope")
    with pytest.raises(RegistryError, match="No model is registered as 'a/b'"):
        registry.promote("a/b")
    store = ModelStore(registry.uri, tmp_path)
    with pytest.raises(RegistryError, match=r"'nope'\. Registered: clv"):
        store.bundle_folder("nope")
    with pytest.raises(RegistryError, match="'99'"):
        store.bundle_folder("clv", "99")


def test_what_is_registered_predicts_what_was_fitted(
    registry: Registry, first: str, trained: Trained, shop: OrderLog, tmp_path: Path
) -> None:
    bundle = load_bundle(ModelStore(registry.uri, tmp_path).bundle_folder("clv", first))
    assert (bundle.name, bundle.version) == ("clv", first)
    matrix = feature_matrix(shop, shop.complete_until)
    assert bundle.model.predict(matrix).clv.tobytes() == trained.model.predict(matrix).clv.tobytes()


def test_pyfunc_gives_a_row_for_a_row(registry: Registry, first: str, trained: Trained, shop: OrderLog) -> None:
    registry.client()
    model = mlflow.pyfunc.load_model(f"models:/clv/{first}")
    frame = pd.DataFrame(feature_matrix(shop, shop.complete_until).values, columns=list(input_example().columns))
    found = model.predict(frame, params={"horizon_days": 30})
    expected = trained.model.predict(feature_matrix(shop, shop.complete_until))
    assert found["predicted_clv"].to_numpy().tobytes() == np.ascontiguousarray(expected.clv[:, 0]).tobytes()
    assert len(model.predict(input_example())) == 2
    optional = [entry.name for entry in CATALOGUE if entry.needs]
    without = model.predict(frame.drop(columns=optional), params={"horizon_days": 30})
    assert without.equals(found)  # the shop's log has none of these columns
    later = shop.complete_until + 40 * DAY_US
    frame = pd.DataFrame(feature_matrix(shop, later).values, columns=list(input_example().columns))
    found = model.predict(frame, params={"horizon_days": 30, "as_of": isoformat(later)})
    expected = trained.model.predict(feature_matrix(shop, later))
    assert found["predicted_clv"].to_numpy().tobytes() == np.ascontiguousarray(expected.clv[:, 0]).tobytes()
    assert model.predict(frame.assign(as_of=isoformat(later)), params={"horizon_days": 30}).equals(found)


def test_pyfunc_refuses_what_no_customer_has(registry: Registry, first: str) -> None:
    registry.client()
    model, example = mlflow.pyfunc.load_model(f"models:/clv/{first}"), input_example()
    with pytest.raises(MlflowException, match="recency_days"):
        model.predict(example.drop(columns="recency_days"))
    for wrong in ({"frequency": 0.0}, {"spend_mean": np.inf}, {"spend_mean": np.nan}, {"weekend_share": 1.5}):
        name = next(iter(wrong))
        with pytest.raises(ValueError, match=rf"^{name} is .* in row 0 .* 2 rows"):
            model.predict(example.assign(**wrong))
    with pytest.raises(ValueError, match="as_of holds 2 moments"):
        model.predict(example.assign(as_of=["2024-01-01", "2024-02-01"]))


def test_no_customer_is_in_any_artefact(registry: Registry, first: str) -> None:
    client = registry.client()
    version = client.get_model_version("clv", first)
    folders = [mlflow.artifacts.download_artifacts(run_id=version.run_id)]
    folders.append(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/clv/{first}"))
    texts = [path.read_bytes() for folder in folders for path in Path(folder).rglob("*") if path.is_file()]
    assert len(texts) > 10
    assert not any(b"@shop" in text or b"buyer" in text for text in texts)


def test_an_interrupted_recording_is_killed_and_registers_nothing(
    registry: Registry, first: str, trained: Trained, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.registry._log_model", interrupt)
    with pytest.raises(KeyboardInterrupt):
        registry.record(trained, intake, "interrupted")
    client = registry.client()
    newest = client.search_runs([client.get_experiment_by_name("clv").experiment_id], max_results=1)[0]
    assert newest.info.status == "KILLED"
    assert "interrupted" not in {model.name for model in client.search_registered_models()}


def test_the_same_number_in_another_registry_is_another_model(registry: Registry, first: str, tmp_path: Path) -> None:
    store = ModelStore(registry.uri, tmp_path / "bundles")
    store.bundle_folder("clv", first)
    other = ModelStore(f"sqlite:///{tmp_path / 'other.db'}", tmp_path / "bundles")
    with pytest.raises(RegistryError):
        other.bundle_folder("clv", first)


def test_a_damaged_local_copy_is_fetched_again(registry: Registry, first: str, tmp_path: Path) -> None:
    store = ModelStore(registry.uri, tmp_path)
    (store.bundle_folder("clv", first) / "churn_30.txt").write_text("damaged")
    assert load_bundle(store.bundle_folder("clv", first)).version == first


def test_first_trainings_at_once_make_one_store(tmp_path: Path) -> None:
    code = "import sys; from training.registry import Registry; Registry(sys.argv[1]).ensure_reachable()"
    words = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], told


def test_a_bundle_fetched_at_once_is_whole_for_everyone(
    registry: Registry, first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has opened the lock for itself, as processes have."""
    store, fetched = ModelStore(registry.uri, tmp_path), []
    download = ModelStore._download

    def watched(self: ModelStore, name: str, version: str, folder: Path) -> None:
        fetched.append(version)
        download(self, name, version, folder)

    def fetch(_: int) -> list[str]:
        folder = store.bundle_folder("clv", first)
        return sorted(path.name for path in folder.iterdir())

    monkeypatch.setattr(ModelStore, "_download", watched)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(fetch, range(3)))
    assert fetched == [first]
    assert len(found[0]) > 5
    assert found == [found[0]] * 3


def test_an_unreachable_registry_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    address = "http://anna:s3cret@127.0.0.1:9"
    actions: list[Callable[[], object]] = [
        Registry(address).ensure_reachable,
        lambda: Registry(address).promote("clv"),
        lambda: ModelStore(address, tmp_path).bundle_folder("clv"),
    ]
    for action in actions:
        with pytest.raises(RegistryError, match=r"127\.0\.0\.1:9") as refused:
            action()
        assert "s3cret" not in str(refused.value)


def test_the_example_is_nobodys_row(cdnow_frame: pd.DataFrame) -> None:
    known = build_features(cdnow_frame, "1998-04-02").to_numpy(np.float64)
    example = input_example().to_numpy(np.float64)
    assert not any(np.array_equal(row, other, equal_nan=True) for row in example for other in known)


@pytest.mark.parametrize("uri", ["", "sqlite:///{folder}/own.db"])
def test_artefacts_lie_beside_a_database_and_never_in_the_working_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(folder=home.parent))
    assert settings.home().artifacts == (home / "artifacts").as_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert settings.home().artifacts is None


def test_the_commit_is_that_of_this_code_and_of_no_repository_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    installed = tmp_path / "venv" / "fingerprint.py"
    installed.parent.mkdir()
    installed.write_text("")
    (tmp_path / "shop.py").write_text("")
    for words in (["init", "--quiet"], ["add", "shop.py"], ["commit", "--quiet", "-m", "shop"]):
        subprocess.run([*git, *words], check=True)
    monkeypatch.setattr("training.fingerprint.__file__", str(installed))
    assert git_commit() == "unknown"
    for words in (["add", "venv"], ["commit", "--quiet", "-m", "venv"]):
        subprocess.run([*git, *words], check=True)
    assert len(git_commit()) == 40
