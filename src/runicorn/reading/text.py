"""The lines of ``logs.txt``, and of those that other hosts have written beside it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

from runicorn import rundir
from runicorn.reading.plain_files import DamagedError, open_inside

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK_BYTES = 256 * 1024


def lines_of_run(run_dir: str, last: int | None, *, is_live: bool) -> Iterator[str]:
    """Each line without its newline; those of other hosts come behind, with ``[host]`` before each.

    Args:
        run_dir: the run's directory.
        last: only so many, the last ones; None = all.
        is_live: a last line without its newline is half written, and left out.
    """
    files = _files(run_dir)
    if last is None:
        for name, mark in files:
            yield from _lines(run_dir, name, mark, is_live=is_live)
        return
    found: list[str] = []
    for name, mark in reversed(files):
        found = _last_lines(run_dir, name, mark, last - len(found), is_live=is_live) + found
        if len(found) >= last:
            break
    yield from found


def _files(run_dir: str) -> list[tuple[str, str]]:
    """The text files, with what marks their lines."""
    prefix, suffix = rundir.LOGS.split(".")
    try:
        names = os.listdir(run_dir)
    except OSError:
        names = []
    hosts = sorted(
        name[len(prefix) + 1 : -len(suffix) - 1]
        for name in names
        if name.startswith(f"{prefix}.") and name.endswith(f".{suffix}") and name != rundir.LOGS
    )
    return [(rundir.LOGS, ""), *((f"{prefix}.{host}.{suffix}", f"[{host}] ") for host in hosts if host)]


def _lines(run_dir: str, name: str, mark: str, *, is_live: bool) -> Iterator[str]:
    try:
        with open_inside(run_dir, name) as file:
            pieces: list[bytes] = []
            while block := file.read(_BLOCK_BYTES):
                first, *others = block.split(b"\n")
                pieces.append(first)
                if others:
                    yield _text(b"".join(pieces), mark)
                    yield from (_text(line, mark) for line in others[:-1])
                    pieces = [others[-1]]
            rest = b"".join(pieces)
            if rest and not is_live:
                yield _text(rest, mark)
    except (OSError, DamagedError):  # as one that is not there
        return


def _last_lines(run_dir: str, name: str, mark: str, last: int, *, is_live: bool) -> list[str]:
    if last <= 0:
        return []
    try:
        with open_inside(run_dir, name) as file:
            content = _end_of(file, last)
    except (OSError, DamagedError):
        return []
    *lines, rest = content.split(b"\n")
    if rest and not is_live:
        lines.append(rest)
    return [_text(line, mark) for line in lines[-last:]]


def _end_of(file: BinaryIO, last: int) -> bytes:
    """So much of the end of a file that it has that many whole lines."""
    at = os.fstat(file.fileno()).st_size
    blocks: list[bytes] = []
    newlines = 0
    while at > 0 and newlines <= last + 1:
        size = min(_BLOCK_BYTES, at)
        at -= size
        file.seek(at)
        block = file.read(size)
        blocks.insert(0, block)
        newlines += block.count(b"\n")
    content = b"".join(blocks)
    return content[content.find(b"\n") + 1 :] if at > 0 else content


def _text(line: bytes, mark: str) -> str:
    return mark + line.decode("utf-8", "backslashreplace")
