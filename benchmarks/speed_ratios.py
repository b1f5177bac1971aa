"""What `speed.py` found, and the figures that the project asks of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from statistics import median

from speed_measure import Run
from speed_peers import TABLE_PEERS

FEATURES, HELD, MOMENTS, EXAMPLES = "features", "held", "moments", "examples"
TRAIN, SCORE, FIT = "train", "score", "fit"
OURS, PANDAS, PYMC, GIANT = "ours", "pandas", "pymc-marketing, MAP", "ours, one giant customer more"
MOMENTS_OF = {1: "ours, 1 cut-off", 12: "ours, 12 cut-offs"}
HORIZON_DAYS = 90
ASKED_AT = 10.0
"""Millions of orders at which figures are asked for."""
BY_TIME, BY_CUSTOMER = "by_time", "by_customer"


@dataclass(frozen=True)
class Key:
    """What was run: the measurement, by whom, on which layout of how many million orders."""

    what: str
    who: str
    layout: str
    millions: float


Runs = dict[Key, list[Run]]


@dataclass
class Found:
    """Everything that one invocation has found.

    Attributes
    ----------
    rows
        Exact number of rows of each log, by millions of orders asked for; of the giant's logs under GIANT.
    agreed
        What was compared before anything was timed.
    stages, online, bits
        As the jobs tell; None where they were not run.
    """

    repetitions: int
    once_above: float
    limit_bytes: int | None
    load_before: tuple[float, float, float]
    commit: str
    runs: Runs = field(default_factory=dict)
    rows: dict[tuple[float, str], int] = field(default_factory=dict)
    agreed: list[str] = field(default_factory=list)
    stages: Mapping[str, float] | None = None
    online: Mapping[str, float] | None = None
    bits: Mapping[str, float] | None = None

    def figures(self, figure: str, key: Key) -> list[float]:
        """A figure of all runs, one a repetition; none where one of them failed."""
        runs = self.runs.get(key, [])
        return [] if any(run.failed for run in runs) else [getattr(run, figure) for run in runs]

    def sizes(self, what: str) -> list[float]:
        """Millions of orders at which something was measured."""
        return sorted({key.millions for key in self.runs if key.what == what})


@dataclass(frozen=True)
class Line:
    """A line of the first table: a figure, or the ratio of two figures, and what it must be.

    Attributes
    ----------
    values
        One a repetition.
    inside
        Ratios of CPU without what came before the jobs, where they are known.
    """

    text: str
    values: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None
    inside: Sequence[float] = ()

    def row(self) -> str:
        """Median, lowest and highest of the repetitions, and whether it is enough."""
        middle, span = median(self.values), f"{min(self.values):.3g} … {max(self.values):.3g}"
        inside = f"{median(self.inside):.3g}" if self.inside else ""
        rule, enough = "", ""
        if self.at_most is not None:
            rule, enough = f"≤ {self.at_most:.3g}", "yes" if middle <= self.at_most else "**no**"
        if self.at_least is not None:
            rule, enough = f"≥ {self.at_least:.3g}", "yes" if middle >= self.at_least else "**no**"
        return f"| {self.text} | {middle:.3g} | {span} | {inside} | {rule} | {enough} |"


def ratio(mine: Sequence[float], other: Sequence[float]) -> list[float]:
    """Ratios of the same repetition; empty where either is missing."""
    return [a / b for a, b in zip(mine, other, strict=False)]


def lines(found: Found) -> Iterator[Line]:
    """What the project asks of itself, of what was measured."""
    every = (_features, _moments, _stages, _scores, _trainings, _peaks, _giant, _fits, _online)
    yield from (line for part in every for line in part(found) if line.values)


def _features(found: Found) -> Iterator[Line]:
    wanted = {BY_TIME: 1 / 5, BY_CUSTOMER: 1 / 7}
    where = {FEATURES: "in Parquet", HELD: "in memory"}
    for what, size, (layout, at_most) in product(where, found.sizes(FEATURES), wanted.items()):
        keys = {who: Key(what, who, layout, size) for who in (OURS, PANDAS, *TABLE_PEERS)}
        text = f"features {where[what]}, {size:g} million orders {layout}, CPU: ours /"
        yield _by_cpu(found, f"{text} pandas", keys[OURS], keys[PANDAS], at_most if size == ASKED_AT else None)
        others = {peer: found.figures("cpu_s", keys[peer]) for peer in TABLE_PEERS}
        others = {peer: figures for peer, figures in others.items() if figures}
        if others:
            fastest = min(others, key=lambda peer: median(others[peer]))
            text = f"{text} {fastest}, the fastest of the others"
            yield _by_cpu(found, text, keys[OURS], keys[fastest], 0.38 if size == ASKED_AT else None)


def _by_cpu(found: Found, text: str, mine: Key, other: Key, at_most: float | None) -> Line:
    whole, inside = (
        ratio(found.figures(figure, mine), found.figures(figure, other)) for figure in ("cpu_s", "job_cpu_s")
    )
    return Line(text, whole, at_most, inside=inside)


def _moments(found: Found) -> Iterator[Line]:
    for size in found.sizes(MOMENTS):
        one, twelve = (Key(MOMENTS, MOMENTS_OF[n], BY_TIME, size) for n in (1, 12))
        text = f"every customer's features at twelve monthly cut-offs, written / at one, {size:g} million orders, CPU"
        yield _by_cpu(found, text, twelve, one, 3.0 if size == ASKED_AT else None)
    for size in found.sizes(EXAMPLES):
        one, twelve = (Key(EXAMPLES, MOMENTS_OF[n], BY_TIME, size) for n in (1, 12))
        text = f"training examples of twelve monthly cut-offs / of one, {size:g} million orders, CPU"
        yield _by_cpu(found, text, twelve, one, 3.0 if size == ASKED_AT else None)


def _stages(found: Found) -> Iterator[Line]:
    if found.stages:
        trees = found.stages["trees"]
        whole = sum(found.stages[name] for name in ("answers", "table", "write"))
        text = "rows a CPU second / those of bare `Booster.predict`"
        yield Line(f"predictions from ready features: {text}", [trees / found.stages["predict"]], at_least=0.8)
        yield Line(f"scores from orders in memory to the written file: {text}", [trees / whole], at_least=0.8)


def _scores(found: Found) -> Iterator[Line]:
    for layout in (BY_TIME, BY_CUSTOMER):
        for small, large in pairwise(found.sizes(SCORE)):
            growth = ratio(*(found.figures("cpu_s", Key(SCORE, OURS, layout, size)) for size in (large, small)))
            asked = 11.5 if (small, large) == (10, 100) else None
            yield Line(f"`clv score` {layout}, CPU: {large:g} / {small:g} million orders", growth, asked)


def _trainings(found: Found) -> Iterator[Line]:
    for small, large in pairwise(found.sizes(TRAIN)):
        growth = ratio(*(found.figures("cpu_s", Key(TRAIN, OURS, BY_TIME, size)) for size in (large, small)))
        yield Line(f"`clv train` {BY_TIME}, CPU: {large:g} / {small:g} million orders", growth)


def _peaks(found: Found) -> Iterator[Line]:
    wanted = {BY_TIME: 2.5, BY_CUSTOMER: 0.6}
    for what, name in ((FEATURES, "our features"), (SCORE, "`clv score`"), (TRAIN, "`clv train`")):
        for size, (layout, at_most) in product(found.sizes(what), wanted.items()):
            peak = [mb / 1024 for mb in found.figures("peak_mb", Key(what, OURS, layout, size))]
            text = f"{name}, {size:g} million orders {layout}, peak GiB"
            yield Line(text, peak, at_most if size == 100 and what != TRAIN else None)


def _giant(found: Found) -> Iterator[Line]:
    figures = {"cpu_s": "CPU", "wall_s": "wall", "peak_mb": "peak memory"}
    for what, (figure, text) in product((FEATURES, SCORE), figures.items()):
        for size in found.sizes(what):
            with_it, without = (found.figures(figure, Key(what, who, BY_TIME, size)) for who in (GIANT, OURS))
            more = found.rows.get((size, GIANT), 0) / found.rows[size, OURS]
            name = f"{what} with one giant customer / without, {size:g} million orders, {more:.2f} × the rows, {text}"
            yield Line(name, ratio(with_it, without))


def _fits(found: Found) -> Iterator[Line]:
    for size in found.sizes(FIT):
        both = [
            [sum(run.told[name] for name in ("seconds_fit", "seconds_predict")) for run in found.runs[key]]
            for who in (OURS, PYMC)
            if (key := Key(FIT, who, BY_CUSTOMER, size)) in found.runs and not any(r.failed for r in found.runs[key])
        ]
        if len(both) == 2:
            yield Line("fit BG/NBD and gamma-gamma and predict, wall: ours / pymc-marketing's MAP", ratio(*both))


def _online(found: Found) -> Iterator[Line]:
    if found.online:
        shares = [found.online["ours_us"] / found.online["pandas_us"]]
        yield Line("features of one customer of 20 orders, CPU a call: ours / pandas", shares)
