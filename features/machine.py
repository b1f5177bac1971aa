"""What a machine gives: its cores, one process at a time, and notes that are whole."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

CORES: Final = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
"""How many this process may use."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for the lock of a file, made if need be, and hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def sqlite_file(uri: str) -> Path | None:
    """File of a SQLite URL; None for any other."""
    path = uri.partition("?")[0].removeprefix("sqlite:///")
    return Path(path) if uri.startswith("sqlite:///") else None


def alone_with(uri: str) -> AbstractContextManager[None]:
    """Lock of a SQLite store of MLflow, whose migrations of two processes trip over each other; none of a server."""
    file = sqlite_file(uri)
    return nullcontext() if file is None else locked(file.with_name(f"{file.name}.lock"))


def write_note(path: Path, found: dict[str, Any]) -> None:
    """Write a small JSON document: there whole, for good, or not at all. Raises OSError."""
    beside = path.with_name(f"{path.name}.tmp")
    try:
        with beside.open("w") as stream:
            json.dump(found, stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def read_note(path: Path) -> dict[str, Any]:
    """Read such a document; empty where there is none, or where what stands there is no JSON object."""
    try:
        return dict(json.loads(path.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}
