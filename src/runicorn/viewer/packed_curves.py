"""Curves as a report holds them: the frames of the interface, as text that a page unpacks."""

from __future__ import annotations

import base64
import json
import math
import struct
import sys
import zlib
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZES = struct.Struct("<II")
_BYTES = 8
_ROUNDED = frozenset({"min", "max", "mean", "last"})
_SEEN = 64
"""Values of a curve that are compared with each other: what a deep zoom shows at once."""
_LEAST_SEEN = 1e-3
_EPSILON = 2.0**-24


def packed_curves(frames: bytes) -> Iterator[dict[str, Any]]:
    """The curves of an answer, but for those that there are not.

    Args:
        frames: as ``POST curves`` answers.
    """
    for head, body in _taken_apart(frames):
        if not head.get("end") and "error" not in head:
            yield {"head": head, "data": _packed(_arrays(head, body))}


def _taken_apart(frames: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    at = 0
    while at < len(frames):
        head_bytes, body_bytes = _SIZES.unpack_from(frames, at)
        begin = at + _SIZES.size + head_bytes
        yield json.loads(frames[at + _SIZES.size : begin]), frames[begin : begin + body_bytes]
        at = begin + body_bytes


def _arrays(head: dict[str, Any], body: bytes) -> list[array[float]]:
    """The arrays; what is drawn of buckets is rounded to seven digits, if nobody can see that."""
    size = head["n"] * _BYTES
    found = []
    for number, name in enumerate(head["arrays"]):
        values = array("d", body[number * size : (number + 1) * size])
        if sys.byteorder != "little":
            values.byteswap()
        is_rounded = head["kind"] == "buckets" and name in _ROUNDED
        found.append(_rounded(values) if is_rounded else values)
    return found


def _rounded(values: array[float]) -> array[float]:
    """The values in single precision; as they are if neighbours would be told apart less well."""
    rounded = array("d", array("f", values))
    for at in range(0, len(values), _SEEN):
        pairs = zip(values[at : at + _SEEN], rounded[at : at + _SEEN], strict=True)
        finite = [pair for pair in pairs if math.isfinite(pair[0])]
        if not finite:
            continue
        exact = [value for value, _ in finite]
        spread = max(exact) - min(exact)
        for value, other in finite:
            error = abs(value - other)  # infinite if it is too large for single precision
            if error > abs(value) * _EPSILON or (spread and error > spread * _LEAST_SEEN):
                return values
    return rounded


def _packed(arrays: list[array[float]]) -> str:
    """First bytes of all numbers, then all second bytes and so on, packed: neighbours have the same first bytes."""
    whole = array("d")
    for each in arrays:
        whole.extend(each)
    if sys.byteorder != "little":
        whole.byteswap()
    content = whole.tobytes()
    planes = b"".join(content[plane::_BYTES] for plane in range(_BYTES))
    return base64.b64encode(zlib.compress(planes, 9)).decode("ascii")
