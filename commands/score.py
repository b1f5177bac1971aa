"""`clv score`: the whole base, to a file, a folder or a table."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from commands.batches import Engine, Memory, Out, OutTable, Resume, batch
from commands.options import MODEL, AsOf, Horizons, Name, OrderSource, instant, reads_orders
from commands.settings import STORE

if TYPE_CHECKING:
    from model.bundle import Bundle
    from serving.output import Writer
    from serving.tally import Tally

_STALE_DAYS: Final = 30
"""Fewer without an order are usual in a small shop."""


@reads_orders
def score(
    orders: OrderSource,
    *,
    out: Out,
    as_of: AsOf = None,
    horizon_days: Horizons = None,
    interval_level: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Chance with which an interval holds the value.")
    ] = 0.8,
    margin: Annotated[float, typer.Option(help="Share of value that the shop keeps, in (0, 1].")] = 1.0,
    discount_rate: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="Yearly rate at which money to come loses worth.")
    ] = 0.0,
    name: Name = MODEL,
    version: Annotated[str | None, typer.Option(help="Version to score with; the champion if absent.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Score with this bundle folder; no registry is asked.")] = None,
    out_table: OutTable = "clv_scores",
    engine: Engine = "local",
    memory: Memory = "4GB",
    resume: Resume = False,
) -> None:
    """Score every customer with the champion model."""
    from commands.console import say
    from commands.settings import home
    from features.errors import UsageError
    from features.instants import DAY_US, isoformat, parse_instant
    from model.bundle import load_bundle
    from model.predictions import place_of
    from model.terms import Terms
    from serving.answer import identity
    from serving.in_parts import Work
    from serving.output import checked_out
    from serving.scorer import Question
    from serving.shipped import Shipped
    from serving.table import SCHEMA

    if out != STORE and engine == "local":
        checked_out(out)
    if not 0.0 < margin <= 1.0:
        raise UsageError(f"--margin {margin} must be above 0 and at most 1.")
    if bundle is None:
        from serving.store import ModelStore

        place = home()
        bundle = ModelStore(place.registry_uri, place.bundles).bundle_folder(name, version)
    loaded = load_bundle(bundle)
    for days in horizon_days or ():
        place_of(days, loaded.model.horizons)
    question = Question(
        tuple(horizon_days) if horizon_days else None, interval_level, terms=Terms(margin, discount_rate)
    )
    about = {"model": identity(loaded), "question": repr(question), "as_of": as_of}
    with batch(orders, out, about, engine=engine, memory=memory, resume=resume) as doing:
        until = doing.complete_until
        moment = instant(as_of, until)
        if moment > until:
            say(
                f"The log is complete only until {isoformat(until)}: from then to {isoformat(moment)} every customer "
                "is taken to have been silent."
            )
        scored_at = isoformat(doing.now)
        work = Work(
            "scoring",
            SCHEMA.with_metadata({"scored_at": scored_at}),
            partial(Shipped(bundle, loaded).score, moment, question),
        )
        into = _store(scored_at, loaded) if out == STORE else out
        done = doing.run(work, into, out_table)
    _tell(done.made, loaded, moment, interval_level)
    if moment < parse_instant(loaded.provenance.trained_on):
        say("That is before the model was trained: beside what came next these scores look better than they are.")
    silent_days = (doing.now - until) // DAY_US
    if as_of is None and silent_days > _STALE_DAYS:
        say(f"The last order is {silent_days:,} days old: the scores are of the midnight after it, not of today.")


def _store(scored_at: str, bundle: Bundle) -> AbstractContextManager[Writer]:
    """The order store as the place of the scores."""
    from commands.settings import order_store
    from serving.store_log import scores_into

    return scores_into(order_store(), scored_at, bundle.model.primary_horizon)


def _tell(made: Tally, bundle: Bundle, moment: int, interval_level: float) -> None:
    """Say what was scored, with which model, and what it comes to."""
    from commands.console import say
    from features.instants import isoformat

    say(f"{made.n_customers:,} customers as of {isoformat(moment)}: {made.n_rows:,} rows.")
    say(f"model {bundle.name} version {bundle.version}, trained on {bundle.provenance.trained_on}")
    for total in made.totals(bundle, interval_level):
        say(
            f"predicted value within {total.horizon_days} days: {total.clv:,.2f} {bundle.provenance.currency} "
            f"({interval_level:.0%} interval {total.lower:,.2f} to {total.upper:,.2f})"
        )
    if made.n_prior:
        say(f"{made.n_prior:,} customers without an order before then got the prior; no total counts them.")
    if made.n_after_as_of:
        say(f"{made.n_after_as_of:,} rows lie at or after as_of and were not looked at.")
