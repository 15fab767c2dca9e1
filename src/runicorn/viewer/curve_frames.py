"""Curves on the wire: a head in JSON and arrays of floats for the page, JSON alone for people and scripts."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

from runicorn.viewer.answers import encoded, plain_number

if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping

KIND = "application/vnd.runicorn.curves"
_SIZES = struct.Struct("<II")
_ALIGNMENT = 8


def frame(head: dict[str, Any], arrays: Mapping[str, array[float]]) -> bytes:
    """A frame: the sizes of head and body, the head with blanks to a multiple of eight, and the arrays.

    Args:
        head: what is told of the curve; the names of the arrays are added.
        arrays: of floats, by name.
    """
    content = encoded({**head, "arrays": list(arrays)})
    content += b" " * (-len(content) % _ALIGNMENT)
    body = b"".join(_little_endian(each) for each in arrays.values())
    return _SIZES.pack(len(content), len(body)) + content + body


def document(head: dict[str, Any], arrays: Mapping[str, array[float]]) -> dict[str, Any]:
    """The same as an object."""
    data = {name: [plain_number(value) for value in values] for name, values in arrays.items()}
    return {**head, "arrays": list(arrays), "data": data}


def _little_endian(values: array[float]) -> bytes:
    if sys.byteorder == "little":
        return values.tobytes()
    swapped = values[:]
    swapped.byteswap()
    return swapped.tobytes()
