"""A base in parts as its user meets it: killed, resumed, within memory, and the same rows as in one piece."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from commands.batches import memory_bytes
from commands.cli import run
from features.errors import UsageError

CLV = str(Path(sys.executable).with_name("clv"))
N_ROWS = 600_000
LITTLE = ["--memory", "500MB"]


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of Parquet files, rows in the order in which they came."""
    folder = tmp_path_factory.mktemp("log")
    rng = np.random.default_rng(3)
    at = np.sort(rng.integers(0, 400 * 86_400, N_ROWS)).astype("m8[s]") + np.datetime64("2023-01-01", "us")
    amount = np.round(rng.gamma(2.0, 15.0, N_ROWS), 2).astype(str).astype(object)
    amount[::10_000] = "free"
    table = pa.table({"customer_id": rng.integers(0, 80_000, N_ROWS), "ordered_at": at, "amount": amount})
    for place in range(3):
        pq.write_table(table.slice(place * N_ROWS // 3, N_ROWS // 3), folder / f"{place}.parquet")
    return folder


Words = Callable[..., list[str]]
Interrupted = Callable[[int], list[int]]


@pytest.fixture
def words(home: Path, orders: Path, bundle_folder: Path) -> Words:
    """`score` with the bundle; the rest is given."""

    def of(out: str, *more: str) -> list[str]:
        return ["score", str(orders), "--bundle", str(bundle_folder), "--horizon-days", "30", "--out", out, *more]

    return of


@pytest.fixture
def interrupted_at(monkeypatch: pytest.MonkeyPatch) -> Interrupted:
    """Lets Ctrl-C come when the n-th part is begun; returns the list to which each part begun adds an entry."""
    from serving import batch

    scored, begun = batch.score_base, list[int]()

    def at(n: int) -> list[int]:
        def interrupting(*arguments: object, **more: object) -> object:
            begun.append(1)
            if len(begun) == n:
                raise KeyboardInterrupt
            return scored(*arguments, **more)

        monkeypatch.setattr(batch, "score_base", interrupting)
        return begun

    return at


def by_customer(path: str) -> pa.Table:
    return pq.read_table(path).replace_schema_metadata().sort_by("customer_id")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_in_parts_and_in_one_piece_are_the_same_rows(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words("whole.parquet", "--rejected", "whole.csv")) == 0
    whole = capsys.readouterr().err
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "part-00000.parquet").write_text("yesterday's")
    for out in ("parts.parquet", "parts/", "parts.csv.gz"):
        assert run(words(out, *LITTLE, "--rejected", "parts.csv")) == 0
        assert capsys.readouterr().err.replace("parts.csv;", "whole.csv;") == whole
    expected = by_customer("whole.parquet")
    assert expected.num_rows > 75_000
    assert by_customer("parts.parquet").equals(expected)
    assert by_customer("parts").equals(expected)
    assert len(files(tmp_path / "parts")) > 5
    assert sorted(Path("parts.csv").read_text().splitlines()) == sorted(Path("whole.csv").read_text().splitlines())
    assert len(Path("parts.csv").read_text().splitlines()) == 61
    assert not [name for name in files(tmp_path) if "partial" in name or "replaced" in name]


def test_a_database_gets_all_parts_in_one_transaction(words: Words, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'scores.db'}"
    assert run(words(url, *LITTLE)) == 0
    assert run(words("whole.parquet")) == 0
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text("select count(*), sum(predicted_clv) from clv_scores")).one()
    whole = pq.read_table("whole.parquet")
    assert found[0] == whole.num_rows
    assert found[1] == pytest.approx(pa.compute.sum(whole.column("predicted_clv")).as_py(), rel=1e-12)


def killed_after(words: list[str], seconds: float, folder: Path) -> int:
    """Exit code of a run that is killed so many seconds after the parting of the log has begun, or is found done."""
    process = subprocess.Popen([CLV, *words], cwd=folder, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(folder.glob("*.partial/orders/orders-*")):
        time.sleep(0.002)
    time.sleep(seconds)
    process.kill()
    return process.wait()


def test_a_killed_run_is_resumed_to_the_same_rows(words: Words, tmp_path: Path) -> None:
    begun = time.monotonic()
    assert run(words("undisturbed/", *LITTLE)) == 0
    takes = time.monotonic() - begun
    expected = pq.read_table("undisturbed").replace_schema_metadata()
    out = tmp_path / "scores"
    out.mkdir()
    (out / "part-00000.parquet").write_text("yesterday's")
    moments = random.Random(os.getpid())
    codes, n_finished = [], []
    for attempt in range(3):
        resume = ["--resume"] if attempt else []
        codes.append(killed_after(words("scores/", *LITTLE, *resume), moments.uniform(0.0, 0.7) * takes, tmp_path))
        stands = [path for path in (out, tmp_path / ".scores.replaced") if path.exists()]
        assert stands
        if files(stands[0]) != ["part-00000.parquet"]:  # killed when all was done: the new ones stand there, whole
            assert pq.read_table(stands[0]).replace_schema_metadata().equals(expected)
            break
        assert (stands[0] / "part-00000.parquet").read_text() == "yesterday's"
        n_finished.append(len(list(tmp_path.glob("scores.partial/rows/*.parquet"))))
    assert -signal.SIGKILL in codes, "no run lived long enough to be killed"
    assert n_finished == sorted(n_finished)
    assert run(words("scores/", *LITTLE, "--resume")) == 0
    assert pq.read_table("scores").replace_schema_metadata().equals(expected)
    assert files(tmp_path) == ["home", "scores", "undisturbed"] or files(tmp_path) == ["scores", "undisturbed"]


def test_ctrl_c_keeps_finished_parts_and_a_plain_start_deletes_them(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted_at: Interrupted
) -> None:
    interrupted_at(3)
    assert run(words("scores.parquet", *LITTLE)) == 130
    assert "--resume goes on from there" in " ".join(capsys.readouterr().err.split())
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("scores.parquet.partial/rows/*.parquet")}
    assert kept
    assert not (tmp_path / "scores.parquet").exists()
    other = words("scores.parquet", *LITTLE, "--horizon-days", "90")
    assert run([*other, "--resume"]) == 2
    assert "was of other orders, another model or other settings" in " ".join(capsys.readouterr().err.split())
    again = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("scores.parquet.partial/rows/*.parquet")}
    assert again == kept
    assert run(other) == 0
    assert set(pq.read_table("scores.parquet").column("horizon_days").to_pylist()) == {30, 90}
    assert not (tmp_path / "scores.parquet.partial").exists()


def test_two_runs_do_not_write_to_one_place(words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    (tmp_path / "scores.parquet.partial").mkdir()
    with (tmp_path / "scores.parquet.partial" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert run(words("scores.parquet", *LITTLE)) == 2
    assert "Another run is at work" in capsys.readouterr().err


def test_a_log_that_lost_its_dates_and_amounts_replaces_nothing(
    home: Path, orders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pa.concat_tables([pq.read_table(path) for path in sorted(orders.iterdir())])
    at, amount = (table.column(name).cast(pa.string()).to_pandas() for name in ("ordered_at", "amount"))
    at[::4], amount[1::4] = "soon", "much"
    table = table.set_column(1, "ordered_at", pa.array(at)).set_column(2, "amount", pa.array(amount))
    pq.write_table(table, "spoiled.parquet")
    Path("out.parquet").write_text("as it was")
    assert run(["features", "spoiled.parquet", "--out", "out.parquet", *LITTLE]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "Dates of 150,000 and amounts of 150,000 of 600,000 rows could not be read" in told
    assert Path("out.parquet").read_text() == "as it was"
    assert not list(Path().glob("*.partial"))


def test_a_folder_with_other_files_is_not_replaced(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("a cat")
    assert run(words("photos/")) == 2
    assert "holds other files" in capsys.readouterr().err
    assert files(tmp_path / "photos") == ["cat.jpg"]


def test_resumed_with_other_memory_finished_parts_are_kept(
    words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str], interrupted_at: Interrupted
) -> None:
    begun = interrupted_at(4)
    assert run(words("scores/", *LITTLE)) == 130
    kept = len(list(tmp_path.glob("scores.partial/rows/*.parquet")))
    assert kept
    before = len(begun)
    assert run(words("scores/", "--memory", "700MB", "--resume")) == 0
    assert "Going on from the finished parts" in " ".join(capsys.readouterr().err.split())
    assert len(begun) - before == len(files(tmp_path / "scores")) - kept


def test_a_log_sorted_by_customer_gives_the_same_rows_and_is_resumed(
    words: Words, orders: Path, tmp_path: Path, interrupted_at: Interrupted
) -> None:
    (tmp_path / "sorted").mkdir()
    pq.write_table(by_customer(str(orders)), tmp_path / "sorted" / "orders.parquet", row_group_size=100_000)
    words_ = [str(tmp_path / "sorted") if word == str(orders) else word for word in words("scores/", *LITTLE)]
    begun = interrupted_at(4)
    assert run(words_) == 130
    kept, before = len(list(tmp_path.glob("scores.partial/rows/*.parquet"))), len(begun)
    assert kept
    assert not list(tmp_path.glob("scores.partial/orders/orders-*"))  # nothing was copied
    assert run([*words_, "--resume"]) == 0
    assert len(begun) - before == len(files(tmp_path / "scores")) - kept
    assert run(words("mixed.parquet")) == 0
    found, expected = by_customer("scores"), by_customer("mixed.parquet")
    assert [name for name in expected.column_names if not found[name].equals(expected[name])] == []


@pytest.mark.parametrize(
    ("hours_ago", "says", "of_everyone"),
    [
        (0, r"with the orders as they were at \d{4}-\d\d-\d\d", True),
        (25, "settings and of this day: starting from the beginning", False),
    ],
    ids=["the same day", "a day later"],
)
def test_a_table_that_changes_is_read_again_after_a_day(
    words: Words,
    orders: Path,
    tmp_path: Path,
    interrupted_at: Interrupted,
    capsys: pytest.CaptureFixture[str],
    hours_ago: int,
    says: str,
    of_everyone: bool,
) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    engine, few = sa.create_engine(url), pq.read_table(orders).slice(0, 200_000).to_pandas()
    few.to_sql("orders", engine, index=False)
    words_ = [url if word == str(orders) else word for word in words("scores.parquet", *LITTLE, "--table", "orders")]
    interrupted_at(2)
    assert run(words_) == 130
    note = tmp_path / "scores.parquet.partial" / "fingerprint.json"
    begun = json.loads(note.read_text())
    note.write_text(json.dumps({**begun, "began_at": begun["began_at"] - hours_ago * 3_600_000_000}))
    with engine.begin() as connection:
        connection.execute(sa.text("delete from orders where customer_id > 100"))
    capsys.readouterr()
    assert run([*words_, "--resume"]) == 0
    assert re.search(says, " ".join(capsys.readouterr().err.split()))
    usable = few[(few.amount != "free") & (of_everyone | (few.customer_id <= 100))].customer_id.astype(str)
    assert set(pq.read_table("scores.parquet").column("customer_id").to_pylist()) == set(usable)


def test_what_was_cut_short_in_replacing_a_folder_is_mended(words: Words, tmp_path: Path) -> None:
    aside, out = tmp_path / ".scores.replaced", tmp_path / "scores"
    aside.mkdir()
    (aside / "part-00000.parquet").write_text("yesterday's")
    assert run(words("scores/", "--memory", "1KB")) == 2  # nothing is done, and the folder is back
    assert (out / "part-00000.parquet").read_text() == "yesterday's"
    aside.mkdir()
    assert run(words("scores/")) == 0
    assert not aside.exists()


@pytest.mark.parametrize("out", ["{orders}/", "{orders}/scores.parquet", "{orders}/..//", "./"])
def test_the_orders_are_never_replaced(
    words: Words, orders: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    before = files(orders)
    assert run(words(out.format(orders=orders))) == 2
    assert files(orders) == before
    assert "fault of clv" not in capsys.readouterr().err


def test_what_is_not_ours_is_never_deleted(words: Words, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scores.partial").mkdir()
    (tmp_path / "scores.partial" / "notes.txt").write_text("mine")
    assert run(words("scores/", *LITTLE)) == 2
    assert "holds other files: notes.txt" in " ".join(capsys.readouterr().err.split())
    assert (tmp_path / "scores.partial" / "notes.txt").read_text() == "mine"
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").write_text("mine")
    for out in ("link/", "file/"):
        assert run(words(out)) == 2
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "mine"


def test_orders_in_a_folder_of_parts_are_no_earlier_run(words: Words, orders: Path, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    log = (orders / "0.parquet").read_bytes()
    (tmp_path / "own" / "part-00000.parquet").write_bytes(log)
    assert run(words("own/")) == 2
    assert (tmp_path / "own" / "part-00000.parquet").read_bytes() == log


@pytest.mark.parametrize("more", [[], LITTLE], ids=["in one piece", "in parts"])
def test_a_link_stays_one_and_its_file_is_written(words: Words, tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real.parquet").write_text("yesterday's")
    (tmp_path / "scores.parquet").symlink_to(tmp_path / "elsewhere" / "real.parquet")
    assert run(words("scores.parquet", *more)) == 0
    assert (tmp_path / "scores.parquet").is_symlink()
    assert pq.read_table(tmp_path / "elsewhere" / "real.parquet").num_rows > 75_000
    assert files(tmp_path / "elsewhere") == ["real.parquet"]


@pytest.mark.parametrize("damaged", ["fingerprint.json", "orders/parts.json"])
def test_notes_that_a_power_cut_emptied_are_begun_again(
    words: Words, tmp_path: Path, interrupted_at: Interrupted, damaged: str
) -> None:
    interrupted_at(2)
    assert run(words("scores.parquet", "--memory", "500MB")) == 130
    note = tmp_path / "scores.parquet.partial" / damaged
    if not note.exists():  # the orders waited in memory
        note.parent.mkdir(exist_ok=True)
    note.write_text("")
    assert run(words("scores.parquet", *LITTLE, "--resume")) == 0
    assert pq.read_table("scores.parquet").num_rows > 75_000
    assert not (tmp_path / "scores.parquet.partial").exists()


def test_memory_is_honoured_under_a_hard_limit(words: Words, tmp_path: Path) -> None:
    limit = memory_bytes("700MB")

    def within() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    environment = {**os.environ, "MIMALLOC_ARENA_RESERVE": "64MiB"}  # else it reserves a gigabyte that it never uses
    subprocess.run([CLV, *words("scores/", *LITTLE)], cwd=tmp_path, env=environment, check=True, preexec_fn=within)
    assert pq.read_table("scores").num_rows > 75_000


def test_memory_is_read_as_people_write_it() -> None:
    assert memory_bytes("4GB") == memory_bytes("4000 mb") == 4 * 10**9
    for wrong in ("4", "GB", "-1GB", "300MB"):
        with pytest.raises(UsageError, match="--memory"):
            memory_bytes(wrong)
