"""The console script as its user meets it: words, exit codes, and nothing half done."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import features
from commands.cli import run
from training.simulation import SHOPS, simulate

CLV = str(Path(sys.executable).with_name("clv"))


@pytest.fixture
def small_csv(tmp_path: Path) -> str:
    shop = simulate(300, 300, seed=9)
    at = pd.Timestamp("2023-01-01") + pd.to_timedelta(shop.day, unit="D")
    frame = pd.DataFrame({"customer_id": shop.customer, "ordered_at": at.round("s"), "amount": shop.amount})
    path = tmp_path / "orders.csv"
    frame.to_csv(path, index=False)
    return str(path)


def test_the_whole_path(home: Path, small_csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", small_csv, "--horizon-days", "30", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["horizons"] == [30]
    assert {"clv", "carry_forward", "bgnbd_gamma_gamma", "rfm_score"} == set(document["cutoffs"][0]["models"])
    code = run(["promote"])
    told = capsys.readouterr().err
    holds = all(verdict["holds"] for verdict in document["gate"])
    assert (code, "not promoted" in told) == ((0, False) if holds else (1, True))
    version = [] if code == 0 else ["--version", "1"]
    assert run(["score", small_csv, "--out", str(tmp_path / "s.parquet"), *version]) == 0
    assert pq.read_table(tmp_path / "s.parquet").num_rows == 300
    assert run(["bundle", str(tmp_path / "b"), *version]) == 0
    assert (tmp_path / "b" / "manifest.json").is_file()
    assert run(["score", small_csv, "--out", str(tmp_path / "t.parquet"), "--name", "nope"]) == 1
    assert "Registered: clv" in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert run(["score", small_csv, "--out", str(tmp_path / "u.csv"), "--as-of", "2025-01-01", *version]) == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert (
        "The log is complete only until 2023-10-28T00:00:00Z: from then to 2025-01-01T00:00:00Z every customer" in told
    )
    assert not re.search("days old|before the model was trained", told)
    assert run(["score", small_csv, "--out", str(tmp_path / "u.csv"), *version]) == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert re.search(r"The last order is [\d,]+ days old: the scores are of the midnight after it, not of today", told)
    assert run(["score", small_csv, "--out", str(tmp_path / "u.csv"), "--as-of", "2023-10-01", *version]) == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "trained on 2023-10-28T00:00:00Z" in told
    assert "That is before the model was trained" in told
    assert "days old" not in told


def test_what_refunds_took_beyond_the_orders_stands_beside_the_total(
    home: Path, small_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["backtest", small_csv, "--horizon-days", "30", "--as-of", "2023-08-01"]
    assert run(command) == 0
    assert "Beside it stand" not in capsys.readouterr().out
    frame = pd.read_csv(small_csv)
    before = frame[frame.ordered_at < "2023-08-01"].drop_duplicates("customer_id")[::3]
    frame = pd.concat([frame, before.assign(ordered_at="2023-08-05", amount=-500.0)])
    frame.to_csv(small_csv, index=False)
    assert run([*command, "--format", "json"]) == 0
    left_out = json.loads(capsys.readouterr().out)["cutoffs"][0]["left_out_total"]
    assert left_out < -400.0 * len(before)
    assert run(command) == 0
    assert f"Beside it stand {left_out:,.2f}, mostly refunds" in " ".join(capsys.readouterr().out.split())


def test_a_narrow_terminal_cuts_no_figure_off(
    home: Path, small_csv: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert run(["backtest", small_csv, "--horizon-days", "30", "--as-of", "2023-08-01"]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    (ours,) = (line.split() for line in shown.splitlines() if line.startswith(" clv  "))
    assert len(ours) == 9
    words = " ".join(shown.partition("In words: ")[2].split())
    assert re.match(r"clv predicted [\d,.]+ in all, \d+% too (much|little); the tenth of the customers that it", words)
    assert f"brought {ours[7]} of the value" in words
    assert f"{ours[8]} of the customers spent what their 80% interval says." in words


def test_what_looks_wrong_is_asked_about_and_used(
    home: Path, small_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(small_csv, dtype=str)
    frame.loc[len(frame) - 1, "customer_id"] = "007"
    frame.to_csv(small_csv, index=False)
    assert run(["backtest", small_csv, "--horizon-days", "30", "--as-of", "2023-08-01"]) == 0
    told = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "2 customer ids differ from another only by" in told
    assert "differ from another only by zeros in front" in told
    assert ", 0 rejected." in told


@pytest.mark.parametrize(("name", "read"), [("predictions.csv", pd.read_csv), ("predictions.parquet", pd.read_parquet)])
def test_backtest_prints_one_json_document_and_writes_predictions(
    home: Path,
    small_csv: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    read: Callable[[Path], pd.DataFrame],
) -> None:
    out = tmp_path / name
    words = ["backtest", small_csv, "--horizon-days", "30", "--as-of", "2023-08-01", "--format", "json"]
    words += ["--rival", "pareto_nbd", "--margin", "0.5", "--contact-cost", "1"]
    assert run([*words, "--predictions", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    models = document["cutoffs"][0]["models"]
    assert "pareto_nbd" in models
    assert models["clv"]["top10_profit"] < models["clv"]["top20_profit"]
    assert [c["as_of"] for c in document["cutoffs"]] == ["2023-08-01T00:00:00Z"]
    frame = read(out)
    assert len(frame) == document["cutoffs"][0]["n_customers"]
    assert frame.actual.sum() == pytest.approx(document["cutoffs"][0]["actual_total"])
    assert ((frame.lower <= frame.predicted_clv) & (frame.predicted_clv <= frame.upper)).all()
    inside = (frame.lower <= frame.actual) & (frame.actual <= frame.upper)
    assert inside.mean() == pytest.approx(models["clv"]["coverage"])
    assert run(["backtest", small_csv, "--horizon-days", "30"]) == 0
    assert "bgnbd_gamma_gamma" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["train", "{csv}", "--horizon-days", "400"], 2, "longest possible"),
        (["train", "{csv}", "--as-of", "next week"], 2, "not a date"),
        (["train", "{csv}", "--map", "customer_id"], 2, "NAME=COLUMN"),
        (["train", "{csv}", "--map", "customer_id=Nobody"], 1, "no column"),
        (["train", "{csv}", "--format", "xml"], 2, "is not one of 'table', 'json'"),
        (["train", "{csv}", "--timezone", "Mars/Base"], 2, "time zone"),
        (["train", "missing.csv"], 1, "no such file"),
        (["train", "sqlite:///missing.db"], 2, "--table"),
        (["train"], 2, "Missing argument"),
        (["backtest", "{csv}", "--horizon-days", "0"], 2, "greater than or equal to 1"),
        (["backtest", "{csv}", "--horizon-days", "500"], 2, "longest possible"),
        (["backtest", "{csv}", "--horizon-days", "30", "--rival", "oracle"], 2, "lightgbm_tweedie, pareto_nbd"),
        (
            ["backtest", "{csv}", "--horizon-days", "30", "--predictions", "no/p.csv"],
            2,
            "lies in a folder that does not exist",
        ),
        (["backtest", "{csv}", "--horizon-days", "30", "--predictions", "p.json"], 2, "must end in .parquet, .csv or"),
        (["train", "{csv}", "--rejected", "rejected.xlsx"], 2, "must end in .parquet, .csv or .csv.gz"),
        (["backtest", "{csv}", "--horizon-days", "30", "--contact-cost", "nan"], 2, "finite"),
        (["score", "{csv}", "--out", "scores.xlsx"], 2, "ends in"),
        (["score", "{csv}", "--out", "scores.csv"], 1, "No model is registered"),
        (["promote"], 1, "No model is registered"),
        (["rollback"], 1, "No model is registered"),
        (["serve"], 1, "No model is registered"),
        (["serve", "--host", "0.0.0.0"], 2, "API key"),
        (["serve", "--bundle", "nowhere"], 1, "no model in"),
        (["dance"], 2, "No such command"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_errors_are_a_sentence_and_an_exit_code(
    home: Path, small_csv: str, words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([word.replace("{csv}", small_csv) for word in words]) == code
    told = capsys.readouterr().err
    assert says in re.sub(r"\s+", " ", told)
    assert "Traceback" not in told


def test_a_log_without_a_signal_is_told_so_and_not_promoted(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = SHOPS["unpredictable"](250, 300, 4)
    at = (pd.Timestamp("2023-01-01") + pd.to_timedelta(shop.day, unit="D")).round("s")
    frame = pd.DataFrame({"customer_id": shop.customer, "ordered_at": at, "amount": shop.amount})
    frame.to_csv(tmp_path / "orders.csv", index=False)
    assert run(["train", str(tmp_path / "orders.csv"), "--horizon-days", "60"]) == 0
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "No usable signal" in said
    assert "Only 250 customers" in said
    assert run(["promote"]) == 1
    assert "no usable signal" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_rejected_rows_are_written_where_asked(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,ordered_at,amount\na,2024-01-01,1\n,2024-01-01,1\nb,soon,1\n")
    assert run(["train", str(path), "--rejected", str(tmp_path / "rejected.csv")]) in (1, 2)
    rejected = pd.read_csv(tmp_path / "rejected.csv")
    assert rejected[["row", "rule"]].to_numpy().tolist() == [[2, "no_customer"], [3, "unreadable_date"]]
    told = " ".join(capsys.readouterr().err.split())
    assert "2 rejected" in told
    assert "2 rejected rows are in" in told
    assert "Most rejected rows: customer_id is empty. --rejected PATH writes them all." in told


def test_a_log_that_lost_its_amounts_to_a_forgotten_option_is_not_used(
    home: Path, small_csv: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(small_csv)
    german = rows.amount.map("{:,.2f}".format).str.translate(str.maketrans(",.", ".,"))
    rows.assign(amount=german.where(rows.index % 8 == 0, rows.amount)).to_csv("some.csv", index=False, sep=";")
    rows.assign(amount=german).to_csv("all.csv", index=False, sep=";")
    assert run(["train", "some.csv", "--horizon-days", "30"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert told.endswith(
        "story of these customers. Unreadable amounts look like '99,99' (107), '999,99' (13), '9,99' (3). "
        "Where all amounts are written so, say --decimal ,"
    )
    assert run(["train", "all.csv", "--horizon-days", "30", "--decimal", ","]) == 0


def test_scores_of_a_log_that_lost_its_dates_replace_nothing(
    home: Path, small_csv: str, bundle_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(small_csv)
    words = ["score", "some.csv", "--bundle", str(bundle_folder), "--out", "scores.csv"]
    rows.to_csv("some.csv", index=False)
    assert run(words) == 0
    whole = Path("scores.csv").read_bytes()
    spoiled = rows.index % 2 == 0
    rows.assign(ordered_at=rows.ordered_at.str.replace("-", "~").where(spoiled, rows.ordered_at)).to_csv(
        "some.csv", index=False
    )
    for command in (words, ["features", "some.csv", "--out", "scores.csv"]):
        capsys.readouterr()
        assert run([*command, "--rejected", "rejected.csv"]) == 1
        told = " ".join(capsys.readouterr().err.split())
        assert f"Dates of {spoiled.sum():,} of {len(rows):,} rows could not be read, and the others alone" in told
        assert told.endswith("the month as a number, say --dates dmy or mdy.")
        assert Path("scores.csv").read_bytes() == whole
        assert len(pd.read_csv("rejected.csv")) == spoiled.sum()


def test_a_place_for_rejected_rows_is_looked_for_before_any_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["features", "missing.csv", "--out", "features.csv", "--rejected", "no/such/rejected.csv"]) == 2
    assert "--rejected 'no/such/rejected.csv' lies in a folder" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    "words",
    [
        ["features", "some/*.csv", "--out", "some/features.csv"],
        ["features", "some/orders.csv", "--out", "x.csv", "--rejected", "some/orders.csv"],
        ["features", "some/orders.csv", "--out", "x.csv", "--rejected", "./x.csv"],
        ["train", "some/orders.csv", "--rejected", "some/orders.csv"],
        ["backtest", "some/orders.csv", "--horizon-days", "30", "--predictions", "some/orders.csv"],
    ],
)
def test_no_output_replaces_the_orders_or_joins_them(home: Path, small_csv: str, words: list[str]) -> None:
    Path("some").mkdir()
    Path("some/orders.csv").write_bytes(Path(small_csv).read_bytes())
    assert run(words) == 2
    assert Path("some/orders.csv").read_bytes() == Path(small_csv).read_bytes()
    assert [path.name for path in Path("some").iterdir()] == ["orders.csv"]


def test_rejected_rows_are_written_when_none_was_usable(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("customer_id,ordered_at,amount\nb,soon,1\n")
    assert run(["train", str(path), "--rejected", str(tmp_path / "rejected.csv")]) == 1
    assert pd.read_csv(tmp_path / "rejected.csv").rule.tolist() == ["unreadable_date"]


def test_clv_toml_says_how_to_read_and_the_command_line_wins(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shop.csv").write_text("Kunde;Datum;Betrag\na;13.02.2024;1,50\nb;14.02.2024;2,50\n")
    columns = '[columns]\ncustomer_id = "Kunde"\nordered_at = "Datum"\namount = "Nope"\n'
    config = columns + '[orders]\ndates = "dmy"\ndecimal = ","\n'
    (tmp_path / "clv.toml").write_text(config)
    assert run(["train", "shop.csv"]) == 1
    assert run(["train", "shop.csv", "--map", "amount=Betrag"]) in (1, 2)
    assert "2 rows read: 2 valid" in capsys.readouterr().err
    for wrong in ("[orders]\ntimezone = 5\n", "orders = 5\n", '[orders]\ndrop_repeated_lines = "no"\n'):
        (tmp_path / "clv.toml").write_text(wrong)
        assert run(["train", "shop.csv"]) == 2
        assert "must be" in capsys.readouterr().err
    (tmp_path / "clv.toml").write_text("[orders]\ndelimeter = ','\n")
    assert run(["train", "shop.csv"]) == 2
    assert "unknown keys: delimeter" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("command", "sent"), [("train", signal.SIGTERM), ("score", signal.SIGINT)])
def test_ctrl_c_and_a_schedulers_stop_leave_nothing_half_done(
    tmp_path: Path, cdnow_path: Path, cdnow_bundle_folder: Path, command: str, sent: signal.Signals
) -> None:
    environment = {**os.environ, "CLV_HOME": str(tmp_path / "home")}
    more = ["--bundle", str(cdnow_bundle_folder), "--out", "scores.parquet"] if command == "score" else []
    words = [CLV, command, str(cdnow_path), *more]

    def heed_ctrl_c() -> None:  # a test run started in the background of a shell hands "ignore it" down
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=heed_ctrl_c
    ) as process:
        assert process.stderr is not None
        assert "rows read" in process.stderr.readline()  # the log is read: training or scoring begins
        process.send_signal(sent)
        told = process.stderr.read()
    assert process.returncode == 130
    assert "Interrupted" in told
    assert "Traceback" not in told
    assert not [path.name for path in tmp_path.iterdir() if path.name != "home"]


def test_a_terminal_without_a_character_shows_another(small_csv: str, tmp_path: Path) -> None:
    environment = {**os.environ, "CLV_HOME": str(tmp_path / "home"), "PYTHONIOENCODING": "latin-1"}
    words = [CLV, "backtest", small_csv, "--horizon-days", "30", "--as-of", "2023-08-01"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert b"bgnbd_gamma_gamma" in done.stdout
    assert b"?" in done.stdout


def test_a_command_that_only_reads_makes_no_registry(home: Path, small_csv: str) -> None:
    for words in (["score", small_csv, "--out", "scores.csv"], ["bundle", "folder"], ["promote"], ["rollback"]):
        assert run(words) == 1
    assert not (home / "mlflow.db").exists()


def test_an_unwritable_home_is_said_plainly(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLV_HOME", "/dev/null/home")
    assert run(["promote"]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_the_pointer_of_a_service_goes_with_it(home: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "served-1.json"
    pointer.write_text("{}")
    assert (
        run(["follow", str(pointer), "--parent", str(os.getpid())]) == 0
    )  # which is not the process that started this
    assert not pointer.exists()


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{features.__version__}\n"


def test_a_command_that_needs_more_than_is_installed_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as where a bundle is served
    monkeypatch.delitem(sys.modules, "training.registry", raising=False)
    assert run(["promote"]) == 1
    assert "mlflow is not installed: this command needs all of requirements/all.lock" in capsys.readouterr().err


def test_help_lists_every_command_and_answers_at_once() -> None:
    """`clv --help` imports none of the heavy libraries."""
    code = (
        "import sys; from commands.cli import run; run(['--help']); print(sorted(m for m in sys.modules if m in HEAVY))"
    )
    heavy = "HEAVY = {'mlflow', 'pandas', 'lightgbm', 'bentoml', 'sklearn', 'pyarrow', 'matplotlib'}\n"
    done = subprocess.run([sys.executable, "-c", heavy + code], capture_output=True, text=True)
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_features_are_written_without_pandas_a_model_or_a_database(tmp_path: Path) -> None:
    """Their imports would cost more than the work on a small log."""
    orders, out = tmp_path / "orders.csv", tmp_path / "features.parquet"
    orders.write_text("customer_id,ordered_at,amount\na,2024-01-05,10\nb,2024-02-05,x\n,2024-02-06,5\n")
    code = f"import sys; from commands.cli import run; run(['features', {str(orders)!r}, '--out', {str(out)!r}])\n"
    code += "print(sorted({'pandas', 'lightgbm', 'sklearn', 'scipy', 'mlflow', 'sqlalchemy'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert out.exists(), done.stderr
    assert done.stdout.strip().endswith("[]"), done.stdout


def test_every_command_is_in_the_readme(pytestconfig: pytest.Config) -> None:
    from commands.cli import app

    readme = (pytestconfig.rootpath / "README.md").read_text()
    for command in app.registered_commands:
        assert command.callback is not None
        assert f"clv {command.callback.__name__}" in readme


def test_commands_work_beside_a_file_named_like_a_package(tmp_path: Path) -> None:
    for name in ("model.py", "features.py", "serving.py"):
        (tmp_path / name).write_text("raise ImportError('the working folder was imported')\n")
    done = subprocess.run([CLV, "train", "missing.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "no such file" in re.sub(r"\s+", " ", done.stderr)


def test_an_option_may_be_followed_by_several_values(
    home: Path, small_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    moments = ["--as-of", "2023-08-01", "2023-09-01T12:00:00Z", "--format", "json"]
    assert run(["backtest", "--horizon-days", "30", small_csv, *moments]) == 0
    cases = json.loads(capsys.readouterr().out)["cutoffs"]
    assert [case["as_of"] for case in cases] == ["2023-08-01T00:00:00Z", "2023-09-01T12:00:00Z"]
    assert run(["train", small_csv, "--horizon-days", "30", "45", "--name", "other", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["horizons"] == [30, 45]
    assert run(["train", small_csv, "--as-of", "2023-09-01", "2023-09-02"]) == 2
    dated = Path(small_csv).rename(Path(small_csv).with_name("2023-10-28_orders.csv"))
    assert run(["backtest", "--horizon-days", "30", "--as-of", "2023-08-01", dated.name]) == 0


@pytest.mark.parametrize("command", ["train", "backtest"])
def test_a_log_too_short_for_any_horizon_is_the_datas_fault(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = tmp_path / "day.csv"
    path.write_text("customer_id,ordered_at,amount\n" + "".join(f"c{n},2024-01-01,5\n" for n in range(50)))
    assert run([command, str(path), "--horizon-days", "30"]) == 1
    assert "No horizon is possible: bring more history." in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_a_column_that_may_be_the_status_is_told(
    home: Path, small_csv: str, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(small_csv).assign(**{"Financial Status": "paid"})
    frame.to_csv(small_csv, index=False)
    out = str(home.parent / "f.parquet")
    assert run(["features", small_csv, "--out", out]) == 0
    assert "Column 'Financial Status' is not read" in re.sub(r"\s+", " ", capsys.readouterr().err)
    assert run(["features", small_csv, "--out", out, "--map", "status=Financial Status"]) == 0
    assert "is not read" not in capsys.readouterr().err
