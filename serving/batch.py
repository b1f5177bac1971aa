"""The whole base → rows of a table, block by block, with the accounts and totals of what was scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from features.matrix import blocks
from features.orders import OrderLog
from model.bundle import Bundle
from model.terms import factors
from serving.output import Writer
from serving.scorer import EVERYTHING, Answers, Question, score
from serving.table import to_table
from serving.tally import BLOCK_ROWS, NOTHING_MADE, Tally


def score_base(
    bundle: Bundle,
    log: OrderLog,
    as_of: int,
    writer: Writer,
    question: Question = EVERYTHING,
    *,
    on_rows: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Score every customer of a log.

    Parameters
    ----------
    writer
        Where the rows go, as `serving.output.output` or `serving.store_log.scores_into` opens it.
    on_rows
        Told how many orders were looked at, after each block; what it raises ends the work.

    Raises
    ------
    HorizonError
        A horizon was not fitted.
    """
    tally = NOTHING_MADE
    for low, high in blocks(log.starts, BLOCK_ROWS):
        some = log.customers(low, high)
        answers = score(bundle, some, as_of, question)
        rows = to_table(bundle, answers)
        writer.write(rows)
        after = int(answers.after_as_of.sum())
        tally += Tally(high - low, int((~answers.known).sum()), rows.num_rows, after, dict(_sums(bundle, answers)))
        on_rows(some.n_rows)
    return tally


def _sums(bundle: Bundle, answers: Answers) -> Iterator[tuple[int, tuple[float, float]]]:
    """By horizon, of customers with an order before `as_of`: the sum of the values and that of their own variances."""
    taken, net, known = answers.predictions, answers.net, answers.known
    by = factors(taken, net)
    for place, days in enumerate(net.horizons):
        probability, clv = net.purchase_probability[known, place], net.clv[known, place]
        own = bundle.model.part(days).spread.variance(probability, clv) * by[known, place] ** 2
        yield days, (float(taken.clv[known, place].sum()), float(own.sum()))
