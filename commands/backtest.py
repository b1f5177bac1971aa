"""`clv backtest`: the out-of-time table, this model beside the baselines."""

from __future__ import annotations

from math import isfinite
from typing import Annotated

import typer

from commands.batches import Memory, ask_about, read_to_train
from commands.options import Format, OrderSource, reads_orders, require_rows_file


@reads_orders
def backtest(
    orders: OrderSource,
    *,
    horizon_days: Annotated[int, typer.Option(help="Days ahead.", min=1)],
    as_of: Annotated[
        list[str] | None,
        typer.Option(
            help="Moments to predict from, ISO 8601; up to three at the end of the log, a horizon apart, if absent."
        ),
    ] = None,
    rival: Annotated[
        list[str] | None,
        typer.Option(help="Show this model beside the baselines, too: lightgbm_tweedie or pareto_nbd."),
    ] = None,
    margin: Annotated[
        float, typer.Option(help="Share of value that is margin, for the profit in --format json.")
    ] = 1.0,
    contact_cost: Annotated[float, typer.Option(help="Money that one contact costs, likewise.")] = 0.0,
    memory: Memory = "4GB",
    format_: Format = "table",
    predictions: Annotated[
        str | None,
        typer.Option(help="Write every customer's prediction beside what happened: `.csv`, `.csv.gz` or `.parquet`."),
    ] = None,
) -> None:
    """Predict past windows from earlier ones only, and compare with what happened."""
    from commands.console import fitting, print_cases, print_json
    from commands.output import write_tables
    from features.errors import UsageError
    from features.instants import isoformat, parse_instant
    from training.backtest import default_cases, predictions_table, run_case
    from training.examples import Snapshots

    rivals = _checked(rival or [])
    require_rows_file("--predictions", predictions)
    if not (isfinite(margin) and isfinite(contact_cost)):
        raise UsageError(f"--margin {margin} and --contact-cost {contact_cost} must be finite numbers.")
    intake = read_to_train(orders, memory, predictions)
    ask_about(intake, intake.log.complete_until)
    moments = [parse_instant(text) for text in as_of] if as_of else default_cases(intake.log, horizon_days)
    known, cases = Snapshots(intake.log), []
    with fitting("backtest") as stage:
        for moment in moments:
            stage(f"as of {isoformat(moment)[:10]}")
            cases.append(run_case(intake.log, moment, horizon_days, rivals=rivals, stage=stage, snapshots=known))
    if format_ == "json":
        print_json({"cutoffs": [case.document(margin, contact_cost) for case in cases]})
    else:
        print_cases(cases)
    if predictions is not None:
        import pyarrow as pa

        write_tables(iter([pa.table(predictions_table(cases))]), predictions)


def _checked(rivals: list[str]) -> list[str]:
    from features.errors import UsageError, listed
    from training.rivals import ON_REQUEST

    unknown = [name for name in rivals if name not in ON_REQUEST]
    if unknown:
        raise UsageError(f"--rival {listed(unknown)} is not known: {', '.join(ON_REQUEST)} are.")
    return rivals
