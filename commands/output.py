"""Small tables to CSV, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv

from features.errors import OutputError


def write_csv(tables: Iterator[pa.Table], path: str) -> None:
    """Write tables of one schema beside, then rename. Raises OutputError when that fails; what stood there stays."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.partial")
    try:
        first = next(tables, pa.table({}))
        with pa_csv.CSVWriter(str(beside), first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        beside.replace(target)
    except OSError as error:
        raise OutputError(f"{path!r} cannot be written: {error.strerror or error}. Nothing was changed.") from error
    finally:
        with suppress(OSError):
            beside.unlink()
