"""What the tests share: reading a run's files, waiting with a deadline, stopping a run's writer.

Programs that tests start import it as well.
"""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from support.waiting import PAUSE, holds_within, settled, wait_until  # noqa: F401 - tests have them from here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn import Run

WRITER = "runicorn.writer.main"


def directory_of(run: Run | Path | str) -> Path:
    """The directory of a run; of a path, that path."""
    return Path(getattr(run, "run_dir", run))


def json_lines(run: Run | Path | str, name: str = "events.jsonl") -> list[dict[str, Any]]:
    """Every line of a file, each of which is valid JSON and whole; a write that is under way is waited for."""
    path = directory_of(run) / name
    if not path.exists():
        return []
    read: list[bytes] = []

    def is_whole() -> bool:
        read[:] = path.read_bytes().split(b"\n")
        return not read.pop()

    wait_until(is_whole, what=f"{path} ends in a whole line")
    return [json.loads(line, parse_constant=_not_json) for line in read]


def events(run: Run | Path | str, name: str = "events.jsonl") -> list[dict[str, Any]]:
    """The lines of ``events.jsonl``, or of another host's events file."""
    return json_lines(run, name)


def logged(run: Run | Path | str) -> list[dict[str, Any]]:
    """The metrics of each ``log()``, without step, time and stage."""
    ours = {"global_step", "time", "stage"}
    return [{k: v for k, v in line["data"].items() if k not in ours} for line in events(run)]


def steps(run: Run | Path | str) -> list[int]:
    """The step of each ``log()``."""
    return [line["data"]["global_step"] for line in events(run)]


def content(run: Run | Path | str, name: str) -> dict[str, Any]:
    """A JSON file of the run directory; empty where it is not there."""
    path = directory_of(run) / name
    if not path.exists():
        return {}
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_json)


def status(run: Run | Path | str) -> dict[str, Any]:
    """``status.json``."""
    return content(run, "status.json")


def meta(run: Run | Path | str) -> dict[str, Any]:
    """``meta.json``."""
    return content(run, "meta.json")


def summary(run: Run | Path | str) -> dict[str, Any]:
    """``summary.json``, without what tracking has cost."""
    found = content(run, "summary.json")
    found.pop("runicorn", None)
    return found


def best(run: Run | Path | str) -> tuple[Any, ...]:
    """Name, mode, value and step of the best metric in ``summary.json``; Nones where there is none."""
    fields = summary(run)
    return tuple(fields.get(f"best_metric_{part}") for part in ("name", "mode", "value", "step"))


def text_of(run: Run | Path | str) -> str:
    """``logs.txt``."""
    path = directory_of(run) / "logs.txt"
    return path.read_text(encoding="utf-8") if path.exists() else ""


def warnings_in(caplog: Any) -> list[str]:
    """What was told through the logger ``runicorn``."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "runicorn" and record.levelno >= logging.WARNING
    ]


def without_waiting(told: str) -> str:
    """What was said on stderr, but for the line by which ``finish()`` tells, after a second, what it waits for."""
    return "".join(line for line in told.splitlines(keepends=True) if not line.startswith("runicorn: waiting until"))


def writers(spool: str) -> list[psutil.Process]:
    """The writer processes of a spool."""
    found = []
    for process in psutil.process_iter():
        line = command_line(process)
        # What starts it, a shell, has the same words for a moment.
        if spool in line and Path(line[0]).name != "sh" and any(WRITER in word for word in line):
            found.append(process)
    return found


def writer_of(run: Run) -> psutil.Process:
    """The writer of an open run, once it has begun its loop."""
    wait_until(lambda: run._session.control.heartbeat > 0, what="the writer's first tick")
    (process,) = writers(run._session.address.spool)
    return process


@contextmanager
def stopped_writer(run: Run) -> Iterator[psutil.Process]:
    """For as long as the block runs, nothing is stored."""
    process = writer_of(run)
    process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED, what="the writer is stopped")
        yield process
    finally:
        process.send_signal(signal.SIGCONT)


def command_line(process: psutil.Process) -> list[str]:
    """Its words; none where it has ended or is somebody else's."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _not_json(token: str) -> Any:
    raise AssertionError(f"{token} is not JSON")


@contextmanager
def started_command(*arguments: object, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """The ``runicorn`` command in a process of its own, which does not outlive the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "runicorn", *map(str, arguments)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
