"""Parquet files → a raw source that can be read from any row on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Final

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq  # not pyarrow.dataset: that imports pandas, 0.7 s

from features.errors import OrdersError
from features.mapping import resolve
from features.options import ReadOptions
from features.places import readable
from features.raw import RawSource, empty, renamed

_CHUNK_ROWS: Final = 1 << 17


def open_parquet(source: str, paths: list[str], filesystem: pa_fs.FileSystem, options: ReadOptions) -> RawSource:
    """All files have the columns of the first one, by name; one that lacks an optional column has nulls there."""
    schema = pq.read_schema(paths[0], filesystem=filesystem)
    columns = resolve(schema.names, options.mapping)
    files = filesystem.get_file_info(paths)
    counts = [pq.read_metadata(path, filesystem=filesystem).num_rows for path in paths]

    def rows_from(names: Collection[str] | None, first: int) -> Iterator[pa.Table]:
        taken = {name: column for name, column in columns.items() if names is None or name in names}
        wanted = pa.schema([schema.field(column) for column in dict.fromkeys(taken.values())])
        with readable(source):
            yield renamed(empty(wanted), taken)
            for info, begin, end in zip(files, accumulate([0, *counts]), accumulate(counts), strict=False):
                if end > first:
                    for batch in _batches(filesystem, info, wanted, max(0, first - begin)):
                        yield renamed(_fitted(batch, wanted), taken)

    local = isinstance(filesystem, pa_fs.LocalFileSystem)
    return RawSource(sum(counts), rows_from(None, 0), rows_from=rows_from if local else None)


def _batches(
    filesystem: pa_fs.FileSystem, info: pa_fs.FileInfo, schema: pa.Schema, first: int
) -> Iterator[pa.RecordBatch]:
    """Columns of a Parquet file from a row on; what it lacks is left out. Row groups before it are not touched."""
    now = filesystem.get_file_info(info.path)
    if (now.size, now.mtime_ns) != (info.size, info.mtime_ns):
        raise OrdersError(f"{info.path!r} changed while it was being read. Start again when it is written.")
    with pq.ParquetFile(info.path, filesystem=filesystem) as file:
        counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        groups = [number for number, end in enumerate(accumulate(counts)) if end > first]
        surplus = first - sum(counts[: groups[0]]) if groups else 0
        present = [name for name in schema.names if name in file.schema_arrow.names]
        for batch in file.iter_batches(_CHUNK_ROWS, row_groups=groups, columns=present, use_threads=False):
            if surplus < len(batch):
                yield batch.slice(surplus)
            surplus = max(0, surplus - len(batch))


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    present = batch.schema.names
    arrays = [
        batch.column(field.name).cast(field.type) if field.name in present else pa.nulls(len(batch), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)
