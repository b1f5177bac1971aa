"""What a fresh process costs: CPU, wall and peak memory of its whole tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

JOBS = Path(__file__).with_name("speed_jobs.py")
EVERY_SECONDS = 0.05


@dataclass(frozen=True)
class Run:
    """One process that ended.

    Attributes
    ----------
    cpu_s
        User and system time of the process and its children, start of the interpreter and imports included.
    start_cpu_s
        The part of it before the job began; NaN where the process does not say.
    peak_mb
        Largest resident memory; of all processes together where there were several.
    failed
        The error that it spoke of, where it did not end well.
    told
        What the job printed.
    """

    cpu_s: float
    start_cpu_s: float
    wall_s: float
    peak_mb: float
    failed: str = ""
    told: Mapping[str, Any] = field(default_factory=dict)

    @property
    def job_cpu_s(self) -> float:
        """CPU without what came before the job."""
        return self.cpu_s - self.start_cpu_s

    def told_by(self, path: Path) -> Run:
        """The same with what the process wrote to a file of JSON, if it ended well."""
        return self if self.failed else replace(self, told=json.loads(path.read_text()))


def job(*words: str, python: str = sys.executable, limit_bytes: int | None = None) -> Run:
    """Run a job of `speed_jobs.py` in a fresh interpreter."""
    return measured([python, str(JOBS), *words], limit_bytes=limit_bytes)


def asked(*words: str, python: str = sys.executable) -> dict[str, Any]:
    """What a job has to say; SystemExit when it fails."""
    run = job(*words, python=python)
    if run.failed:
        raise SystemExit(f"{' '.join(words[:2])}: {run.failed}")
    return dict(run.told)


def measured(
    words: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    limit_bytes: int | None = None,
    cwd: Path | None = None,
) -> Run:
    """Run a command to its end; `limit_bytes` bounds the data of each process, and what is beyond it fails.

    Modules stay compiled, for everyone alike, as they do unless a shell forbids it.
    """
    compiled = {name: value for name, value in (env or os.environ).items() if name != "PYTHONDONTWRITEBYTECODE"}
    limited = ["prlimit", f"--data={limit_bytes}"] if limit_bytes else []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        process = subprocess.Popen([*limited, *words], stdout=out, stderr=err, env=compiled, cwd=cwd)
        try:
            peak = _watch(process.pid)
        except BaseException:
            process.kill()
            raise
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = [stream.seek(0) or stream.read().decode(errors="replace") for stream in (out, err)]
    told = _told(texts[0])
    failed = "" if process.returncode == 0 else _cause(texts[1], process.returncode)
    cpu, start = usage.ru_utime + usage.ru_stime, told.pop("start_cpu_s", float("nan"))
    return Run(cpu, start, wall, max(usage.ru_maxrss / 1024.0, peak), failed, told)


def _watch(pid: int) -> float:
    """Wait until a process has ended; the largest memory that it had together with its children, MB, 0 without any."""
    peak, process = 0.0, psutil.Process(pid)
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        try:
            children = process.children(recursive=True)
            if children:
                peak = max(peak, sum(one.memory_info().rss for one in (process, *children)) / 2**20)
        except psutil.Error:
            pass  # one of them has just ended
        time.sleep(EVERY_SECONDS)
    return peak


def _told(text: str) -> dict[str, Any]:
    """The JSON object of the last line, if there is one."""
    lines = text.strip().splitlines()
    return dict(json.loads(lines[-1])) if lines and lines[-1].startswith("{") else {}


def _cause(text: str, code: int) -> str:
    """The last error that a process spoke of, on however many lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [f"exit code {code}"]
    errors = [place for place, line in enumerate(lines) if "Error" in line]
    return " ".join(lines[errors[-1] if errors else -1 :])[:200]
