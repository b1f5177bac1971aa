"""Parquet files → a raw source that can be read from any row on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import accumulate
from typing import Final

import pyarrow as pa
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq  # not pyarrow.dataset: that imports pandas, 0.7 s
from pyarrow import types

from features.columns import ALL, COUNTED
from features.errors import OrdersError
from features.mapping import resolve, unread_status
from features.options import ReadOptions
from features.places import readable
from features.raw import RawSource, empty, renamed

_CHUNK_ROWS: Final = 1 << 17
_ALSO_UTC: Final = frozenset({"+00:00", "Etc/UTC", "GMT", "Z"})


def open_parquet(source: str, paths: list[str], filesystem: pa_fs.FileSystem, options: ReadOptions) -> RawSource:
    """Columns are taken by name from all files; one that lacks a column has nulls there.

    Raises
    ------
    OrdersError
        A required column is in no file, or a column's types in two files have none that holds both as they are.
    """
    kinds: dict[str, pa.DataType] = {}
    counts = []
    for path in paths:
        with readable(path), pq.ParquetFile(path, filesystem=filesystem) as file:
            counts.append(file.metadata.num_rows)
            _unite(kinds, file.schema_arrow, path, options)
    columns = resolve(list(kinds), options.mapping)
    files = filesystem.get_file_info(paths)

    def rows_from(names: Collection[str] | None, first: int) -> Iterator[pa.Table]:
        taken = {name: column for name, column in columns.items() if names is None or name in names}
        wanted = pa.schema([(column, kinds[column]) for column in dict.fromkeys(taken.values())])
        with readable(source):
            yield renamed(empty(wanted), taken)
            for info, begin, end in zip(files, accumulate([0, *counts]), accumulate(counts), strict=False):
                if end > first:
                    for batch in _batches(filesystem, info, wanted, max(0, first - begin)):
                        yield renamed(_fitted(batch, wanted), taken)

    local = isinstance(filesystem, pa_fs.LocalFileSystem)
    hint = unread_status(list(kinds), columns)
    return RawSource(sum(counts), rows_from(None, 0), hint=hint, rows_from=rows_from if local else None)


def _unite(kinds: dict[str, pa.DataType], schema: pa.Schema, path: str, options: ReadOptions) -> None:
    """Add a file's columns to those of the files before; only contract columns must agree."""
    contract = {options.mapping.get(name, name): name for name in ALL}
    for field in schema:
        plain = pa.large_string() if types.is_string_view(field.type) else field.type  # views are hardly supported yet
        before = kinds.setdefault(field.name, plain)
        name = contract.get(field.name)
        both = before if field.type == before else _common(before, field.type, name in COUNTED)
        if both is None and name is not None:
            raise OrdersError(
                f"Column {field.name!r} is of type {field.type} in {path!r}, and of type {before} in files before it: "
                "one of them would be read as something else. Write all files with the same types."
            )
        kinds[field.name] = both or before


def _common(one: pa.DataType, other: pa.DataType, is_amount: bool) -> pa.DataType | None:
    """The type that holds the values of both as they are meant; None where there is none."""
    one, other = both = tuple(kind.value_type if types.is_dictionary(kind) else kind for kind in (one, other))
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if is_amount and all(map(_is_number, both)):
        return pa.float64()
    if all(map(_is_text, both)) or (any(map(_is_text, both)) and any(map(types.is_integer, both))):
        return pa.large_string()
    if all(map(_is_moment, both)) and len({_zone(kind) for kind in both}) == 1:
        return pa.timestamp("us", _zone(one))
    if all(map(types.is_unsigned_integer, both)) or all(map(types.is_floating, both)):
        return max(both, key=lambda kind: kind.bit_width)
    if any(map(types.is_integer, both)) and all(types.is_integer(kind) or types.is_floating(kind) for kind in both):
        return None if pa.uint64() in both else pa.int64()  # floats that met a null, whole numbers all the same
    return None


def _is_number(kind: pa.DataType) -> bool:
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_moment(kind: pa.DataType) -> bool:
    return bool(types.is_timestamp(kind) or types.is_date(kind))


def _zone(kind: pa.DataType) -> str | None:
    zone = getattr(kind, "tz", None)
    return "UTC" if zone in _ALSO_UTC else zone


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
        _cast(batch.column(field.name), field.type) if field.name in present else pa.nulls(len(batch), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    plain = column.dictionary_decode() if types.is_dictionary(column.type) else column
    if types.is_decimal(plain.type):
        plain = plain.cast(pa.string())  # by way of its text, the nearest double
    return plain.cast(kind, safe=not types.is_timestamp(kind))  # what is finer than microseconds is cut off
