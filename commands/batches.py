"""How commands work through a whole base: the options, memory, progress, and going on after an interruption."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from commands.options import OrderSource, now_us
from commands.settings import STORE
from features.errors import UsageError
from features.machine import CORES

if TYPE_CHECKING:
    from features.parts import Parts
    from features.validation import Intake
    from serving.in_parts import Batch, Done, Target, Work
    from serving.output import Writer
    from serving.spark import SparkBatch

Out = Annotated[
    str,
    typer.Option(
        metavar="PATH|SQL-URL",
        help="A .parquet, .csv or .csv.gz path, a folder of Parquet files (a path that ends in /), a SQLAlchemy URL, "
        "or `store`: the order store.",
    ),
]
OutTable = Annotated[str, typer.Option(help="Table, when --out is a database.")]
Memory = Annotated[str, typer.Option(help="Memory to stay within, such as 4GB: larger logs are worked on in parts.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where an interrupted run of the same orders and model ended.")
]
Engine = Annotated[
    Literal["local", "spark"],
    typer.Option(help="What does the work: this machine, or Apache Spark, see docs/spark.md."),
]
_UNITS: Final = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_LEAST: Final = 500_000_000


@dataclass(frozen=True)
class Doing:
    """A batch under way."""

    orders: OrderSource
    batch: Batch
    n_threads: int

    @property
    def complete_until(self) -> int:
        """Midnight after the last usable order."""
        return self.batch.parts.complete_until

    @property
    def now(self) -> int:
        """Moment of reading, µs UTC."""
        return self.batch.parts.now

    def run(self, work: Work, out: str | AbstractContextManager[Writer], table: str) -> Done:
        """Do the work with a bar, and say what became of the orders."""
        from commands.console import counting, say
        from serving.output import is_folder, output

        writing = output(out, work.schema, table=table) if isinstance(out, str) else out
        folder = Path(out) if isinstance(out, str) and is_folder(out) else None
        try:
            with counting(work.title, self.batch.parts.n_rows) as advance:
                done = self.batch.run(work, writing, folder, self.orders.write_rejected, self.n_threads, advance)
        except KeyboardInterrupt:
            if self.batch.unfinished is not None:
                say("Finished parts are kept: the same command with --resume goes on from there.")
            raise
        if self.batch.unfinished is not None:
            say(done.read.summary())
        return done


@dataclass(frozen=True)
class OnSpark:
    """A batch that Spark does."""

    batch: SparkBatch

    @property
    def complete_until(self) -> int:
        """Midnight after the last usable order."""
        return self.batch.complete_until

    @property
    def now(self) -> int:
        """Moment of reading, µs UTC."""
        return self.batch.now

    def run(self, work: Work, out: str | AbstractContextManager[Writer], table: str) -> Done:
        """Do the work, and say what became of the orders; `out` is a place that Spark knows."""
        from commands.console import say

        done = self.batch.run(work, str(out), table)
        say(done.read.summary())
        return done


@contextmanager
def batch(
    orders: OrderSource, out: str, about: dict[str, Any], *, engine: Engine, memory: str, resume: bool
) -> Iterator[Doing | OnSpark]:
    """Read an order log, in parts where memory demands it; `about` says what is going to be done, for --resume.

    Raises
    ------
    UsageError
        An output that would replace the orders, or memory that cannot be read or is too little.
    """
    from commands.output import refuse_overwriting

    refuse_overwriting(orders.path, {"--out": out, "--rejected": orders.rejected})
    if engine == "spark":
        with _on_spark(orders, out, memory_bytes(memory), resume) as doing:
            yield doing
    else:
        with _local(orders, out, about, memory_bytes(memory), resume) as doing:
            yield doing


@contextmanager
def _on_spark(orders: OrderSource, out: str, memory: int, resume: bool) -> Iterator[OnSpark]:
    """Refuse what Spark does not do, and open the log as Spark reads it."""
    from commands.console import say

    refused = {
        "--resume": resume,
        "--rejected": orders.rejected is not None,
        "the order store": STORE in (orders.path, out),
        f"--out {out!r}": out.lower().endswith((".csv", ".csv.gz")),
    }
    for what, asked in refused.items():
        if asked:
            raise UsageError(
                f"--engine spark does not do {what}. It reads Parquet, Delta, CSV and JDBC, writes a folder of Parquet "
                "files or a JDBC table, counts rejected rows by rule, and tries failed tasks again by itself."
            )
    try:
        from serving.spark import spark_batch
    except ModuleNotFoundError as error:
        raise UsageError("--engine spark needs the extra `spark`: pip install '.[spark]' in a checkout.") from error
    with spark_batch(orders.path, orders.options, now_us(), out, memory) as opened:
        if opened.hint:
            say(opened.hint)
        yield OnSpark(opened)


@contextmanager
def _local(orders: OrderSource, out: str, about: dict[str, Any], memory: int, resume: bool) -> Iterator[Doing]:
    import features
    from commands.console import say
    from features.instants import DAY_US, isoformat
    from features.parts import threads_within
    from serving.in_parts import Target

    fingerprint = {"clv": features.__version__, **orders.identity(), **about}
    n_threads = threads_within(memory, CORES)
    resume_from = None if not resume else now_us() - DAY_US if orders.may_change else 0
    with _read(orders, Target(_partial(out), fingerprint, resume_from, memory, n_threads)) as held:
        if held.unfinished is None:
            say(held.parts.intake(0).accounts.summary())
        elif held.unfinished.resumed:
            at = isoformat(held.unfinished.began_at)
            say(f"Going on from the finished parts of the interrupted run, with the orders as they were at {at}.")
        if resume and not (held.unfinished and held.unfinished.resumed):
            of = " and of this day" if orders.may_change else ""
            say(f"There is no interrupted run of the same orders, model and settings{of}: starting from the beginning.")
        yield Doing(orders, held, n_threads)


def read_to_train(orders: OrderSource, memory: str, predictions: str | None = None) -> Intake:
    """Read an order log, or a sample of its customers where it has very many; the rejected rows are written.

    Raises
    ------
    OrdersError
        It cannot be used, or a tenth of its dates and amounts cannot be read.
    """
    from commands.console import counting, say
    from commands.output import refuse_overwriting
    from commands.settings import home
    from features.reading import UNREADABLE_TO_TRAIN, refuse_unreadable
    from features.sampling import read_sample
    from serving.in_parts import Target
    from serving.unfinished import remove_abandoned

    refuse_overwriting(orders.path, {"--rejected": orders.rejected, "--predictions": predictions})
    place = home().run
    for left in place.glob("reading-*.partial"):
        remove_abandoned(left)
    folder = place / f"reading-{os.getpid()}.partial"
    try:
        with (
            _read(orders, Target(folder, {}, None, memory_bytes(memory), 1)) as held,
            counting("drawing customers", held.parts.n_rows) as advance,
        ):
            intake = read_sample(held.parts, on_rows=advance)
    finally:
        remove_abandoned(folder)
    orders.write_rejected(iter([intake.rejected]))
    say(intake.accounts.summary())
    refuse_unreadable(intake.accounts, UNREADABLE_TO_TRAIN)
    if intake.log.n_customers < intake.accounts.n_customers:
        say(f"{intake.log.n_customers:,} of the customers were drawn, alike in activity, to learn from.")
    return intake


def ask_about(intake: Intake, until: int) -> None:
    """Ask about what looks wrong with the orders before a moment."""
    from commands.console import say
    from features.doubts import doubts
    from features.history import before

    drawn = intake.log.n_customers < intake.accounts.n_customers
    for doubt in doubts(before(intake.log, until), drawn=drawn):
        say(doubt)


@contextmanager
def _read(orders: OrderSource, target: Target) -> Iterator[Batch]:
    """Read with a bar; a log without a usable order is refused."""
    from commands.console import counting
    from serving.in_parts import batch_of

    source, options = orders.open()
    with ExitStack() as stack:
        with counting("reading", source.n_rows_about) as advance:
            held = stack.enter_context(batch_of(source, options, now_us(), target, on_rows=advance))
        _require_orders(held.parts, orders)
        yield held


def _require_orders(parts: Parts, orders: OrderSource) -> None:
    """Refuse a log without a usable order, its rejected rows written."""
    from features.accounts import NOTHING_READ
    from features.places import shown_source
    from features.reading import refuse_unusable

    if not parts.complete_until:
        orders.write_rejected(parts.intake(place).rejected for place in range(parts.n_parts))
        accounts = (parts.intake(place).accounts for place in range(parts.n_parts))
        refuse_unusable(sum(accounts, NOTHING_READ), shown_source(orders.path))


def _partial(out: str) -> Path:
    """Where an unfinished batch lies: beside its output, or in the state folder where that is a database."""
    if out != STORE and "://" not in out:
        return Path(f"{out.rstrip('/')}.partial")
    from commands.settings import home

    return home().run / f"batch-{hashlib.sha256(out.encode()).hexdigest()[:12]}.partial"


def memory_bytes(text: str) -> int:
    """Bytes of a text such as `4GB` or `800 MB`.

    Raises
    ------
    UsageError
        It is no such text, or less than a batch needs at all.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]B)", text.strip(), re.IGNORECASE)
    if found is None:
        raise UsageError(f"--memory {text!r} must be a number with KB, MB, GB or TB, for example 4GB.")
    n_bytes = int(float(found[1]) * _UNITS[found[2].upper()])
    if n_bytes < _LEAST:
        raise UsageError(f"--memory {text!r} is too little: a batch needs at least {_LEAST // 10**6} MB.")
    return n_bytes
