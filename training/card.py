"""The model card: what a model is, how good it was where it could not cheat, and what it is not for."""

from __future__ import annotations

from collections.abc import Iterable

from features.instants import isoformat
from training.backtest import Case
from training.train import Trained

_SHOWN = (
    "spearman",
    "normalized_gini",
    "auc",
    "bias",
    "level_adjusted_mae",
    "rmse",
    "top10_capture",
    "coverage",
    "coverage_worst_decile",
)


def model_card(trained: Trained) -> str:
    """Markdown."""
    origin = trained.provenance
    horizons, purchases = ", ".join(f"{days}" for days in trained.model.horizons), trained.model.btyd.purchases
    story = "modified BG/NBD" if purchases.modified else "BG/NBD"
    lines = [
        "# Predicted customer lifetime value",
        "",
        f"Expected net value of each customer within {horizons} days of a moment, from the orders before it: "
        f"purchase probability × expected spend given a purchase (LightGBM, blended with {story} + "
        "Gamma-Gamma), with prediction intervals and the date of the next order.",
        "",
        f"- trained on label windows that end by {origin.trained_on}; data fingerprint `{origin.data_fingerprint}`",
        f"- money in {origin.currency}; days and hours in {origin.timezone}",
        f"- optional columns seen: {', '.join(origin.optional_columns) or 'none'}",
        f"- {len(trained.model.features)} features of the catalogue",
        f"- truncation {purchases.truncation:.2f}: 0 where customers do not buy less the later they are first seen, 1 "
        "where as much less as if all had been customers before the log began",
        "",
        "## Held-out windows",
        "",
        "Each was predicted by a model fitted on windows that ended before it began. `bias` is predicted total over "
        "actual total, less 1; intervals are meant to hold 80 %.",
        "",
        *[line for case in trained.cases for line in _table(case)],
        "## Promotion gate",
        "",
        *(f"- {'holds' if verdict.holds else '**fails**'}: {verdict.text}" for verdict in trained.verdicts),
        "",
        "## Not for",
        "",
        "Decisions about credit, employment or the like; shops whose orders are contracts; customers whose history "
        "is cut off at some date (predictions are then too low); moments more than some months after the training: the "
        "season goes on, but rates and trees grow old. Holds no customer rows.",
        "",
    ]
    return "\n".join(lines)


def _table(case: Case) -> Iterable[str]:
    yield f"### {case.horizon_days} days from {isoformat(case.as_of)[:10]}, {len(case.customer_ids):,} customers"
    yield ""
    yield "| model | " + " | ".join(_SHOWN) + " |"
    yield "|---" * (len(_SHOWN) + 1) + "|"
    for name, answered in case.models.items():
        values = ("–" if (v := answered.metrics[metric]) is None else f"{v:.3f}" for metric in _SHOWN)
        yield f"| {name} | " + " | ".join(values) + " |"
    yield ""
