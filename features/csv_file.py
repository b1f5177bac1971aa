"""A CSV file, of any delimiter, → a raw source; rows that cannot be split are kept aside."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from typing import IO, Final, cast

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.fs as pa_fs

from features.errors import OrdersError
from features.mapping import resolve
from features.options import ReadOptions
from features.places import readable
from features.raw import RawSource, empty, renamed

_SNIFFED_BYTES: Final = 1 << 16
_DELIMITERS: Final = ",;\t|"
_SHORT_ROW_BYTES: Final = 20


def open_csv(source: str, path: str, filesystem: pa_fs.FileSystem, options: ReadOptions) -> RawSource:
    """Open the mapped columns, as texts. Raises OrdersError where the file is empty or lacks a required column."""
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
        with readable(source), _opened(filesystem, path, compressed) as stream:
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
            yield renamed(empty(reader.schema), columns)
            for batch in reader:
                yield renamed(pa.Table.from_batches([batch]), columns)
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
