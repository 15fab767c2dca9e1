"""One line of an events file, read by whatever decoder takes it: for those that no strict decoder takes."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

import msgspec

from runicorn.storage.escaping import escape
from runicorn.storage.plain_json import UNREADABLE
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT

Scalar = float | int | bool | str | None
Origin = tuple[str | None, int | None, str | None]
"""Stage, rank and producer of a line; None where it says none."""

FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_NOT_NAMES = {"global_step", "time", "stage", "step"}
_MARKS = ("rank", "producer", "nonfinite")


class ImageLine(NamedTuple):
    """A line of type ``image``: step, key, caption, path as stored, epoch seconds, rank."""

    step: int | None
    key: str
    caption: str | None
    path: str
    time: float
    rank: int | None = None


class Line(NamedTuple):
    """A line of numbers that was read leniently."""

    step: int
    time: float
    stage: str | None
    rank: int | None
    producer: str | None
    data: dict[str, Any]
    marked: bool


def read(line: bytes, offset: int, images: list[ImageLine], problems: list[tuple[int, str]]) -> list[Line]:
    """The numbers of a line; its images are appended, and what of it cannot be read, with the offset that is given."""
    text = line.strip()
    lines = []
    try:
        for content in _loads(text) if text else []:
            kind, data = content.get("type"), content.get("data")
            if not isinstance(kind, str) or not isinstance(data, dict):
                raise ValueError("it has no type, or no data")  # noqa: TRY301, TRY004 - told as the others
            if kind == "image":
                images.append(_image(content, data))
            elif kind == "metrics":
                parsed, unread = _line(content, data)
                problems.extend((offset, reason) for reason in unread)
                lines.append(parsed)
            # Other types are those of a version to come.
    except ValueError as error:
        problems.append((offset, f"{error}: {_beginning(text)}"))
    return lines


def _loads(text: bytes) -> list[dict[str, Any]]:
    """The object of a line; several where the newlines between them are missing."""
    try:
        return _decode_objects(text)
    except UNREADABLE:
        try:
            content = json.loads(text)
        except UnicodeDecodeError:
            raise ValueError("not UTF-8") from None
        except (ValueError, RecursionError):
            raise ValueError("not JSON") from None
    if type(content) is not dict:
        raise ValueError("not a JSON object")
    return [content]


def _line(content: dict[str, Any], data: dict[str, Any]) -> tuple[Line, list[str]]:
    """A line of numbers, and what of it could not be read."""
    step = _as_step(data.get("global_step"))
    if step is None:
        step = _as_step(data.get("step"))
    if step is None:
        raise ValueError("it has no step, or a step of more than 64 bits")
    time_s = _as_time(data.get("time"))
    if time_s is None:
        time_s = _as_time(content.get("ts"))
    stage, rank, producer, nonfinite = (data.get("stage"), *(content.get(name) for name in _MARKS))
    values: dict[str, Any] = {}
    unread = []
    for name, value in data.items():
        if name in _NOT_NAMES:
            continue
        if isinstance(value, (list, dict)):
            unread.append(f"metric {name!r} is of type {type(value).__name__}")
            continue
        values[_text(name)] = _text(value) if type(value) is str else value
    if isinstance(nonfinite, dict):
        for name, word in nonfinite.items():
            if values.get(name, "") is None and isinstance(word, str) and word in FLOATS:
                values[name] = FLOATS[word]
    line = Line(
        step,
        math.nan if time_s is None else time_s,
        None if stage is None else _text(stage if isinstance(stage, str) else json.dumps(stage)),
        rank if type(rank) is int else None,
        _text(producer) if isinstance(producer, str) else None,
        values,
        any(name in content for name in _MARKS),
    )
    return line, unread


def _image(content: dict[str, Any], data: dict[str, Any]) -> ImageLine:
    path, key, caption, rank = data.get("path"), data.get("key"), data.get("caption"), content.get("rank")
    if not isinstance(path, str):
        raise ValueError("an image without a path")  # noqa: TRY004 - told as the others
    time_s = _as_time(content.get("ts"))
    return ImageLine(
        _as_step(data.get("step")),
        _text(key) if isinstance(key, str) else "image",
        _text(caption) if isinstance(caption, str) else None,
        _text(path),
        math.nan if time_s is None else time_s,
        rank if type(rank) is int and abs(rank) < HIGHEST_INT else None,
    )


def _as_step(value: Any) -> int | None:
    """A step as the viewer of 0.7.2 takes it: whole numbers, floats cut, numbers in strings."""
    if isinstance(value, (int, str, float)):
        try:
            step = int(value)
        except (ValueError, OverflowError):
            return None
        return step if LOWEST_INT <= step <= HIGHEST_INT else None
    return None


def _as_time(value: Any) -> float | None:
    return float(value) if type(value) is float or (type(value) is int and abs(value) < HIGHEST_INT) else None


def _text(text: str) -> str:
    """A lone surrogate, which JSON may name and UTF-8 cannot carry, as it is escaped everywhere."""
    return text if text.isascii() else escape(text)


def _beginning(text: bytes) -> str:
    return repr(text[:40])[1:] + ("..." if len(text) > 40 else "")


_decode_objects = msgspec.json.Decoder(dict[str, Any]).decode_lines
