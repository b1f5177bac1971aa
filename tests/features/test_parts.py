"""A log in parts by customer, and a sample of it, hold what the log in one piece holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from features import dealing
from features.accounts import NOTHING_READ
from features.clustered import Clustered
from features.errors import OrdersError
from features.hashing import hashes
from features.instants import parse_instant
from features.options import ReadOptions
from features.orders import OrderLog
from features.parts import Parts, Split, part_orders, parts_in, threads_within
from features.reading import read_orders
from features.sampling import drawn, read_sample
from features.sources import open_raw
from features.validation import Intake

NOW = parse_instant("2024-05-01")
N_ROWS = 3_000


def messy(seed: int = 1, **columns: object) -> pa.Table:
    """Orders with everything that may be wrong in them."""
    rng = np.random.default_rng(seed)
    customers = rng.integers(0, 400, N_ROWS)
    days = rng.integers(0, 500, N_ROWS)
    dates = np.datetime_as_string(np.datetime64("2023-01-15") + days.astype("m8[D]"))  # some after NOW
    amounts = np.round(rng.gamma(2.0, 20.0, N_ROWS), 2).astype(str).astype(object)
    amounts[rng.random(N_ROWS) < 0.02] = "soon"
    order_ids = np.array([f"o{number}" for number in rng.integers(0, 2_500, N_ROWS)], dtype=object)
    order_ids[rng.random(N_ROWS) < 0.05] = ""
    ids = np.array([f"c{number}" for number in customers], dtype=object)
    ids[rng.random(N_ROWS) < 0.01] = ""
    status = np.where(rng.random(N_ROWS) < 0.03, "failed", "completed")
    table = {"customer_id": ids, "ordered_at": dates, "amount": amounts, "order_id": order_ids, "status": status}
    return pa.table({**table, **columns})


def parted(path: Path, folder: Path | None, n_parts: int = 8) -> Parts:
    """The log in parts: in a folder, or in memory."""
    return part_orders(open_raw(str(path), ReadOptions()), ReadOptions(), NOW, Split(n_parts, folder))


def facts(intakes: list[Intake]) -> list[tuple[object, ...]]:
    """Valid rows by customer, in their order."""
    out = []
    for log in (intake.log for intake in intakes):
        for place, customer in enumerate(log.customer_ids):
            rows = slice(log.starts[place], log.starts[place + 1])
            out.append((customer, log.ordered_at[rows].tolist(), log.amount[rows].tolist()))
    return sorted(out)


def rejected(intakes: list[Intake]) -> list[dict[str, object]]:
    return sorted((row for intake in intakes for row in intake.rejected.to_pylist()), key=lambda row: row["row"])


@pytest.mark.parametrize("form", ["csv", "parquet", "folder", "dictionaries"])
def test_parts_hold_what_the_log_holds(tmp_path: Path, form: str) -> None:
    table, path = messy(), tmp_path / f"orders.{'csv' if form == 'csv' else 'parquet'}"
    if form == "csv":
        pa_csv.write_csv(table, path)
        text = path.read_text().splitlines()
        text[2_000:2_000] = ["c1,2023-05-05,1,2,3,4,5,6,7", "c2"]
        path.write_text("\n".join(text) + "\n")
    elif form == "folder":
        path = tmp_path / "orders"
        path.mkdir()
        for place in range(4):
            pq.write_table(table.slice(place * 750, 750), path / f"{place}.parquet")
    else:
        encoded = table.column("customer_id").dictionary_encode()
        whole = table if form == "parquet" else table.set_column(0, "customer_id", encoded)
        pq.write_table(whole, path, row_group_size=700)
    whole_log = read_orders(str(path), now=NOW)
    for parts in (parted(path, tmp_path / "parts"), parted(path, None)):
        intakes = [parts.intake(place) for place in range(parts.n_parts)]
        assert facts(intakes) == facts([whole_log])
        assert rejected(intakes) == rejected([whole_log])  # of copies, the first in the source is the one that is kept
        assert sum((intake.accounts for intake in intakes), NOTHING_READ) == whole_log.accounts
    assert {"conflicting_order_id", "later_than_now"} <= whole_log.accounts.rejected_by_rule.keys()
    assert parts.complete_until == whole_log.log.complete_until
    again = parts_in(tmp_path / "parts", ReadOptions())
    assert again is not None
    assert rejected([again.intake(place) for place in range(again.n_parts)]) == rejected([whole_log])


def test_the_last_order_is_that_of_usable_rows(tmp_path: Path) -> None:
    table = messy()
    late = table.slice(0, 3).to_pylist()
    late[0] |= {"ordered_at": "2024-04-30", "amount": "soon", "customer_id": "x", "order_id": "", "status": "completed"}
    late[1] |= {"ordered_at": "2029-05-31", "amount": "1", "customer_id": "y", "order_id": "", "status": "completed"}
    path = tmp_path / "orders.parquet"
    early = table.filter(pa.compute.less(table.column("ordered_at"), "2024-04-01"))
    pq.write_table(pa.concat_tables([early, pa.Table.from_pylist(late[:2], early.schema)]), path)
    parts = parted(path, tmp_path / "parts")
    assert parts.complete_until == read_orders(str(path), now=NOW).log.complete_until < parse_instant("2024-04-02")


def test_currencies_of_different_parts_are_never_added(tmp_path: Path) -> None:
    ids = messy().column("customer_id")
    by_part = np.where(hashes(ids) % np.uint64(8) == 3, "EUR", "USD")
    path = tmp_path / "orders.parquet"
    pq.write_table(messy(currency=by_part), path)
    with pytest.raises(OrdersError, match="mixes 2 currencies: EUR, USD"):
        parted(path, tmp_path / "parts").intake(0)
    pq.write_table(messy(currency=np.full(N_ROWS, "EUR")), path)
    parts = parted(path, tmp_path / "more")
    assert {parts.intake(place).log.currency for place in range(parts.n_parts)} == {"EUR"}


def test_memory_decides_how_a_log_is_parted() -> None:
    folder = Path("parts")
    assert Split.within(4 * 10**9, 2, 300_000, folder) == Split(1)
    assert Split.within(4 * 10**9, 2, 5_000_000, folder) == Split(17)
    assert Split.within(4 * 10**9, 2, 100_000_000, folder) == Split(334, folder)
    assert Split.within(10**9, 2, 5_000_000, folder) == Split(17, folder)
    assert Split.within(10**9, 1, 0, folder) == Split(1)
    assert Split.within(10**13, 2, 2**31, folder).folder is None
    assert Split.within(10**13, 2, 2**31 + 1, folder).folder == folder  # rows in memory have numbers of four bytes


def by_customer(mixed: str = "never") -> pa.Table:
    """The same orders, each customer's rows together; or almost."""
    table = messy().filter(pc.not_equal(messy().column("customer_id"), "")).sort_by("customer_id")
    if mixed == "never, numbers":
        codes = pc.cast(table.column("customer_id").combine_chunks().dictionary_encode().indices, pa.int64())
        return table.set_column(0, "customer_id", pc.add(codes, 10_000))
    if mixed == "never, dictionaries":
        return table.set_column(0, "customer_id", table.column("customer_id").dictionary_encode())
    if mixed == "at the end":
        return pa.concat_tables([table, table.slice(0, 3)])
    if mixed == "by nobody":
        ids = np.array(table.column("customer_id"), dtype=object)
        ids[[700, 900]] = None
        return table.set_column(0, "customer_id", pa.array(ids))
    return table


@pytest.mark.parametrize("parked", [False, True], ids=["in memory", "on disk"])
@pytest.mark.parametrize("mixed", ["never", "never, numbers", "never, dictionaries", "at the end", "by nobody"])
def test_a_log_sorted_by_customer_is_read_where_it_lies(
    tmp_path: Path, mixed: str, parked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dealing, "_AT_ONCE", 500)
    table, path = by_customer(mixed), tmp_path / "orders"
    path.mkdir()
    for place in range(2):
        pq.write_table(table.slice(place * 1_300, (1_300, 9_999)[place]), path / f"{place}.parquet", row_group_size=400)
    parts = parted(path, tmp_path / "parts" if parked else None)
    assert isinstance(parts.stored, Clustered) == mixed.startswith("never")
    assert list(tmp_path.glob("parts/*.arrow")) == [] or not mixed.startswith("never")
    intakes = [parts.intake(place) for place in range(parts.n_parts)]
    whole = read_orders(str(path), now=NOW)
    assert facts(intakes) == facts([whole])
    assert rejected(intakes) == rejected([whole])
    assert sum((intake.accounts for intake in intakes), NOTHING_READ) == whole.accounts
    assert parts.complete_until == whole.log.complete_until
    assert parts.n_ids == len(set(table.column("customer_id").drop_null().to_pylist()))
    as_they_come = np.concatenate([intake.log.customer_ids for intake in intakes])
    assert (as_they_come.tolist() == whole.log.customer_ids.tolist()) == mixed.startswith("never")
    sizes = [parts.raw(place).table.num_rows for place in range(parts.n_parts)]
    assert max(sizes) < 1.5 * min(sizes)
    for place in (5, 2, 3, 3, 0):  # in any order, as threads may ask for them
        assert facts([parts.intake(place)]) == facts([intakes[place]])


def test_a_customer_of_most_rows_is_in_one_part(tmp_path: Path) -> None:
    table = by_customer("never, numbers")
    ids = np.where(np.arange(table.num_rows) < 2_000, 10_000, np.array(table.column("customer_id")) + 1)
    pq.write_table(table.set_column(0, "customer_id", pa.array(ids)), tmp_path / "orders.parquet", row_group_size=300)
    parts = parted(tmp_path / "orders.parquet", None)
    assert isinstance(parts.stored, Clustered)
    intakes = [parts.intake(place) for place in range(parts.n_parts)]
    assert facts(intakes) == facts([read_orders(str(tmp_path / "orders.parquet"), now=NOW)])
    assert [parts.raw(place).table.num_rows for place in range(1, 5)] == [0, 0, 0, 0]


def test_a_file_of_a_sorted_log_may_lack_columns(tmp_path: Path) -> None:
    table, path = (
        by_customer().append_column("currency", pa.array(["EUR"] * by_customer().num_rows)),
        tmp_path / "orders",
    )
    path.mkdir()
    pq.write_table(table.slice(0, 1_500), path / "0.parquet")
    pq.write_table(table.slice(1_500).select(["customer_id", "ordered_at", "amount"]), path / "1.parquet")
    parts, whole = parted(path, None), read_orders(str(path), now=NOW)
    assert isinstance(parts.stored, Clustered)
    intakes = [parts.intake(place) for place in range(parts.n_parts)]
    assert facts(intakes) == facts([whole])
    assert {intake.log.currency for intake in intakes} == {whole.log.currency} == {"EUR"}


def test_blank_customers_are_spread(tmp_path: Path) -> None:
    table = by_customer().slice(0, 1_000)
    ids = [" "] * 600 + [f"c{place:03}" for place in range(400)]
    pq.write_table(table.set_column(0, "customer_id", pa.array(ids)), tmp_path / "orders.parquet")
    assert not isinstance(parted(tmp_path / "orders.parquet", None).stored, Clustered)


def test_a_log_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.parquet"
    pq.write_table(by_customer(), path)
    parts = parted(path, None)
    assert isinstance(parts.stored, Clustered)
    pq.write_table(by_customer().slice(5), path)
    for place in (3, 4):
        with pytest.raises(OrdersError, match=r"orders.parquet' changed while it was being read. Start again"):
            parts.intake(place)


def test_rows_without_a_customer_are_spread_over_the_parts(tmp_path: Path) -> None:
    ids = np.array([None if place % 2 else f"c{place}" for place in range(N_ROWS)], dtype=object)
    pq.write_table(messy().set_column(0, "customer_id", pa.array(ids)), tmp_path / "orders.parquet")
    parts = parted(tmp_path / "orders.parquet", None)
    sizes = [parts.raw(place).table.num_rows for place in range(parts.n_parts)]
    assert sum(sizes) == N_ROWS
    assert max(sizes) < 1.3 * min(sizes)


def test_threads_stay_within_memory() -> None:
    assert threads_within(4 * 10**9, 2) == 2
    assert threads_within(500 * 10**6, 64) == 3
    assert threads_within(10**6, 64) == 1


def test_parts_without_a_usable_customer_are_sampled(tmp_path: Path) -> None:
    table = pa.table({"customer_id": ["a", "b"] * 20, "ordered_at": ["2024-01-01"] * 40, "amount": [1.0] * 40})
    pq.write_table(table, tmp_path / "orders.parquet")
    parts = parted(tmp_path / "orders.parquet", None, n_parts=16)
    assert read_sample(parts, 5).log.customer_ids.tolist() == ["a", "b"]


def test_hashes_depend_on_the_id_alone() -> None:
    texts = ["", "a", "é", "abcdefgh", "abcdefghi", "x" * 63, "x" * 64, "x" * 65, "b" * 500]
    alone = [int(hashes(pa.chunked_array([[text]]))[0]) for text in texts]
    assert hashes(pa.chunked_array([texts])).tolist() == alone
    assert hashes(pa.chunked_array([texts[:4], texts[4:]])).tolist() == alone
    assert hashes(pa.chunked_array([pa.array(["z", *texts])]).slice(1)).tolist() == alone
    assert len(set(alone)) == len(texts)
    assert alone[0] == 0
    whole = list(range(-50, 50))
    assert len(set(hashes(pa.chunked_array([whole])).tolist())) == 100
    assert hashes(pa.chunked_array([pa.array([None, 5], pa.int32())])).tolist() == [
        0,
        int(hashes(pa.chunked_array([pa.array([5])]))[0]),
    ]
    spread = np.bincount(hashes(pa.chunked_array([pa.array(np.arange(100_000))])) % np.uint64(10))
    assert spread.min() > 9_500


@pytest.fixture(params=[8, 1], ids=["in parts", "in one piece"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> Parts:
    pq.write_table(messy(), tmp_path / "orders.parquet")
    return parted(tmp_path / "orders.parquet", None, request.param)


def test_a_sample_has_whole_customers_and_the_accounts_of_all(parts: Parts) -> None:
    everyone = read_sample(parts)
    few = read_sample(parts, 80)
    assert 60 <= few.log.n_customers <= 100
    whole = facts([everyone])
    assert all(fact in whole for fact in facts([few]))
    assert few.accounts == everyone.accounts
    assert few.log.complete_until == everyone.log.complete_until
    assert few.rejected.num_rows == everyone.accounts.n_rejected
    assert facts([read_sample(parts, 80)]) == facts([few])
    assert facts([read_sample(parts, 80, seed=1)]) != facts([few])


def test_a_sample_has_no_more_rows_than_it_may(parts: Parts) -> None:
    everyone = read_sample(parts)
    few = read_sample(parts, n_rows=everyone.log.n_rows // 4)
    assert 0.05 < few.log.n_customers / everyone.log.n_customers < 0.35
    assert few.log.n_rows < 0.4 * everyone.log.n_rows
    assert few.accounts == everyone.accounts


def test_in_parts_everyone_is_the_log(tmp_path: Path) -> None:
    pq.write_table(messy(), tmp_path / "orders.parquet")
    log = read_sample(parted(tmp_path / "orders.parquet", None)).log
    whole = read_orders(str(tmp_path / "orders.parquet"), now=NOW)
    assert list(log.customer_ids) == list(whole.log.customer_ids)
    assert log.amount.tolist() == whole.log.amount.tolist()


@pytest.mark.parametrize("share", [0.1, 0.37, 1.0])
def test_each_layer_of_activity_has_its_share(shop: OrderLog, share: float) -> None:
    chosen = drawn(shop, share, np.random.default_rng(2))
    assert len(chosen) == pytest.approx(shop.n_customers * share, abs=1)
    assert (np.diff(chosen) > 0).all()
    n_orders = np.diff(shop.starts)
    for layer in (n_orders == 1, n_orders == 2, n_orders > 2, n_orders > 5):
        assert layer[chosen].sum() == pytest.approx(layer.sum() * share, abs=2)


def test_each_customer_has_the_same_chance(shop: OrderLog) -> None:
    times = np.zeros(shop.n_customers)
    for seed in range(400):
        times[drawn(shop, 0.25, np.random.default_rng(seed))] += 1
    assert times.mean() == pytest.approx(100.0, abs=1.0)
    assert times.std() < 15.0  # binomial: 8.7
