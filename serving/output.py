"""Where a batch's rows go: a file, a folder of files or a SQL table, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from features.errors import OutputError, UsageError, listed

TABLE: Final = "clv_scores"
ENDINGS: Final = (".parquet", ".csv", ".csv.gz")
"""Of files that rows are written to."""
_OURS: Final = re.compile(r"part-\d{5}\.parquet")


class Writer(Protocol):
    """Takes tables of SCHEMA one after another."""

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        ...


def checked_out(out: str) -> None:
    """Refuse an output of an unknown kind before any work. Raises UsageError."""
    if "://" in out:
        from features.engines import engine_for

        engine_for(out).dispose()
        return
    parent = Path(out).absolute().parent
    if not parent.is_dir():
        raise UsageError(f"--out {out!r} lies in a folder that does not exist.")
    if not os.access(parent, os.W_OK):
        raise UsageError(f"--out {out!r} lies in a folder that may not be written.")
    if is_folder(out):
        _check_folder(out)
    elif not out.lower().endswith(ENDINGS):
        raise UsageError(
            f"--out {out!r}: write to a path that ends in .parquet, .csv or .csv.gz, to a folder of Parquet files (a "
            "path that ends in /), or to a SQLAlchemy URL."
        )
    elif Path(out).is_dir():
        raise UsageError(f"--out {out!r} is a folder: name a file, or end it in / to replace it by Parquet files.")


def _check_folder(out: str) -> None:
    """Refuse to replace what is not a folder of an earlier run; mend what was cut short in replacing it."""
    folder = Path(out)
    taken = folder.is_symlink() or folder.is_mount() or (folder.exists() and not folder.is_dir())
    if folder.name in ("", "..") or taken:
        raise UsageError(f"--out {out!r} cannot be replaced by a folder: name one of its own.")
    if _aside(folder).exists():
        if folder.exists():
            shutil.rmtree(_aside(folder))
        else:
            _aside(folder).rename(folder)
    strangers = [path.name for path in folder.glob("*") if not _OURS.fullmatch(path.name) or _is_of_others(path)]
    if strangers:
        raise UsageError(f"--out {out!r} would be replaced, but holds other files: {listed(strangers)}.")


def _is_of_others(path: Path) -> bool:
    """Whether a Parquet file is whole and has no moment that its rows speak for, as orders have none."""
    try:
        return "as_of" not in pq.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        return False


def is_folder(out: str) -> bool:
    """Whether an output is a folder of Parquet files."""
    return "://" not in out and out.endswith("/")


@contextmanager
def output(out: str, schema: pa.Schema, *, table: str = TABLE) -> Iterator[Writer]:
    """Open an output that replaces what stood there only when the block ends well.

    Parameters
    ----------
    out
        `.parquet`, `.csv` or `.csv.gz` path, a folder (a path that ends in /), or a SQLAlchemy URL.
    schema
        Of the rows; its metadata are kept in Parquet files.
    table
        Table of a SQL output.
    """
    checked_out(out)
    if "://" in out:
        from serving.sql_output import sql_table

        with sql_table(out, table, schema) as writer:
            yield writer
        return
    with _file(out, schema) as writer:
        yield writer


@contextmanager
def _file(out: str, schema: pa.Schema) -> Iterator[Writer]:
    path = Path(out)
    with written_beside(path, folder=is_folder(out)) as beside:
        if is_folder(out):
            with parquet(beside / "part-00000.parquet", schema) as writer:
                yield writer
        else:
            with rows_file(path.name, beside, schema) as writer:
                yield writer


@contextmanager
def written_beside(target: Path, *, folder: bool = False) -> Iterator[Path]:
    """Give the path of an empty file or folder beside the target, which takes its place when the block ends well.

    Raises
    ------
    OutputError
        It cannot be written; what stood there stays.
    UsageError
        Another run is writing to the same target.
    """
    target = target.resolve() if target.is_symlink() else target  # the link stays one
    beside = target.with_name(f".{target.name}.partial")
    try:
        held = _held(beside, folder=folder)
        if held is None:
            raise UsageError(f"Another run is writing to {str(target)!r}: wait for it, or stop it.")
        try:
            for left in beside.iterdir() if folder else ():  # by a run that was killed
                _remove(left)
            yield beside
            if folder:
                replace_folder(beside, target)
            else:
                beside.replace(target)
        except BaseException:
            _remove(beside)
            raise
        finally:
            os.close(held)
    except OSError as error:
        raise OutputError(
            f"{str(target)!r} cannot be written: {error.strerror or error}. Nothing was changed."
        ) from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _held(path: Path, *, folder: bool) -> int | None:
    """Descriptor of a file or folder, made if need be, that this process alone holds; None where another one does."""
    while True:
        if folder:
            path.mkdir(exist_ok=True)
        held = os.open(path, os.O_RDONLY if folder else os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(held), path.stat()):
                return held  # else the one who held it has just given it its name
            os.close(held)
        except OSError:
            os.close(held)
            return None


def replace_folder(made: Path, target: Path) -> None:
    """Put a folder in the place of another one, which is deleted when the new one stands there.

    Between two renames there is none for a moment: killed then, the next start puts the old one back.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(target)
    with suppress(FileNotFoundError):
        target.rename(aside)
    made.rename(target)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")


@contextmanager
def parquet(path: Path, schema: pa.Schema) -> Iterator[FileRows]:
    """Open a Parquet file for tables of a schema."""
    repeating = [field.name for field in schema if not pa.types.is_floating(field.type)]  # twice as fast, and smaller
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repeating) as writer:
        yield FileRows(writer, schema)


@contextmanager
def rows_file(name: str, path: Path, schema: pa.Schema) -> Iterator[Writer]:
    """Open a file for tables of a schema: Parquet, or CSV, packed or not, as the ending of its future name says."""
    if name.lower().endswith(".parquet"):
        with parquet(path, schema) as writer:
            yield writer
    else:
        compression = "gzip" if name.lower().endswith(".gz") else None
        with (
            pa.output_stream(str(path), compression=compression) as stream,
            pa_csv.CSVWriter(stream, schema) as csv,
        ):
            yield FileRows(csv, schema)


@dataclass(frozen=True)
class FileRows:
    """Gives each table the file's schema, metadata included."""

    writer: Any
    schema: pa.Schema

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self.writer.write_table(table.cast(self.schema))
