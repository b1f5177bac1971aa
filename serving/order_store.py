"""The order store: orders as they were posted, and the scores of the last batch; SQLite or PostgreSQL.

The store is one order log, as a file is: a column that any order ever sent is known for all of them. Its schema is
`serving/migrations`; the tables below only name what the statements use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import alembic.util
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.dialects import postgresql, sqlite

from features.columns import NUMBERS, ORDER_ID
from features.engines import engine_for, hidden
from features.errors import StoreError, UsageError

SENDABLE: Final = (
    "status", "coupon_code", "product_id", "category", "channel", "attribution_medium", "country", "state", "postcode",
    "currency", "parent_order_id", "discount_amount", "quantity", "cost",
)  # fmt: skip
"""Optional columns; the place of each is its bit in `sent.columns`, for ever."""
_BUSY_SECONDS: Final = 30
_LOCK: Final = 7_034_961
_IMPATIENT: Final = {
    "connect_timeout": 5,
    "options": "-c statement_timeout=60000 -c lock_timeout=30000",
    "tcp_user_timeout": 30_000,
}
"""Nothing that hangs may hold a thread for ever (libpq's names; seconds, and milliseconds)."""

_tables = sa.MetaData()
_key: Final[list[sa.Column[Any]]] = [
    sa.Column("order_id", sa.Text),
    sa.Column("refund", sa.Boolean),
    sa.Column("line", sa.Integer),
]
_facts: Final[list[sa.Column[Any]]] = [
    sa.Column("customer_id", sa.Text),
    sa.Column("ordered_at", sa.BigInteger),
    sa.Column("amount", sa.Double),
]
_optional: Final[list[sa.Column[Any]]] = [
    sa.Column(name, sa.Double if name in NUMBERS else sa.Text) for name in SENDABLE
]
ORDERS: Final = sa.Table("orders", _tables, *_key, *_facts, *_optional)
_SENT: Final = sa.Table("sent", _tables, sa.Column("columns", sa.BigInteger))

_OF_CUSTOMER: Final = sa.select(
    sa.select(_SENT.c.columns).scalar_subquery(),
    ORDERS.c.ordered_at, ORDERS.c.amount, ORDERS.c.order_id, *(ORDERS.c[name] for name in SENDABLE),
).where(ORDERS.c.customer_id == sa.bindparam("customer_id"))  # fmt: skip
_ORDER: Final = ORDERS.alias()
_DELETE_REFUNDS: Final = sa.delete(ORDERS).where(
    ORDERS.c.customer_id.in_(sa.select(_ORDER.c.customer_id).where(_ORDER.c.order_id == sa.bindparam("id"))),
    ORDERS.c.parent_order_id == sa.bindparam("id"),
    ORDERS.c.refund,
)
_DELETE: Final = sa.delete(ORDERS).where(ORDERS.c.order_id == sa.bindparam("id"))
_DELETE_LINES: Final = sa.delete(ORDERS).where(
    ORDERS.c.order_id == sa.bindparam("id"),
    ORDERS.c.refund == sa.bindparam("is_refund"),
    ORDERS.c.line >= sa.bindparam("n_lines"),
)
T = TypeVar("T")


@dataclass(frozen=True)
class StoredOrders:
    """Rows of one customer, by column; n rows.

    Attributes
    ----------
    ordered_at, amount
        µs UTC, and net value.
    optional
        By name, the order id and every column that the store knows; None is null.
    """

    ordered_at: Sequence[int]
    amount: Sequence[float]
    optional: dict[str, Sequence[Any]]


class OrderStore:
    """Orders and scores behind a SQLAlchemy URL. Safe for many threads and processes."""

    def __init__(self, url: str) -> None:
        self.shown = hidden(url)
        if not url.startswith(("sqlite", "postgres")):
            raise UsageError(f"{self.shown!r} cannot be an order store: give a sqlite:/// or postgresql:// URL.")
        how = {"connect_args": {"timeout": _BUSY_SECONDS} if url.startswith("sqlite") else _IMPATIENT}
        self._writing, self._reading = engine_for(url, **how), engine_for(url, isolation_level="AUTOCOMMIT", **how)
        self.url = url
        self._upsert = _upsert(self._writing.dialect.name)
        if self._writing.dialect.name == "sqlite":
            sa.event.listen(self._writing, "connect", _manual_transactions)
            sa.event.listen(self._writing, "begin", _begin_immediate)

    @classmethod
    def open(cls, url: str) -> OrderStore:
        """Open a store, made or brought up to date if need be.

        Raises
        ------
        UsageError
            The URL is neither SQLite's nor PostgreSQL's.
        StoreError
            The store cannot be reached or written.
        """
        store = cls(url)
        try:
            store._bring_up_to_date()
        except BaseException:
            store.close()
            raise
        return store

    def _bring_up_to_date(self) -> None:
        url = self._writing.url
        try:
            if url.get_backend_name() == "sqlite" and url.database:
                Path(url.database).parent.mkdir(parents=True, exist_ok=True)
            self.write(_migrate)
        except OSError as error:
            raise StoreError(f"The order store {self.shown!r} cannot be made: {error.strerror}.") from error
        except alembic.util.CommandError as error:
            raise StoreError(f"The order store {self.shown!r} was made by a newer version of this program.") from error

    def close(self) -> None:
        """Give all connections back."""
        self._writing.dispose()
        self._reading.dispose()

    def write(self, work: Callable[[sa.Connection], T], *, repeatable: bool = True) -> T:
        """Do work in one transaction; once more where the connection was lost, if it may be done twice."""

        def transaction() -> T:
            with self._writing.begin() as connection:
                return work(connection)

        return self._answered(transaction, again=repeatable)

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Do reading work."""

        def reading() -> T:
            with self._reading.connect() as connection:
                return work(connection)

        return self._answered(reading, again=True)

    def _answered(self, ask: Callable[[], T], *, again: bool) -> T:
        try:
            return ask()
        except sa.exc.SQLAlchemyError as error:
            if again and getattr(error, "connection_invalidated", False):
                return self._answered(ask, again=False)
            cause = type(getattr(error, "orig", None) or error).__name__  # its text may hold values
            raise StoreError(f"The order store {self.shown!r} does not answer ({cause}): try again.") from error

    def upsert(self, orders: Sequence[dict[str, Any]]) -> None:
        """Store whole orders in one transaction: all lines of an order id replace those stored before.

        Parameters
        ----------
        orders
            Lines, with the customer, the time and the amount, and any of `SENDABLE`; `refund` and `line` follow
            (`parts_of`). An order's own lines do not replace its refunds, nor the other way round.
        """
        groups: dict[str, list[dict[str, Any]]] = {}
        for order in orders:
            groups.setdefault(order[ORDER_ID], []).append(order)
        lines, counts, sent = [], [], 0
        for order_id, group in sorted(groups.items()):  # always in one order: two writers never wait for each other
            sent |= _bits(group)
            for refund, part in parts_of(group).items():
                counts.append({"id": order_id, "is_refund": refund, "n_lines": len(part)})
                lines += [_row(order, refund, line) for line, order in enumerate(part)]
        if lines:
            self.write(lambda connection: self._upsert_lines(connection, lines, counts, sent))

    def _upsert_lines(
        self, connection: sa.Connection, lines: list[dict[str, Any]], counts: list[dict[str, Any]], sent: int
    ) -> None:
        connection.execute(self._upsert, lines)
        connection.execute(_DELETE_LINES, counts)
        both = _SENT.c.columns.bitwise_or(sent)
        connection.execute(sa.update(_SENT).where(both != _SENT.c.columns).values(columns=both))

    def delete(self, order_id: str) -> bool:
        """Delete an order and its refunds, under whatever ids; whether there was one."""
        if "\0" in order_id:  # no database stores it
            return False

        def both(connection: sa.Connection) -> bool:
            connection.execute(_DELETE_REFUNDS, {"id": order_id})
            return connection.execute(_DELETE, {"id": order_id}).rowcount > 0

        return self.write(both, repeatable=False)

    def check(self) -> None:
        """Ask for nothing. Raises StoreError when the store does not answer."""
        self.read(lambda connection: connection.execute(sa.select(1)).scalar_one())

    def of_customer(self, customer_id: str) -> StoredOrders | None:
        """Orders of a customer; None where nothing is stored."""
        if "\0" in customer_id:
            return None
        found = self.read(lambda connection: connection.execute(_OF_CUSTOMER, {"customer_id": customer_id}).all())
        if not found:
            return None
        columns: list[Sequence[Any]] = list(zip(*(tuple(row) for row in found), strict=True))
        known = known_columns(columns[0][0])
        optional = dict(zip((ORDER_ID, *SENDABLE), columns[3:], strict=True))
        return StoredOrders(columns[1], columns[2], {name: optional[name] for name in (ORDER_ID, *known)})

    def columns(self) -> list[str]:
        """Optional columns that any order ever sent."""
        return known_columns(self.read(lambda connection: connection.execute(sa.select(_SENT.c.columns)).scalar_one()))


def parts_of(group: Sequence[dict[str, Any]]) -> dict[bool, list[dict[str, Any]]]:
    """Rows of one order id in a call, as the order (False) and its refund (True).

    As in a file: a negative row later than the order is a refund, one of the same moment a line of the order. Without
    a positive row there is no order among them: with a negative one, all are the refund.
    """
    begun = min((row["ordered_at"] for row in group if row["amount"] > 0.0), default=None)
    refunds = any(row["amount"] < 0.0 for row in group)
    parts: dict[bool, list[dict[str, Any]]] = {}
    for row in group:
        refund = refunds if begun is None else row["amount"] < 0.0 and row["ordered_at"] > begun
        parts.setdefault(refund, []).append(row)
    return dict(sorted(parts.items()))


def known_columns(sent: int) -> list[str]:
    """Names of the columns whose bits are set."""
    return [name for place, name in enumerate(SENDABLE) if sent >> place & 1]


def _bits(group: Sequence[dict[str, Any]]) -> int:
    return sum(1 << place for place, name in enumerate(SENDABLE) if any(name in order for order in group))


def _row(order: dict[str, Any], refund: bool, line: int) -> dict[str, Any]:
    return {**dict.fromkeys(SENDABLE), **order, "refund": refund, "line": line}


def _upsert(dialect: str) -> Any:
    insert = (sqlite.insert if dialect == "sqlite" else postgresql.insert)(ORDERS)
    values = {column.name: insert.excluded[column.name] for column in (*_facts, *_optional)}
    return insert.on_conflict_do_update(index_elements=[column.name for column in _key], set_=values)


def _manual_transactions(connection: Any, _record: Any) -> None:
    """Let SQLAlchemy begin transactions, and let readers read while one writes."""
    connection.isolation_level = None
    connection.execute("pragma journal_mode = wal")


def _begin_immediate(connection: sa.Connection) -> None:
    """Take SQLite's write lock first: a transaction that reads and then writes would be refused, not queued."""
    connection.exec_driver_sql("begin immediate")


def _migrate(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":  # one migrates, the others wait
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
