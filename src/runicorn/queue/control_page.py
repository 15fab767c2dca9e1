"""The control page: a few numbers that every process of a run on this host maps.

::

    0     8  magic
    8     1  closed: the run takes no more records (set by the owner's finish() or by the writer)
    9     1  done: everything is on disk, the final status is written
    10    1  renewed: the page was made again without what the one before said
    11    1  moved: another page has the spool's name for it now; who has this one mapped goes there
    12    4  u32 others: producers that live on after the owner's interpreter has ended
    16    8  u64 heartbeat: ticks of the writer; it moves, its value means nothing
    24    8  u64 stored: records stored so far
    40    8  i64 last step: the highest step stored
    48   16  i64 x 2 dropped: bytes of segments that the writer has removed from each tier, or found gone
    64    8  u64 trouble: how many messages have been put below
    72    4  u32 length of the message
    76  436  UTF-8 text of the newest message: why storing fails
    512   4  u32 process id of the writer; for people
    516   4  u32 length of the task
    520 256  UTF-8 text of the task: what the writer does beside storing records
    776   8  u64 generation: how many writers have begun; what a writer has marked bears its number
    1024  3072  producers, each u32 number, u32 process id, u32 x 2 one more than its newest segment made, and stored
    4096  8192 x 2  u64 slots for each tier: bytes of segments made there, by producer

Who writes what: the writer all of it, except ``closed`` (the owner too), ``moved``, the slots, and what a producer
has made. A producer adds to the slot that its number falls on. Two producers may share a slot, and an addition may then
be undone; the budget is then wrong by one segment, until the writer counts what is there.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from runicorn.queue import mappings
from runicorn.storage import modes

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"RNCCTL1\n"
MISSING = "missing: "
"""How a message begins that tells of something that will not be in the run; others tell why storing fails."""
SLOTS = 1024
WRITERS_SLOT = SLOTS - 1
TIERS = 2

_SLOTS_AT = 4096
_SLOT_BYTES = 8 * SLOTS
SIZE_BYTES = _SLOTS_AT + TIERS * _SLOT_BYTES

_CLOSED_AT, _DONE_AT, _RENEWED_AT, _MOVED_AT, _OTHERS_AT = 8, 9, 10, 11, 12
_HEARTBEAT_AT, _STORED_AT, _LAST_STEP_AT, _DROPPED_AT = 16, 24, 40, 48
_TROUBLE_AT, _MESSAGE_LENGTH_AT, _MESSAGE_AT, _MESSAGE_BYTES = 64, 72, 76, 436

_TASK_LENGTH_AT, _TASK_AT, _TASK_BYTES = 516, 520, 256
_WRITER_PID_AT, _GENERATION_AT = 512, 776
_PRODUCERS_AT, _PRODUCERS = 1024, 192
_PID_AT, _MADE_AT, _NEWEST_STORED_AT = 4, 8, 12  # of a producer

_HIGHEST_U64, _HIGHEST_I64, _HIGHEST_PID = 2**64 - 1, 2**63 - 1, 2**31 - 1
_u64, _i64, _u32, _producer = map(struct.Struct, ("<Q", "<q", "<I", "<IIII"))


class Noted(msgspec.Struct, frozen=True):
    """What the page says of a producer; -1 if none of its segments is made, or stored, as far as it knows."""

    number: int
    pid: int
    made: int
    stored: int


_of_ended_runs: ControlPage | None = None


class ControlPage:
    """The mapped page. ``closed`` is a one-byte view: ``page.closed[0]`` is what ``log()`` reads."""

    def __init__(self, mapped: mmap.mmap, file_id: tuple[int, int] = (0, 0)) -> None:
        self._older: list[memoryview] = []
        self._map_file(mapped, file_id)

    def _map_file(self, mapped: mmap.mmap, file_id: tuple[int, int]) -> None:
        self._map = mapped
        self._file_id = file_id
        self._view = memoryview(mapped)
        self.closed = self._view[_CLOSED_AT : _CLOSED_AT + 1]

    @classmethod
    def open(cls, path: str) -> ControlPage:
        """Map the page of a spool.

        Raises:
            OSError: it is not there, or is not ours.
        """
        fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            status = os.fstat(fd)
            if status.st_size < SIZE_BYTES:
                raise FileNotFoundError(f"{path} is not a control page yet")
            mapped = mmap.mmap(fd, SIZE_BYTES, **mappings.WITHOUT_DESCRIPTOR)
        finally:
            os.close(fd)
        if mapped[:8] != MAGIC:
            raise FileNotFoundError(f"{path} is not a control page yet")
        return cls(mapped, (status.st_dev, status.st_ino))

    @classmethod
    def of_ended_run(cls) -> ControlPage:
        """The page for all handles of runs whose spool is gone: closed, done, and without a descriptor."""
        global _of_ended_runs  # noqa: PLW0603 - made when it is first needed
        if _of_ended_runs is None:
            page = cls(mmap.mmap(-1, SIZE_BYTES))
            page.close_run()
            page.set_done()
            _of_ended_runs = page
        return _of_ended_runs

    @staticmethod
    def create(path: str, content: bytes = bytes(SIZE_BYTES)) -> None:
        """Write a page; the whole file at once, so that its space is reserved, and then its magic.

        Raises:
            OSError: there is no space.
            FileExistsError: there is one.
        """
        fd = modes.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if os.write(fd, bytes(8) + content[8:]) != SIZE_BYTES:
                raise OSError(28, "No space left on device", path)
            os.pwrite(fd, MAGIC, 0)
        finally:
            os.close(fd)

    @staticmethod
    def restore_magic(path: str) -> None:
        """Make a page whose beginning or length is damaged one again; by the writer of a spool that has an address.

        Its numbers are for people and budgets: a wrong one costs no record.

        Raises:
            OSError: it is not there, or there is no space.
        """
        fd = os.open(path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0))
        try:
            missing_bytes = SIZE_BYTES - os.fstat(fd).st_size
            if missing_bytes > 0:
                os.pwrite(fd, bytes(missing_bytes), SIZE_BYTES - missing_bytes)
            os.pwrite(fd, MAGIC, 0)
        finally:
            os.close(fd)

    def follow_name(self, path: str, *, make: bool) -> None:
        """Be the page that has the spool's name for it, which cleaners may have taken from ours.

        Args:
            path: that name.
            make: give our content the name, where there is no page by it; by one who knows that the run goes on.

        Raises:
            OSError: it cannot be made, or opened.
        """
        if self._file_id == (0, 0):  # of a run that has ended
            return
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            if not make:
                return
            with suppress(FileExistsError):  # another process was faster
                self.create(path, bytes(self._view[:_MOVED_AT]) + b"\0" + bytes(self._view[_OTHERS_AT:]))
            status = os.stat(path, follow_symlinks=False)
        if (status.st_dev, status.st_ino) == self._file_id:
            return
        other = self.open(path)
        # Whoever has not come by yet has only the old one: what is said there counts.
        if self.closed[0]:
            other.close_run()
        self._view[_MOVED_AT] = 1
        self._older.append(self._view)
        self._map_file(other._map, other._file_id)  # noqa: SLF001 - its own class

    @property
    def moved(self) -> bool:
        """Whether another page has been made, because this one's name was gone."""
        return bool(self._view[_MOVED_AT])

    def close(self) -> None:
        """Unmap the page, which holds a descriptor."""
        self._older.clear()
        self.closed.release()
        self._view.release()
        if self._file_id == (0, 0) or not mappings.keep_if_not_ours(self._map, len(self._map)):
            self._map.close()

    def __del__(self) -> None:
        try:  # not by suppress(): at the end of the interpreter this module may be empty
            for view in (self._view, *self._older) if self._file_id != (0, 0) else ():
                mappings.keep_if_not_ours(view.obj, view.nbytes)
        except Exception:  # noqa: BLE001, S110 - closed, or an interpreter that ends has taken something away
            pass

    def close_run(self) -> None:
        """Refuse every call that reads it from now on."""
        for view in (self._view, *self._older):
            view[_CLOSED_AT] = 1

    @property
    def done(self) -> bool:
        """Whether everything is on disk and the final status is written."""
        return any(view[_DONE_AT] for view in (self._view, *self._older))

    def set_done(self) -> None:
        """Say that the run is stored; the last thing that a writer does."""
        for view in (self._view, *self._older):
            view[_DONE_AT] = 1

    @property
    def others(self) -> int:
        """Producers that the writer waits for although the owner's interpreter has ended."""
        return int(_u32.unpack_from(self._view, _OTHERS_AT)[0])

    def set_others(self, producers: int) -> None:
        """Say how many there are."""
        _u32.pack_into(self._view, _OTHERS_AT, producers)

    @property
    def writer_pid(self) -> int:
        """Process id of the writer; 0 before the first. Says nothing about whether it lives."""
        return int(_u32.unpack_from(self._view, _WRITER_PID_AT)[0])

    def set_writer_pid(self, pid: int) -> None:
        """Leave it for people."""
        _u32.pack_into(self._view, _WRITER_PID_AT, pid)

    def beat(self) -> None:
        """Move the heartbeat."""
        self._put(_HEARTBEAT_AT, self.heartbeat + 1)

    @property
    def heartbeat(self) -> int:
        """Ticks of all writers of this spool."""
        return self._get(_HEARTBEAT_AT)

    @property
    def stored_records(self) -> int:
        """Records stored so far."""
        return self._get(_STORED_AT)

    @property
    def spooled_bytes(self) -> int:
        """Bytes of segments that have not been stored and removed: an upper bound of what is left to store."""
        return sum(self.used_bytes(tier) for tier in range(TIERS))

    @property
    def last_step(self) -> int:
        """The highest step stored; 0 before the first."""
        return int(_i64.unpack_from(self._view, _LAST_STEP_AT)[0])

    def report(self, stored_records: int, last_step: int) -> None:
        """Publish the writer's progress."""
        self._put(_STORED_AT, stored_records)
        _i64.pack_into(self._view, _LAST_STEP_AT, last_step)

    def add_made(self, tier: int, producer_number: int, size_bytes: int) -> None:
        """Account for a segment that a producer, or the writer for one, has made."""
        slot = WRITERS_SLOT if producer_number == WRITERS_SLOT else producer_number % WRITERS_SLOT
        at = _SLOTS_AT + tier * _SLOT_BYTES + 8 * slot
        self._put(at, self._get(at) + size_bytes)

    def add_dropped(self, tier: int, size_bytes: int) -> None:
        """Account for a segment that the writer removed."""
        at = _DROPPED_AT + 8 * tier
        self._put(at, self._get(at) + size_bytes)

    def made_bytes(self, tier: int) -> int:
        """Bytes of all segments that were ever made in a tier."""
        start = _SLOTS_AT + tier * _SLOT_BYTES
        return sum(self._view[start : start + _SLOT_BYTES].cast("Q"))

    def used_bytes(self, tier: int) -> int:
        """Bytes of segments that are in a tier now."""
        used = (self.made_bytes(tier) - self._get(_DROPPED_AT + 8 * tier)) & _HIGHEST_U64
        return used if used <= _HIGHEST_I64 else 0  # below zero

    def correct_used(self, tier: int, made_bytes: int, used_bytes: int) -> None:
        """Make the account say what is there; by the writer.

        Args:
            tier: which one.
            made_bytes: what had been made when the scan began. Of a segment that is made during the scan both may
                speak: it counts twice until the next scan, and never less than once.
            used_bytes: what the scan has found.
        """
        self._put(_DROPPED_AT + 8 * tier, made_bytes - used_bytes)  # modulo 2**64: a damaged page can say anything

    @property
    def generation(self) -> int:
        """Number of the newest writer; 0 before the first."""
        return self._get(_GENERATION_AT)

    def begin_generation(self) -> int:
        """Count one more writer, and return its number."""
        self._put(_GENERATION_AT, self.generation + 1)
        return self.generation

    def set_renewed(self) -> None:
        """Say that what the page before this one said is not known."""
        self._view[_RENEWED_AT] = 1

    def note_made(self, number: int, pid: int, segment_number: int) -> None:
        """Note a segment that a producer has made: its file may go by name before a writer sees it."""
        at = self._producer_at(number)
        if at is not None:
            _u32.pack_into(self._view, at + _PID_AT, pid)
            _u32.pack_into(self._view, at + _MADE_AT, segment_number + 1)

    def note_newest_stored(self, number: int, segment_number: int) -> None:
        """Leave for the next writer how far a producer's segments are stored: the plan may have gone by name."""
        at = self._producer_at(number)
        if at is not None:
            _u32.pack_into(self._view, at + _NEWEST_STORED_AT, segment_number + 1)

    def newest_stored(self, number: int) -> int | None:
        """Number of a producer's newest stored segment; -1 if none is stored, None if that is not known."""
        noted = list(self.producers())
        newest = max((each.stored for each in noted if each.number == number), default=-1)
        is_known = newest >= 0 or not (self._view[_RENEWED_AT] or len(noted) == _PRODUCERS)
        return newest if is_known else None

    def producers(self) -> Iterator[Noted]:
        """What is known of each producer that the writer has not forgotten."""
        for number, pid, made, stored in _producer.iter_unpack(bytes(self._view[_PRODUCERS_AT:_SLOTS_AT])):
            if number and pid <= _HIGHEST_PID:  # else it is damaged
                yield Noted(number, pid, made - 1, stored - 1)

    def forget_producer(self, number: int) -> None:
        """Make room for another one: this one is dead, and all that it has made is stored or told as missing."""
        for at in range(_PRODUCERS_AT, _SLOTS_AT, _producer.size):
            if _u32.unpack_from(self._view, at)[0] == number:
                _producer.pack_into(self._view, at, 0, 0, 0, 0)

    def _producer_at(self, number: int) -> int | None:
        """Where a producer is, or may be noted; None if there is no room. The number says where to search first."""
        for index in range(_PRODUCERS):
            at = _PRODUCERS_AT + _producer.size * ((number + index) % _PRODUCERS)
            there = _u32.unpack_from(self._view, at)[0]
            if there in {0, number}:
                _u32.pack_into(self._view, at, number)
                return at
        return None

    @property
    def troubles(self) -> int:
        """How many messages the writer has put so far."""
        return self._get(_TROUBLE_AT)

    @property
    def message(self) -> str:
        """The newest of them."""
        return self._text(_MESSAGE_LENGTH_AT, _MESSAGE_AT, _MESSAGE_BYTES)

    def put_message(self, text: str) -> None:
        """Tell the owner why storing fails, or what is missing; it warns at its next check."""
        troubles = self.troubles + 1
        for view in (self._view, *self._older):  # the owner may not have followed to the new page yet
            _put_text(view, text, _MESSAGE_LENGTH_AT, _MESSAGE_AT, _MESSAGE_BYTES)
            _u64.pack_into(view, _TROUBLE_AT, troubles & _HIGHEST_U64)

    @property
    def task(self) -> str:
        """What the writer does beside storing records; empty where there is nothing."""
        return self._text(_TASK_LENGTH_AT, _TASK_AT, _TASK_BYTES)

    def put_task(self, text: str) -> None:
        """Tell who waits for the end what is being done."""
        _put_text(self._view, text, _TASK_LENGTH_AT, _TASK_AT, _TASK_BYTES)

    def _text(self, length_at: int, at: int, most_bytes: int) -> str:
        length = min(_u32.unpack_from(self._view, length_at)[0], most_bytes)
        return bytes(self._view[at : at + length]).decode("utf-8", "replace")

    def _get(self, at: int) -> int:
        return int(_u64.unpack_from(self._view, at)[0])

    def _put(self, at: int, value: int) -> None:
        _u64.pack_into(self._view, at, value & _HIGHEST_U64)


def _put_text(view: memoryview, text: str, length_at: int, at: int, most_bytes: int) -> None:
    encoded = text.encode("utf-8", "backslashreplace")[:most_bytes]
    view[at : at + len(encoded)] = encoded
    _u32.pack_into(view, length_at, len(encoded))
