"""What one worker serves: the model, swapped whole when another is named, and the order store."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from datetime import UTC, datetime
from pathlib import Path

import orjson

from features.errors import BundleError, ClvError, StoreError
from features.instants import to_us
from model.bundle import Bundle, load_bundle
from serving.events import event
from serving.observing import ModelGauges
from serving.openapi import EXAMPLE
from serving.order_store import OrderStore
from serving.pointer import read_pointer
from serving.requests import answer

_LOOK_SECONDS = 0.5
_LOOKS_BETWEEN_CHECKS = 20
_SILENT_SECONDS = 60.0


class Served:
    """A worker's model and store; a request takes `bundle` once and answers with it to its end.

    Attributes
    ----------
    bundle
        The model that answers; None until one could be loaded.
    refused
        Why the model that was named last does not answer, and the one before still does; None otherwise.
    store
        The order store; None while it cannot be reached.
    store_problem
        Why there is none.
    """

    def __init__(self, source: Path, store_url: str) -> None:
        self._source, self._store_url, self._gauges = source, store_url, ModelGauges()
        self._seen: tuple[int, ...] | None = None
        self._seen_at = time.monotonic()
        self._folder: str | None = None
        self._told: str | None = None
        self.bundle: Bundle | None = None
        self.refused: str | None = None
        self.store: OrderStore | None = None
        self.store_problem: str | None = None
        self.look()
        self.reach_store()

    def look(self) -> None:
        """Serve the bundle that is named now; where it is unusable, keep the one before and say why."""
        signature = self._signature()
        if signature != self._seen:
            self._seen, self._seen_at = signature, time.monotonic()
        try:
            pointer = read_pointer(self._source)
            if pointer.bundle != self._folder:
                self._take(pointer.bundle)
            self.refused = pointer.refused or self._silence(pointer.every)
        except BundleError as error:
            self.refused = str(error)
        except Exception as error:  # a bundle that is whole, and yet cannot answer
            self.refused = f"The model that is named cannot answer ({type(error).__name__}): train it again."
        if self.refused != self._told:
            self._told = self.refused
            event("model_refused", "error" if self.refused else "info", why=self.refused)

    def _silence(self, every: float | None) -> str | None:
        """Why another champion would not be noticed; None where somebody looks, or nobody is to."""
        if every is None or time.monotonic() - self._seen_at < _SILENT_SECONDS + 3 * every:
            return None
        return "Nobody looks at the champion any more, so that another would not be served: start the service again."

    def _take(self, folder: str) -> None:
        bundle = load_bundle(Path(folder))
        _try(bundle)
        self._gauges.show(bundle)
        self.bundle, self._folder = bundle, folder
        gc.collect()
        gc.freeze()  # nothing of a model is garbage: the collector need not look at it again
        event("model_served", model=bundle.name, version=bundle.version)

    def reach_store(self) -> None:
        """Open the order store, or say why it cannot be."""
        try:
            self.store = OrderStore.open(self._store_url)
            self._store_is(None)
        except ClvError as error:
            self._store_is(str(error))

    def check_store(self) -> None:
        """Say whether the store answers; open it where it could not be before."""
        if self.store is None:
            self.reach_store()
            return
        try:
            self.store.check()
            self._store_is(None)
        except ClvError as error:
            self._store_is(str(error))

    def _store_is(self, problem: str | None) -> None:
        if problem != self.store_problem:
            event("store_unavailable" if problem else "store_available", "error" if problem else "info", why=problem)
        self.store_problem = problem

    async def follow(self) -> None:
        """Look again and again, without holding up a request."""
        looks = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            looks += 1
            now_and_then = looks % _LOOKS_BETWEEN_CHECKS == 0
            if now_and_then or self._signature() != self._seen:
                await asyncio.to_thread(self.look)
            if now_and_then:
                await asyncio.to_thread(self.check_store)

    def _signature(self) -> tuple[int, ...] | None:
        """Changes with the file and with each look of its follower; never for a folder."""
        try:
            found = self._source.stat()
        except OSError:
            return None
        return (0,) if self._source.is_dir() else (found.st_ino, found.st_mtime_ns, found.st_size)

    def needed_bundle(self) -> Bundle:
        """The model that answers. Raises BundleError while there is none."""
        if self.bundle is None:
            raise BundleError("No model is loaded.")
        return self.bundle

    def needed_store(self) -> OrderStore:
        """The order store. Raises StoreError while it cannot be reached."""
        if self.store is None:
            raise StoreError(self.store_problem or "There is no order store.")
        return self.store


def _try(bundle: Bundle) -> None:
    """Answer for a made-up customer, so that a model which cannot is never served. Raises what it raises."""
    (found,) = answer(bundle, orjson.dumps(EXAMPLE), to_us(datetime(2024, 3, 1, tzinfo=UTC)))["customers"]
    if not all(math.isfinite(one["predicted_clv"]) for one in found["predictions"]):
        raise ValueError("predicted_clv is not finite")
