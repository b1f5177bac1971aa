"""`OUT.partial/`: what a batch in parts has got so far, so that a killed one can go on and nothing is left behind.

The folder carries the fingerprint of what is being done. A start without `--resume` deletes what it finds; one with
it goes on where the fingerprint is the same.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from features.errors import OutputError, UsageError, listed
from features.machine import read_note, write_note

_FINGERPRINT, _LOCK = "fingerprint.json", "lock"
ORDERS: Final = "orders"
"""Folder of the parted log."""


@dataclass(frozen=True)
class Unfinished:
    """The folder of a batch that is under way; only one process at a time holds it.

    Attributes
    ----------
    resumed
        Whether an earlier run of the same fingerprint is being continued.
    began_at, n_parts
        When the work began, µs UTC, and into how many parts; the earlier run's where it is continued.
    """

    folder: Path
    resumed: bool
    began_at: int
    n_parts: int

    @property
    def orders(self) -> Path:
        """Where the parted order log lies; it does not exist until there is one."""
        return self.folder / ORDERS

    def files(self, kind: str) -> Path:
        """Folder of the finished files of a kind, and of nothing else."""
        return self.folder / kind

    def file(self, kind: str, place: int) -> Path:
        """Finished file of a part: it is there whole or not at all."""
        return self.files(kind) / f"part-{place:05d}.parquet"

    @contextmanager
    def writing(self, kind: str, place: int) -> Iterator[Path]:
        """Path to write a part's file to; it gets its name when the block ends well."""
        target, beside = self.file(kind, place), self.folder / f"{kind}-{place:05d}.tmp"
        target.parent.mkdir(exist_ok=True)
        yield beside
        with beside.open("rb+") as stream:
            os.fsync(stream.fileno())  # a name never stands for bytes that a power cut can take back
        beside.replace(target)


def is_unfinished(folder: Path) -> bool:
    """Whether it is the folder of a batch."""
    return (folder / _FINGERPRINT).exists()


def remove(folder: Path) -> None:
    """Delete the folder of a batch, if it is one."""
    if is_unfinished(folder):
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(folder: Path) -> None:
    """Delete the folder of a batch that no process is at work in."""
    try:
        with (folder / _LOCK).open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove(folder)
    except OSError:
        return  # there is none, or it is not abandoned


@contextmanager
def unfinished(
    folder: Path, fingerprint: dict[str, Any], n_parts: int, *, resume_from: int | None, now: int
) -> Iterator[Unfinished]:
    """Hold the folder of a batch: emptied, or as an earlier run with the same fingerprint left it.

    Parameters
    ----------
    resume_from
        A run that began then or later, µs UTC, is continued; None: none is.

    Raises
    ------
    UsageError
        Another process is at work in it, it is not ours, or the run to be resumed was of something else.
    OutputError
        It cannot be made.
    """
    with _made(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    with lock:
        _take(lock, folder)
        noted = folder / _FINGERPRINT
        strangers = [path.name for path in folder.iterdir() if path.name != _LOCK]
        if strangers and not noted.exists():
            raise UsageError(
                f"{str(folder)!r} is needed for unfinished work, but holds other files: {listed(strangers)}."
            )
        found = {} if resume_from is None else read_note(noted)
        if found and found["began_at"] < resume_from:
            found = {}
        if found and found["of"] != json.loads(json.dumps(fingerprint)):
            raise UsageError(
                f"The interrupted run in {str(folder)!r} was of other orders, another model or other settings. Give "
                "the same ones, or start without --resume: that deletes its finished parts."
            )
        resumed = bool(found)
        if not resumed:
            _empty(folder)
            found = {"of": fingerprint, "began_at": now, "n_parts": n_parts}
            with _made(folder):
                try:
                    write_note(noted, found)
                except OSError:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise
        yield Unfinished(folder, resumed, found["began_at"], found["n_parts"])


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{str(folder)!r} cannot be made: {error.strerror or error}. Nothing was changed.") from error


def _take(lock: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"Another run is at work in {str(folder)!r}: wait for it, or stop it.") from None


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
