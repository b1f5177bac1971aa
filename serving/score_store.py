"""Scores of the last batch in the order store: written as a run that becomes visible whole, read page by page."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa

from features.errors import ClvError, OutputError
from serving.envelope import RequestError
from serving.order_store import OrderStore
from serving.questions import CustomersQuery
from serving.schemas import CustomerScores, HorizonPrediction, ModelIdentity

_HORIZON: Final = tuple(name for name in HorizonPrediction.model_fields if name != "reasons")
_MODEL: Final = tuple(ModelIdentity.model_fields)
_JSON: Final = ("segments", "flags", "null_reasons")
_CUSTOMER: Final = tuple(name for name in CustomerScores.model_fields if name not in ("predictions", "model"))
_COLUMNS: Final = tuple(dict.fromkeys(("run", *_CUSTOMER, *_HORIZON, *(f"model_{name}" for name in _MODEL))))
_SCORES: Final = sa.table("scores", *map(sa.column, _COLUMNS))
_RUNS: Final = sa.Table(
    "score_runs",
    sa.MetaData(),
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("scored_at", sa.Text),
    sa.Column("primary_horizon_days", sa.Integer),
    sa.Column("whole", sa.Boolean),
)
_DELETED_AT_ONCE: Final = 2_000
_DROPPED: Final = ""
"""In the place of its moment: a run that is being deleted."""


class NoScores(ClvError):
    """Nothing was scored into the store yet."""

    status, code = 404, "no_scores"


class CursorUnknown(ClvError):
    """No page begins there."""

    status, code = 404, "cursor_unknown"


@dataclass(frozen=True)
class ScoreRun:
    """A batch on its way into the store; nobody sees it before `finish`."""

    store: OrderStore
    run: int

    @classmethod
    def begin(cls, store: OrderStore, scored_at: str, primary_horizon_days: int) -> ScoreRun:
        """Begin a batch."""
        values = {"scored_at": scored_at, "primary_horizon_days": primary_horizon_days, "whole": False}
        insert = sa.insert(_RUNS).values(values).returning(_RUNS.c.run)
        return cls(store, store.write(lambda connection: connection.execute(insert).scalar_one()))

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Append rows, in a short transaction: orders can be posted meanwhile."""
        numbered = [{**row, "run": self.run} for row in rows]
        self.store.write(lambda connection: connection.execute(sa.insert(_SCORES), numbered), repeatable=False)

    def finish(self) -> None:
        """Make the batch the one that is read; the one before stays for readers on their way through its pages.

        Raises
        ------
        OutputError
            A later batch finished first.
        """
        here = _RUNS.c.run == self.run, _RUNS.c.scored_at != _DROPPED
        whole = sa.update(_RUNS).where(*here).values(whole=True)
        if not self.store.write(lambda connection: connection.execute(whole).rowcount):
            self.drop()
            raise OutputError("A later batch was finished meanwhile: its scores stand, these were dropped.")
        statement = sa.select(_RUNS.c.run, _RUNS.c.whole).where(_RUNS.c.run < self.run).order_by(_RUNS.c.run)
        earlier = self.store.read(lambda connection: connection.execute(statement).all())
        before = max((run for run, whole in earlier if whole), default=None)
        for run in (run for run, _ in earlier if run != before):
            _clear(self.store, run)

    def drop(self) -> None:
        """Take back what was written."""
        _clear(self.store, self.run)


def _clear(store: OrderStore, run: int) -> None:
    """Delete a run, marked first: nobody reads what is then deleted in many short transactions, its number last.

    They go along the primary key, so that no row is looked at twice, gone or not. Interrupted, the number stands for
    what is left, and the next batch that finishes goes on.
    """
    marked = sa.update(_RUNS).where(_RUNS.c.run == run).values(whole=False, scored_at=_DROPPED)
    store.write(lambda connection: connection.execute(marked))
    customer, of_run = _SCORES.c.customer_id, _SCORES.c.run == run
    for horizon in _column(store, sa.select(_SCORES.c.horizon_days).where(of_run).distinct()):
        mine = (of_run, _SCORES.c.horizon_days == horizon)
        place = sa.func.row_number().over(order_by=customer)
        placed = sa.select(customer, place.label("place")).where(*mine).subquery()
        each = sa.select(placed.c.customer_id).where(placed.c.place % _DELETED_AT_ONCE == 0).order_by(placed.c.place)
        for after, last in pairwise([None, *_column(store, each), None]):
            between = [] if after is None else [customer > after]
            between += [] if last is None else [customer <= last]
            _delete(store, *mine, *between)
    store.write(lambda connection: connection.execute(sa.delete(_RUNS).where(_RUNS.c.run == run)))


def _column(store: OrderStore, statement: sa.Select[Any]) -> list[Any]:
    return store.read(lambda connection: list(connection.execute(statement).scalars()))


def _delete(store: OrderStore, *where: sa.ColumnElement[bool]) -> None:
    store.write(lambda connection: connection.execute(sa.delete(_SCORES).where(*where)))


def page(store: OrderStore, query: CustomersQuery) -> dict[str, Any]:
    """One page of customers of the last batch, as `serving.schemas.CustomersPage`.

    Raises
    ------
    NoScores
        No batch was scored into the store, or the page's batch is gone.
    CursorUnknown
        The cursor is of another question, or was never given.
    RequestError
        The horizon was not scored.
    """
    run = _latest(store)
    asked, after = _digest(query), None
    if query.cursor is not None:
        after = _read_cursor(query.cursor, asked)
        run = _run(store, after[0])
    horizon = query.horizon_days or run.primary_horizon_days
    statement = _statement(query, run.run, horizon, after)
    rows = [row._asdict() for row in store.read(lambda connection: connection.execute(statement).all())]
    shown, more = rows[: query.limit], len(rows) > query.limit
    if not more:
        _run(store, run.run)  # what looks like the last page may be of a batch that was being deleted
    if not rows and query.cursor is None:
        _require_horizon(store, run.run, horizon)
    last = shown[-1] if more else None
    return {
        "scored_at": run.scored_at,
        "customers": [_nested(row) for row in shown],
        "next_cursor": None
        if last is None
        else _cursor(run.run, last[query.sort.lstrip("-")], last["customer_id"], asked),
    }


def _latest(store: OrderStore) -> Any:
    statement = sa.select(_RUNS).where(_RUNS.c.whole).order_by(_RUNS.c.run.desc()).limit(1)
    found = store.read(lambda connection: connection.execute(statement).first())
    if found is None:
        raise NoScores("No batch was scored into the store yet: run clv score store --out store.")
    return found


def _run(store: OrderStore, run: int) -> Any:
    statement = sa.select(_RUNS).where(_RUNS.c.whole, _RUNS.c.run == run)
    found = store.read(lambda connection: connection.execute(statement).first())
    if found is None:
        raise NoScores("Two batches were scored since this page's: begin again without a cursor.")
    return found


def _statement(query: CustomersQuery, run: int, horizon: int, after: tuple[int, float, str] | None) -> sa.Select[Any]:
    scores, name = _SCORES.c, query.sort.lstrip("-")
    statement = sa.select(_SCORES).where(scores.run == run, scores.horizon_days == horizon)
    if query.segment is not None:
        statement = statement.where(scores.segments.contains(json.dumps(query.segment), autoescape=True))
    for field in ("lifecycle_status", "value_tier"):
        if (wanted := getattr(query, field)) is not None:
            statement = statement.where(scores[field] == wanted)
    keys = (scores[name], scores.customer_id)
    falling = query.sort.startswith("-")
    if after is not None:
        here, there = sa.tuple_(*keys), sa.tuple_(sa.literal(after[1], sa.Double), sa.literal(after[2], sa.Text))
        statement = statement.where(here < there if falling else here > there)
    return statement.order_by(*(key.desc() if falling else key for key in keys)).limit(query.limit + 1)


def _require_horizon(store: OrderStore, run: int, horizon: int) -> None:
    statement = sa.select(_SCORES.c.horizon_days).where(_SCORES.c.run == run).distinct()
    scored = sorted(store.read(lambda connection: connection.execute(statement).scalars().all()))
    if horizon not in scored:
        raise RequestError(f"No scores for a horizon of {horizon} days. Scored: {', '.join(map(str, scored))}.")


def _nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """A flat row in the shape of the HTTP answer."""
    customer = {name: json.loads(row[name]) if name in _JSON else row[name] for name in _CUSTOMER}
    customer["predictions"] = [{name: row[name] for name in _HORIZON}]
    customer["model"] = {name: row[f"model_{name}"] for name in _MODEL}
    return customer


def _digest(query: CustomersQuery) -> str:
    """What a cursor belongs to: the question less the page."""
    asked = query.model_dump_json(exclude={"cursor", "limit"})
    return hashlib.sha256(asked.encode()).hexdigest()[:8]


def _cursor(run: int, value: float, customer_id: str, asked: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([run, value, customer_id, asked]).encode()).decode().rstrip("=")


def _read_cursor(cursor: str, asked: str) -> tuple[int, float, str]:
    try:
        run, value, customer_id, of = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = int(run), float(value), str(customer_id)
        sound = 0 < found[0] < 1 << 31 and math.isfinite(found[1]) and b"\0" not in found[2].encode()
    except (ValueError, TypeError, OverflowError, RecursionError, binascii.Error):
        sound = False
    if not sound:
        raise CursorUnknown("The cursor is not one that this service gave.")
    if of != asked:
        raise CursorUnknown("The cursor belongs to another question: send the same filters, horizon and sort.")
    return found
