"""``runicorn tail``: show the last lines of a run's log, and follow it until the run ends."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

from runicorn.commands import described, render
from runicorn.commands.following import FollowedFile
from runicorn.commands.options import add_run, add_storage, count, the_run
from runicorn.reading import lenient, plain_text
from runicorn.reading.info import LOST, RunInfo
from runicorn.reading.listing import find
from runicorn.reading.long_lines import LONGEST_EVENT_BYTES, LONGEST_TEXT_BYTES
from runicorn.reading.system_file import SystemDecoder
from runicorn.storage import run_files, statuses
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

HELP = "show the last lines of a run, and follow it"

_LINES = 20
_POLL_S = 0.2
_MOST_AT_ONCE = 100
"""Lines of numbers that a terminal is given at a time: of more, nobody reads the first."""
_COLOURS = re.compile(r"\x1b\[[0-9;:]*[mK]")
_MAIN = (run_files.LOGS, run_files.EVENTS, run_files.SYSTEM)
_PREFIX, _SUFFIX = run_files.LOGS.split(".")
_EVENTS, _EVENTS_SUFFIX = run_files.EVENTS.split(".")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and what of it."""
    add_run(parser)
    add_storage(parser)
    parser.add_argument(
        "-n",
        "--lines",
        type=count,
        default=_LINES,
        metavar="N",
        help=f"number of lines to begin with (default: {_LINES})",
    )
    parser.add_argument("-f", "--follow", action="store_true", help="follow the run until it ends")
    parser.add_argument("--no-metrics", action="store_true", help="show only text")
    parser.add_argument("--system", action="store_true", help="also show what the machine did")
    parser.add_argument("--no-text", action="store_true", help="show only metrics")


def run(options: argparse.Namespace) -> int:
    """Show what is there; where it is followed, also what comes."""
    info = the_run(options.run, options)
    text, metrics = not options.no_text, not options.no_metrics
    shown = ShownFiles(info.run_dir, options.lines, text=text, metrics=metrics, system=options.system)
    while True:
        if options.follow:
            info = find(info)  # before the files are read: a run that has ended gets no lines any more
        any_new = shown.print_new()
        if info.status != statuses.RUNNING and not any_new:
            shown.print_rests()
        sys.stdout.flush()
        if not options.follow:
            return 0
        if info.status != statuses.RUNNING and not any_new:
            described.say(_ending(info, shown.unread))
            return 0
        time.sleep(_POLL_S)


class ShownFiles:
    """The files of a run that are followed, and how far they were printed.

    Args:
        run_dir: the run's directory.
        lines: of text, that come first, of each file.
        text: print ``logs.txt`` and those of other hosts.
        metrics: print the events files: of the main one its last line, then what comes in any of them.
        system: print what the machines did, likewise.

    Attributes:
        unread: how many lines of numbers could not be read.
    """

    def __init__(self, run_dir: str, lines: int, *, text: bool, metrics: bool, system: bool = False) -> None:
        self.unread = 0
        self._run_dir = run_dir
        self._text, self._metrics, self._system = text, metrics, system
        self._files: dict[str, FollowedFile] = {}
        for name in self._names():
            of_events = 1 if name in {run_files.EVENTS, run_files.SYSTEM} else 0
            self._files[name] = self._followed(name, lines if _is_text(name) else of_events)

    def print_new(self) -> bool:
        """Print what is new in any of the files; whether there was anything."""
        found = False
        for name in self._names():
            file = self._files.get(name)
            if file is None:
                file = self._files[name] = self._followed(name, None)
            for line in self._printable(file):
                print(line)
                found = True
        return found

    def print_rests(self) -> None:
        """Print last lines without a newline, of a run that has ended."""
        for file in self._files.values():
            rest = file.rest()
            for line in self._texts(file.name, rest) if rest else ():
                print(line)

    def _followed(self, name: str, last: int | None) -> FollowedFile:
        longest_bytes = LONGEST_TEXT_BYTES if _is_text(name) else LONGEST_EVENT_BYTES
        return FollowedFile(self._run_dir, name, last, longest_bytes)

    def _printable(self, file: FollowedFile) -> Iterator[str]:
        lines = (text for line in file.new_lines() for text in self._texts(file.name, line))
        if _is_text(file.name) or not sys.stdout.isatty():
            yield from lines
            return
        kept: deque[str] = deque(maxlen=_MOST_AT_ONCE)
        left_out = -_MOST_AT_ONCE
        for line in lines:
            kept.append(line)
            left_out += 1
        if left_out > 0:
            yield f"... left out: {counted(left_out, 'line')} of numbers that came too fast to be read"
        yield from kept

    def _texts(self, name: str, line: bytes) -> Iterator[str]:
        mark = _mark(name)
        if _is_text(name):
            text = _COLOURS.sub("", line.decode("utf-8", "backslashreplace").rstrip("\r"))
            yield mark + plain_text.plain(text, keep="\t")
            return
        problems: list[tuple[int, str]] = []
        if run_files.host_of_system_file(name) is not None:
            yield mark + machine_line(line)
            return
        for each in lenient.read(line, 0, [], problems):
            yield mark + metrics_line(each)
        self.unread += len(problems)

    def _names(self) -> list[str]:
        try:
            # The main files first, as the reader has them.
            names = sorted(os.listdir(self._run_dir), key=lambda name: (name not in _MAIN, name))
        except OSError:
            return []
        text = [name for name in names if self._text and _is_text(name)]
        machines = [name for name in names if self._system and run_files.host_of_system_file(name) is not None]
        return text + [name for name in names if self._metrics and _is_events(name)] + machines


def metrics_line(line: lenient.Line) -> str:
    """The numbers of one ``log()``: ``step 12 loss=0.42 acc=0.8``."""
    stage = f" ({plain_text.plain(line.stage)})" if line.stage else ""
    values = " ".join(f"{plain_text.plain(name)}={plain_text.number(value)}" for name, value in line.data.items())
    return f"step {line.step}{stage} {values}"


def machine_line(line: bytes) -> str:
    """The numbers of one sample that say most: ``machine tree/cpu_percent=187.3 gpu0/utilization_percent=98``."""
    block = SystemDecoder("").decode(line)
    pairs = ((name, values[0]) for rows in block.rows for name, values in zip(rows.names, rows.columns, strict=True))
    shown = [f"{plain_text.plain(name)}={plain_text.number(value)}" for name, value in pairs if _TELLING.search(name)]
    return f"machine {' '.join(shown)}"


_TELLING = re.compile(
    r"tree/(?:cpu_percent|rss_bytes)$|(?:host|cgroup)/(?:cpu|memory)_percent$|/utilization_percent$|^gpu.*/memory_bytes$"
)


def _is_text(name: str) -> bool:
    return name == run_files.LOGS or (name.startswith(f"{_PREFIX}.") and name.endswith(f".{_SUFFIX}"))


def _is_events(name: str) -> bool:
    return name == run_files.EVENTS or (name.startswith(f"{_EVENTS}.") and name.endswith(f".{_EVENTS_SUFFIX}"))


def _mark(name: str) -> str:
    """What tells the lines of a file from those of the main one: its rank, or its host."""
    if name in _MAIN:
        return ""
    if run_files.is_events_of_rank(name):
        return f"[rank {name.split('.')[1].removeprefix('rank')}] "
    return f"[{plain_text.plain(name.partition('.')[2].rpartition('.')[0])}] "


def _ending(info: RunInfo, unread: int) -> str:
    after = f" after {render.duration(info.duration_s)}" if info.duration_s is not None else ""
    reason = f": {plain_text.plain(info.exit_reason)}" if info.exit_reason else ""
    text = f"The run has ended: {info.status}{after}{reason}."
    if info.status == LOST:
        text = f"The run is lost: its processes are gone. Save its records with:\n  {described.repair(info.storage)}"
    elif info.status not in statuses.FINAL:
        text = "The status of the run cannot be read, so the run is not followed."
    return f"{text}\n{counted(unread, 'line')} of numbers could not be read." if unread else text
