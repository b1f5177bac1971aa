"""Where things live: built once in the shell and passed down."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from features.errors import UsageError, listed
from features.options import ReadOptions

if TYPE_CHECKING:
    from serving.order_store import OrderStore

CONFIG: Final = "clv.toml"
STORE: Final = "store"
"""Stands for the order store, as a log and as a place of scores; a file of that name is `./store`."""
_DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")
"""Of MLflow's URIs: without a place for them it would put artefacts into the working folder."""


@dataclass(frozen=True)
class Home:
    """The state folder: `$CLV_HOME`, default `./.clv`."""

    folder: Path

    @property
    def registry_uri(self) -> str:
        """MLflow's URI: `$MLFLOW_TRACKING_URI`, else a SQLite file in the home."""
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.folder.resolve() / 'mlflow.db'}"

    @property
    def artifacts(self) -> str | None:
        """Where artefacts go beside a database; None for an MLflow server, which knows."""
        return (self.folder.resolve() / "artifacts").as_uri() if self.registry_uri.startswith(_DATABASES) else None

    @property
    def run(self) -> Path:
        """Files of running services."""
        folder = self.folder / "run"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def bundles(self) -> Path:
        """Local copies of registered bundles."""
        return self.folder / "bundles"


def home() -> Home:
    """Open the state folder, made if need be, and keep the libraries quiet and offline.

    Raises
    ------
    UsageError
        The folder cannot be made.
    """
    folder = Path(os.environ.get("CLV_HOME") or ".clv")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The state folder {str(folder.absolute())!r} cannot be made: {error.strerror}. Name another by CLV_HOME."
        ) from error
    if not os.access(folder, os.W_OK):
        raise UsageError(f"The state folder {str(folder.absolute())!r} cannot be written: name another by CLV_HOME.")
    for name, value in {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "GIT_PYTHON_REFRESH": "quiet",
    }.items():
        os.environ.setdefault(name, value)
    return Home(folder)


def order_store() -> OrderStore:
    """Open the order store: `$CLV_STORE`, else a SQLite file in the home."""
    from serving.order_store import OrderStore
    from serving.settings import from_environment

    return OrderStore.open(from_environment().store)


def config(path: Path = Path(CONFIG)) -> Mapping[str, Mapping[str, Any]]:
    """Read `clv.toml`: `[columns]` maps contract names to the log's, `[orders]` says how to read it.

    Raises
    ------
    UsageError
        Not TOML, or a key that means nothing.
    """
    if not path.is_file():
        return {}
    try:
        found = tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{str(path)!r} is not TOML: {error}.") from error
    for name, table in found.items():
        if not isinstance(table, dict):
            raise UsageError(f"{str(path)!r}: {name} must be a table, [{name}].")
        wrong = [k for k, v in table.items() if not isinstance(v, bool if k == "drop_repeated_lines" else str)]
        if wrong:
            raise UsageError(f"{str(path)!r}: {listed(wrong)} must be texts (drop_repeated_lines: true or false).")
        settings = {field.name for field in fields(ReadOptions)} - {"mapping"}
        known = {"columns": set(table), "orders": settings}
        unknown = sorted(set(table) - known[name]) if name in known else [name]
        if unknown:
            raise UsageError(f"{str(path)!r} has unknown keys: {listed(unknown)}. Known tables: [columns], [orders].")
    return found
