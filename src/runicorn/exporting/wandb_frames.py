"""A file of wandb: messages of protocol buffers, cut into pieces for blocks of 32 KiB, as LevelDB's log files are."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEAD = b":W&B\xe1\xbe\x00"
_BLOCK_BYTES = 32 * 1024
_PIECE = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_VARINT, _BYTES = 0, 2


class WandbFile:
    """Writes records into an empty file, each with its number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._count = 0
        file.write(_HEAD)
        self._at = len(_HEAD)

    def add(self, number: int, content: bytes) -> None:
        """Write one record: the message ``content`` in the field ``number``."""
        self._count += 1
        left, is_first = of_number(1, self._count) + message(number, content), True
        while left or is_first:
            room = _BLOCK_BYTES - self._at % _BLOCK_BYTES
            if room < _PIECE.size:
                self._file.write(bytes(room))
                self._at += room
                continue
            piece, left = left[: room - _PIECE.size], left[room - _PIECE.size :]
            kind = (_MIDDLE if left else _LAST) if not is_first else (_FIRST if left else _FULL)
            is_first = False
            crc = zlib.crc32(bytes([kind]) + piece)
            self._file.write(_PIECE.pack(crc, len(piece), kind) + piece)
            self._at += _PIECE.size + len(piece)


def message(number: int, content: bytes) -> bytes:
    """A field that is a message, or bytes."""
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def of_text(number: int, text: str | None) -> bytes:
    """A field of text; empty if there is no text."""
    return message(number, text.encode("utf-8", "backslashreplace")) if text else b""


def of_number(number: int, value: int) -> bytes:
    """A field that is an integer of 64 bits; empty for 0, as in version 3 of protocol buffers."""
    return _varint(number << 3 | _VARINT) + _varint(value & (1 << 64) - 1) if value else b""


def of_time(number: int, time_s: float) -> bytes:
    """A field that is a time, epoch seconds."""
    nanos = round(time_s * 1e9)
    return message(number, of_number(1, nanos // 10**9) + of_number(2, nanos % 10**9))


def of_items(number: int, items: Iterable[tuple[str, str]]) -> bytes:
    """Fields with a key and its JSON value each."""
    made = []
    for key, text in items:
        name = key.encode("utf-8", "backslashreplace")
        made.append(message(number, message(2, name) + message(16, text.encode("utf-8", "backslashreplace"))))
    return b"".join(made)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
