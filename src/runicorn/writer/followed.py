"""One segment that the writer follows, and the process that fills it."""

from __future__ import annotations

import os
import time

import msgspec

from runicorn.host import identity
from runicorn.host.locks import Probe
from runicorn.queue import spool, spool_repair
from runicorn.queue.record_decoding import decode
from runicorn.queue.records import Hello
from runicorn.queue.segment import FOLLOWED, FRAME_HEADER_BYTES, HEADER_BYTES, number_of
from runicorn.queue.segment_reader import Damage, SegmentReader

PROBE_INTERVAL_S = 0.5


class SegmentChunk(msgspec.Struct, frozen=True):
    """Whole frames of one segment, in order; none where its producer has come and not said anything yet."""

    hello: Hello
    payloads: list[bytes]
    segment: str = ""
    damages: tuple[Damage, ...] = ()
    turn: int = 0  # among its producer's: by the header where that is sound, for a file may have another one's name
    has_stand_in: bool = False  # the hello was damaged: who wrote it is a guess
    is_out_of_turn: bool = False  # its producer's later records may have been read before


class Origin(msgspec.Struct, frozen=True):
    """Where a segment comes from, by what stands in it; None if that is damaged."""

    name: str
    producer: str | None
    turn: int | None

    def may_be(self, other: Origin) -> bool:
        """Whether two segments that begin with the same record can be copies of one."""
        pairs = ((self.producer, other.producer), (self.turn, other.turn))
        return all(one is None or another is None or one == another for one, another in pairs)


class Followed:
    """One segment and how far it has been read."""

    def __init__(self, tier: int, name: str, fd: int, generation: int) -> None:
        self.tier = tier
        self.name = name
        self.number = number_of(name)
        self.reader = SegmentReader(fd)
        self._generation = generation
        self.was_opened = self.reader.was_opened()  # by an earlier writer
        self._marked = self.reader.mark(generation, FOLLOWED)
        self.hello: Hello | None = None
        self.has_stand_in = False  # its own hello is damaged
        self.is_out_of_turn = False  # it has the name of another one, or another one is its copy
        self.start = HEADER_BYTES  # of the current batch
        self.first = HEADER_BYTES  # behind the hello
        self.finished = False
        self.seen_at = time.monotonic()
        self.spare_made = False
        self.announced = False
        self._mark = 0

    @property
    def mark(self) -> int:
        """Length and checksum of its first record, by which it is known; 0 before that was read."""
        if not self._mark and self.ever_read:
            self._mark = self.reader.frame_header(self.first)
        return self._mark

    @property
    def ever_read(self) -> bool:
        """Whether it has held anything but its hello."""
        return self.hello is not None and self.reader.position > self.first

    @property
    def is_of_owner(self) -> bool:
        """Whether its own hello says that the run's owner writes it."""
        return self.hello is not None and self.hello.is_owner and not self.has_stand_in

    @property
    def ready(self) -> bool:
        """Whether header and hello are there."""
        if not self._marked:
            self._marked = self.reader.mark(self._generation, FOLLOWED)
        if self.hello is None and self.reader.valid:
            first = self.reader.read_first()
            hello = _hello_in(first) if first is not None else None
            if first is not None and hello is not None:
                self.hello = hello
                self.first = HEADER_BYTES + FRAME_HEADER_BYTES + len(first)
                self.start = max(self.start, self.reader.position)
        return self.hello is not None

    def pass_over_damage(self, stand_in: Hello, *, ended: bool, filled: bool) -> bool:
        """Go on behind damage; where header or hello are damaged, by another hello. Whether there is more to read.

        Args:
            stand_in: that hello.
            ended: nothing is written any more.
            filled: it was in use. Else one without a header may have been given up half made, and lacks nothing.
        """
        if not self.reader.size_bytes and not self.reader.valid:
            if not ended or not self.reader.file_bytes or (not filled and self.reader.is_half_made()):
                return False
            if not self.reader.pass_over_header():
                return False
            if self.ready:
                return True
        if self.hello is None and self.reader.read_first() is not None:  # a record, and no hello
            self.hello, self.has_stand_in, self.reader.position = stand_in, True, HEADER_BYTES
            return True
        found = self.reader.skip_damage(ended=ended)
        if self.hello is None and self.reader.damages:
            self.hello, self.has_stand_in = stand_in, True
        return found

    def take_piece(self, payloads: list[bytes]) -> SegmentChunk | None:
        """What was read, with the damage between; None where there is nothing to tell."""
        damages = tuple(self.reader.damages)
        if self.hello is None or not (payloads or damages or not self.announced):
            return None
        self.reader.damages.clear()
        self.announced = True
        return SegmentChunk(self.hello, payloads, self.name, damages, self.turn, self.has_stand_in, self.is_out_of_turn)

    @property
    def turn(self) -> int:
        """After how many of its producer's segments it comes at the earliest."""
        if self.reader.has_lost_header:
            return self.number
        return 0 if self.reader.before is None else self.reader.before + 1

    @property
    def has_header(self) -> bool:
        """Whether its header is there, and whole."""
        return self.reader.valid and not self.reader.has_lost_header

    @property
    def origin(self) -> Origin:
        """What it is known by, whatever its name."""
        return Origin(
            self.name,
            self.hello.producer if self.hello is not None and not self.has_stand_in else None,
            None if self.reader.has_lost_header else self.turn,
        )


class Producer:
    """One producing process: its segments in order, and whether it lives.

    Attributes:
        name: of it.
        segments: those that are followed, by name.
        dead: whether it is.
        newest_stored: the highest number of those that are stored; -1 before the first.
        missing: numbers of those that never came.
    """

    def __init__(self, name: str, directories: tuple[str, str]) -> None:
        self.name = name
        self.segments: dict[str, Followed] = {}
        self.dead = False
        self.newest_stored = -1
        self.missing: set[int] = set()
        self._lock_paths = [os.path.join(directory, name + spool.LOCK_SUFFIX) for directory in directories]
        self._spool = directories[0]
        self._probe: Probe | None = None
        self._probed_at = 0.0
        self._was_owner = False

    @property
    def is_owner(self) -> bool:
        """Whether it is the run's owner, by what was read of it."""
        return self._was_owner or any(each.is_of_owner for each in self.segments.values())

    @property
    def number(self) -> int:
        """By which the control page knows it; 0 if somebody has changed its name."""
        try:
            return int(self.name[-8:], 16)
        except ValueError:
            return 0

    @property
    def pid(self) -> int:
        """Of the process, as it sees itself; 0 if somebody has changed its name."""
        try:
            return int(self.name.partition(".")[0], 16)
        except ValueError:
            return 0

    @property
    def newest_had(self) -> int:
        """The highest number of those that are followed, or stored, or not waited for any more; -1 if there is none."""
        return max(self.newest_stored, *self.missing, *(each.number for each in self.segments.values()), -1)

    @property
    def newest(self) -> Followed | None:
        """The only one that it may still write into; None if none is followed."""
        return next(reversed(self.segments.values()), None)

    def take_in(self, followed: Followed) -> None:
        """Put one into the order of the records: by the headers, for a file may have another one's name.

        One without a header is half made, given up half made, or damaged: it comes before the next, by number, that
        has one. So the newest is last, although its turn is below its number if others were given up before it.
        """
        self.segments[followed.name] = followed
        turns = [(each.number, each.turn) for each in self.segments.values() if each.has_header]

        def order(each: Followed) -> tuple[int, int]:
            if each.has_header:
                return each.turn, each.number
            return min((turn for number, turn in turns if number > each.number), default=each.number), each.number

        self.segments = dict(sorted(self.segments.items(), key=lambda item: order(item[1])))

    def take_out(self, followed: Followed) -> None:
        """Follow one no more, which is stored."""
        self._was_owner = self.is_owner
        del self.segments[followed.name]
        self.newest_stored = max(self.newest_stored, followed.number)
        self.missing.discard(followed.number)

    def has_filled(self, number: int) -> bool:
        """Whether one of its segments says that this one was in use before it."""
        return any(each.reader.before == number for each in self.segments.values())

    def open_probe(self) -> Probe:
        """Hold its lock file open, while it has a name.

        Raises:
            FileNotFoundError: it has none any more.
            OSError: it has, but cannot be opened now.
        """
        primary, overflow = self._lock_paths
        if self._probe is None:
            try:
                self._probe = Probe(primary)
            except FileNotFoundError:
                self._probe = Probe(overflow)
        return self._probe

    def probe(self, *, at_once: bool) -> None:
        """Find out whether it is dead; not more often than needed."""
        now = time.monotonic()
        if self.dead or (not at_once and now - self._probed_at < PROBE_INTERVAL_S):
            return
        self._probed_at = now
        try:
            probe = self.open_probe()
            self.dead = not probe.is_held() and not spool_repair.has_dropped_lock(probe, self.pid, self._spool)
        except FileNotFoundError:  # the name of its lock file was gone before we saw it: the process id is all there is
            self.dead = not self._has_process()
        except OSError:  # out of descriptors: the next probe will say
            return

    def _has_process(self) -> bool:
        try:
            import psutil
        except (ImportError, OSError):  # out of descriptors: the next probe will say
            return True
        return psutil.pid_exists(self.pid) and not identity.has_ended(self.pid)

    def has_had(self, number: int) -> bool:
        """Whether a segment is followed, or stored, or not waited for any more."""
        return (
            number <= self.newest_stored
            or number in self.missing
            or any(each.number == number for each in self.segments.values())
        )

    def name_of(self, number: int) -> str:
        """The name of one of its segments."""
        return f"{self.name}-{number:08d}{spool.SEGMENT_SUFFIX}"

    def close(self) -> None:
        """Give the probe back."""
        if self._probe is not None:
            self._probe.close()


def _hello_in(payload: bytes) -> Hello | None:
    try:
        record = decode(payload)
    except msgspec.DecodeError:
        return None
    return record if isinstance(record, Hello) else None
