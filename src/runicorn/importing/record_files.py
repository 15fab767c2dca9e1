"""The framing of TFRecord files: length, its checksum, the record, its checksum."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from runicorn.importing.checksums import crc32c, masked, masked_crcs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.source_runs import Told

_HEAD, _FOOT_BYTES = struct.Struct("<QI"), 4
_BLOCK_BYTES = 1 << 20
_MOST_BYTES = 1 << 29


def records(file: BinaryIO, name: str, told: Told) -> Iterator[list[bytes]]:
    """The records of a file, some thousands at a time; damage is told, and ends it.

    Args:
        file: at its beginning.
        name: of the file, for what is told.
        told: where that goes.
    """
    data, offset, wanted = b"", 0, 0
    known: dict[bytes, bool] = {}
    while block := file.read(max(_BLOCK_BYTES, wanted)):
        data += block
        found, crcs, position, wanted = _frames(data, known)
        good = _sound(found, crcs)
        yield found[:good]
        if good < len(found):
            told.problem(
                f"{name}: the record behind record {good:,} of the block at byte {offset:,} is damaged; "
                "what follows was left out"
            )
            return
        if wanted < 0:
            told.problem(f"{name}: damaged at byte {offset + position:,}; what follows was left out")
            return
        data, offset = data[position:], offset + position
    if data:
        told.problem(f"{name}: the last record, at byte {offset:,}, is not whole and was left out")


def _frames(data: bytes, known: dict[bytes, bool]) -> tuple[list[bytes], list[int], int, int]:
    """The whole frames at the beginning of some bytes.

    Returns:
        Their records, the checksums beside those, where the next one begins, and how many bytes it lacks; -1 if its
        length is damaged.
    """
    found: list[bytes] = []
    crcs: list[int] = []
    position, size, head = 0, len(data), _HEAD.size
    length_of = _HEAD.unpack_from
    add, add_crc, crc_of = found.append, crcs.append, struct.Struct("<I").unpack_from
    while position + head <= size:
        start = position + head
        framing = data[position:start]
        length, crc = length_of(framing)
        if framing not in known:
            if length > _MOST_BYTES or masked(crc32c(framing[:8])) != crc:
                return found, crcs, position, -1
            if len(known) < _BLOCK_BYTES:
                known[framing] = True
        end = start + length
        if end + _FOOT_BYTES > size:
            return found, crcs, position, end + _FOOT_BYTES - size
        add(data[start:end])
        add_crc(crc_of(data, end)[0])
        position = end + _FOOT_BYTES
    return found, crcs, position, 0


def _sound(found: list[bytes], crcs: list[int]) -> int:
    """How many records there are before the first damaged one."""
    calculated = masked_crcs(found)
    if calculated == crcs:
        return len(found)
    return next(number for number, (one, other) in enumerate(zip(calculated, crcs, strict=True)) if one != other)
