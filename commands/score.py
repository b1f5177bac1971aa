"""`clv score`: the whole base, to a file or a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from commands.options import (
    AsOf,
    Horizons,
    Name,
    OrderSource,
    instant,
    now_us,
    reads_orders,
)


@reads_orders
def score(
    orders: OrderSource,
    *,
    out: Annotated[
        str,
        typer.Option(
            metavar="PATH|SQL-URL",
            help="A .parquet, .csv or .csv.gz path, or a SQLAlchemy URL.",
        ),
    ],
    as_of: AsOf = None,
    horizon_days: Horizons = None,
    interval_level: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Chance with which an interval holds the value.")
    ] = 0.8,
    name: Name = "clv",
    version: Annotated[str | None, typer.Option(help="Version to score with; the champion if absent.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Score with this bundle folder; no registry is asked.")] = None,
    out_table: Annotated[str, typer.Option(help="Table, when --out is a database.")] = "clv_scores",
) -> None:
    """Score every customer with the champion model."""
    from commands.console import counting, say
    from commands.settings import home
    from features.instants import isoformat
    from model.bundle import load_bundle
    from serving.batch import checked_out, score_base

    checked_out(out)
    if bundle is None:
        from serving.store import ModelStore

        place = home()
        bundle = ModelStore(place.registry_uri, place.bundles).bundle_folder(name, version)
    loaded = load_bundle(bundle)
    log = orders.read().log
    moment = instant(as_of, log.complete_until)
    with counting("scoring", log.n_customers) as advance:
        done = score_base(
            loaded,
            log,
            moment,
            out,
            horizon_days,
            interval_level=interval_level,
            scored_at=isoformat(now_us()),
            table=out_table,
            on_customers=advance,
        )
    say(f"{done.n_customers:,} customers as of {isoformat(moment)}: {done.n_rows:,} rows.")
    say(f"model {loaded.name} version {loaded.version}, trained on {loaded.provenance.trained_on}")
    for total in done.totals:
        say(
            f"predicted value within {total.horizon_days} days: {total.clv:,.2f} {loaded.provenance.currency} "
            f"({interval_level:.0%} interval {total.lower:,.2f} to {total.upper:,.2f})"
        )
    if done.n_prior:
        say(f"{done.n_prior:,} customers without an order before then got the prior.")
    if done.n_after_as_of:
        say(f"{done.n_after_as_of:,} rows lie at or after as_of and were not looked at.")
