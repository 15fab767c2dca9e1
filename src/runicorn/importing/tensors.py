"""A value of a TensorBoard summary: one number, texts, or an image, in whichever coat it comes."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

from runicorn.importing.protobuf_wire import BYTES, Field, WireError, fields, packed_varints, signed

_STRING = 7
_BFLOAT16, _HALF = 14, 19
_CONTENT = {
    1: "<f", 2: "<d", 3: "<i", 4: "<B", 5: "<h", 6: "<b", 9: "<q", 10: "<?", 17: "<H", 19: "<e", 22: "<I", 23: "<Q",
}  # fmt: skip
_TYPED = {5: "<f", 6: "<d"}
_WHOLE, _HALVES, _STRINGS = {7, 10, 11, 16, 17}, 13, 8
_MOST_TEXTS = 100_000


class Location(NamedTuple):
    """Where in a message a number lies that is nothing but a float: its offset, and its struct format."""

    offset: int
    form: str


class Tensor(NamedTuple):
    """What is read of a tensor.

    Attributes:
        numbers: its elements, if it holds numbers; no more than two are read.
        texts: its elements, if it holds strings.
        location: of the one number, if that is a float of 32 or 64 bit.
    """

    numbers: list[Any]
    texts: list[bytes]
    location: Location | None


def read_tensor(data: bytes) -> Tensor:
    """Read a ``TensorProto``.

    Raises:
        WireError: it is none.
    """
    kind, numbers, texts, location = 0, list[Any](), list[bytes](), None
    for field in fields(data):
        if field.number == 1:
            kind = field.value
        elif field.number == 4:
            found = _of_content(kind, field.data)
            numbers += found
            form = _CONTENT.get(kind, "")
            if form in _TYPED.values() and len(field.data) == struct.calcsize(form):
                location = Location(field.start, form)
        elif field.number in _TYPED:
            form = _TYPED[field.number]
            width = struct.calcsize(form)
            if len(field.data) == width:
                location = Location(field.start, form)
            numbers += [each for (each,) in struct.iter_unpack(form, field.data[: 2 * width])]
        elif field.number in _WHOLE:
            numbers += [_whole(field.number, value) for value in packed_varints(field)[:2]]
        elif field.number == _HALVES:
            numbers += [_of_bits(kind, value) for value in packed_varints(field)[:2]]
        elif field.number == _STRINGS and field.kind == BYTES and len(texts) < _MOST_TEXTS:
            texts.append(field.data)
    return Tensor(numbers, texts if kind == _STRING else [], location if len(numbers) == 1 else None)


def _whole(number: int, value: int) -> Any:
    if number == 11:
        return bool(value)
    return value if number in {16, 17} else signed(value)


def _of_content(kind: int, content: bytes) -> list[Any]:
    if kind == _BFLOAT16:
        return [_of_bits(kind, bits) for (bits,) in struct.iter_unpack("<H", content[: 4 & ~(len(content) & 1)])][:2]
    form = _CONTENT.get(kind)
    if form is None:
        return []
    width = struct.calcsize(form)
    end = min(len(content), 2 * width) - width + 1
    return [struct.unpack_from(form, content, at)[0] for at in range(0, end, width)]


def _of_bits(kind: int, bits: int) -> float:
    if bits > 0xFFFF:
        raise WireError("a number of 16 bit has more")
    if kind == _BFLOAT16:
        return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
    return float(struct.unpack("<e", struct.pack("<H", bits))[0]) if kind == _HALF else math.nan


def plain_value(data: bytes) -> Any:
    """A ``google.protobuf.Value`` as Python has it.

    Raises:
        WireError: it is none.
    """
    found: Any = None
    for field in fields(data):
        if field.number == 2:
            found = field.double
            if found.is_integer() and abs(found) < 2**53:
                found = int(found)
        elif field.number == 3:
            found = field.text
        elif field.number == 4:
            found = bool(field.value)
        elif field.number == 6:
            found = [plain_value(each.data) for each in fields(field.data) if each.number == 1]
        elif field.number == 5:
            found = dict(_items(field.data))
    return found


def _items(data: bytes) -> list[tuple[str, Any]]:
    return [entry(field) for field in fields(data) if field.number == 1]


def entry(field: Field) -> tuple[str, Any]:
    """One entry of a map from names to ``google.protobuf.Value``.

    Raises:
        WireError: it is none.
    """
    key, value = "", None
    for each in fields(field.data):
        if each.number == 1:
            key = each.text
        elif each.number == 2:
            value = plain_value(each.data)
    return key, value
