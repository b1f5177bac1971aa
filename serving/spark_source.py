"""What Spark reads as an order log: Parquet, Delta, CSV and JDBC → rows under contract names."""

from __future__ import annotations

from typing import Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  its usual name

from features.csv_file import delimiter_of
from features.errors import OrdersError, UsageError
from features.mapping import resolve, unread_status
from features.options import ReadOptions
from serving.spark_parts import MALFORMED
from serving.spark_places import Folder, is_jdbc, shown_place

_CSV: Final = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


def opened(own: SparkSession, source: str, options: ReadOptions) -> tuple[DataFrame, str, bool]:
    """Rows under contract names, a word on a column that is not read, and whether to read them only once.

    A table changes while it is read, a CSV takes long.

    Raises
    ------
    UsageError
        A database without a table or query, or one of them without a database.
    OrdersError
        A required column is missing, or nothing is there.
    """
    if is_jdbc(source):
        if not (options.table or options.query):
            raise UsageError(f"{shown_place(source)!r} is a database: say --table NAME or --query 'select …'.")
        what = {"query": options.query} if options.query else {"dbtable": options.table}
        reader = own.read.options(url=source, fetchsize="50000", preferTimestampNTZ="true", **what)
        return *_mapped(reader.format("jdbc").load(), options), True
    if options.table or options.query:
        raise UsageError(f"--table and --query go with a JDBC URL, not with {source!r}.")
    folder = Folder.at(own.sparkContext, source)
    if "*" not in source and folder.holds(f"{folder.path}/_delta_log"):
        return *_mapped(own.read.format("delta").load(folder.path), options), False
    paths = folder.files()
    if all(path.lower().endswith(_CSV) for path in paths):
        return *_mapped(_csv(own, paths), options), True
    # as locally, names of folders are no columns, and each file may have columns of its own
    reader = own.read.option("recursiveFileLookup", "true").option("mergeSchema", "true")
    return *_mapped(reader.parquet(*paths), options), False


def _csv(own: SparkSession, paths: list[str]) -> DataFrame:
    """All columns as texts, and the text of rows that have more or fewer fields than the header."""
    head = own.read.text(paths[0]).filter("length(trim(value)) > 0").first()
    if head is None:
        raise OrdersError(f"{paths[0]!r} is empty. An order log needs a header row and at least one order.")
    reader = own.read.options(header="true", sep=delimiter_of(head[0]), quote='"', escape='"', multiLine="true")
    reader = reader.options(enforceSchema="false", columnPruning="false", columnNameOfCorruptRecord=MALFORMED)
    names = reader.csv(paths).columns
    return reader.schema(", ".join(f"`{name.replace('`', '``')}` string" for name in [*names, MALFORMED])).csv(paths)


def _mapped(found: DataFrame, options: ReadOptions) -> tuple[DataFrame, str]:
    """Rows under contract names, and a word on a column that is not read."""
    names = found.columns
    numbered = found.toDF(*(f"c{place}" for place in range(len(names))))  # names with dots, or alike but for case
    columns = resolve([name for name in names if name != MALFORMED], options.mapping)
    if MALFORMED in names:
        columns[MALFORMED] = MALFORMED
    rows = numbered.select(*(F.col(f"c{names.index(column)}").alias(name) for name, column in columns.items()))
    return rows, unread_status(names, columns)
