"""What one worker serves: the model, swapped whole when another is named, and the order store."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

from features.errors import BundleError, ClvError, StoreError
from model.bundle import Bundle, load_bundle
from serving.events import event
from serving.observing import ModelGauges
from serving.order_store import OrderStore
from serving.pointer import read_pointer

_LOOK_SECONDS = 0.5
_LOOKS_BETWEEN_STORE_TRIES = 20


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
        self._folder: str | None = None
        self.bundle: Bundle | None = None
        self.refused: str | None = None
        self.store: OrderStore | None = None
        self.store_problem: str | None = None
        self.look()
        self.reach_store()

    def look(self) -> None:
        """Serve the bundle that is named now; where it is unusable, keep the one before and say why."""
        self._seen = self._signature()
        try:
            pointer = read_pointer(self._source)
            if pointer.bundle != self._folder:
                self.bundle = load_bundle(Path(pointer.bundle))
                self._folder = pointer.bundle
                self._gauges.show(self.bundle)
                gc.collect()
                gc.freeze()  # nothing of a model is garbage: the collector need not look at it again
                event("model_served", model=self.bundle.name, version=self.bundle.version)
            self.refused = pointer.refused
        except BundleError as error:
            self.refused = str(error)
        if self.refused is not None:
            event("model_refused", "error", why=self.refused)

    def reach_store(self) -> None:
        """Open the order store, or say why it cannot be."""
        try:
            self.store, self.store_problem = OrderStore.open(self._store_url), None
        except (ClvError, OSError) as error:
            self.store_problem = str(error)
            event("store_unavailable", "error", why=self.store_problem)

    async def follow(self) -> None:
        """Look again and again, without holding up a request."""
        looks = 0
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            looks += 1
            if self._signature() != self._seen:
                await asyncio.to_thread(self.look)
            if self.store is None and looks % _LOOKS_BETWEEN_STORE_TRIES == 0:
                await asyncio.to_thread(self.reach_store)

    def _signature(self) -> tuple[int, ...] | None:
        """Changes with the file; a folder is looked at once."""
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
