"""The reading end of the queue: follows every segment of every producer in both tiers of the spool."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from runicorn.queue.records import Hello
from runicorn.queue.segment import HEADER_BYTES, number_of
from runicorn.writer import unlinked
from runicorn.writer.followed import Followed, Origin, Producer, SegmentChunk
from runicorn.writer.segments import Segments

if TYPE_CHECKING:
    from runicorn.queue.control_page import Noted
    from runicorn.writer.plan import SegmentRange

GAP_WAIT_S = 10.0
_LEAST_SHARE_BYTES = 64 * 1024


class Tail(Segments):
    """All segments of a spool.

    Attributes:
        left_out: how many segments are there that could not be opened at the last scan, for want of descriptors.
        held_back: how many segments are waited for whose names are gone, and may come back.
        collected_bytes: how many bytes were read last.
        torn_bytes: how many torn frames have been found.
        is_in_doubt: whether the files have to say what is stored of what was read: a segment was not the one that its
            name means; or an earlier writer had it open, whose plan is gone.
        has_lost_plan: whether the plan of an earlier writer is gone.

    It holds them open and reads by descriptor: the spool may go by name at any time (systemd's RemoveIPC,
    a cluster's cleaner of shared memory), and nothing that was pushed before may go with it.
    """

    def restore(self, ranges: list[SegmentRange]) -> tuple[list[SegmentChunk], int]:
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
                    self._dropped.add((item.tier, item.name))
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
                # Another file has its name: it is read from its beginning.
                self._has_strange = followed.is_out_of_turn = True
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

    @property
    def is_in_doubt(self) -> bool:
        """As above."""
        return self._has_strange or self._has_doubtful

    def collect(self, limit_bytes: int, *, probe: bool = False) -> list[SegmentChunk]:
        """Read what is new, about ``limit_bytes`` of it; ``probe`` asks at once who is dead."""
        self._forget_dead(at_once=False)
        noted = list(self._control.producers())  # first: what is noted can be seen, unless somebody has removed it
        self.scan()
        self.held_back = 0
        self._has_doubtful = False
        pieces: list[SegmentChunk] = []
        # Each gets its share of a batch: a busy producer does not keep the others waiting.
        share = max(min(limit_bytes, _LEAST_SHARE_BYTES), limit_bytes // max(1, len(self._producers)))
        left = limit_bytes
        for name in list(self._producers):
            if left <= 0:
                # Who is left out of this batch comes first in the next.
                self._producers = {name: self._producers.pop(name), **self._producers}
                continue
            left -= self._collect_from(self._producers[name], share, pieces, probe=probe)
        self.collected_bytes = limit_bytes - left
        if not self.left_out:
            self._look_for_unseen(noted)
        return pieces

    def _collect_from(self, producer: Producer, limit_bytes: int, pieces: list[SegmentChunk], *, probe: bool) -> int:
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
                    producer.probe(at_once=probe)
                    if producer.dead:  # what it pushed between our read and its death
                        payloads = followed.reader.read(limit_bytes - taken)
            else:
                producer.probe(at_once=probe)
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
        # A dead producer had one segment a turn; a living one may have given one up. A copy may be without its mark.
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
        # What only the copy has may have been stored before its twin was damaged.
        self._has_strange = copy.is_out_of_turn = True
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
        return Hello(f"{self._address.host}-{pid}", not_owner=pid != self._address.owner_pid)

    def _is_in_turn(self, producer: Producer, followed: Followed) -> bool:
        """Whether the segment before was read; if its name went before that, its producer makes it again."""
        before = followed.reader.before
        if before is None or producer.has_had(before):
            return True
        if self._may_have_been_stored(producer, before):
            return True
        producer.probe(at_once=False)
        name = producer.name_of(before)
        if any(os.path.lexists(os.path.join(directory, name)) for directory in self._directories):
            return False  # the next scan has it
        if not producer.dead and time.monotonic() - followed.seen_at < GAP_WAIT_S:
            return False
        if self._bring_back(producer, before):
            return False
        producer.missing.add(before)
        self._lacks.append(
            f"segment {before} of process {producer.pid} is missing: another program has removed it from the spool, "
            f"and its records are not stored{self._why_not(producer)}"
        )
        return True

    def _bring_back(self, producer: Producer, number: int) -> bool:
        """Take up what only a living process has any more; whether there was anything. Asked once a number."""
        if producer.dead or (producer.name, number) in self._asked:
            return False
        self._asked.add((producer.name, number))
        before = len(producer.segments)
        for tier, directory in enumerate(self._directories):
            for name, fd in unlinked.open_mapped(producer.pid, directory, producer.name):
                if producer.has_had(number_of(name)):
                    os.close(fd)
                else:
                    producer.take_in(Followed(tier, name, fd, self._generation))
        return len(producer.segments) > before

    def _look_for_unseen(self, noted: list[Noted]) -> None:
        """Know of producers whose segments' names went before they were read; while they live, they make them again."""
        now = time.monotonic()
        for each in noted:
            if each.number in self._forgotten:  # on a page that was made while we read the one before
                self._control.forget_producer(each.number)
            elif each.made > each.stored and each.pid:
                producer = self._producer(f"{each.pid:x}.{each.number:08x}-")
                if each.made > producer.newest_had:
                    since = self._unseen_since.setdefault((producer.name, each.made), now)
                    producer.probe(at_once=False)
                    waits = producer.dead or now - since < GAP_WAIT_S
                    self.held_back += waits or self._bring_back(producer, each.made)

    def give_up_unseen(self) -> None:
        """The run ends: what has not been seen is told."""
        for producer in self._producers.values():
            self._tell_unseen(producer)

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

    def has_left(self) -> bool:
        """Whether segments are not read to their end to which nothing is added any more."""
        for producer in self._producers.values():
            producer.probe(at_once=True)
            segments = list(producer.segments.values())
            if any(not each.finished for each in (segments if producer.dead else segments[:-1])):
                return True
        return self.left_out > 0
