"""Files, folders, globs, remote paths and databases → raw Arrow tables under contract names, chunk by chunk."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from typing import IO, Final, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs as pa_fs
import pyarrow.parquet as pq  # not pyarrow.dataset: that imports pandas, 0.7 s

from features.errors import OrdersError, UsageError, listed
from features.mapping import resolve
from features.options import ReadOptions
from features.validation import RawOrders

_PARQUET: Final = (".parquet", ".pq", ".parq")
_SNIFFED_BYTES: Final = 1 << 16
_DELIMITERS: Final = ",;\t|"
_SHORT_ROW_BYTES: Final = 20
_CHUNK_ROWS: Final = 1 << 17

RowsFrom = Callable[[Collection[str] | None, int], Iterator[pa.Table]]


@dataclass(frozen=True)
class RawSource:
    """An order log about to be read, once.

    Attributes
    ----------
    n_rows_about
        Rows it may hold: exact for Parquet, guessed high from the size of a CSV file, 0 where nobody knows.
    chunks
        Tables under contract names, all of one schema, in the order of the source.
    malformed
        Text of each row that no reader could split, by its 1-based number; complete when `chunks` is exhausted.
    may_change
        Whether another reading may find other rows without a sign of it, as in a database.
    rows_from
        Reads it again, as often as wanted: the columns of these contract names (None: all) from a row on, as `chunks`;
        None where it can be read but once.
    """

    n_rows_about: int
    chunks: Iterator[pa.Table]
    malformed: dict[int, str] = field(default_factory=dict)
    may_change: bool = False
    rows_from: RowsFrom | None = None

    def read(self) -> RawOrders:
        """Read it whole."""
        return RawOrders(pa.concat_tables(self.chunks), self.malformed)


def open_raw(source: str, options: ReadOptions) -> RawSource:
    """Open the mapped columns of an order log.

    Parameters
    ----------
    source
        CSV (any delimiter, `.gz` allowed), Parquet file, folder or glob, `s3://…`/`gs://…` path,
        or a SQLAlchemy URL with `options.table` or `options.query`.

    Raises
    ------
    OrdersError
        Missing, empty, damaged, or lacking a required column; partly only when the chunks are read.
    UsageError
        A database URL without table or query.
    """
    if is_database(source):
        from features.databases import open_database

        return open_database(source, options)
    if options.table or options.query:
        raise UsageError(f"--table and --query go with a database URL, not with {source!r}.")
    filesystem, paths = _files(source)
    with _readable(source):
        if all(path.lower().endswith(_PARQUET) for path in paths):
            return _open_parquet(source, paths, filesystem, options)
        if len(paths) > 1:
            raise OrdersError(f"{source!r} holds {len(paths)} files that are not all Parquet: {listed(paths)}.")
        return _open_csv(source, paths[0], filesystem, options)


def identity(source: str) -> list[tuple[str, int, int]]:
    """What the files of a source are, to see whether they are still the same: path, bytes, and when changed, in ns."""
    if is_database(source):
        return [(shown_source(source), 0, 0)]
    filesystem, paths = _files(source)
    return [(info.path, info.size or 0, info.mtime_ns or 0) for info in filesystem.get_file_info(paths)]


def is_database(source: str) -> bool:
    """Whether a source is a SQLAlchemy URL."""
    scheme, _, rest = source.partition("://")
    return bool(rest) and scheme not in (
        "s3",
        "gs",
        "gcs",
        "hdfs",
        "abfs",
        "abfss",
        "file",
    )


def shown_source(source: str) -> str:
    """Return the source as it may be shown: a database URL without password or parameters."""
    return source.partition("?")[0] if not is_database(source) else _without_secrets(source)


def _without_secrets(url: str) -> str:
    from features.engines import hidden

    return hidden(url)


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Turn the libraries' reading errors into one sentence about the file."""
    try:
        yield
    except (
        pa.ArrowInvalid,
        pa.ArrowNotImplementedError,
        OSError,
        EOFError,
        zlib.error,
        UnicodeDecodeError,
    ) as error:
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "straddl" in cause:  # a row longer than a block of 16 MB
            raise OrdersError(
                f"{shown_source(source)!r} has a row of more than 16 MB: a quote is not closed, most likely."
            ) from error
        raise OrdersError(
            f"{shown_source(source)!r} cannot be read: {cause[:200]}. Export it again as UTF-8: it may be cut short or "
            "damaged."
        ) from error


def _files(source: str) -> tuple[pa_fs.FileSystem, list[str]]:
    with _readable(source):
        if "://" in source:
            filesystem, path = pa_fs.FileSystem.from_uri(source)
        else:
            filesystem, path = pa_fs.LocalFileSystem(), source
        paths = _globbed(filesystem, path) if "*" in path else _listed(filesystem, path)
    if not paths:
        raise OrdersError(f"There is no order log at {source!r}: no such file, or no Parquet or CSV file in it.")
    return filesystem, paths


def _listed(filesystem: pa_fs.FileSystem, path: str) -> list[str]:
    info = filesystem.get_file_info(path)
    if info.type == pa_fs.FileType.File:
        return [path]
    if info.type != pa_fs.FileType.Directory:
        return []
    return _data_files(filesystem.get_file_info(pa_fs.FileSelector(path, recursive=True)))


def _globbed(filesystem: pa_fs.FileSystem, pattern: str) -> list[str]:
    from fnmatch import fnmatchcase

    folder = pattern[: pattern.index("*")].rpartition("/")[0]
    selector = pa_fs.FileSelector(folder or ".", recursive=True, allow_not_found=True)
    infos = filesystem.get_file_info(selector)
    wanted = pattern.removeprefix("./")
    deep = "**" in pattern
    return [
        path
        for path in _data_files(infos)
        if fnmatchcase(path.removeprefix("./"), wanted)
        and (deep or path.removeprefix("./").count("/") == wanted.count("/"))
    ]


def _data_files(infos: list[pa_fs.FileInfo]) -> list[str]:
    endings = (*_PARQUET, ".csv", ".csv.gz", ".tsv", ".txt")
    names = [
        info.path
        for info in infos
        if info.type == pa_fs.FileType.File
        and not info.base_name.startswith((".", "_"))
        and info.path.lower().endswith(endings)
    ]
    return sorted(names)


def _open_parquet(source: str, paths: list[str], filesystem: pa_fs.FileSystem, options: ReadOptions) -> RawSource:
    """All files have the columns of the first one, by name; one that lacks an optional column has nulls there."""
    schema = pq.read_schema(paths[0], filesystem=filesystem)
    columns = resolve(schema.names, options.mapping)
    files = filesystem.get_file_info(paths)
    counts = [pq.read_metadata(path, filesystem=filesystem).num_rows for path in paths]

    def rows_from(names: Collection[str] | None, first: int) -> Iterator[pa.Table]:
        taken = {name: column for name, column in columns.items() if names is None or name in names}
        wanted = pa.schema([schema.field(column) for column in dict.fromkeys(taken.values())])
        with _readable(source):
            yield _renamed(_empty(wanted), taken)
            for info, begin, end in zip(files, accumulate([0, *counts]), accumulate(counts), strict=False):
                if end > first:
                    for batch in _batches(filesystem, info, wanted, max(0, first - begin)):
                        yield _renamed(_fitted(batch, wanted), taken)

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


def _empty(schema: pa.Schema) -> pa.Table:
    return pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)


def _fitted(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    present = batch.schema.names
    arrays = [
        batch.column(field.name).cast(field.type) if field.name in present else pa.nulls(len(batch), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _open_csv(source: str, path: str, filesystem: pa_fs.FileSystem, options: ReadOptions) -> RawSource:
    compressed = path.lower().endswith((".gz", ".bz2", ".zst"))
    with _opened(filesystem, path, compressed) as stream:
        head = stream.read(_SNIFFED_BYTES)
    text = bytes(head).decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise OrdersError(f"{path!r} is empty. An order log needs a header row and at least one order.")
    text = text.lstrip("\r\n")
    delimiter = delimiter_of(text)
    header = next(csv.reader(io.StringIO(text, newline=None), delimiter=delimiter))
    columns = resolve(header, options.mapping)
    malformed: dict[int, str] = {}

    def set_aside(row: pa_csv.InvalidRow) -> str:
        malformed[int(row.number) - 1] = str(row.text)[:1000]
        return "skip"

    def chunks() -> Iterator[pa.Table]:
        with _readable(source), _opened(filesystem, path, compressed) as stream:
            reader = pa_csv.open_csv(
                stream,
                read_options=pa_csv.ReadOptions(use_threads=False, block_size=1 << 24),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter,
                    newlines_in_values=True,
                    invalid_row_handler=set_aside,
                    ignore_empty_lines=True,
                ),
                convert_options=pa_csv.ConvertOptions(
                    include_columns=list(dict.fromkeys(columns.values())),
                    column_types=dict.fromkeys(columns.values(), pa.string()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
            yield _renamed(_empty(reader.schema), columns)
            for batch in reader:
                yield _renamed(pa.Table.from_batches([batch]), columns)
        refuse_open_quote(path, malformed)

    size = filesystem.get_file_info(path).size or 0
    return RawSource(size * (4 if compressed else 1) // _SHORT_ROW_BYTES, chunks(), malformed)


def refuse_open_quote(path: str, malformed: dict[int, str]) -> None:
    """Refuse a row that swallowed the lines behind it: how many orders it hides cannot be counted."""
    swallowing = [row for row, text in malformed.items() if "\n" in text.strip()]
    if swallowing:
        raise OrdersError(f"{path!r} has a quote that is not closed near row {swallowing[0]}: mend that row.")


def _opened(filesystem: pa_fs.FileSystem, path: str, compressed: bool) -> IO[bytes]:
    if path.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=filesystem.open_input_stream(path, compression=None)))
    stream: IO[bytes] = filesystem.open_input_stream(path, compression="detect" if compressed else None)
    return stream


def delimiter_of(head: str) -> str:
    """Mark between the fields of a CSV text, told by its first line."""
    first_line = head.splitlines()[0]
    counts = {mark: first_line.count(mark) for mark in _DELIMITERS}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","


def _renamed(table: pa.Table, columns: dict[str, str]) -> pa.Table:
    return pa.table({name: table.column(column) for name, column in columns.items()})
