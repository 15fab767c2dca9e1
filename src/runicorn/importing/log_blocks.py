"""The framing of LevelDB's log files, which wandb and SwanLab use: records cut into pieces in blocks of 32 KiB."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Told

HEAD_BYTES = 7
_BLOCK_BYTES = 32 * 1024
_BLOCKS_AT_ONCE = 32
_PIECE = struct.Struct("<IHB")
_NONE, _FULL, _FIRST, _MIDDLE, _LAST = range(5)
_MOST_BYTES = 1 << 29


def records(file: BinaryIO, name: str, told: Told) -> Iterator[bytes]:
    """The records of a file; damage is told, and ends it.

    Args:
        file: at its beginning, which has a head of seven bytes.
        name: of the file, for what is told.
        told: where that goes.
    """
    offset, parts, unpack, crc32 = 0, list[bytes](), _PIECE.unpack_from, zlib.crc32
    kind_at = HEAD_BYTES - 1
    collected = 0
    while data := file.read(_BLOCK_BYTES * _BLOCKS_AT_ONCE):
        at, size = 0 if offset else HEAD_BYTES, len(data)
        while at + HEAD_BYTES <= size:
            if _BLOCK_BYTES - at % _BLOCK_BYTES < HEAD_BYTES:
                at += _BLOCK_BYTES - at % _BLOCK_BYTES
                continue
            crc, length, kind = unpack(data, at)
            end = at + HEAD_BYTES + length
            if kind == _NONE and not length:  # room that was taken in advance
                at += _BLOCK_BYTES - at % _BLOCK_BYTES
                continue
            if end > size and at // _BLOCK_BYTES == (size - 1) // _BLOCK_BYTES:
                break
            if kind > _LAST or crc32(data[at + kind_at : end]) != crc or (kind in {_FULL, _FIRST}) == bool(parts):
                told.problem(f"{name}: damaged at byte {offset + at:,}; what follows was left out")
                return
            piece = data[at + HEAD_BYTES : end]
            at = end
            if kind == _FULL:
                yield piece
                continue
            parts.append(piece)
            collected += length
            if collected > _MOST_BYTES:
                told.problem(f"{name}: a record of more than {_MOST_BYTES:,} bytes; what follows was left out")
                return
            if kind == _LAST:
                yield b"".join(parts)
                parts, collected = [], 0
        offset += size
        if any(data[at:]):
            parts.append(data[at:])
            break
    if parts:
        told.problem(f"{name}: the last record is not whole and was left out")
