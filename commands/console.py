"""What people read: notes and progress on stderr, tables and documents on stdout."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from training.backtest import Case
    from training.bootstrap import Estimate
    from training.fitting import Stage

FEW_CUSTOMERS: Final = 300
"""Below, a plain warning: the trees' weight shrinks and every figure is rough."""
STDERR: Final = Console(stderr=True, highlight=False)
STDOUT: Final = Console(highlight=False)
_WORTH_TELLING: Final = 0.01
"""Share of the actual total."""
_WIDEST: Final = 200
"""Characters of a table that no figure may be cut off in."""


def _money(value: float) -> str:
    """An amount, short enough for a column: cents below a thousand only."""
    return f"{value:,.2f}" if abs(value) < 1000 else f"{value:,.0f}"


_COLUMNS: Final[Mapping[str, tuple[str, Callable[[float], str]]]] = {
    "spearman": ("Spearman", "{:.3f}".format),
    "normalized_gini": ("Gini", "{:.3f}".format),
    "auc": ("AUC", "{:.3f}".format),
    "mae": ("MAE", _money),
    "rmse": ("RMSE", _money),
    "bias": ("bias", "{:+.0%}".format),
    "top10_capture": ("top10", "{:.1%}".format),
    "coverage": ("covered", "{:.0%}".format),
}
_LEGEND: Final = (
    "clv is this model; carry_forward: everybody goes on as so far; bgnbd_gamma_gamma: the buy-till-you-die formulas; "
    "rfm_score: what customers of the same recency, frequency and value brought before. Spearman, Gini, AUC: how well "
    "customers are put in order, 1 is perfect. MAE, RMSE: error a customer, in money. bias: predicted total against "
    "the actual one. top10: share of the value that the best tenth by prediction brought. covered: how many lay within "
    "their 80% interval."
)
_RANKING: Final = ("spearman", "normalized_gini", "auc")


def say(text: str) -> None:
    """Write a note to stderr."""
    STDERR.print(text, markup=False, soft_wrap=not STDERR.is_terminal)


def print_json(document: Any) -> None:
    """Write one JSON document to stdout, and nothing else."""
    print(json.dumps(document, allow_nan=False, indent=1))


@contextmanager
def fitting(title: str) -> Iterator[Stage]:
    """Show what a fit is doing."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=STDERR,
        transient=True,
        disable=not STDERR.is_terminal,
    ) as bar:
        task = bar.add_task(title)
        yield lambda text: bar.update(task, description=f"{title}: {text}")


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        """Render the rate of late."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


@contextmanager
def counting(title: str, total: int) -> Iterator[Any]:
    """Bar with rate and remaining time; yields a function that advances it."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=STDERR, transient=True, disable=not STDERR.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda n: bar.advance(task, n)


def print_cases(cases: Sequence[Case]) -> None:
    """One table per held-out window: our model beside the baselines, then the differences."""
    for case in cases:
        document = case.document()
        title = f"{case.horizon_days} days from {document['as_of'][:10]} · {document['n_customers']:,} customers"
        title += f" · actual total {document['actual_total']:,.2f}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        table.add_column("model", no_wrap=True)
        for heading, _ in _COLUMNS.values():
            table.add_column(heading, justify="right", no_wrap=True)
        for name, values in document["models"].items():
            table.add_row(name, *(_shown(values, column) for column in _COLUMNS))
        _print_whole(table)
        STDOUT.print(_in_words(document))
        if not case.has_signal:
            STDOUT.print("No usable signal: the past of these customers does not tell what they will spend.")
        if document["n_customers"] < FEW_CUSTOMERS:
            STDOUT.print(
                f"Only {document['n_customers']} customers: predictions lean on the buy-till-you-die formulas, and "
                "figures of this table are uncertain.",
                soft_wrap=True,
            )
        STDOUT.print(f"clv, 95 % interval: {_told(case.intervals, (*_RANKING, 'bias'))}", soft_wrap=True)
        for name, found in case.differences.items():
            STDOUT.print(f"clv less {name}, 95 % paired interval: {_told(found, _RANKING)}", soft_wrap=True)
    STDOUT.print(f"\n{_LEGEND}\n", style="dim")


def _in_words(document: Mapping[str, Any]) -> str:
    """What a window's figures mean to somebody who runs a shop."""
    text, left_out = f"In words: {_came(document)}", document["left_out_total"]
    if abs(left_out) > _WORTH_TELLING * document["actual_total"]:
        text += (
            f" Beside it stand {left_out:,.2f}, mostly refunds of customers who bought less or nothing in these days: "
            "nobody's value counts as less than 0."
        )
    return text


def _came(document: Mapping[str, Any]) -> str:
    ours, by_scores = document["models"]["clv"], document["models"]["rfm_score"]
    if (bias := ours["bias"]) is None:
        return "nobody spent anything in this window."
    off = "as much as came" if abs(bias) < 0.005 else f"{abs(bias):.0%} too {'much' if bias > 0 else 'little'}"
    best, scored, inside = _shown(ours, "top10_capture"), _shown(by_scores, "top10_capture"), _shown(ours, "coverage")
    return (
        f"clv predicted {document['actual_total'] * (1 + bias):,.2f} in all, {off}; the tenth of the customers that it "
        f"ranks highest brought {best} of the value (by RFM score: {scored}); {inside} of the customers spent what "
        "their 80% interval says."
    )


def _print_whole(table: Table) -> None:
    """Print a table with no figure cut off, be it wider than the terminal."""
    needed = STDOUT.measure(table, options=STDOUT.options.update(max_width=_WIDEST)).maximum
    Console(file=STDOUT.file, width=max(needed, STDOUT.width), highlight=False).print(table)


def _told(found: Mapping[str, Estimate], names: Sequence[str]) -> str:
    shown = ((name, found[name]) for name in names if name in found)
    return ", ".join(f"{name} {e.estimate:+.3f} [{e.lower:+.3f}, {e.upper:+.3f}]" for name, e in shown)


def _shown(values: Mapping[str, float | None], column: str) -> str:
    value = values[column]
    return "–" if value is None else _COLUMNS[column][1](value)
