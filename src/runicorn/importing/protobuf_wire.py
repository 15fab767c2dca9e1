"""The wire format of protocol buffers: fields of a message by their numbers."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_DEEPEST_SHIFT = 63
_SIGN, _RANGE = 1 << 63, 1 << 64
_FLOAT, _DOUBLE = struct.Struct("<f"), struct.Struct("<d")


class WireError(ValueError):
    """The bytes are no message."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where the next field begins.

    Raises:
        WireError: it does not end, or has more than 64 bits.
    """
    value = shift = 0
    try:
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
            if shift > _DEEPEST_SHIFT:
                raise WireError("a number has more than 64 bits")
    except IndexError:
        raise WireError("a number is cut") from None
    return value & (_RANGE - 1), at


def signed(value: int) -> int:
    """A number of 64 bit as int64 has it."""
    return value - _RANGE if value >= _SIGN else value


class Field:
    """One field of a message.

    Attributes:
        number: of the field.
        kind: ``VARINT``, ``FIXED64``, ``BYTES`` or ``FIXED32``.
        value: the number of a varint.
        data: the bytes of all other kinds.
        start: where those begin in the message.
    """

    __slots__ = ("data", "kind", "number", "start", "value")

    def __init__(self, number: int, kind: int, value: int, data: bytes, start: int) -> None:
        self.number = number
        self.kind = kind
        self.value = value
        self.data = data
        self.start = start

    @property
    def text(self) -> str:
        """Its bytes as text; what is no UTF-8 is escaped."""
        return self.data.decode("utf-8", "backslashreplace")

    @property
    def double(self) -> float:
        """Of a fixed number of 64 bit."""
        return float(_DOUBLE.unpack(self.data)[0]) if len(self.data) == _DOUBLE.size else 0.0

    @property
    def single(self) -> float:
        """Of a fixed number of 32 bit, widened."""
        return float(_FLOAT.unpack(self.data)[0]) if len(self.data) == _FLOAT.size else 0.0


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message, in their order.

    Raises:
        WireError: it is none, or is cut.
    """
    at, size = 0, len(data)
    while at < size:
        key, at = varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = varint(data, at)
            yield Field(number, kind, value, b"", at)
            continue
        if kind == BYTES:
            length, at = varint(data, at)
        elif kind in {FIXED64, FIXED32}:
            length = 8 if kind == FIXED64 else 4
        else:
            raise WireError(f"a field is of kind {kind}")
        if at + length > size:
            raise WireError("a field is cut")
        yield Field(number, kind, 0, data[at : at + length], at)
        at += length


def packed_varints(field: Field) -> list[int]:
    """The numbers of a repeated varint, packed or one."""
    if field.kind == VARINT:
        return [field.value]
    found, at = [], 0
    while at < len(field.data):
        value, at = varint(field.data, at)
        found.append(value)
    return found
