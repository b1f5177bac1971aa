"""CSV files, of any delimiter, → a raw source; rows that cannot be split are kept aside."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Final, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.fs as pa_fs

from features.columns import CUSTOMER_ID
from features.errors import OrdersError
from features.mapping import resolve, unread_status
from features.options import ReadOptions
from features.places import PACKED, readable
from features.raw import RawSource, renamed

_SNIFFED_BYTES: Final = 1 << 16
_DELIMITERS: Final = ",;\t|"
_SHORT_ROW_BYTES: Final = 20
_SAMPLED_BYTES: Final = 1 << 23
_LONGEST_FIELD: Final = 1 << 30
_WORKBOOK: Final = "is a workbook or an archive: save the sheet with the orders as CSV UTF-8, or unpack it"
_PACKED: Final = "is compressed in a way that is not read: unpack it"
_NO_TEXT: Final = {
    b"PK\x03\x04": _WORKBOOK,
    b"\xd0\xcf\x11\xe0": _WORKBOOK,
    b"PAR1": "is a Parquet file: give it a name that ends in .parquet",
    b"\x1f\x8b": "is compressed: give it a name that ends in .gz",
    b"BZh": "is compressed: give it a name that ends in .bz2",
    b"\x28\xb5\x2f\xfd": "is compressed: give it a name that ends in .zst",
    b"\xfd7zXZ": _PACKED,
    b"\x04\x22\x4d\x18": _PACKED,
    b"\xff\xfe": "is UTF-16: export it as UTF-8",
    b"\xfe\xff": "is UTF-16: export it as UTF-8",
}
"""By its first bytes: what a file is that is no CSV, and the repair."""
_MORE_ROWS: Final = 1.1
"""Rows of a compressed file may be so many times more than a sample of it says."""


class _Watched:
    """A stream that counts bytes, quotes and lines of what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.n_bytes = self.n_quotes = self.n_lines = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.n_bytes += len(data)
        self.n_quotes += data.count(b'"')
        self.n_lines += data.count(b"\n")
        return data

    @property
    def closed(self) -> bool:
        return self._stream.closed

    def close(self) -> None:
        self._stream.close()


def open_csv(source: str, paths: Sequence[str], filesystem: pa_fs.FileSystem, options: ReadOptions) -> RawSource:
    """Open the mapped columns of files, as texts; a column that some of them lack is null there.

    Rows are numbered through all files, in the order of the paths.

    Raises
    ------
    OrdersError
        A file is empty, no CSV, or lacks a required column.
    """
    opened = [_headed(path, filesystem, options) for path in paths]
    names = list(dict.fromkeys(name for file in opened for name in file.columns))
    malformed: dict[int, str] = {}

    def chunks() -> Iterator[pa.Table]:
        yield pa.table({name: pa.nulls(0, pa.string()) for name in names})
        n_before = 0
        for file in opened:
            n_rows, unsplit = 0, dict[int, str]()
            for table in _tables(source, file, filesystem, unsplit):
                n_rows += table.num_rows
                null = pa.nulls(0 if len(file.columns) == len(names) else table.num_rows, pa.string())
                yield pa.table({name: table.column(name) if name in file.columns else null for name in names})
            malformed.update((n_before + row, text) for row, text in unsplit.items())
            n_before += n_rows + len(unsplit)

    hint = next((file.hint for file in opened if file.hint), "")
    return RawSource(sum(file.n_rows_about for file in opened), chunks(), malformed, hint=hint)


@dataclass(frozen=True)
class _Headed:
    """A file whose first line was read: which of its columns is which, and about how many rows it has.

    `hint` is a word on a column that is not read.
    """

    path: str
    delimiter: str
    columns: Mapping[str, str]
    n_rows_about: int
    hint: str


def _headed(path: str, filesystem: pa_fs.FileSystem, options: ReadOptions) -> _Headed:
    head, n_rows_about = _beginning(filesystem, path)
    if repair := next((repair for mark, repair in _NO_TEXT.items() if head.startswith(mark)), None):
        raise OrdersError(f"{path!r} {repair}.")
    text = head.decode("utf-8-sig", errors="replace")
    if not text.strip():
        raise OrdersError(f"{path!r} is empty. An order log needs a header row and at least one order.")
    text = text.lstrip("\r\n")
    if text[:4].lower() == "sep=":
        raise OrdersError(f"{path!r} begins with a line for Excel, {text.splitlines()[0]!r}: delete that line.")
    delimiter = delimiter_of(text)
    header = next(csv.reader(io.StringIO(text, newline=None), delimiter=delimiter))
    try:
        columns = resolve(header, options.mapping)
    except OrdersError as error:
        if "\ufffd" in "".join(header):
            raise OrdersError(f"{path!r}: the names of its columns are not UTF-8. Export it as UTF-8.") from None
        raise OrdersError(f"{path!r}: {error}") from None
    return _Headed(path, delimiter, columns, n_rows_about, unread_status(header, columns))


def _tables(source: str, file: _Headed, filesystem: pa_fs.FileSystem, malformed: dict[int, str]) -> Iterator[pa.Table]:
    """Rows of a file, chunk by chunk; those that cannot be split join `malformed`, by their 1-based number."""

    def set_aside(row: pa_csv.InvalidRow) -> str:
        malformed[int(row.number) - 1] = str(row.text)[:1000]
        return "skip"

    n_rows = 0
    with readable(source), _opened(filesystem, file.path) as stream:
        watched = _Watched(stream)
        reader = pa_csv.open_csv(
            pa.PythonFile(watched, mode="r"),
            read_options=pa_csv.ReadOptions(use_threads=False, block_size=1 << 24),
            parse_options=pa_csv.ParseOptions(
                delimiter=file.delimiter,
                newlines_in_values=True,
                invalid_row_handler=set_aside,
                ignore_empty_lines=True,
            ),
            convert_options=pa_csv.ConvertOptions(
                include_columns=list(dict.fromkeys(file.columns.values())),
                column_types=dict.fromkeys(file.columns.values(), pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
        for batch in reader:
            table = renamed(pa.Table.from_batches([batch]), file.columns)
            _refuse_broken_ids(file.path, table, n_rows)
            n_rows += table.num_rows
            yield table
    refuse_open_quote(file.path, malformed)
    if watched.n_quotes % 2 and watched.n_lines > n_rows + len(malformed) + 1:
        with readable(source), _opened(filesystem, file.path) as stream:
            _refuse_swallowed_lines(file.path, stream, file.delimiter)


def refuse_open_quote(path: str, malformed: dict[int, str]) -> None:
    """Refuse a row that swallowed the lines behind it: how many orders it hides cannot be counted."""
    swallowing = [row for row, text in malformed.items() if "\n" in text.strip()]
    if swallowing:
        raise OrdersError(f"{path!r} has a quote that is not closed near row {swallowing[0]}: mend that row.")


def _refuse_broken_ids(path: str, table: pa.Table, n_before: int) -> None:
    """Refuse a customer id of several lines: a quote was opened in it and closed in another row."""
    broken = pc.indices_nonzero(pc.match_substring(pc.utf8_trim_whitespace(table.column(CUSTOMER_ID)), "\n"))
    if len(broken):
        row = n_before + broken[0].as_py() + 1
        raise OrdersError(f"{path!r} has a quote that is not closed in customer_id near row {row}: mend that row.")


def _refuse_swallowed_lines(path: str, stream: IO[bytes], delimiter: str) -> None:
    """Refuse a file that ends within quotes: its last row has swallowed all lines behind it."""
    rows = csv.reader(io.TextIOWrapper(stream, "utf-8", "replace", newline=""), delimiter=delimiter, strict=True)
    row, limit = 0, csv.field_size_limit(_LONGEST_FIELD)
    try:
        for _ in rows:
            row += 1
    except csv.Error as error:
        if "end of data" in str(error):
            raise OrdersError(f"{path!r} has a quote that is not closed near row {row}: mend that row.") from error
    finally:
        csv.field_size_limit(limit)


def _beginning(filesystem: pa_fs.FileSystem, path: str) -> tuple[bytes, int]:
    """The first bytes of a file's text, and about how many rows it has: of a compressed one by a sample of it."""
    size = filesystem.get_file_info(path).size or 0
    with filesystem.open_input_stream(path, compression=None) as file:
        if not _is_packed(path):
            return bytes(file.read(_SNIFFED_BYTES)), size // _SHORT_ROW_BYTES
        taken = _Watched(file)
        with _decompressed(taken, path) as stream:
            sample = bytes(stream.read(_SAMPLED_BYTES))
    n_rows_about = int(_MORE_ROWS * sample.count(b"\n") * size / max(taken.n_bytes, 1)) + 1
    return sample[:_SNIFFED_BYTES], n_rows_about


def _decompressed(stream: IO[bytes] | _Watched, path: str) -> IO[bytes]:
    if path.lower().endswith(".gz"):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=cast("IO[bytes]", stream)))
    codec = "bz2" if path.lower().endswith(".bz2") else "zstd"
    return cast("IO[bytes]", pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), codec))


def _opened(filesystem: pa_fs.FileSystem, path: str) -> IO[bytes]:
    stream = filesystem.open_input_stream(path, compression=None)
    return _decompressed(stream, path) if _is_packed(path) else cast("IO[bytes]", stream)


def _is_packed(path: str) -> bool:
    return path.lower().endswith(PACKED)


def delimiter_of(head: str) -> str:
    """Mark between the fields of a CSV text, told by its first line."""
    first_line = head.splitlines()[0]
    counts = {mark: first_line.count(mark) for mark in _DELIMITERS}
    best = max(counts, key=lambda mark: counts[mark])
    return best if counts[best] else ","
