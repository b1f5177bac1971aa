"""Where commands may write; small tables to a file, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

import pyarrow as pa

from commands.settings import STORE
from features.errors import UsageError


def refuse_overwriting(source: str, written: Mapping[str, str | None]) -> None:
    """Refuse outputs, by option, that are, hold, or lie in the place of the orders, or that are one another.

    Raises
    ------
    UsageError
        One is; the text names it.
    """
    from features.places import is_database, is_globbed

    def is_elsewhere(place: str) -> bool:
        return place == STORE or place.startswith("jdbc:") or is_database(place)

    named = {option: _whole(place) for option, place in written.items() if place and not is_elsewhere(place)}
    read = None if is_elsewhere(source) else _whole(source.partition("*")[0] if "://" in source else source)
    for option, place in named.items():
        if read is not None and (place.startswith(read) or read.startswith(place) or is_globbed(place, read)):
            raise UsageError(
                f"{option} {written[option]!r} is, holds or lies in the place of the orders, {source!r}: "
                "write elsewhere."
            )
        if list(named.values()).count(place) > 1:
            raise UsageError(f"{' and '.join(named)} name the same place, {written[option]!r}: write to two.")


def _whole(path: str) -> str:
    return f"{path.removeprefix('file://') if '://' in path else Path(path).resolve()}".rstrip("/") + "/"


def write_tables(tables: Iterator[pa.Table], path: str) -> int:
    """Write tables of one schema, whole or not at all; returns how many rows.

    Raises OutputError, and UsageError where another run does so.
    """
    from serving.output import rows_file, written_beside

    first = next(tables, pa.table({}))
    n_rows = 0
    with written_beside(Path(path)) as beside, rows_file(path, beside, first.schema) as writer:
        for table in chain([first], tables):
            writer.write(table)
            n_rows += table.num_rows
    return n_rows
