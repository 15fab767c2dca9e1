"""The write-ahead plan: what makes every record stored exactly once.

Before a batch is written, its plan is put in place: which bytes of which segments, in which order, how long
each file was, and the run's state before it. The lines of a batch are a pure function of that. So after a crash the
next writer builds the same lines again, sees by the length of each file how many of their bytes are there, and
appends the rest. Nothing is ever truncated: readers follow these files.

A segment that was read to its end is removed when the *next* plan is in place; that plan still names it, so a
crash between the two cannot make it new.

The file has two slots that are written in turn. A slot that a crash left half written has a wrong checksum; the
other one is then the newest, and the batch of the torn one has not been begun. The slots are reserved with the
spool, so a full shared memory does not stop the writer from making room in it.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress

import msgspec

from runicorn.queue.segment import adler32
from runicorn.storage import modes, removal
from runicorn.writer.run_state import RunState  # noqa: TC001 - msgspec reads the annotations

_slot_header = struct.Struct("<II")


class SegmentRange(msgspec.Struct, array_like=True):
    """Bytes ``start`` to ``stop`` of a segment; ``finished`` = nothing follows them, it is to be removed.

    ``mark`` tells it from a file that somebody has put in its place: length and checksum of its first record.
    """

    tier: int
    name: str
    start: int
    stop: int
    finished: bool
    mark: int = 0


class Plan(msgspec.Struct, array_like=True):
    """One batch; ``sizes`` are the lengths of the files and ``state`` the run's state, both before it.

    ``last``: nothing follows, so what waits for more (a line without its end on a terminal) is stored as it is.
    ``in_doubt``: a part of the batch was stored before the plan, which one the files say.
    ``follows_lost``: the plan before this one is gone, so what it had read of other segments is not known.
    """

    sequence: int
    segments: list[SegmentRange]
    sizes: dict[str, int]
    state: RunState
    last: bool = False
    in_doubt: bool = False
    follows_lost: bool = False


_encode = msgspec.msgpack.Encoder().encode


def _file_id(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


class PlanFile:
    """The file with the two slots."""

    def __init__(self, path: str) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._fd = modes.open_file(path, flags, 0o600)
        self._slot_bytes = os.fstat(self._fd).st_size // 2

    def read(self) -> Plan | None:
        """The newest whole plan; None before the first."""
        plans = [plan for plan in (self._read_slot(0), self._read_slot(1)) if plan is not None]
        return max(plans, key=lambda plan: plan.sequence, default=None)

    def is_sound(self) -> bool:
        """Whether both slots say what they should: nothing yet, or a plan and the one before it."""
        newest = self.read()
        if newest is None:
            return self._slot_bytes > 0 and all(self._is_empty(index) for index in (0, 1))
        other = self._read_slot((newest.sequence + 1) % 2)
        if other is None:
            return newest.sequence == 1 and self._is_empty(0)
        return other.sequence == newest.sequence - 1

    def clear(self) -> None:
        """Begin anew: nothing that stands in it is believed.

        Raises:
            OSError: there is no space.
        """
        for index in (0, 1):
            os.pwrite(self._fd, bytes(_slot_header.size), index * self._slot_bytes)

    def follow_name(self) -> None:
        """Give the content its name again, where somebody has removed that.

        Raises:
            OSError: it cannot be done now.
        """
        try:
            there = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != _file_id(self._fd):
            self._move(self._slot_bytes)

    def write(self, plan: Plan) -> None:
        """Put a plan in place.

        Raises:
            OSError: it is longer than a slot, and there is no space for longer ones.
        """
        payload = _encode(plan)
        framed = _slot_header.pack(len(payload), adler32(payload)) + payload
        if len(framed) > self._slot_bytes:
            self._move(2 * max(len(framed), self._slot_bytes))
        os.pwrite(self._fd, framed, (plan.sequence % 2) * self._slot_bytes)

    def _move(self, slot_bytes: int) -> None:
        """Go on in a new file with slots of this size."""
        previous = self.read()
        with suppress(FileExistsError):  # the spool may have gone by name
            modes.make_directory(os.path.dirname(self._path), 0o700)
        temporary = f"{self._path}.new"
        removal.remove_from_spool(temporary)  # half written by a writer that was killed
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
        fd = modes.open_file(temporary, flags, 0o600)
        try:
            at = 0
            while at < 2 * slot_bytes:  # a write may be short where there is no room for all of it; the next one fails
                at += os.pwrite(fd, bytes(2 * slot_bytes - at), at)
            if previous is not None:
                payload = _encode(previous)
                framed = _slot_header.pack(len(payload), adler32(payload)) + payload
                os.pwrite(fd, framed, (previous.sequence % 2) * slot_bytes)
            removal.rename_in_spool(temporary, self._path)
        except OSError as error:
            os.close(fd)
            removal.remove_from_spool(temporary)
            raise OSError(error.errno, error.strerror, temporary) from error
        os.close(self._fd)
        self._fd, self._slot_bytes = fd, slot_bytes

    def _is_empty(self, index: int) -> bool:
        head = os.pread(self._fd, min(self._slot_bytes, 4096), index * self._slot_bytes)
        return head == bytes(len(head))

    def _read_slot(self, index: int) -> Plan | None:
        raw = os.pread(self._fd, self._slot_bytes, index * self._slot_bytes)
        if len(raw) < _slot_header.size:
            return None
        length, expected = _slot_header.unpack_from(raw)
        payload = raw[_slot_header.size : _slot_header.size + length]
        if not length or len(payload) < length or adler32(payload) != expected:
            return None
        try:
            # No decoder is kept: a writer that begins a run makes none, and another one reads plans once.
            return msgspec.msgpack.decode(payload, type=Plan)
        except msgspec.DecodeError:
            return None

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)
