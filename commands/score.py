"""`clv score`: the whole base, to a file or a table."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from commands.options import (
    STORE,
    AsOf,
    Horizons,
    Name,
    OrderSource,
    instant,
    now_us,
    reads_orders,
)

if TYPE_CHECKING:
    from model.bundle import Bundle
    from serving.batch import BatchDone, Writer


@reads_orders
def score(
    orders: OrderSource,
    *,
    out: Annotated[
        str,
        typer.Option(
            metavar="PATH|SQL-URL",
            help="A .parquet, .csv or .csv.gz path, a SQLAlchemy URL, or `store`: the order store.",
        ),
    ],
    as_of: AsOf = None,
    horizon_days: Horizons = None,
    interval_level: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Chance with which an interval holds the value.")
    ] = 0.8,
    margin: Annotated[float, typer.Option(help="Share of value that the shop keeps, in (0, 1].")] = 1.0,
    discount_rate: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Yearly rate at which money to come loses worth.")
    ] = 0.0,
    name: Name = "clv",
    version: Annotated[str | None, typer.Option(help="Version to score with; the champion if absent.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Score with this bundle folder; no registry is asked.")] = None,
    out_table: Annotated[str, typer.Option(help="Table, when --out is a database.")] = "clv_scores",
) -> None:
    """Score every customer with the champion model."""
    from commands.console import counting
    from commands.settings import home, order_store
    from features.errors import UsageError
    from features.instants import isoformat
    from model.bundle import load_bundle
    from model.terms import Terms
    from serving.batch import checked_out, output, score_base
    from serving.scorer import Question
    from serving.store_log import scores_into

    if not 0.0 < margin <= 1.0:
        raise UsageError(f"--margin {margin} must be above 0 and at most 1.")
    if out != STORE:
        checked_out(out)
    if bundle is None:
        from serving.store import ModelStore

        place = home()
        bundle = ModelStore(place.registry_uri, place.bundles).bundle_folder(name, version)
    loaded = load_bundle(bundle)
    log = orders.read().log
    moment = instant(as_of, log.complete_until)
    scored_at = isoformat(now_us())
    writing: AbstractContextManager[Writer] = (
        scores_into(order_store(), scored_at, loaded.model.primary_horizon)
        if out == STORE
        else output(out, scored_at=scored_at, table=out_table)
    )
    with counting("scoring", log.n_customers) as advance:
        done = score_base(
            loaded,
            log,
            moment,
            writing,
            Question(tuple(horizon_days) if horizon_days else None, interval_level, terms=Terms(margin, discount_rate)),
            on_customers=advance,
        )
    _tell(done, loaded, moment, interval_level)


def _tell(done: BatchDone, bundle: Bundle, moment: int, interval_level: float) -> None:
    """Say what was scored, with which model, and what it comes to."""
    from commands.console import say
    from features.instants import isoformat

    say(f"{done.n_customers:,} customers as of {isoformat(moment)}: {done.n_rows:,} rows.")
    say(f"model {bundle.name} version {bundle.version}, trained on {bundle.provenance.trained_on}")
    for total in done.totals:
        say(
            f"predicted value within {total.horizon_days} days: {total.clv:,.2f} {bundle.provenance.currency} "
            f"({interval_level:.0%} interval {total.lower:,.2f} to {total.upper:,.2f})"
        )
    if done.n_prior:
        say(f"{done.n_prior:,} customers without an order before then got the prior.")
    if done.n_after_as_of:
        say(f"{done.n_after_as_of:,} rows lie at or after as_of and were not looked at.")
