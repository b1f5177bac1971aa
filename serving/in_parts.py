"""An order log of any size → rows of a table: at once where it fits memory, else part by part, each safe on disk."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.accounts import NOTHING_READ, Accounts
from features.errors import OrdersError, OutputError
from features.options import ReadOptions
from features.orders import OrderLog
from features.parts import Parts, Split, part_orders, parts_in
from features.raw import RawSource
from features.reading import UNREADABLE_TO_SCORE, refuse_unreadable
from serving.output import Writer, parquet, replace_folder
from serving.tally import NOTHING_MADE, Tally
from serving.unfinished import ORDERS, Unfinished, is_unfinished, remove, remove_abandoned, unfinished

_ROWS, _REJECTED, _DONE = "rows", "rejected", b"clv_done"
OnRows = Callable[[int], None]


@dataclass(frozen=True)
class Work:
    """What is made of the customers of a log.

    Attributes
    ----------
    title
        What it is called while it is under way.
    schema
        Of the rows.
    rows
        Writes the rows of all customers, tells how many orders it has looked at, and returns the accounts.
    """

    title: str
    schema: pa.Schema
    rows: Callable[[OrderLog, Writer, OnRows], Tally]


@dataclass(frozen=True)
class Done:
    """Accounts of a part, or of several: the orders read, and the customers worked on."""

    read: Accounts = NOTHING_READ
    made: Tally = NOTHING_MADE

    def __add__(self, other: Done) -> Done:
        """Accounts of both."""
        return Done(self.read + other.read, self.made + other.made)

    def to_json(self) -> str:
        """The accounts as text; no number changes on its way there and back."""
        return json.dumps({"read": vars(self.read), "made": vars(self.made)})

    @staticmethod
    def from_json(text: str | bytes) -> Done:
        """Accounts that were written as text."""
        found = json.loads(text)
        read, made = found["read"], found["made"]
        sums = {int(days): (clv, own) for days, (clv, own) in made.pop("sums").items()}
        for name in (name for name, value in vars(NOTHING_READ).items() if isinstance(value, Counter)):
            read[name] = Counter(read[name])
        return Done(Accounts(**read), Tally(**made, sums=sums))


@dataclass(frozen=True)
class Batch:
    """An order log that is being worked on; `unfinished` is None where it is held in memory in one part."""

    parts: Parts
    unfinished: Unfinished | None

    def run(
        self,
        work: Work,
        writing: AbstractContextManager[Writer],
        folder: Path | None,
        on_rejected: Callable[[Iterator[pa.Table]], None],
        n_threads: int,
        on_rows: OnRows = lambda _: None,
    ) -> Done:
        """Do the work for all customers.

        Parameters
        ----------
        writing
            Where the rows go, opened when they are all there; what it holds is whole or as it was.
        folder
            Where that is a folder of Parquet files: finished parts are moved there instead of written again.
        on_rejected
            Given the rows that could not be used.
        on_rows
            Told how many orders were looked at, as the work goes on.

        Raises
        ------
        OrdersError
            The orders of a part cannot be used, or too many dates and amounts cannot be read.
        OutputError
            The output cannot be written; nothing was changed.
        """
        if self.unfinished is None:
            intake = self.parts.intake(0)
            on_rejected(iter([intake.rejected]))
            refuse_unreadable(intake.accounts, UNREADABLE_TO_SCORE)
            with writing as writer:
                return Done(intake.accounts, work.rows(intake.log, writer, on_rows))
        making = _Making(self.parts, self.unfinished, work)
        done = making.all(n_threads, on_rows)
        on_rejected(making.tables(_REJECTED))
        refuse_unreadable(done.read, UNREADABLE_TO_SCORE)
        if folder is not None:
            replace_folder(self.unfinished.files(_ROWS), folder)
        else:
            with writing as writer:
                for table in making.tables(_ROWS):
                    writer.write(table)
        remove(self.unfinished.folder)
        return done


@dataclass(frozen=True)
class Target:
    """Where and how an order log is parted.

    Attributes
    ----------
    folder
        Of the parts and of what is made of them, where there are several.
    fingerprint
        Of the orders and of what is done with them: a run is resumed only where it is the same.
    resume_from
        A run that began then or later, µs UTC, is resumed; None: none is.
    memory, n_threads
        Bytes to stay within, with a part in each thread.
    """

    folder: Path
    fingerprint: dict[str, Any]
    resume_from: int | None
    memory: int
    n_threads: int


@contextmanager
def batch_of(source: RawSource, options: ReadOptions, now: int, target: Target, on_rows: OnRows) -> Iterator[Batch]:
    """Read an order log, in several parts where it has more rows than a part may have.

    Parameters
    ----------
    now
        Rows later than one day after it are rejected; a resumed run keeps that of its beginning.

    Raises
    ------
    OrdersError
        The log cannot be read.
    OutputError
        The folder cannot be written.
    """
    folder = target.folder
    split = Split.within(target.memory, target.n_threads, source.n_rows_about, folder / ORDERS)
    if split.n_parts == 1 and not (target.resume_from is not None and is_unfinished(folder)):
        remove_abandoned(folder)
        yield Batch(part_orders(source, options, now, split), None)
        return
    with unfinished(folder, target.fingerprint, split.n_parts, resume_from=target.resume_from, now=now) as held:
        try:
            parts = parts_in(held.orders, options)
            if parts is None:
                shutil.rmtree(held.orders, ignore_errors=True)
                where = held.orders if source.may_change else split.folder
                try:
                    parts = part_orders(source, options, held.began_at, Split(held.n_parts, where), on_rows)
                except KeyboardInterrupt:  # nothing is finished yet
                    remove(folder)
                    raise
            yield Batch(parts, held)
        except OrdersError:
            remove(folder)
            raise
        except OSError as error:
            raise OutputError(
                f"{str(folder)!r} cannot be written: {error.strerror or error}. Nothing was changed; --resume goes on "
                "from the finished parts."
            ) from error


class _Stopped(Exception):
    """The work is being given up."""


@dataclass(frozen=True)
class _Making:
    """Files of the parts in the making.

    A part's rows depend on nothing but its customers, and sums are taken in the order of the parts: neither threads nor
    interruptions change a bit.
    """

    parts: Parts
    unfinished: Unfinished
    work: Work

    def all(self, n_threads: int, on_rows: OnRows) -> Done:
        """Make the files of all parts that are not finished yet; returns the accounts of all."""
        stop = Event()

        def advance(n_rows: int) -> None:
            if stop.is_set():
                raise _Stopped
            on_rows(n_rows)

        with ThreadPoolExecutor(n_threads) as pool:
            places = {pool.submit(self._one, place, advance): place for place in range(self.parts.n_parts)}
            try:
                done = {places[future]: future.result() for future in as_completed(places)}
            except BaseException:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        return sum((done[place] for place in sorted(done)), Done())

    def _one(self, place: int, on_rows: OnRows) -> Done:
        finished = self.unfinished.file(_ROWS, place)
        if finished.exists():
            found = Done.from_json(pq.read_metadata(finished).metadata[_DONE])
            on_rows(found.read.n_valid)
            return found
        intake = self.parts.intake(place)
        if intake.rejected.num_rows or place == 0:  # the first one tells the columns
            with self.unfinished.writing(_REJECTED, place) as path:
                pq.write_table(intake.rejected, path)
        with self.unfinished.writing(_ROWS, place) as path, parquet(path, self.work.schema) as rows:
            done = Done(intake.accounts, self.work.rows(intake.log, rows, on_rows))
            rows.writer.add_key_value_metadata({_DONE: done.to_json()})
        return done

    def tables(self, kind: str) -> Iterator[pa.Table]:
        """Rows of all files of a kind, part by part."""
        for place in range(self.parts.n_parts):
            path = self.unfinished.file(kind, place)
            if path.exists():
                with pq.ParquetFile(path) as file:
                    yield from (file.read_row_group(number) for number in range(file.num_row_groups))
