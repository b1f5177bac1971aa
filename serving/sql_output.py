"""A SQL table that takes a batch's rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from features.engines import engine_for, hidden
from features.errors import OutputError


@contextmanager
def sql_table(url: str, name: str, schema: pa.Schema) -> Iterator[SqlRows]:
    """One transaction: create the table if need be, empty it, fill it, commit. Raises OutputError, nothing changed."""
    engine = engine_for(url)
    columns = {pa.string(): sa.Text, pa.float64(): sa.Double, pa.int64(): sa.BigInteger}
    schema_name, _, table = name.rpartition(".")
    target = sa.Table(
        table,
        sa.MetaData(schema=schema_name or None),
        *(
            sa.Column(
                field.name,
                columns[field.type](),
                primary_key=field.name in ("customer_id", "horizon_days"),
            )
            for field in schema
        ),
    )
    try:
        with engine.begin() as connection:
            target.create(connection, checkfirst=True)
            connection.execute(sa.delete(target))
            yield SqlRows(connection, target)
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise OutputError(
            f"Table {name!r} at {hidden(url)!r} cannot be written: {cause[:200]}. Nothing was changed."
        ) from error
    finally:
        engine.dispose()


@dataclass(frozen=True)
class SqlRows:
    """Appends tables to a SQL table inside an open transaction."""

    connection: sa.Connection
    target: sa.Table

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        self.connection.execute(sa.insert(self.target), table.to_pylist())
