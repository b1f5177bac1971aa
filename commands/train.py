"""`clv train`: fit, evaluate, log, register as challenger."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from commands.batches import Memory, ask_about, read_to_train
from commands.options import (
    MODEL,
    AsOf,
    Format,
    Horizons,
    Name,
    OrderSource,
    instant,
    reads_orders,
)

if TYPE_CHECKING:
    from training.train import Trained


@reads_orders
def train(
    orders: OrderSource,
    *,
    as_of: AsOf = None,
    horizon_days: Horizons = None,
    name: Name = MODEL,
    memory: Memory = "4GB",
    format_: Format = "table",
) -> None:
    """Fit, evaluate on held-out windows, log to MLflow and register as challenger."""
    from commands.console import fitting, print_cases, print_json, say
    from commands.settings import home
    from features.columns import UNKNOWN_CURRENCY
    from training.registry import Registry
    from training.train import train as fit_and_evaluate

    place = home()
    registry = Registry(place.registry_uri, place.artifacts)
    intake = read_to_train(orders, memory)
    if intake.log.currency == UNKNOWN_CURRENCY:
        say(f"No currency was named: amounts will be called {UNKNOWN_CURRENCY}. Say --currency EUR, or whatever it is.")
    registry.ensure_reachable()
    moment = instant(as_of, intake.log.complete_until)
    ask_about(intake, moment)
    with fitting("training") as stage:
        trained = fit_and_evaluate(intake.log, moment, horizon_days, orders.options.timezone, stage=stage)
        stage("logging to MLflow")
        number = registry.record(trained, intake, name)
    if trained.dropped_horizons:
        days = ", ".join(map(str, trained.dropped_horizons))
        say(f"The history is too short or too thin for horizons of {days} days: they were not fitted.")
    if format_ == "json":
        cases = [case.document() for case in trained.cases]
        gate = [{"holds": verdict.holds, "text": verdict.text} for verdict in trained.verdicts]
        print_json(
            {
                "name": name,
                "version": number,
                "horizons": trained.model.horizons,
                "gate": gate,
                "cutoffs": cases,
            }
        )
        return
    print_cases(trained.cases)
    for text in _verdicts(trained):
        say(text)
    following = "Next: clv promote" + f" --name {name}" * (name != MODEL)
    if not all(verdict.holds for verdict in trained.verdicts):
        following = "The gate will refuse it: bring more history, choose another horizon, or keep the champion."
    say(f"Registered as {name} version {number}, alias challenger. {following}")


def _verdicts(trained: Trained) -> Iterator[str]:
    """What the gate says of the primary horizon, and what it would refuse of the others."""
    from training.gate import gate

    for verdict in trained.verdicts:
        yield f"gate, {trained.primary.horizon_days} days, {'holds' if verdict.holds else 'FAILS'}: {verdict.text}"
    for case in trained.cases:
        if case is not trained.primary:
            failed = (verdict.text for verdict in gate(case) if not verdict.holds)
            yield from (f"no part of the gate, but {case.horizon_days} days would fail: {text}" for text in failed)
