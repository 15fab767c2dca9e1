"""Questions about a whole run that its events file answers: asked once, when a run is resumed or a metric set late."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.storage.plain_json import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BLOCK_BYTES = 4 * 1024 * 1024
_TAIL_BYTES = 64 * 1024


class _Event(msgspec.Struct):
    ts: float = 0.0
    type: str = ""
    data: dict[str, Any] = {}
    producer: str | None = None


_decode = msgspec.json.Decoder(_Event).decode


def values_of(lines: Iterable[bytes], metric: str) -> Iterator[tuple[Any, int]]:
    """Each value of a metric with its step, in the order of the lines."""
    needle = msgspec.json.encode(metric)
    for line in lines:
        if needle in line:
            data = _metrics(line).data
            if metric in data:
                yield data[metric], data.get("global_step", 0)


def highest_step(lines: Iterable[bytes]) -> int | None:
    """The highest step that the run's owner logged; None where there is none."""
    highest: int | None = None
    for line in lines:
        event = _metrics(line)
        step = event.data.get("global_step")
        if type(step) is int and event.producer is None and (highest is None or step > highest):
            highest = step
    return highest


def steps_of(lines: Iterable[bytes], since_s: float) -> Iterator[int]:
    """The steps that the run's owner has logged since a time, epoch seconds."""
    for line in lines:
        event = _metrics(line)
        step = event.data.get("global_step")
        if type(step) is int and event.producer is None and event.ts >= since_s:
            yield step


def newest_step(fd: int) -> int | None:
    """The step of the last whole line of a file; None where there is none."""
    size = os.fstat(fd).st_size
    newest = b""
    for line in lines_of(fd, size, max(0, size - _TAIL_BYTES)):
        newest = line
    step = _metrics(newest).data.get("global_step")
    return step if type(step) is int else None


def host_of(fd: int) -> str | None:
    """The host whose process has written the first line of a rank's events file; None where that does not say."""
    for line in lines_of(fd, _BLOCK_BYTES):
        return (_metrics(line).producer or "").rpartition("-")[0] or None
    return None


def lines_of(fd: int, stop_bytes: int, start_bytes: int = 0) -> Iterator[bytes]:
    """The whole lines of a file, from ``start_bytes`` up to ``stop_bytes``."""
    os.lseek(fd, start_bytes, os.SEEK_SET)
    rest = b""
    left = stop_bytes - start_bytes
    while left > 0:
        block = os.read(fd, min(_BLOCK_BYTES, left))
        if not block:
            break
        left -= len(block)
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _metrics(line: bytes) -> _Event:
    try:
        event = _decode(line)
    except UNREADABLE:
        event = _decode_leniently(line)
    return event if event.type == "metrics" else _Event()


def _decode_leniently(line: bytes) -> _Event:
    """Bare NaN and Infinity, as 0.7.2 writes them; an empty event for a line that is torn."""
    import json

    try:
        return msgspec.convert(json.loads(line), _Event)
    except (ValueError, RecursionError):
        return _Event()
