"""The reading end of the queue: follows every segment of every producer in both places of the spool."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from runicorn.host import identity
from runicorn.host.locks import Probe
from runicorn.queue import mending, spool, spool_address
from runicorn.queue.control_page import WRITERS_SLOT
from runicorn.queue.records import Hello, decode
from runicorn.queue.segment import FOLLOWED, FRAME_HEADER_BYTES, HEADER_BYTES, STORED, make_spare, number_of
from runicorn.queue.segment_reader import Damage, SegmentReader
from runicorn.storage import removal
from runicorn.writer.plan import SegmentRange

if TYPE_CHECKING:
    from runicorn.queue.control_page import ControlPage, Noted

PROBE_INTERVAL_S = 0.5
FAST_FILL_S = 0.5
GAP_WAIT_S = 10.0
RESTORE_WAIT_S = 3.0
_LEAST_SHARE_BYTES = 64 * 1024
_KEPT_FREE = 16
"""Descriptors that are left for the run's files."""


class Piece(NamedTuple):
    """Whole frames of one segment, in order; none where its producer has come and not said anything yet."""

    hello: Hello
    payloads: list[bytes]
    segment: str = ""
    damages: tuple[Damage, ...] = ()
    turn: int = 0  # among its producer's: by the header where that is sound, for a file may have another one's name


class Origin(NamedTuple):
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

    def __init__(self, place: int, name: str, fd: int, generation: int) -> None:
        self.place = place
        self.name = name
        self.number = number_of(name)
        self.reader = SegmentReader(fd)
        self._generation = generation
        self.was_opened = self.reader.was_opened()  # by an earlier writer
        self._marked = self.reader.mark(generation, FOLLOWED)
        self.hello: Hello | None = None
        self.has_stand_in = False  # its own hello is damaged
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

    def take_piece(self, payloads: list[bytes]) -> Piece | None:
        """What was read, with the damage between; None where there is nothing to tell."""
        damages = tuple(self.reader.damages)
        if self.hello is None or not (payloads or damages or not self.announced):
            return None
        self.reader.damages.clear()
        self.announced = True
        return Piece(self.hello, payloads, self.name, damages, self.turn)

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

    def __init__(self, name: str, places: tuple[str, str]) -> None:
        self.name = name
        self.segments: dict[str, Followed] = {}
        self.dead = False
        self.newest_stored = -1
        self.missing: set[int] = set()
        self._lock_paths = [os.path.join(place, name + spool.LOCK_SUFFIX) for place in places]
        self._spool = places[0]
        self._probe: Probe | None = None
        self._probed_at = 0.0

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

    def look(self, *, at_once: bool) -> None:
        """Find out whether it is dead; not more often than needed."""
        now = time.monotonic()
        if self.dead or (not at_once and now - self._probed_at < PROBE_INTERVAL_S):
            return
        self._probed_at = now
        try:
            probe = self.open_probe()
            self.dead = not probe.is_held() and not mending.has_dropped_lock(probe, self.pid, self._spool)
        except FileNotFoundError:  # its lock file had lost its name before we saw it: the process id is all there is
            self.dead = not self._has_process()
        except OSError:  # out of descriptors: the next look will say
            return

    def _has_process(self) -> bool:
        try:
            import psutil
        except (ImportError, OSError):  # out of descriptors: the next look will say
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


class Tail:
    """All segments of a spool.

    Attributes:
        left_out: how many segments are there that could not be opened at the last look, for want of descriptors.
        held_back: how many segments are waited for that have lost their names, and may come back.
        torn_bytes: how many torn frames have been found.
        is_in_doubt: whether the files have to say what is stored of what was read: a segment was not the one that its
            name means; or an earlier writer had it open, whose plan is lost.
        has_lost_plan: whether the plan of an earlier writer is lost.

    It holds them open and reads by descriptor: the spool may go by name at any time (systemd's RemoveIPC,
    a cluster's cleaner of shared memory), and nothing that was pushed before may go with it.
    """

    def __init__(self, address: spool_address.Address, control: ControlPage) -> None:
        self._address = address
        self._places = (address.spool, address.overflow)
        self._control = control
        self._producers: dict[str, Producer] = {}
        self._dropped: set[tuple[int, str]] = set()
        self._resume: dict[str, SegmentRange] = {}  # of the plan, gone by name when it was taken up
        self._lacks: list[str] = []
        self._generation = control.generation
        self._knows_the_past = self._generation <= 1
        self._counted_at = 0.0
        self._highest_fd = _descriptors() - _KEPT_FREE
        self.left_out = 0
        self.held_back = 0
        self.torn_bytes = 0
        self.has_lost_plan = False
        self._has_strange = False
        self._has_doubtful = False  # what was read last
        self._unseen_since: dict[tuple[str, int], float] = {}
        self._forgotten: set[int] = set()
        self._origins: dict[int, list[Origin]] = {}  # by mark
        self._turns: dict[tuple[str, int | None], list[Origin]] = {}  # by the name of the producer, and turn

    def restore(self, ranges: list[SegmentRange]) -> tuple[list[Piece], int]:
        """Take up a plan's segments where it stood before the batch, and read that batch again.

        Returns:
            The batch; and how many bytes of it cannot be had again, because somebody has removed them by name.

        Raises:
            OSError: a segment is there and cannot be opened now; to be tried again.
        """
        self._knows_the_past = True
        pieces = []
        gone_bytes = 0
        self._await_copies(ranges)
        for item in ranges:
            followed = self._find(item)
            if followed is None:
                self._check_gone(item)
                if item.finished:
                    self._dropped.add((item.place, item.name))
                    producer = self._producer(item.name)
                    producer.newest_stored = max(producer.newest_stored, number_of(item.name))
                else:  # its producer may make it again still: what the plan has read of it is not to be read then
                    self._resume[item.name] = item
                gone_bytes += item.stop - item.start
                if item.mark:  # it may be there under another name
                    self._origins.setdefault(item.mark, []).append(Origin(item.name, None, None))
                continue
            followed.reader.position = item.start
            if not followed.ready and item.stop > HEADER_BYTES:  # there was a hello
                followed.pass_over_damage(self._stand_in(followed), ended=True, filled=True)
            if item.mark not in {0, followed.reader.frame_header(followed.first)}:
                self._has_strange = True  # another file has its name: it is read from its beginning
                followed.start = followed.reader.position = followed.first
                continue
            payloads = followed.reader.read_range(item.start, item.stop) if followed.ready else []
            piece = followed.take_piece(payloads)
            if piece is not None:
                pieces.append(piece)
            followed.start = item.start if item.mark else followed.first
            followed.reader.position = max(item.stop, followed.first) if item.mark else followed.first
            followed.finished = item.finished
            if followed.ever_read:
                self._twin_of(followed)
        return pieces, gone_bytes

    def _await_copies(self, ranges: list[SegmentRange]) -> None:
        """Take up the segments of a plan, in whichever place: a producer may make one again that has lost its name."""
        deadline = time.monotonic() + RESTORE_WAIT_S
        while True:
            absent = []
            for item in ranges:
                for place in (item.place, 1 - item.place):
                    if self._find(item) is None:
                        self._take_up(place, item.name)
                if self._find(item) is None and not item.finished:
                    absent.append(self._producer(item.name))
            for producer in absent:
                producer.look(at_once=True)
            if all(producer.dead for producer in absent) or time.monotonic() > deadline:
                return
            self._control.beat()
            time.sleep(0.02)

    @property
    def is_in_doubt(self) -> bool:
        """As above."""
        return self._has_strange or self._has_doubtful

    def scan(self) -> None:
        """Take up segments that have appeared, as far as there are descriptors for them."""
        found = []
        for place, directory in enumerate(self._places):
            try:
                names = os.listdir(directory)
            except OSError:
                continue
            found += [
                (name.rpartition("-")[2], place, name)
                for name in names
                if name.endswith(spool.SEGMENT_SUFFIX) and (place, name) not in self._dropped
            ]
        self.left_out = 0
        short = set()
        # By number: a producer's later segment is never read before an earlier one.
        for _, place, name in sorted(found):
            producer_name = name.rpartition("-")[0]
            producer = self._producers.get(producer_name)
            if producer is not None and name not in producer.segments and self._is_double(producer, name):
                self._dispose(name)
            elif producer_name in short or not self._take_up(place, name):
                short.add(producer_name)
                self.left_out += 1

    @staticmethod
    def _is_double(producer: Producer, name: str) -> bool:
        """Whether a segment was stored before, from the file whose name was gone when its producer made this one."""
        number = number_of(name)
        return number <= producer.newest_stored and number not in producer.missing

    def _producer(self, segment_name: str) -> Producer:
        name = segment_name.rpartition("-")[0]
        if name not in self._producers:
            self._producers[name] = Producer(name, self._places)
        return self._producers[name]

    def _take_up(self, place: int, name: str) -> bool:
        """Follow a segment; False where there is no descriptor for it now."""
        producer = self._producers.get(name.rpartition("-")[0])
        if producer is not None and name in producer.segments:
            return True
        try:
            fd = _open(os.path.join(self._places[place], name))
        except FileNotFoundError:  # taken away by name since we looked
            return True
        except OSError:
            return False
        if fd > self._highest_fd and any(each.segments for each in self._producers.values()):
            os.close(fd)  # storing what we hold needs some, and makes room for the rest
            return False
        producer = self._producer(name)
        with suppress(OSError):
            producer.open_probe()
        followed = Followed(place, name, fd, self._generation)
        begun = self._resume.pop(name, None)
        if begun is not None:
            followed.start = followed.reader.position = begun.stop
            followed.announced = True
        producer.take_in(followed)
        return True

    def collect(self, limit_bytes: int, *, probe: bool = False) -> list[Piece]:
        """Read what is new, about ``limit_bytes`` of it; ``probe`` asks at once who is dead."""
        self._forget_dead(at_once=False)
        noted = list(self._control.producers())  # first: what is noted can be seen, unless somebody has removed it
        self.scan()
        self.held_back = 0
        self._has_doubtful = False
        pieces: list[Piece] = []
        # Each gets its share of a batch: a busy producer does not keep the others waiting.
        share = max(min(limit_bytes, _LEAST_SHARE_BYTES), limit_bytes // max(1, len(self._producers)))
        left = limit_bytes
        for name in list(self._producers):
            if left <= 0:
                # Who is left out of this batch comes first in the next.
                self._producers = {name: self._producers.pop(name), **self._producers}
                continue
            left -= self._collect_from(self._producers[name], share, pieces, probe=probe)
        if not self.left_out:
            self._look_for_unseen(noted)
        return pieces

    def _collect_from(self, producer: Producer, limit_bytes: int, pieces: list[Piece], *, probe: bool) -> int:
        taken = 0
        newest = producer.newest
        for followed in producer.segments.values():
            if followed.finished:
                continue
            if taken >= limit_bytes:
                break
            payloads: list[bytes] = []
            if followed.ready and not self._is_in_turn(producer, followed):
                self.held_back += 1
                break
            if followed.ready:
                payloads = followed.reader.read(limit_bytes - taken)
                if not payloads and not followed.reader.sealed:
                    producer.look(at_once=probe)
                    if producer.dead:  # what it pushed between our read and its death
                        payloads = followed.reader.read(limit_bytes - taken)
            else:
                producer.look(at_once=probe)
                if producer.dead and followed.ready:
                    payloads = followed.reader.read(limit_bytes - taken)
            stuck = not payloads and not followed.reader.sealed
            filled = stuck and producer.has_filled(followed.number)
            ended = producer.dead or (filled and time.monotonic() - followed.seen_at > GAP_WAIT_S)
            if stuck and followed.pass_over_damage(self._stand_in(followed), ended=ended, filled=filled):
                payloads = followed.reader.read(limit_bytes - taken)
            if followed.was_opened and self.has_lost_plan:
                self._has_doubtful |= bool(payloads)
                followed.was_opened = bool(payloads)  # what comes from now on was pushed since
            piece = followed.take_piece(self._without_twin(followed, payloads) if payloads else payloads)
            if piece is not None:
                pieces.append(piece)
                taken += followed.reader.position - followed.start
            if followed.reader.sealed:
                followed.finished = True
            elif producer.dead and not payloads:
                # Nothing more can come. What is left is a torn frame, whose log() never returned.
                followed.finished = True
                self.torn_bytes += followed.reader.torn
            elif payloads or followed is newest:
                break
            elif (filled or followed.ever_read) and not (ended or followed.reader.searched):
                break  # it is damaged; or its name was gone, and its producer is at making it again
            else:
                # Given up half made, by an exception or by a signal handler that rotated as well; or its seal is
                # damaged. A producer seals a segment before it makes the next, so nothing more will be in this one.
                followed.finished = True
        return taken

    def _twin_of(self, followed: Followed) -> str | None:
        """The name of an earlier segment of which this one is a copy; None if it is none."""
        origin = followed.origin
        by_mark = self._origins.setdefault(followed.mark, [])
        producer = self._producer(followed.name)
        by_turn = self._turns.setdefault((producer.name, origin.turn), [])
        # A dead producer had one segment a turn; a living one may have given one up. A copy may have lost its mark.
        known = by_mark + by_turn if producer.dead and origin.turn is not None else by_mark
        found = next((each for each in known if each.name == origin.name or each.may_be(origin)), None)
        if found is None:
            by_mark.append(origin)
            by_turn.append(origin)
        return None if found is None or found.name == origin.name else found.name

    def _without_twin(self, copy: Followed, payloads: list[bytes]) -> list[bytes]:
        """What a segment has that another one, of which somebody has made it, has not; all of it if there is none."""
        twin = self._twin_of(copy)
        if twin is None:
            return payloads
        self._has_strange = True  # what only the copy has may have been stored before its twin was damaged
        followed = next((each.segments[twin] for each in self._producers.values() if twin in each.segments), None)
        if followed is None:  # it is stored: the files have what it had
            return payloads
        there = set(followed.reader.all_payloads())
        return [payload for payload in payloads if payload not in there]

    def _stand_in(self, followed: Followed) -> Hello:
        """Who writes a segment whose hello is damaged, by its name and by the producer's other segments."""
        name = followed.name.rpartition("-")[0]
        for each in self._producers[name].segments.values():
            if each.hello is not None:
                return each.hello
        try:
            pid = int(name.partition(".")[0], 16)
        except ValueError:
            pid = 0
        return Hello(f"{self._address.host}-{pid}", joined=pid != self._address.owner_pid)

    def _is_in_turn(self, producer: Producer, followed: Followed) -> bool:
        """Whether the segment before has been had; one that has lost its name unseen is made again by its producer."""
        before = followed.reader.before
        if before is None or producer.has_had(before):
            return True
        if self._may_have_been_stored(producer, before):
            return True
        producer.look(at_once=False)
        name = producer.name_of(before)
        if any(os.path.lexists(os.path.join(place, name)) for place in self._places):
            return False  # the next look has it
        if not producer.dead and time.monotonic() - followed.seen_at < GAP_WAIT_S:
            return False
        producer.missing.add(before)
        self._lacks.append(
            f"segment {before} of process {producer.pid} is missing: another program has removed it from the spool, "
            "and its records are not stored"
        )
        return True

    def _look_for_unseen(self, noted: list[Noted]) -> None:
        """Know of producers whose segments have lost their names unseen; while they live, they make them again."""
        now = time.monotonic()
        for each in noted:
            if each.number in self._forgotten:  # on a page that was made while we looked at the one before
                self._control.forget_producer(each.number)
            elif each.made > each.stored and each.pid:
                producer = self._producer(f"{each.pid:x}.{each.number:08x}-")
                if each.made > producer.newest_had:
                    since = self._unseen_since.setdefault((producer.name, each.made), now)
                    producer.look(at_once=False)
                    self.held_back += producer.dead or now - since < GAP_WAIT_S

    def give_up_unseen(self) -> None:
        """The run ends: what has not been seen is told."""
        for producer in self._producers.values():
            self._tell_unseen(producer)

    def _tell_unseen(self, producer: Producer) -> None:
        """Tell of segments that a producer has made and that nobody has seen."""
        newest = producer.newest_had
        for each in self._control.producers():
            first = max(newest, each.stored) + 1
            if each.number == producer.number and each.made >= first:
                producer.missing.add(each.made)
                self._lacks.append(
                    f"segments {first} to {each.made} of process {each.pid} are missing: another program has removed "
                    "them from the spool before a writer has seen them, and what was logged there is not stored"
                )

    def _may_have_been_stored(self, producer: Producer, number: int) -> bool:
        """Whether an earlier writer may have stored a segment; the control page knows it if the plan has gone."""
        earlier = any(each.number < number for each in producer.segments.values())
        if self._knows_the_past or producer.newest_stored >= 0 or earlier:  # segments are stored in order
            return False
        newest = self._control.newest_stored(producer.number)
        return newest is None or number <= newest

    def take_lacks(self) -> list[str]:
        """What has been found missing since the last call, in words."""
        lacks, self._lacks = self._lacks, []
        return lacks

    def ranges(self) -> list[SegmentRange]:
        """Every segment that is followed, with what the current batch has of it; the newest of what is stored."""
        dropped = self._dropped | {
            (spool.PRIMARY, producer.name_of(producer.newest_stored))
            for producer in self._producers.values()
            if producer.newest_stored >= 0
        }
        return [
            *(
                SegmentRange(each.place, each.name, each.start, each.reader.position, each.finished, each.mark)
                for producer in self._producers.values()
                for each in producer.segments.values()
            ),
            *(msgspec.structs.replace(at, start=at.stop) for at in self._resume.values()),
            *(SegmentRange(place, name, 0, 0, finished=True) for place, name in sorted(dropped)),
        ]

    def has_left(self) -> bool:
        """Whether segments are not read to their end to which nothing is added any more."""
        for producer in self._producers.values():
            producer.look(at_once=True)
            segments = list(producer.segments.values())
            if any(not each.finished for each in (segments if producer.dead else segments[:-1])):
                return True
        return self.left_out > 0

    def finished(self) -> list[Followed]:
        """Segments that have been read to their end."""
        return [each for producer in self._producers.values() for each in producer.segments.values() if each.finished]

    def advance(self) -> None:
        """The batch is stored: what follows begins where it ended."""
        for producer in self._producers.values():
            for each in producer.segments.values():
                each.start = each.reader.position

    def drop(self, segments: list[Followed]) -> None:
        """Remove segments that are stored; the plan in place must say that they are finished."""
        for _, name in self._dropped:
            self._dispose(name)
        self._dropped.clear()
        for each in segments:
            producer = self._producers[each.name.rpartition("-")[0]]
            del producer.segments[each.name]
            producer.newest_stored = max(producer.newest_stored, each.number)
            self._control.note_newest_stored(producer.number, producer.newest_stored)
            producer.missing.discard(each.number)
            self._control.add_dropped(each.place, each.reader.file_bytes)
            each.reader.mark(self._generation, STORED)
            each.reader.free_pages()
            each.reader.close()
            self._dispose(each.name)
            self._dropped.add((each.place, each.name))

    def _dispose(self, name: str) -> None:
        """Remove a segment that is stored, and the copy that its producer may have made when its name was gone."""
        for place in self._places:
            path = os.path.join(place, name)
            try:
                reader = SegmentReader(_open(path))
            except OSError:
                continue
            reader.mark(self._generation, STORED)
            reader.close()
            _unlink(path)

    def account(self) -> None:
        """Correct what the budget says is used; now and then."""
        now = time.monotonic()
        if now - self._counted_at < PROBE_INTERVAL_S:
            return
        self._counted_at = now
        for place, directory in enumerate(self._places):
            made_bytes = self._control.made_bytes(place)
            self._control.correct_used(place, made_bytes, spool.bytes_in(directory) + self._nameless_bytes(place))

    def _nameless_bytes(self, place: int) -> int:
        return sum(
            each.reader.file_bytes
            for producer in self._producers.values()
            for each in producer.segments.values()
            if each.place == place and not os.path.lexists(os.path.join(self._places[place], each.name))
        )

    def prepare_spares(self, largest_bytes: int) -> None:
        """For each producer that fills its segments fast, prepare the next one, so that it need not.

        Zeroing a large segment takes milliseconds, and they would be the training loop's.
        """
        now = time.monotonic()
        for producer in self._producers.values():
            newest = producer.newest
            if (
                newest is None
                or newest.place != spool.PRIMARY
                or newest.spare_made
                or producer.dead
                or not newest.ready
                or 2 * newest.reader.position < newest.reader.size_bytes
            ):
                continue
            newest.spare_made = True
            size_bytes = min(4 * newest.reader.size_bytes, largest_bytes)
            path = os.path.join(self._places[spool.PRIMARY], producer.name + spool.SPARE_SUFFIX)
            if now - newest.seen_at > FAST_FILL_S:
                continue
            try:
                if not spool.room_for(self._address, self._control, spool.PRIMARY, size_bytes):
                    continue
                make_spare(path, size_bytes)
            except OSError:  # no room, or no spool by that name: the producer makes its own, where there is some
                continue
            self._control.add_made(spool.PRIMARY, WRITERS_SLOT, size_bytes)

    def living(self) -> int:
        """How many producers live, or have left something unread; asks the kernel, and forgets the rest."""
        self._forget_dead(at_once=True)
        return len(self._producers)

    def _forget_dead(self, *, at_once: bool) -> None:
        """Give up what dead producers with nothing unread still cost: a descriptor, a lock file, a spare."""
        for producer in list(self._producers.values()):
            if producer.segments and not at_once:
                continue
            producer.look(at_once=at_once)
            if producer.dead and not producer.segments and not self._has_more(producer):
                self._tell_unseen(producer)
                self._control.forget_producer(producer.number)
                self._forgotten.add(producer.number)
                del self._producers[producer.name]
                producer.close()
                for at in self._places:
                    for suffix in (spool.LOCK_SUFFIX, spool.SPARE_SUFFIX):
                        _unlink(os.path.join(at, producer.name + suffix))

    def _has_more(self, producer: Producer) -> bool:
        """Whether a dead producer has left what is not taken up yet; its last copies of what is stored go here."""
        more = False
        for directory in self._places:
            try:
                names = os.listdir(directory)
            except OSError:
                continue
            for name in names:
                if name.startswith(f"{producer.name}-") and name.endswith(spool.SEGMENT_SUFFIX):
                    if self._is_double(producer, name):
                        self._dispose(name)
                    else:
                        more = True
        return more

    def close(self) -> None:
        """Give all descriptors back."""
        for producer in self._producers.values():
            producer.close()
            for each in producer.segments.values():
                each.reader.close()
        self._producers.clear()

    def _check_gone(self, item: SegmentRange) -> None:
        """Make sure that a segment of the plan that we do not follow is not there.

        Raises:
            OSError: it is.
        """
        path = os.path.join(self._places[item.place], item.name)
        if os.path.lexists(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    def _find(self, item: SegmentRange) -> Followed | None:
        producer = self._producers.get(item.name.rpartition("-")[0])
        return producer.segments.get(item.name) if producer is not None else None


def _hello_in(payload: bytes) -> Hello | None:
    try:
        record = decode(payload)
    except msgspec.DecodeError:
        return None
    return record if isinstance(record, Hello) else None


def _descriptors() -> int:
    """How many descriptors this process may have."""
    if sys.platform == "win32":
        return 8192
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def _open(path: str) -> int:
    flags = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        return os.open(path, os.O_RDWR | flags)
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        return os.open(path, os.O_RDONLY | flags)  # its producer will not know, and keeps it


def _unlink(path: str) -> None:
    removal.remove_from_spool(path)
