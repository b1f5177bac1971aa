"""The alias follower: which bundle the services are to serve. A process of its own, since it needs MLflow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from features.errors import BundleError, ClvError
from model.bundle import load_bundle
from serving.events import event
from serving.pointer import Pointer, read_pointer, write_pointer
from serving.store import ModelStore


class Follower:
    """Keeps a pointer at the champion of a registered model, when it is called `every` so many seconds."""

    def __init__(self, models: ModelStore, name: str, path: Path, every: float) -> None:
        self._models, self._name, self._path, self._every = models, name, path, every
        self._seen: str | None = None
        self._why: str | None = None

    def look(self) -> None:
        """Point at the champion; where it cannot be had or loaded, keep what is served and say why."""
        served = self._served()
        try:
            wanted = self._wanted(served)
        except ClvError as error:
            wanted = None if served is None else replace(served, refused=str(error), every=self._every)
            if wanted is None:
                event("champion_unavailable", "error", why=str(error))
        if wanted is not None and wanted != served:
            write_pointer(self._path, wanted)
            event("champion", bundle=wanted.bundle, refused=wanted.refused)
        elif served is not None:
            self._path.touch()  # the sign of life that the workers look for

    def _wanted(self, served: Pointer | None) -> Pointer | None:
        """Where to point; what is served already where the champion is the one that was looked at last."""
        version = self._models.champion(self._name)
        if version == self._seen and (served is not None or self._why is not None):
            return served and replace(served, refused=self._why, every=self._every)
        folder = self._models.bundle_folder(self._name, version)
        self._seen, self._why = version, None  # a damaged one is not fetched again and again
        try:
            load_bundle(folder)
        except BundleError as error:
            self._why = str(error)
            raise
        return Pointer(str(folder.resolve()), every=self._every)

    def _served(self) -> Pointer | None:
        try:
            return read_pointer(self._path)
        except BundleError:
            return None
