"""`clv features`: the features of the whole base, to a file, a folder or a table."""

from __future__ import annotations

from commands.batches import Engine, Memory, Out, OutTable, Resume, batch
from commands.options import AsOf, OrderSource, instant, reads_orders
from commands.settings import STORE
from features.errors import UsageError


@reads_orders
def features(
    orders: OrderSource,
    *,
    out: Out,
    as_of: AsOf = None,
    out_table: OutTable = "clv_features",
    engine: Engine = "local",
    memory: Memory = "4GB",
    resume: Resume = False,
) -> None:
    """Write every customer's features, one row each, as the model takes them."""
    from commands.console import say
    from features.instants import isoformat
    from serving.feature_table import SCHEMA, write_features
    from serving.in_parts import Work
    from serving.output import checked_out

    if out == STORE:
        raise UsageError("The order store holds no features: write them to a file, a folder or another database.")
    if engine == "local":
        checked_out(out)
    about = {"features": SCHEMA.names, "as_of": as_of}
    with batch(orders, out, about, engine=engine, memory=memory, resume=resume) as doing:
        moment = instant(as_of, doing.complete_until)
        work = Work(
            "features",
            SCHEMA.with_metadata({"as_of": isoformat(moment)}),
            lambda log, writer, on_rows: write_features(log, moment, writer, on_rows),
        )
        made = doing.run(work, out, out_table).made
    say(f"{made.n_rows:,} customers as of {isoformat(moment)}: {len(SCHEMA.names) - 2} features each.")
    if made.n_prior:
        say(f"{made.n_prior:,} customers without an order before then have none and were left out.")
