"""A bento carries its model and serves in an environment that has only the serving lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow
QUESTION = {"customers": [{"customer_id": "a", "orders": [{"ordered_at": "2024-01-01", "amount": 5.0}]}]}


@pytest.fixture(scope="module")
def lean_python(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Interpreter of an environment made from `requirements/serve.lock` and nothing else."""
    folder = tmp_path_factory.mktemp("lean") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    lock = str(pytestconfig.rootpath / "requirements" / "serve.lock")
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", str(folder / "bin" / "python"), lock], check=True)
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def bento(pytestconfig: pytest.Config, bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bento built from a copy of the sources, outside the checkout."""
    source, home = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("bentoml")
    for name in ("features", "model", "serving", "requirements"):
        shutil.copytree(pytestconfig.rootpath / name, source / name)
    shutil.copy(pytestconfig.rootpath / "bentofile.yaml", source)
    shutil.copytree(bundle_folder, source / "build" / "bundle")
    environment = {**os.environ, "BENTOML_HOME": str(home), "CLV_BUNDLE": str(bundle_folder)}
    bentoml = str(Path(sys.executable).with_name("bentoml"))
    subprocess.run([bentoml, "build"], cwd=source, env=environment, check=True, capture_output=True)
    (built,) = (home / "bentos" / "predictive_clv").glob("*/bento.yaml")
    return built.parent


def test_the_image_has_what_lightgbm_links(bento: Path) -> None:
    dockerfile = (bento / "env" / "docker" / "Dockerfile").read_text()
    assert "libgomp1" in dockerfile
    assert "BENTOML_HOST=0.0.0.0" in dockerfile


def test_the_lean_environment_has_no_training_package(lean_python: Path) -> None:
    for name in ("mlflow", "pandas", "sklearn", "pyarrow"):
        found = subprocess.run([str(lean_python), "-c", f"import {name}"], capture_output=True, check=False)
        assert found.returncode == 1, name


@pytest.fixture
def served(bento: Path, lean_python: Path, tmp_path: Path, free_port: int) -> Iterator[httpx.Client]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("CLV_", "BENTOML_"))}
    environment |= {"BENTOML_HOME": str(tmp_path), "PYTHONSAFEPATH": "1", "BENTOML_DO_NOT_TRACK": "True"}
    words = [str(lean_python), "-m", "bentoml", "serve", str(bento), "--port", str(free_port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
    with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=30) as client:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if client.get("/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
        yield client
    process.terminate()
    assert process.wait(timeout=60) == 0, (tmp_path / "log").read_text()


def test_the_bento_answers_without_training_packages(served: httpx.Client) -> None:
    assert served.get("/readyz").status_code == 200
    found = served.post("/v1/predict", json=QUESTION).json()["customers"][0]
    assert found["basis"] == "model"
    assert [p["horizon_days"] for p in found["predictions"]] == [30, 90]
