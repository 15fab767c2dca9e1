"""From a record to the bytes of a line: pure functions of the record, so that a batch can be built again."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.queue.asset_records import Image
    from runicorn.queue.records import Hello, Metrics, PartialMetrics, Text


class Event(msgspec.Struct, gc=False):
    """A line of ``events.jsonl`` as Runicorn 0.7.2 writes it."""

    ts: float
    type: str
    data: dict[str, Any]


class MarkedEvent(msgspec.Struct, omit_defaults=True):
    """The same with what we add beside ``data``, each only where there is something to say."""

    ts: float
    type: str
    data: dict[str, Any]
    nonfinite: dict[str, str] | None = None
    lost: list[str] | None = None
    producer: str | None = None
    rank: int | None = None


_encoder = msgspec.json.Encoder()
_append = _encoder.encode_into
_encode_lines = _encoder.encode_lines


def add_metrics(records: list[Metrics], hello: Hello, out: bytearray) -> None:
    """Append the lines of ``log()`` calls of one producer: many at a time, because each call of the encoder costs."""
    _complete(records)
    if hello.is_owner and hello.rank is None:
        add_events([Event(record.time, "metrics", record.data) for record in records], out)
    else:
        add_events([_marked(record, hello) for record in records], out)


def add_resolved(record: PartialMetrics, hello: Hello, out: bytearray) -> None:
    """Append the line of one ``log()`` with values from a device; ``missing`` names those that never came."""
    _complete([record])
    add_events([_marked(record, hello, record.missing)], out)


def _complete(records: Sequence[Metrics | PartialMetrics]) -> None:
    """Put step, time and stage behind the values."""
    for record in records:
        data: dict[str, Any] = record.data
        data["global_step"] = record.step
        data["time"] = record.time
        if record.stage is not None:
            data["stage"] = record.stage


def add_events(events: Sequence[Event | MarkedEvent], out: bytearray) -> None:
    """Append a line for each.

    JSON has no NaN: the encoder writes ``null`` for it and for the infinities, and which one it was stands
    under ``nonfinite``. Lines without ``null`` have none.
    """
    lines = _encode_lines(events)
    if lines.rfind(b"null") >= 0:  # find() takes four times as long
        lines = _encode_lines([_with_nonfinite(event) for event in events])
    out += lines


def add_text(record: Text, out: bytearray) -> None:
    """Append the lines of one ``log_text()``: ``HH:MM:SS | text`` for each that is not blank."""
    if record.raw:
        out += record.text.encode("utf-8") + b"\n"
        return
    clock = time.strftime("%H:%M:%S", time.localtime(record.time))
    for line in record.text.split("\n"):
        if line.strip():
            out += f"{clock} | {line}".encode()
        out += b"\n"


def add_printed(lines: list[tuple[float, str]], rank: int | None, out: bytearray) -> None:
    """Append lines of a console: ``[YYYY-MM-DD HH:MM:SS] text``, and the rank behind that where there is one."""
    mark = f"[rank {rank}] " if rank else ""
    for time_s, text in lines:
        if text:
            clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))
            out += f"[{clock}] {mark}{text}".encode("utf-8", "backslashreplace")
        out += b"\n"


def add_image(record: Image, hello: Hello, out: bytearray) -> None:
    """Append the line of one ``log_image()``."""
    data = {"key": record.key, "path": record.path, "step": record.step, "caption": record.caption}
    producer = None if hello.is_owner else hello.producer
    _append(MarkedEvent(record.time, "image", data, producer=producer, rank=hello.rank), out, -1)
    out += b"\n"


def _marked(record: Metrics | PartialMetrics, hello: Hello, missing: list[str] | None = None) -> MarkedEvent:
    producer = None if hello.is_owner else hello.producer
    return MarkedEvent(record.time, "metrics", record.data, lost=missing or None, producer=producer, rank=hello.rank)


def _with_nonfinite(event: Event | MarkedEvent) -> Event | MarkedEvent:
    nonfinite = _nonfinite(event.data)
    if not nonfinite:
        return event
    if isinstance(event, MarkedEvent):
        event.nonfinite = nonfinite
        return event
    return MarkedEvent(event.ts, event.type, event.data, nonfinite=nonfinite)


def _nonfinite(data: dict[str, Any]) -> dict[str, str]:
    return {
        name: nonfinite_name(value) for name, value in data.items() if type(value) is float and not math.isfinite(value)
    }


def nonfinite_name(value: float) -> str:
    """``NaN``, ``Infinity`` or ``-Infinity``."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"
