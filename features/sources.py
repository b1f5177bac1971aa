"""Files, folders, globs, remote paths and databases → raw Arrow tables under contract names, chunk by chunk."""

from __future__ import annotations

from features.csv_file import open_csv
from features.errors import OrdersError, UsageError, listed
from features.options import ReadOptions
from features.parquet_files import open_parquet
from features.places import PARQUET, files, is_database, readable
from features.raw import RawSource


def open_raw(source: str, options: ReadOptions) -> RawSource:
    """Open the mapped columns of an order log.

    Parameters
    ----------
    source
        CSV (any delimiter, may be compressed) or Parquet file, folder or glob of either, `s3://…`/`gs://…` path,
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
    filesystem, paths = files(source)
    with readable(source):
        of_parquet = [path for path in paths if path.lower().endswith(PARQUET)]
        if not of_parquet:
            return open_csv(source, paths, filesystem, options)
        if len(of_parquet) < len(paths):
            names = listed(path.rpartition("/")[2] for path in paths)
            raise OrdersError(f"{source!r} holds Parquet files and others, {names}: put those of one kind elsewhere.")
        return open_parquet(source, of_parquet, filesystem, options)
