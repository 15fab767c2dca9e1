"""What a writer has sampled of its machine, read as an events file is: followed, kept as columns, drawn as curves.

A line has a time and numbers, and no step. Its step is the time in milliseconds, so that samples are in order. Names
get ``system/`` before them, and those of other hosts the host too.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.reading.decoding import Block, Decoder, split_lines, wide_rows
from runicorn.reading.events import EventsFile
from runicorn.reading.lenient import Line
from runicorn.storage import run_files
from runicorn.storage.plain_json import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading.cache import Cache

PREFIX = "system/"
_TIME = "time"
_MOST_S = 1e12
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class SystemDecoder(Decoder):
    """Decodes the blocks of one file.

    Args:
        prefix: stands before each name.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def decode(self, block: bytes) -> Block:
        """Decode a block of lines."""
        lines, problems, offset = list[Line](), list[tuple[int, str]](), 0
        for text in split_lines(block):
            if text.strip():
                line = self._line(text)
                if line is None:
                    problems.append((offset, "no sample of a machine: an object with a time and numbers"))
                else:
                    lines.append(line)
            offset += len(text)
        return Block(wide_rows(lines) if lines else [], [], problems)

    def _line(self, text: bytes) -> Line | None:
        try:
            content = _decode(text)
        except UNREADABLE:
            return None
        time_s = content.pop(_TIME, None)
        if not isinstance(time_s, (int, float)) or not abs(time_s) < _MOST_S:
            return None
        numbers = {
            self._prefix + name: value
            for name, value in content.items()
            if isinstance(value, (int, float)) and not isinstance(value, bool)
        }
        return Line(int(time_s * 1000), float(time_s), None, None, None, numbers, False)


class SystemFile(EventsFile):
    """``system.jsonl``, or that of another host."""

    def __init__(self, run_dir: str, name: str, cache: Cache) -> None:
        host = run_files.host_of_system_file(name)
        self._prefix = f"{PREFIX}{host}/" if host else PREFIX
        super().__init__(run_dir, name, cache)

    def _new_decoder(self, names: Sequence[str]) -> Decoder:  # noqa: ARG002 - it learns none
        return SystemDecoder(self._prefix)


def system_files(run_dir: str) -> list[str]:
    """The names of those files of a run: the main host's first."""
    try:
        names = os.listdir(run_dir)
    except OSError:
        return []
    return sorted(
        (name for name in names if run_files.host_of_system_file(name) is not None),
        key=lambda name: (name != run_files.SYSTEM, name),
    )
