"""The lines of ``logs.txt``, and of those that other hosts have written beside it."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from runicorn.reading.long_lines import LONGEST_TEXT_BYTES, LineReader, start_of_last
from runicorn.reading.plain_files import DamagedError, open_inside
from runicorn.storage import run_files

if TYPE_CHECKING:
    from collections.abc import Iterator


def lines_of_run(run_dir: str, last: int | None, *, is_live: bool) -> Iterator[str]:
    """Each line without its newline; those of other hosts come behind, with ``[host]`` before each.

    Args:
        run_dir: the run's directory.
        last: only so many, the last ones; None = all.
        is_live: a last line without its newline is half written, and left out.
    """
    found_files = files(run_dir)
    if last is None:
        for name, mark in found_files:
            yield from _lines(run_dir, name, mark, is_live=is_live)
        return
    found: list[str] = []
    for name, mark in reversed(found_files):
        found = _last_lines(run_dir, name, mark, last - len(found), is_live=is_live) + found
        if len(found) >= last:
            break
    yield from found


def files(run_dir: str) -> list[tuple[str, str]]:
    """The text files, with what marks their lines."""
    prefix, suffix = run_files.LOGS.split(".")
    try:
        names = os.listdir(run_dir)
    except OSError:
        names = []
    hosts = sorted(
        name[len(prefix) + 1 : -len(suffix) - 1]
        for name in names
        if name.startswith(f"{prefix}.") and name.endswith(f".{suffix}") and name != run_files.LOGS
    )
    return [(run_files.LOGS, ""), *((f"{prefix}.{host}.{suffix}", f"[{host}] ") for host in hosts if host)]


def _lines(run_dir: str, name: str, mark: str, *, is_live: bool) -> Iterator[str]:
    yield from _lines_from(run_dir, name, mark, None, is_live=is_live)


def _last_lines(run_dir: str, name: str, mark: str, last: int, *, is_live: bool) -> list[str]:
    return list(deque(_lines_from(run_dir, name, mark, last, is_live=is_live), max(0, last))) if last > 0 else []


def _lines_from(run_dir: str, name: str, mark: str, last: int | None, *, is_live: bool) -> Iterator[str]:
    """All lines, or at least the last so many."""
    reader = LineReader(LONGEST_TEXT_BYTES)
    try:
        with open_inside(run_dir, name) as file:
            size = os.fstat(file.fileno()).st_size
            if last is not None:
                reader.restart(start_of_last(file, size, last))
            for line in reader.lines(file, size):
                yield _text(line, mark)
    except (OSError, DamagedError):  # as one that is not there
        return
    rest = reader.rest()
    if rest and not is_live:
        yield _text(rest, mark)


def _text(line: bytes, mark: str) -> str:
    return mark + line.decode("utf-8", "backslashreplace")
