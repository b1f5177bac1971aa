"""A bundle that other processes can be sent; each of them loads it once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from features.orders import OrderLog
from model.bundle import Bundle, load_bundle
from serving import batch
from serving.output import Writer
from serving.scorer import Question
from serving.tally import Tally

Files = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Shipped:
    """A loaded bundle that is pickled as the files of its folder."""

    folder: Path
    bundle: Bundle

    def __reduce__(self) -> tuple[Callable[[Files], Shipped], tuple[Files]]:
        """Name, and bytes, of each file."""
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        return _received, (tuple((path.name, path.read_bytes()) for path in files),)

    def score(
        self, as_of: int, question: Question, log: OrderLog, writer: Writer, on_rows: Callable[[int], Any]
    ) -> Tally:
        """As `serving.batch.score_base`."""
        return batch.score_base(self.bundle, log, as_of, writer, question, on_rows=on_rows)


@lru_cache(maxsize=1)
def _received(files: Files) -> Shipped:
    with TemporaryDirectory() as folder:
        for name, content in files:
            (Path(folder) / name).write_bytes(content)
        return Shipped(Path(folder), load_bundle(Path(folder)))
