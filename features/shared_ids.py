"""Order ids that stand in several parts of a log: their rows are judged side by side, as in a log in one piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.arrays import AnyArray
from features.arrow import array
from features.columns import ORDER_ID
from features.hashing import HashArray, hashes

_NONE = np.empty(0, dtype=np.uint64)


def rows_of_shared_ids(tables: Iterator[pa.Table], again: Iterator[pa.Table], folder: Path | None) -> pa.Table | None:
    """Rows whose order id stands in more than one table; None where there are none.

    Parameters
    ----------
    tables, again
        Order ids of the parts; all of their columns.
    folder
        Where hashes of ids may be put meanwhile; None: they are kept in memory.
    """
    shared = _in_several(tables, folder)
    if not len(shared):
        return None
    return pa.concat_tables(table.take(array(np.flatnonzero(_holds(shared, table)))) for table in again)


def _holds(ids: HashArray, table: pa.Table) -> AnyArray:
    hashed = hashes(table.column(ORDER_ID))
    return np.asarray(ids[np.minimum(np.searchsorted(ids, hashed), len(ids) - 1)] == hashed)


def _in_several(tables: Iterator[pa.Table], folder: Path | None) -> HashArray:
    """Hashes of order ids that stand in more than one table, ascending."""
    shelves = _Shelves(folder)
    for table in tables:
        shelves.add(np.setdiff1d(hashes(table.column(ORDER_ID)), np.zeros(1, dtype=np.uint64)))  # 0: no id
    return np.concatenate([_twice(hashed) for hashed in shelves.taken()])


def _twice(hashed: HashArray) -> HashArray:
    ordered = np.sort(hashed)
    return np.unique(ordered[1:][ordered[1:] == ordered[:-1]])


class _Shelves:
    """Hashes by their first byte, so that a shelf at a time is looked at: in files, or all together in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._files = [] if folder is None else [folder / f"ids-{place:03d}.bin" for place in range(256)]
        self._held: list[HashArray] = [_NONE]
        for file in self._files:
            file.unlink(missing_ok=True)

    def add(self, ascending: HashArray) -> None:
        if not self._files:
            self._held.append(ascending)
            return
        bounds = np.searchsorted(ascending >> np.uint64(56), np.arange(1, 256, dtype=np.uint64))
        for file, some in zip(self._files, np.split(ascending, bounds), strict=True):
            with file.open("ab") as stream:
                stream.write(some.tobytes())

    def taken(self) -> Iterator[HashArray]:
        yield np.concatenate(self._held)
        for file in self._files:
            if file.exists():
                yield np.fromfile(file, dtype=np.uint64)
                file.unlink()
