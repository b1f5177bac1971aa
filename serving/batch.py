"""The whole base → a file or a table: one row per customer and horizon, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import sqlalchemy as sa

from features.engines import engine_for, hidden
from features.errors import OutputError, UsageError
from features.matrix import blocks
from features.orders import OrderLog
from model.bundle import Bundle
from model.terms import factors
from serving.answer import customer_columns, horizon_columns, identity
from serving.scorer import EVERYTHING, Answers, Question, score

BLOCK_ROWS: Final = 200_000
TABLE: Final = "clv_scores"

_TEXT, _NUMBER, _WHOLE = pa.string(), pa.float64(), pa.int64()
SCHEMA: Final = pa.schema(
    [
        ("customer_id", _TEXT),
        ("horizon_days", _WHOLE),
        ("currency", _TEXT),
        ("as_of", _TEXT),
        ("prediction_start", _TEXT),
        ("prediction_end", _TEXT),
        ("basis", _TEXT),
        ("historic_clv", _NUMBER),
        ("historic_number_of_orders", _WHOLE),
        ("average_order_value", _NUMBER),
        ("average_days_between_orders", _NUMBER),
        ("days_since_last_order", _WHOLE),
        ("p_alive", _NUMBER),
        ("expected_date_of_next_order_window_start", _TEXT),
        ("expected_date_of_next_order", _TEXT),
        ("expected_date_of_next_order_window_end", _TEXT),
        ("percentile", _NUMBER),
        ("value_tier", _TEXT),
        ("lifecycle_status", _TEXT),
        ("rfm_score", _TEXT),
        ("purchase_probability", _NUMBER),
        ("churn_probability", _NUMBER),
        ("predicted_number_of_orders", _NUMBER),
        ("predicted_average_order_value", _NUMBER),
        ("predicted_clv", _NUMBER),
        ("predicted_clv_lower", _NUMBER),
        ("predicted_clv_upper", _NUMBER),
        ("interval_level", _NUMBER),
        ("margin", _NUMBER),
        ("discount_rate", _NUMBER),
        ("total_clv", _NUMBER),
        ("segments", _TEXT),
        ("flags", _TEXT),
        ("null_reasons", _TEXT),
        ("model_name", _TEXT),
        ("model_version", _TEXT),
        ("model_trained_on", _TEXT),
        ("model_data_fingerprint", _TEXT),
    ]
)


class Writer(Protocol):
    """Takes tables of SCHEMA one after another."""

    def write(self, table: pa.Table) -> None:
        """Append rows."""
        ...


@dataclass(frozen=True)
class Total:
    """Predicted value of the whole base within a horizon, and the interval that holds its sum, money."""

    horizon_days: int
    clv: float
    lower: float
    upper: float


@dataclass(frozen=True)
class BatchDone:
    """Accounts of a batch."""

    n_customers: int
    n_prior: int
    n_rows: int
    n_after_as_of: int
    totals: tuple[Total, ...]


def score_base(
    bundle: Bundle,
    log: OrderLog,
    as_of: int,
    writing: AbstractContextManager[Writer],
    question: Question = EVERYTHING,
    *,
    on_customers: Callable[[int], None] = lambda _: None,
) -> BatchDone:
    """Score every customer of a log.

    Parameters
    ----------
    writing
        Where the rows go, as `output` or `serving.store_log.scores_into` opens it: what stood there is replaced
        when the last row is written, and stays untouched until then.

    Raises
    ------
    OutputError
        The output cannot be written; nothing was changed.
    HorizonError
        A horizon was not fitted.
    """
    n_prior = n_rows = n_after = 0
    sums: dict[int, tuple[float, float]] = {}
    with writing as writer:
        for low, high in blocks(log.starts, BLOCK_ROWS):
            answers = score(bundle, log.customers(low, high), as_of, question)
            rows = to_table(bundle, answers)
            writer.write(rows)
            n_prior += int((~answers.known).sum())
            n_rows += rows.num_rows
            n_after += int(answers.after_as_of.sum())
            for days, clv, variance in _sums(bundle, answers):
                before = sums.get(days, (0.0, 0.0))
                sums[days] = (before[0] + clv, before[1] + variance)
            on_customers(high - low)
    return BatchDone(log.n_customers, n_prior, n_rows, n_after, _totals(bundle, sums, question.interval_level))


def _sums(bundle: Bundle, answers: Answers) -> Iterator[tuple[int, float, float]]:
    """(horizon, sum of the values, sum of their own variances) of a block."""
    taken, net = answers.predictions, answers.net
    by = factors(taken, net)
    for place, days in enumerate(net.horizons):
        probability, clv = net.purchase_probability[:, place], net.clv[:, place]
        own = bundle.model.part(days).spread.variance(probability, clv) * by[:, place] ** 2
        yield days, float(taken.clv[:, place].sum()), float(own.sum())


def _totals(bundle: Bundle, sums: Mapping[int, tuple[float, float]], level: float) -> tuple[Total, ...]:
    bounds = {days: bundle.model.part(days).spread.bounds_of_sum(*both, level) for days, both in sums.items()}
    return tuple(Total(days, clv, *bounds[days]) for days, (clv, _) in sums.items())


def to_table(bundle: Bundle, answers: Answers) -> pa.Table:
    """Answers as one row per customer and horizon, the horizons of a customer side by side."""
    n_customers, n_horizons = answers.log.n_customers, len(answers.predictions.horizons)
    about = {f"model_{key}": value for key, value in identity(bundle).items()}
    shared = {**customer_columns(bundle, answers), **about}
    shared["segments"] = np.array([json.dumps(names) for names in answers.place.segments], dtype=object)
    shared["flags"] = np.array([json.dumps(flags) for flags in answers.place.flags], dtype=object)
    shared["null_reasons"] = np.array([json.dumps(r, sort_keys=True) for r in answers.null_reasons()], dtype=object)
    parts = [_arrow({**shared, **horizon_columns(answers, place)}, n_customers) for place in range(n_horizons)]
    side_by_side = np.arange(n_customers * n_horizons).reshape(n_horizons, n_customers).T.ravel()
    return pa.concat_tables(parts).take(pa.array(side_by_side))


def _arrow(columns: Mapping[str, Any], n_rows: int) -> pa.Table:
    arrays = [
        pa.array(column, from_pandas=True)
        if isinstance(column := columns[name], np.ndarray)
        else pa.repeat(column, n_rows)
        for name in SCHEMA.names
    ]
    return pa.table(arrays, names=SCHEMA.names).cast(SCHEMA)


def checked_out(out: str) -> None:
    """Refuse an output of an unknown kind before any work. Raises UsageError."""
    if "://" in out:
        engine_for(out).dispose()
    elif not out.lower().endswith((".parquet", ".csv", ".csv.gz")):
        raise UsageError(
            f"--out {out!r}: write to a path that ends in .parquet, .csv or .csv.gz, or to a SQLAlchemy URL."
        )


@contextmanager
def output(out: str, *, scored_at: str, table: str = TABLE) -> Iterator[Writer]:
    """Open an output that replaces what stood there only when the block ends well.

    Parameters
    ----------
    out
        `.parquet`, `.csv` or `.csv.gz` path, or a SQLAlchemy URL.
    scored_at
        ISO instant, kept in the Parquet metadata.
    table
        Table of a SQL output.
    """
    checked_out(out)
    if "://" in out:
        with _sql_table(out, table) as writer:
            yield writer
        return
    with _file(Path(out), {"scored_at": scored_at}) as writer:
        yield writer


@contextmanager
def _file(path: Path, metadata: Mapping[str, str]) -> Iterator[Writer]:
    beside = path.with_name(f".{path.name}.partial")
    try:
        with _format(path.name.lower(), beside, SCHEMA.with_metadata(dict(metadata))) as writer:
            yield writer
        beside.replace(path)
    except OSError as error:
        raise OutputError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Nothing was changed."
        ) from error
    finally:
        with suppress(OSError):
            beside.unlink()


@contextmanager
def _format(name: str, path: Path, schema: pa.Schema) -> Iterator[Writer]:
    if name.endswith(".parquet"):
        with pq.ParquetWriter(path, schema, compression="zstd") as parquet:
            yield _Casting(parquet, schema)
    else:
        compression = "gzip" if name.endswith(".gz") else None
        with (
            pa.output_stream(str(path), compression=compression) as stream,
            pa_csv.CSVWriter(stream, schema) as csv,
        ):
            yield _Casting(csv, schema)


@dataclass(frozen=True)
class _Casting:
    """Gives each table the file's schema, metadata included."""

    writer: Any
    schema: pa.Schema

    def write(self, table: pa.Table) -> None:
        self.writer.write_table(table.cast(self.schema))


@contextmanager
def _sql_table(url: str, name: str) -> Iterator[Writer]:
    """One transaction: create the table if need be, empty it, fill it, commit."""
    engine = engine_for(url)
    columns = {_TEXT: sa.Text, _NUMBER: sa.Double, _WHOLE: sa.BigInteger}
    target = sa.Table(
        name,
        sa.MetaData(),
        *(
            sa.Column(
                field.name,
                columns[field.type](),
                primary_key=field.name in ("customer_id", "horizon_days"),
            )
            for field in SCHEMA
        ),
    )
    try:
        with engine.begin() as connection:
            target.create(connection, checkfirst=True)
            connection.execute(sa.delete(target))
            yield _Inserting(connection, target)
    except sa.exc.SQLAlchemyError as error:
        cause = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise OutputError(
            f"Table {name!r} at {hidden(url)!r} cannot be written: {cause[:200]}. Nothing was changed."
        ) from error
    finally:
        engine.dispose()


@dataclass(frozen=True)
class _Inserting:
    """Appends tables to a SQL table inside an open transaction."""

    connection: sa.Connection
    target: sa.Table

    def write(self, table: pa.Table) -> None:
        self.connection.execute(sa.insert(self.target), table.to_pylist())
