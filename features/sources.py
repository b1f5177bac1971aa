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
    filesystem, paths = files(source)
    with readable(source):
        if all(path.lower().endswith(PARQUET) for path in paths):
            return open_parquet(source, paths, filesystem, options)
        if len(paths) > 1:
            names = listed(path.rpartition("/")[2] for path in paths)
            raise OrdersError(f"{source!r} holds {len(paths)} files that are not all Parquet: {names}.")
        return open_csv(source, paths[0], filesystem, options)
