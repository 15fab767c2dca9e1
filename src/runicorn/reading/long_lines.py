"""The lines of a file that may have a line of any length, or a hole, in it: none takes more memory than a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from runicorn.reading.holes import next_data, stretches

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_EVENT_BYTES = 64 * 1024 * 1024
LONGEST_TEXT_BYTES = 16 * 1024 * 1024
_BLOCK_BYTES = 256 * 1024
_FEWEST_ZEROS = 16


class LineReader:
    """Reads lines on from an offset, as a file grows; of a longer line the first bytes are kept, and a remark.

    Args:
        longest_bytes: of a line.

    Attributes:
        at: how far was read, bytes.
    """

    def __init__(self, longest_bytes: int) -> None:
        self.at = 0
        self._longest_bytes = longest_bytes
        self.restart()

    def restart(self, at: int = 0) -> None:
        """Begin at an offset, where a line begins."""
        self.at = at
        self._pieces: list[bytes] = []
        self._kept_bytes = self._left_out_bytes = self._zeros_bytes = 0

    def lines(self, file: BinaryIO, stop: int) -> Iterator[bytes]:
        """The whole lines up to an offset, without their newlines."""
        while self.at < stop:
            file.seek(self.at)
            block = file.read(min(_BLOCK_BYTES, stop - self.at))
            if not block:
                return
            self.at += len(block)
            # What reads as anything else is never taken for a hole, whatever the file system says.
            if not block.strip(b"\0"):
                data_at = next_data(file.fileno(), self.at, stop)
                self._leave_out(len(block) + data_at - self.at)
                self.at = data_at
                continue
            *ends, rest = block.split(b"\n")
            for end in ends:
                self._take(end)
                yield self.rest()
            self._take(rest)

    def rest(self) -> bytes:
        """What was read of a line since the last newline; empty if nothing was."""
        line = b"".join(self._pieces)
        zeros_bytes, left_out_bytes = self._zeros_bytes, self._left_out_bytes
        self.restart(self.at)
        remark = f"[{zeros_bytes:,} bytes of zeros are left out] ".encode()
        zeros = remark if zeros_bytes >= _FEWEST_ZEROS else b"\0" * zeros_bytes
        more = f" [{left_out_bytes:,} more bytes of this line are left out]".encode() if left_out_bytes else b""
        return zeros + line + more

    def _leave_out(self, zeros_bytes: int) -> None:
        if self._kept_bytes:
            self._left_out_bytes += zeros_bytes
        else:
            self._zeros_bytes += zeros_bytes

    def _take(self, piece: bytes) -> None:
        if not self._kept_bytes:  # zeros at the beginning of a line: a power cut before its bytes were on disk
            shorter = piece.lstrip(b"\0")
            self._zeros_bytes += len(piece) - len(shorter)
            piece = shorter
        kept = piece[: self._longest_bytes - self._kept_bytes]
        self._left_out_bytes += len(piece) - len(kept)
        if kept:
            self._pieces.append(kept)
            self._kept_bytes += len(kept)


def start_of_last(file: BinaryIO, size: int, last: int) -> int:
    """Where the last so many whole lines begin; what is behind the last newline counts as none."""
    wanted = last + 1
    for start, end in reversed(stretches(file.fileno(), size)):
        at = end
        while at > start:
            begin = max(start, at - _BLOCK_BYTES)
            file.seek(begin)
            block = file.read(at - begin)
            found = block.count(b"\n")
            if found >= wanted:
                position = len(block)
                for _ in range(wanted):
                    position = block.rindex(b"\n", 0, position)
                return begin + position + 1
            wanted -= found
            at = begin
    return 0
