"""Where an order log lies: its files, what they are, and what it is called in messages."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.fs as pa_fs

from features.errors import OrdersError, listed

PARQUET: Final = (".parquet", ".pq", ".parq")
"""Endings of Parquet files, lower case."""
PACKED: Final = (".gz", ".bz2", ".zst")
"""Endings of CSV files that are compressed, lower case."""
_TEXTS: Final = tuple(ending + packed for ending in (".csv", ".tsv", ".txt") for packed in ("", *PACKED))
_BYSTANDERS: Final = (
    ".md", ".json", ".yaml", ".yml", ".toml", ".xml", ".html", ".sql", ".log", ".crc", ".md5", ".sha256", ".py",
    ".ipynb", ".pdf", ".png", ".jpg", "_$folder$",
)  # fmt: skip
"""Endings of files that may lie beside orders and hold none."""


def identity(source: str) -> list[tuple[str, int, int]]:
    """What the files of a source are, to see whether they are still the same: path, bytes, and when changed, in ns."""
    if is_database(source):
        return [(shown_source(source), 0, 0)]
    filesystem, paths = files(source)
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
    if not is_database(source):
        return source.partition("?")[0]
    from features.engines import hidden

    return hidden(source)


@contextmanager
def readable(source: str) -> Iterator[None]:
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
        if isinstance(error, PermissionError):
            raise OrdersError(f"{shown_source(source)!r} may not be read: permission denied.") from error
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        if "straddl" in cause:  # a row longer than a block of 16 MB
            raise OrdersError(
                f"{shown_source(source)!r} has a row of more than 16 MB: a quote is not closed, most likely."
            ) from error
        repair = "It may be cut short or damaged: write it again."
        if source.lower().endswith(_TEXTS):
            repair = (
                "It may be written in another way, cut short or damaged: export it again as UTF-8 (Excel: CSV UTF-8)."
            )
        raise OrdersError(f"{shown_source(source)!r} cannot be read: {cause[:200]}. {repair}") from error


def files(source: str) -> tuple[pa_fs.FileSystem, list[str]]:
    """Paths of the files of a source, sorted, and where they lie. Raises OrdersError when there is none."""
    with readable(source):
        if "://" in source:
            filesystem, path = pa_fs.FileSystem.from_uri(source)
        else:
            filesystem, path = pa_fs.LocalFileSystem(), source
        paths = _globbed(filesystem, path) if "*" in path else _listed(filesystem, path)
        if isinstance(filesystem, pa_fs.LocalFileSystem):
            paths = _followed(path, paths)
    if not paths:
        raise OrdersError(f"There is no order log at {source!r}: no such file, or no Parquet or CSV file in it.")
    return filesystem, paths


def _listed(filesystem: pa_fs.FileSystem, path: str) -> list[str]:
    info = filesystem.get_file_info(path)
    if info.type == pa_fs.FileType.File:
        return [path]
    if info.type != pa_fs.FileType.Directory:
        return []
    return _data_files(filesystem.get_file_info(pa_fs.FileSelector(path, recursive=True)), path, lambda _: True)


def _globbed(filesystem: pa_fs.FileSystem, pattern: str) -> list[str]:
    folder = pattern[: pattern.index("*")].rpartition("/")[0] or "."
    infos = filesystem.get_file_info(pa_fs.FileSelector(folder, recursive=True, allow_not_found=True))
    return _data_files(infos, folder, lambda path: is_globbed(path, pattern))


def is_globbed(path: str, pattern: str) -> bool:
    """Whether a pattern names a path; `*` ends at a slash unless there is a `**`."""
    from fnmatch import fnmatchcase

    wanted, given = pattern.removeprefix("./"), path.removeprefix("./")
    return fnmatchcase(given, wanted) and ("**" in wanted or given.count("/") == wanted.count("/"))


def _data_files(infos: list[pa_fs.FileInfo], folder: str, is_wanted: Callable[[str], bool]) -> list[str]:
    """Files of a folder that may hold orders; what begins with `.` or `_` is hidden, as are all files below it."""
    parts = {info.path: info.path.removeprefix(folder).strip("/").split("/") for info in infos}
    visible = [
        info.path
        for info in infos
        if info.type == pa_fs.FileType.File
        and not any(part.startswith((".", "_")) for part in parts[info.path])
        and is_wanted(info.path)
    ]
    shown = {info.path: "/".join(parts[info.path]) for info in infos}
    known = (*PARQUET, *_TEXTS, *_BYSTANDERS)
    if others := [shown[path] for path in visible if not path.lower().endswith(known)]:
        raise OrdersError(
            f"{listed(others)}: such files cannot be read. An order log in several files is Parquet (.parquet) or CSV "
            "(.csv, .csv.gz, .csv.bz2, .csv.zst). Save a workbook's sheet with the orders as CSV UTF-8, unpack "
            "archives, and move elsewhere what holds no orders."
        )
    names = [path for path in visible if path.lower().endswith((*PARQUET, *_TEXTS))]
    tables = [path.removesuffix("_delta_log") for path, below in parts.items() if below[-1] == "_delta_log"]
    for table in tables:
        if any(name.startswith(table) for name in names):
            raise OrdersError(
                f"{table.rstrip('/') or folder!r} is a Delta table: its files hold rows that were deleted since. "
                "Read it with --engine spark, or export it to Parquet."
            )
    return sorted(names)


def _followed(source: str, paths: list[str]) -> list[str]:
    """Files that links below a local folder name several times, once each. Raises OrdersError for a link to nothing."""
    folder = source[: source.index("*")].rpartition("/")[0] or "." if "*" in source else source
    ended = [path for path in Path(folder).rglob("*") if path.is_symlink() and not path.exists()]
    if lost := [path.relative_to(folder) for path in ended if "*" not in source or is_globbed(str(path), source)]:
        raise OrdersError(f"{listed(lost)}: a link to what is not there. Mend it, or move it elsewhere.")
    return sorted({os.path.realpath(path): path for path in reversed(paths)}.values())
