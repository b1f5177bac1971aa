"""The only reader of MLflow: which version is meant, and its bundle in a local folder."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import mlflow
import sqlalchemy as sa
from mlflow.exceptions import MlflowException

from features.engines import hidden
from features.errors import BundleError, RegistryError, not_registered
from features.machine import alone_with, locked, sqlite_file
from model.bundle import CHAMPION, REGISTERED, load_bundle


@dataclass(frozen=True)
class ModelStore:
    """Registered models at an MLflow URI, with local copies of their bundles.

    Attributes
    ----------
    uri
        MLflow tracking and registry URI.
    folder
        Where bundles are kept: one folder per registry, name and version.
    """

    uri: str
    folder: Path

    def champion(self, name: str) -> str:
        """Version that the alias names now.

        Raises
        ------
        RegistryError
            The registry is unreachable, or has no such model or champion.
        """
        with _reading(self.uri, CHAMPION, name):
            return _champion(mlflow.MlflowClient(self.uri, self.uri), name)

    def bundle_folder(self, name: str, version: str | None = None) -> Path:
        """Return the local folder of a version's bundle, the champion's by default; downloaded once.

        Raises
        ------
        RegistryError
            The registry is unreachable, or has no such model, version or champion.
        """
        with _reading(self.uri, version or CHAMPION, name):
            client = mlflow.MlflowClient(self.uri, self.uri)
            number = version or _champion(client, name)
            run = client.get_model_version(name, number).run_id
            kept_as = hashlib.sha256(f"{self.uri} {run}".encode()).hexdigest()[:8]  # numbers repeat between registries
            folder = self.folder / f"{name}-{number}-{kept_as}"
            if not _is_whole(folder):
                with locked(folder.with_name(f".{folder.name}.lock")):
                    if not _is_whole(folder):  # another process may have fetched it meanwhile
                        self._download(name, number, folder)
            return folder

    def _download(self, name: str, version: str, folder: Path) -> None:
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        beside = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        uri = f"models:/{name}/{version}"
        fetched = Path(
            mlflow.artifacts.download_artifacts(artifact_uri=f"{uri}/artifacts/bundle", dst_path=str(beside))
        )
        (fetched / REGISTERED).write_text(json.dumps({"name": name, "version": version}) + "\n")
        shutil.rmtree(folder, ignore_errors=True)
        fetched.rename(folder)
        shutil.rmtree(beside, ignore_errors=True)


@contextmanager
def _reading(uri: str, version: str, name: str) -> Iterator[None]:
    """Say in one sentence what the registry did not give."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # not how it makes its tables
    file = sqlite_file(uri)
    if file is not None and not file.exists():
        raise not_registered(name, ())
    try:
        with suppress(OSError), alone_with(uri):
            pass  # who makes its tables is done with it
        yield
    except (MlflowException, OSError, sa.exc.SQLAlchemyError) as error:
        shown = hidden(uri)
        cause = (str(error) or type(error).__name__).splitlines()[0].replace(uri, shown)
        raise RegistryError(
            f"Version {version!r} of model {name!r} cannot be read from the registry at {shown!r}: {cause[:300]}."
        ) from error


def _is_whole(folder: Path) -> bool:
    try:
        load_bundle(folder)
    except BundleError:
        return False
    return True


def _champion(client: mlflow.MlflowClient, name: str) -> str:
    try:
        aliases = client.get_registered_model(name).aliases
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise not_registered(name, (model.name for model in client.search_registered_models())) from error
    if CHAMPION not in aliases:
        raise RegistryError(f"{name!r} has no champion yet. Promote a version (clv promote), or name one (--version).")
    return str(aliases[CHAMPION])
