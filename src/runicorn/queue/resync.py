"""Where the frames of a segment go on behind damage.

Records begin with the header of a short MessagePack array and a tag of one letter. Only there a frame is searched for,
and it counts if its length fits, its checksum holds and its payload decodes: random bytes are passed over fast, and no
record is invented.
"""

from __future__ import annotations

import os
import re

import msgspec

from runicorn.queue.record_decoding import decode
from runicorn.queue.segment import FRAME_HEADER_BYTES, MIN_FRAME_BYTES, SEAL, adler32, unpack_frame_header

_BLOCK_BYTES = 256 * 1024
_OVERLAP_BYTES = FRAME_HEADER_BYTES + 3
_MOST_SUMMED_BYTES = 64 * 1024 * 1024
"""Candidates whose length is damaged too may each ask for megabytes: so much is summed for all of them."""

_START_OF_RECORD = rb"[\x91-\x9f]\xa1[a-z]"  # compiled if there is damage: each run's end asks for other things here


def next_frame(fd: int, start_bytes: int, stop_bytes: int) -> int | None:
    """The offset of the first whole frame behind ``start_bytes`` that ends before ``stop_bytes``; None if none does."""
    left_to_sum = _MOST_SUMMED_BYTES
    base = start_bytes + 1
    while base < stop_bytes:
        block = os.pread(fd, min(_BLOCK_BYTES, stop_bytes - base), base)
        if len(block) < MIN_FRAME_BYTES:
            return None
        for match in () if is_zero(block) else re.compile(_START_OF_RECORD).finditer(block, FRAME_HEADER_BYTES):
            at = match.start() - FRAME_HEADER_BYTES
            length, expected = unpack_frame_header(block, at)
            if not 0 < length <= min(stop_bytes - base - at - FRAME_HEADER_BYTES, left_to_sum):
                continue
            left_to_sum -= length
            if _is_record(fd, base + at + FRAME_HEADER_BYTES, length, expected):
                return base + at
        base += max(1, len(block) - _OVERLAP_BYTES)
    return None


def is_zero(block: bytes) -> bool:
    """Whether there is nothing in it."""
    return block == bytes(len(block))


def end_of_bytes(fd: int, start_bytes: int, stop_bytes: int) -> int:
    """Where the zeros begin that fill the file from there to ``stop_bytes``; ``start_bytes`` if all is zero."""
    end, at = start_bytes, start_bytes
    while at < stop_bytes:
        block = os.pread(fd, min(_BLOCK_BYTES, stop_bytes - at), at)
        if not block:
            break
        if not is_zero(block):
            end = at + len(block.rstrip(b"\0"))
        at += len(block)
    return end


def looks_torn(fd: int, start_bytes: int, end_bytes: int, stop_bytes: int) -> bool:
    """Whether a copy that was cut short can have left what is there: a part of one frame, and nothing behind it."""
    header = os.pread(fd, FRAME_HEADER_BYTES, start_bytes)
    if len(header) < FRAME_HEADER_BYTES:
        return True
    length, _ = unpack_frame_header(header, 0)
    frame_end = start_bytes + FRAME_HEADER_BYTES + int(length)
    return length != SEAL and end_bytes < frame_end <= stop_bytes


def sum_of(fd: int, at: int, size_bytes: int) -> int:
    """Adler-32 of a part of a file, in pieces: a length that was damaged into gigabytes costs no memory."""
    total = 1
    stop = at + size_bytes
    while at < stop:
        block = os.pread(fd, min(_BLOCK_BYTES, stop - at), at)
        if not block:
            return -1
        total = adler32(block, total)
        at += len(block)
    return total


def _is_record(fd: int, at: int, size_bytes: int, expected: int) -> bool:
    if sum_of(fd, at, size_bytes) != expected:
        return False
    try:
        decode(os.pread(fd, size_bytes, at))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
