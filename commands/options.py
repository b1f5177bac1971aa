"""How every command reads an order log: the options, declared once, and what they become."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from commands.settings import STORE, config
from features.errors import UsageError
from features.instants import parse_instant
from features.options import DateOrder, ReadOptions

if TYPE_CHECKING:  # pyarrow is imported only when a log is read
    from pyarrow import Table

    from features.raw import RawSource

AsOf = Annotated[
    str | None,
    typer.Option(help="Moment the numbers speak for, ISO 8601. Default: the midnight after the last order or refund."),
]
Horizons = Annotated[
    list[int] | None,
    typer.Option("--horizon-days", help="Days ahead; may be given several times."),
]
Name = Annotated[str, typer.Option(help="Name of the registered model.")]
MODEL = "clv"
"""Name that models are registered by where no other is said."""
Format = Annotated[
    Literal["table", "json"],
    typer.Option("--format", help="`table` for people, `json` for one JSON document on stdout."),
]

_READING: dict[str, Any] = {
    "map_": Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="NAME=COLUMN",
            help="The log's own name of a column: customer_id=CustomerID.",
        ),
    ],
    "table": Annotated[str | None, typer.Option(help="Table, when ORDERS is a database.")],
    "query": Annotated[str | None, typer.Option(help="Statement to run, when ORDERS is a database.")],
    "dates": Annotated[
        str | None,
        typer.Option(help="Day and month in national dates: iso, dmy or mdy."),
    ],
    "timezone": Annotated[
        str | None,
        typer.Option(help="Zone of naive times and of business days: Europe/Berlin."),
    ],
    "decimal": Annotated[str | None, typer.Option(help="Decimal mark of amounts.")],
    "thousands": Annotated[str | None, typer.Option(help="Thousands mark of amounts.")],
    "currency_symbol": Annotated[str | None, typer.Option(help="Currency symbol to take off amounts.")],
    "currency": Annotated[
        str | None,
        typer.Option(help="ISO code of all amounts, where no column says it."),
    ],
    "drop_repeated_lines": Annotated[
        bool | None,
        typer.Option(
            "--drop-repeated-lines",
            help="Drop identical line items of one order after the first.",
        ),
    ],
    "rejected": Annotated[
        str | None,
        typer.Option(help="Write the rows that could not be used, with their rule: `.csv`, `.csv.gz` or `.parquet`."),
    ],
}
_ORDERS = Annotated[
    str,
    typer.Argument(
        metavar="ORDERS",
        help="CSV (any delimiter, .gz), Parquet file, folder or glob, s3://… or gs://… path, a SQLAlchemy URL, "
        "or `store`: the order store.",
    ),
]
C = TypeVar("C", bound=Callable[..., None])


@dataclass(frozen=True)
class OrderSource:
    """An order log as the command line names it."""

    path: str
    options: ReadOptions
    rejected: str | None

    def open(self) -> tuple[RawSource, ReadOptions]:
        """Open the rows, and say how they are to be read."""
        from commands.console import say
        from features.sources import open_raw

        if self.path != STORE:
            source = open_raw(self.path, self.options)
            if source.hint:
                say(source.hint)
            return source, self.options
        from commands.settings import order_store
        from serving.store_log import raw_orders

        options = replace(self.options, drop_repeated_lines=False)  # as by customer
        return raw_orders(order_store()), options

    @property
    def may_change(self) -> bool:
        """Whether the orders lie in a database, where nobody can see that they are still the same."""
        from features.places import is_database

        return self.path == STORE or is_database(self.path)

    def identity(self) -> dict[str, Any]:
        """What is read and how, to see whether another run reads the same."""
        from features.places import identity

        files = [] if self.path == STORE else identity(self.path)
        return {"orders": self.path, "files": files, "options": repr(self.options)}

    def write_rejected(self, tables: Iterator[Table]) -> None:
        """Write the rows that could not be used where that was asked for."""
        if self.rejected is not None:
            from commands.console import say
            from commands.output import write_tables

            n_rows = write_tables(tables, self.rejected)
            say(
                f"{n_rows:,} rejected rows are in {self.rejected}; row 1 is the first below the header, and of several "
                "files, all in the order of their paths, below the first one's."
            )


def reads_orders(command: C) -> C:
    """Give a command, whose first parameter is an OrderSource, the ORDERS argument and all reading options."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

    @wraps(command)
    def with_orders(orders: str, **given: Any) -> None:
        reading = {key: given.pop(key) for key in _READING}
        rejected = reading.pop("rejected")
        require_rows_file("--rejected", rejected)
        command(
            OrderSource(orders, read_options(reading.pop("map_"), **reading), rejected),
            **given,
        )

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("orders", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=_ORDERS)]
    parameters += [parameter.replace(kind=keyword) for parameter in own]
    parameters += [inspect.Parameter(key, keyword, default=None, annotation=kind) for key, kind in _READING.items()]
    with_orders.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_orders.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_orders  # type: ignore[return-value]


def read_options(map_: list[str] | None, **given: Any) -> ReadOptions:
    """Join `clv.toml` and the command line; the command line wins.

    Raises
    ------
    UsageError
        A mapping without `=`, or values that contradict each other.
    """
    found = config()
    pairs = dict(found.get("columns", {}))
    for entry in map_ or []:
        name, separator, column = entry.partition("=")
        if not (separator and name and column):
            raise UsageError(f"--map {entry!r} must be NAME=COLUMN, for example customer_id=CustomerID.")
        pairs[name.strip()] = column
    settings = {
        **found.get("orders", {}),
        **{key: value for key, value in given.items() if value is not None},
    }
    if "dates" in settings:
        try:
            settings["dates"] = DateOrder(settings["dates"])
        except ValueError as error:
            raise UsageError(f"--dates {settings['dates']!r} must be iso, dmy or mdy.") from error
    return ReadOptions(mapping=pairs, **settings)


def instant(text: str | None, default: int) -> int:
    """Instant of an option, or the default."""
    return default if text is None else parse_instant(text)


def now_us() -> int:
    """The clock: microseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1000


def require_rows_file(option: str, path: str | None) -> None:
    """Refuse, before any work, a file of a kind that is not written, or in a folder that is not there.

    Raises UsageError.
    """
    if path is None:
        return
    from serving.output import ENDINGS

    if not path.lower().endswith(ENDINGS):
        raise UsageError(f"{option} {path!r} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}.")
    if not Path(path).absolute().parent.is_dir():
        raise UsageError(f"{option} {path!r} lies in a folder that does not exist.")
