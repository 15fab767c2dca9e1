"""An events file as blocks of whole lines, so that never more of it than a block is in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from runicorn.reading.decoding import Decoder
from runicorn.reading.holes import next_data
from runicorn.reading.long_lines import LONGEST_EVENT_BYTES
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

_KIB = 1024
_BLOCK_BYTES = 128 * _KIB
_LOOK_BYTES = _KIB * _KIB


class FilePiece(NamedTuple):
    """A piece of a file.

    Attributes:
        lines: whole lines; the last one of the file may be without its newline. Empty where it was not read.
        size_bytes: of the piece.
        trouble: why it was not read.
        torn: it is the beginning of a line whose rest is not there yet.
    """

    lines: bytes
    size_bytes: int
    trouble: str = ""
    torn: bool = False


def blocks(file: BinaryIO, start: int, stop: int) -> Iterator[FilePiece]:
    """The pieces of a file between two offsets, the first of which begins a line."""
    at, size = start, _BLOCK_BYTES
    while at < stop:
        data = read_at(file, at, min(size, stop - at))
        if not data:
            return
        whole = data.rfind(b"\n") + 1
        if whole:
            yield FilePiece(data[:whole], whole)
            at, size = at + whole, _BLOCK_BYTES
        elif at + len(data) >= stop:
            yield from _last(data)
            return
        elif size < LONGEST_EVENT_BYTES and not _ends_in_hole(file, data, at, stop):
            size *= 2
        else:
            too_long = f"a line of more than {LONGEST_EVENT_BYTES} bytes"
            if size < LONGEST_EVENT_BYTES:
                too_long = "a line with a stretch of the file that was never written"
            end = _end_of_line(file, at + len(data), stop)
            if end is None:
                yield FilePiece(b"", stop - at, too_long, torn=True)
                return
            yield FilePiece(b"", end - at, too_long)
            at, size = end, _BLOCK_BYTES


def read_at(file: BinaryIO, offset: int, size: int) -> bytes:
    """So many bytes from an offset on; fewer where the file ends."""
    file.seek(offset)
    return file.read(size) or b""


def _last(data: bytes) -> Iterator[FilePiece]:
    """What is behind the last newline: it may be half written."""
    # An object that is closed is whole: its newline is all that is missing.
    if data.rstrip().endswith(b"}") and not Decoder([]).decode(data).problems:
        yield FilePiece(data, len(data))
    elif data.strip():
        yield FilePiece(
            b"", len(data), f"the last line was not written to its end: {counted(len(data), 'byte')}", torn=True
        )


def _ends_in_hole(file: BinaryIO, data: bytes, at: int, stop: int) -> bool:
    last = at + len(data) - 1
    # What reads as anything else is never taken for a hole, whatever the file system says.
    return data.endswith(b"\0") and next_data(file.fileno(), last, stop) > last


def _end_of_line(file: BinaryIO, at: int, stop: int) -> int | None:
    """Where the line that goes on at an offset ends, its newline included; None where it does not end."""
    while at < stop:
        data = read_at(file, at, min(_LOOK_BYTES, stop - at))
        if not data:
            return None
        found = data.find(b"\n")
        if found >= 0:
            return at + found + 1
        at += len(data)
        if not data.strip(b"\0"):
            at = next_data(file.fileno(), at, stop)
    return None
