"""`clv follow`: the champion of the registry, for services beside it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from commands.options import MODEL, Name
from serving.pointer import LOOK_SECONDS


def follow(
    pointer: Annotated[Path, typer.Argument(metavar="POINTER", help="File to write: CLV_BUNDLE of the service.")],
    name: Name = MODEL,
    every: Annotated[float, typer.Option(help="Seconds between two looks at the registry.", min=0.1)] = LOOK_SECONDS,
    parent: Annotated[int | None, typer.Option(hidden=True, help="End when this process does.")] = None,
) -> None:
    """Keep a file that names the champion's bundle, for `clv serve` (which starts this itself) or a bento.

    A champion that cannot be loaded is refused: the file keeps the one before, and says why.
    """
    from commands.settings import home
    from serving.events import event, log_to_stderr
    from serving.follower import Follower
    from serving.store import ModelStore

    log_to_stderr()
    place = home()
    follower = Follower(ModelStore(place.registry_uri, place.bundles), name, pointer, every)
    try:
        while parent is None or os.getppid() == parent:
            try:
                follower.look()
            except Exception as error:  # whatever it was, the next look may succeed
                event("look_failed", "error", kind=type(error).__name__)
            time.sleep(every)
    finally:
        if parent is not None:  # nobody else reads it
            pointer.unlink(missing_ok=True)
