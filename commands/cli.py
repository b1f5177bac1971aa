"""`clv`: the list of what one can do. Each command lives in its own file: parse, call, print."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from typing import Annotated, Final

import typer

import features
from commands.backtest import backtest
from commands.bundle import bundle
from commands.console import say
from commands.features import features as features_
from commands.follow import follow
from commands.promote import promote, rollback
from commands.score import score
from commands.serve import serve
from commands.train import train
from features.errors import ClvError

INTERRUPTED = 130
_SEVERAL: Final = {"--horizon-days": r"\d+", "--as-of": r"\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?"}
"""Options that may be followed by several values, `--as-of` of a backtest alone, and what a further one looks like."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="What each customer will be worth, predicted from an order log.",
)
app.command()(train)
app.command()(backtest)
app.command()(promote)
app.command()(rollback)
app.command()(score)
app.command("features")(features_)
app.command()(serve)
app.command()(follow)
app.command()(bundle)


def _version(*, asked: bool) -> None:
    if asked:
        print(features.__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_version)
    ] = False,
) -> None: ...


def main() -> None:
    """Run a command; every error is one sentence on stderr and an exit code, never a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's: cleaned up after, as after Ctrl-C
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without some character shows `?` in its place
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Exit code of a command line: 0 done, 1 the data or a gate says no, 2 wrong use, 130 interrupted."""
    try:
        code = app(_one_by_one(arguments), standalone_mode=False, prog_name="clv") or 0
    except ClvError as error:
        say(f"Error: {error}")
        return error.exit_code
    except typer.TyperException as error:  # the words themselves are wrong
        if error.format_message():
            say(f"Error: {error.format_message()} See clv --help, or clv COMMAND --help.")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except Exception as error:
        if os.environ.get("CLV_DEBUG"):
            raise
        say(f"Error: {_unexpected(error)}")
        return 1
    if code == INTERRUPTED:
        say("Interrupted. Nothing was left half done.")
    return int(code)


def _one_by_one(arguments: list[str]) -> list[str]:
    """`--horizon-days 30 90` as `--horizon-days 30 --horizon-days 90`."""
    done: list[str] = []
    for word in arguments:
        option = done[-2] if len(done) > 1 else ""
        takes_several = option in _SEVERAL and (option != "--as-of" or done[0] == "backtest")
        if takes_several and re.fullmatch(_SEVERAL[option], word):
            done.append(option)
        done.append(word)
    return done


def _unexpected(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):  # as on a machine that only serves
        return f"{error.name} is not installed: this command needs all of requirements/all.lock."
    return f"unexpected {type(error).__name__}. This is a fault of clv; CLV_DEBUG=1 shows where it happened."
