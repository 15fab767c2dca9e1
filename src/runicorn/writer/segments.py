"""The segments of a spool: found, held open, counted, and removed when they are stored."""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import suppress

import msgspec

from runicorn.queue import spool, spool_address
from runicorn.queue.control_page import WRITERS_SLOT, ControlPage
from runicorn.queue.segment import STORED, make_spare, number_of
from runicorn.queue.segment_reader import SegmentReader
from runicorn.storage import removal
from runicorn.writer.followed import PROBE_INTERVAL_S, Followed, Origin, Producer
from runicorn.writer.plan import SegmentRange


class Segments:
    """What is followed of a spool; see ``Tail``."""

    def __init__(self, address: spool_address.Address, control: ControlPage) -> None:
        self._address = address
        self._directories = (address.spool, address.overflow)
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
        self.collected_bytes = 0
        self.torn_bytes = 0
        self.has_lost_plan = False
        self._has_strange = False
        self._has_doubtful = False  # what was read last
        self._unseen_since: dict[tuple[str, int], float] = {}
        self._forgotten: set[int] = set()
        self._asked: set[tuple[str, int]] = set()
        self._origins: dict[int, list[Origin]] = {}  # by mark
        self._turns: dict[tuple[str, int | None], list[Origin]] = {}  # by the name of the producer, and turn

    def _await_copies(self, ranges: list[SegmentRange]) -> None:
        """Take up the segments of a plan, in whichever tier: a producer may make one again whose name is gone."""
        deadline = time.monotonic() + RESTORE_WAIT_S
        while True:
            absent = []
            for item in ranges:
                for tier in (item.tier, 1 - item.tier):
                    if self._find(item) is None:
                        self._take_up(tier, item.name)
                if self._find(item) is None and not item.finished:
                    absent.append(self._producer(item.name))
            for producer in absent:
                producer.probe(at_once=True)
            if all(producer.dead for producer in absent) or time.monotonic() > deadline:
                return
            self._control.beat()
            time.sleep(0.02)

    def scan(self) -> None:
        """Take up segments that have appeared, as far as there are descriptors for them."""
        found = []
        for tier, directory in enumerate(self._directories):
            try:
                names = os.listdir(directory)
            except OSError:
                continue
            found += [
                (name.rpartition("-")[2], tier, name)
                for name in names
                if name.endswith(spool.SEGMENT_SUFFIX) and (tier, name) not in self._dropped
            ]
        self.left_out = 0
        short = set()
        # By number: a producer's later segment is never read before an earlier one.
        for _, tier, name in sorted(found):
            producer_name = name.rpartition("-")[0]
            producer = self._producers.get(producer_name)
            if producer is not None and name not in producer.segments and self._is_double(producer, name):
                self._dispose(name)
            elif producer_name in short or not self._take_up(tier, name):
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
            self._producers[name] = Producer(name, self._directories)
        return self._producers[name]

    def _take_up(self, tier: int, name: str) -> bool:
        """Follow a segment; False where there is no descriptor for it now."""
        producer = self._producers.get(name.rpartition("-")[0])
        if producer is not None and name in producer.segments:
            return True
        try:
            fd = _open(os.path.join(self._directories[tier], name))
        except FileNotFoundError:  # removed meanwhile
            return True
        except OSError:
            return False
        if fd > self._highest_fd and any(each.segments for each in self._producers.values()):
            os.close(fd)  # storing what we hold needs some, and makes room for the rest
            return False
        producer = self._producer(name)
        with suppress(OSError):
            producer.open_probe()
        followed = Followed(tier, name, fd, self._generation)
        begun = self._resume.pop(name, None)
        if begun is not None:
            followed.start = followed.reader.position = begun.stop
            followed.announced = True
        producer.take_in(followed)
        return True

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
                    f"{self._why_not(producer)}"
                )

    @staticmethod
    def _why_not(producer: Producer) -> str:
        """What a living process can do: it makes its segments again at its next call."""
        if producer.dead:
            return ""
        return (
            f". Process {producer.pid} lives and still has them in memory, but has made no call since then. Call "
            "run.flush() in it before the run ends"
        )

    def ranges(self) -> list[SegmentRange]:
        """Every segment that is followed, with what the current batch has of it; the newest of what is stored."""
        dropped = self._dropped | {
            (spool.PRIMARY, producer.name_of(producer.newest_stored))
            for producer in self._producers.values()
            if producer.newest_stored >= 0
        }
        return [
            *(
                SegmentRange(each.tier, each.name, each.start, each.reader.position, each.finished, each.mark)
                for producer in self._producers.values()
                for each in producer.segments.values()
            ),
            *(msgspec.structs.replace(at, start=at.stop) for at in self._resume.values()),
            *(SegmentRange(tier, name, 0, 0, finished=True) for tier, name in sorted(dropped)),
        ]

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
            producer.take_out(each)
            self._control.note_newest_stored(producer.number, producer.newest_stored)
            self._control.add_dropped(each.tier, each.reader.file_bytes)
            each.reader.mark(self._generation, STORED)
            each.reader.free_pages()
            each.reader.close()
            self._dispose(each.name)
            self._dropped.add((each.tier, each.name))

    def _dispose(self, name: str) -> None:
        """Remove a segment that is stored, and the copy that its producer may have made when its name was gone."""
        for directory in self._directories:
            path = os.path.join(directory, name)
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
        for tier, directory in enumerate(self._directories):
            made_bytes = self._control.made_bytes(tier)
            self._control.correct_used(tier, made_bytes, spool.bytes_in(directory) + self._nameless_bytes(tier))

    def _nameless_bytes(self, tier: int) -> int:
        return sum(
            each.reader.file_bytes
            for producer in self._producers.values()
            for each in producer.segments.values()
            if each.tier == tier and not os.path.lexists(os.path.join(self._directories[tier], each.name))
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
                or newest.tier != spool.PRIMARY
                or newest.spare_made
                or producer.dead
                or not newest.ready
                or 2 * newest.reader.position < newest.reader.size_bytes
            ):
                continue
            newest.spare_made = True
            size_bytes = min(4 * newest.reader.size_bytes, largest_bytes)
            path = os.path.join(self._directories[spool.PRIMARY], producer.name + spool.SPARE_SUFFIX)
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

    def living_beside_owner(self) -> int:
        """How many producers live, without the owner, which waits for the run's end itself; does not ask the kernel."""
        return sum(not (producer.is_owner or producer.dead) for producer in self._producers.values())

    def _forget_dead(self, *, at_once: bool) -> None:
        """Give up what dead producers with nothing unread still cost: a descriptor, a lock file, a spare."""
        for producer in list(self._producers.values()):
            if producer.segments and not at_once:
                continue
            producer.probe(at_once=at_once)
            if producer.dead and not producer.segments and not self._has_more(producer):
                self._tell_unseen(producer)
                self._control.forget_producer(producer.number)
                self._forgotten.add(producer.number)
                del self._producers[producer.name]
                producer.close()
                for at in self._directories:
                    for suffix in (spool.LOCK_SUFFIX, spool.SPARE_SUFFIX):
                        _unlink(os.path.join(at, producer.name + suffix))

    def _has_more(self, producer: Producer) -> bool:
        """Whether a dead producer has left what is not taken up yet; its last copies of what is stored go here."""
        more = False
        for directory in self._directories:
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
        path = os.path.join(self._directories[item.tier], item.name)
        if os.path.lexists(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)

    def _find(self, item: SegmentRange) -> Followed | None:
        producer = self._producers.get(item.name.rpartition("-")[0])
        return producer.segments.get(item.name) if producer is not None else None


FAST_FILL_S = 0.5
RESTORE_WAIT_S = 3.0
_KEPT_FREE = 16
"""Descriptors that are left for the run's files."""


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
