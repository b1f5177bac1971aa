"""The project keeps its own rules: names, locks, directions, one writer and one reader of MLflow."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

OURS = ("features", "model", "training", "serving", "commands")


@pytest.fixture(scope="module")
def root(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath


def test_no_dependency_ships_a_module_named_like_ours() -> None:
    taken = {
        (distribution.metadata["Name"], top)
        for distribution in distributions()
        for file in distribution.files or []
        if (top := file.parts[0].removesuffix(".py")) in OURS
    }
    assert {name for name, _ in taken} <= {"predictive-clv"}


@pytest.mark.parametrize("use", ["serve", "train", "all"])
def test_locks_are_hashed_and_name_no_address(root: Path, use: str) -> None:
    lock = (root / "requirements" / f"{use}.lock").read_text()
    pinned = re.findall(r"^([a-z0-9._-]+(?:\[[^\]]*\])?)==\S+", lock, re.MULTILINE)
    assert len(pinned) > 30
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "://" not in lock


def test_the_serving_lock_has_no_training_package(root: Path) -> None:
    lock = (root / "requirements" / "serve.lock").read_text()
    for name in ("mlflow", "pandas", "scikit-learn", "pyarrow", "matplotlib"):
        assert not re.search(rf"^{name}(-skinny)?==", lock, re.MULTILINE), name


def sources(root: Path, *packages: str) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for name in packages for path in (root / name).rglob("*.py")}


def test_one_module_writes_mlflow_and_one_reads_it(root: Path) -> None:
    using = {name for name, text in sources(root, *OURS).items() if re.search(r"^\s*(import|from) mlflow", text, re.M)}
    assert using == {"training/registry.py", "training/pyfunc.py", "serving/store.py"}


def test_one_module_cuts_the_past_and_one_looks_ahead(root: Path) -> None:
    code = sources(root, *OURS)
    assert {name for name, text in code.items() if re.search(r"ordered_at < (as_of|cutoff)", text)} == {
        "features/history.py", "features/docs.py",
    }  # fmt: skip
    assert {name for name, text in code.items() if "ordered_at >=" in text} == {"training/labels.py"}


def test_modules_are_small(root: Path) -> None:
    long = {name: n for name, text in sources(root, *OURS).items() if (n := len(text.splitlines())) > 320}
    assert not long


def test_nothing_names_this_machine(root: Path) -> None:
    for path in [*root.glob("*.md"), *root.glob("docs/**/*.md"), *(root / "requirements").glob("*")]:
        assert not re.search(r"/(home|root|work)/", path.read_text()), path
