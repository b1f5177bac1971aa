"""The file that names the bundle to serve: written by the alias follower, watched by the workers."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from features.errors import BundleError

LOOK_SECONDS = 5.0
"""How often `clv serve` has the champion looked at."""


@dataclass(frozen=True)
class Pointer:
    """Which bundle is to be served.

    Attributes
    ----------
    bundle
        Its folder.
    refused
        Why the follower left the champion where it is, when it did; None otherwise.
    every
        Seconds after which the follower looks again, and touches the file; None where nobody does.
    """

    bundle: str
    refused: str | None = None
    every: float | None = None


def write_pointer(path: Path, pointer: Pointer) -> None:
    """Write the file in one step: a reader sees the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(asdict(pointer)) + "\n")
    beside.replace(path)


def read_pointer(path: Path) -> Pointer:
    """Read the file; a folder points at itself.

    Raises
    ------
    BundleError
        There is no such file, or it is damaged.
    """
    if path.is_dir():
        return Pointer(str(path))
    try:
        return Pointer(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise BundleError(
            f"There is no model at {str(path)!r}: neither a bundle's folder nor a file that names one."
        ) from error
