"""From a batch of records to the run's files: each exactly once, whatever fails or dies in between."""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from runicorn.queue.control_page import MISSING
from runicorn.queue.crash_points import crash_point
from runicorn.queue.records import (
    Chore,
    Config,
    End,
    Holed,
    Image,
    Landed,
    Lost,
    Material,
    Metrics,
    Primary,
    Printed,
    Summary,
    Text,
    WatchOutputs,
    decode,
)
from runicorn.storage import last_lines, run_files
from runicorn.storage.escaping import escape
from runicorn.storage.wording import counted
from runicorn.writer import pending, reconcile, record_names
from runicorn.writer.assets import Assets
from runicorn.writer.lines import add_image, add_metrics, add_printed, add_text
from runicorn.writer.overhead import KEY
from runicorn.writer.plan import Plan, PlanFile
from runicorn.writer.run_state import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runicorn.queue.blobs import Blobs
    from runicorn.queue.control_page import ControlPage
    from runicorn.queue.records import Hello
    from runicorn.storage.run_directory import RunDir
    from runicorn.writer.follow import Tail
    from runicorn.writer.followed import SegmentChunk

_Result = TypeVar("_Result")
_FIRST_RETRY_S = 0.05
HIGHEST_STEP = 2**63 - 1
_MOST_TROUBLES = 20
_DOUBT_BYTES = 16 * 1024 * 1024
"""So much is compared with the files at a time, if the plan does not say what is stored."""


class GaveUpError(Exception):
    """Storing has failed for so long that nobody waits for it any more; the spool stays for a later writer."""


class Store:
    """Owns the files of a run while the writer lives.

    Args:
        run_id: the run's id.
        run_dir: the open run directory.
        names: the files in it that are this writer's.
        plan_file: where the write-ahead plan goes.
        tail: where the records come from.
        control: where progress and trouble are published.
        retry_max_s: longest pause between two tries to store.
        patience: asked at each failed try, with the seconds since the first one; False = give up.
        blobs: what came beside the queue.
        opened_at: when this session of the run began, epoch seconds.

    Attributes:
        tally: what is known of the run beside its files.
        assets: ``assets.json``.
    """

    def __init__(
        self,
        run_id: str,
        run_dir: RunDir,
        names: run_files.Names,
        plan_file: PlanFile,
        tail: Tail,
        control: ControlPage,
        *,
        retry_max_s: float,
        patience: Callable[[float], bool],
        blobs: Blobs,
        opened_at: float,
    ) -> None:
        self.run_id = run_id
        self.names = names
        self.run_dir = run_dir
        self._plan_file = plan_file
        self._tail = tail
        self._control = control
        self._retry_max_s = retry_max_s
        self._patience = patience
        self._sequence = 0
        self._goes_on = False  # where another writer has stopped
        self._summary: dict[str, Any] = {}
        self._summary_changed = False
        self._set_by: dict[tuple[str, str], tuple[float, str]] = {}
        self._blobs = blobs
        self._opened_at = opened_at
        self._written_best: dict[str, Any] = {}
        self.tally = Tally()
        self.assets = Assets(run_id, lambda: self.read_or_set_aside(names.assets))

    def recover(self) -> None:
        """Take up where the previous writer of this spool stopped; at a fresh spool, where the run stands."""
        self.insist(self.run_dir.sweep)
        self._summary = self.read_or_set_aside(self.names.summary)
        for name in (run_files.META, run_files.STATUS, self.names.assets):
            self.run_dir.keep(name, self.read_or_set_aside(name))
        if self.names.assets == run_files.ASSETS and not self.insist(lambda: self.run_dir.has(run_files.ASSETS)):
            self.insist(lambda: self.run_dir.replace(run_files.ASSETS, run_files.EMPTY_ASSETS))  # every run has one
        plan, sound = self._plan_file.read(), self._plan_file.is_sound()
        if plan is None:
            self._resume_best()
            if sound and not self._is_anything_stored_since(self._opened_at):
                for name in (*self._own_events(), self.names.logs):
                    self.insist(lambda name=name: self.run_dir.end_torn_line(name))  # type: ignore[misc]
                return
            self._goes_on = self._tail.has_lost_plan = True
            self._tally_from_files()
            self.insist(self._plan_file.clear)
            if not sound:
                self.note("the plan in the spool was not readable: what was stored is known by the run's files alone")
            self._settle_doubt()
            return
        self.tally, self._goes_on = plan.tally, True
        self._tail.has_lost_plan = plan.follows_lost
        self._remove_spent_blobs()
        self._sequence = plan.sequence
        if self._take_up(plan) or not sound:
            self._settle_doubt()

    def _take_up(self, plan: Plan) -> bool:
        """Store what is missing of the batch of a plan; whether what follows it may be stored as well."""
        pieces, gone_bytes = self.insist(lambda: self._tail.restore(plan.segments))
        self.tally.damaged_bytes += gone_bytes
        if self.names.late:
            self._write(plan, pieces, lambda name, blob, _: self._rest_beside_earlier(name, blob, plan.sizes))
            return False
        shorter = [name for name, size in plan.sizes.items() if self._own_size_bytes(name) < size]
        for name in shorter:
            self.note(f"{name} has become shorter: somebody has removed lines, and they are not stored again")
        whole = not gone_bytes and not any(piece.damages for piece in pieces)
        if not whole:
            self._tally_from_files(plan.sizes)
        if plan.in_doubt or shorter or self._tail.is_in_doubt:
            self._write_in_doubt(plan, pieces)
            return True
        surplus: list[str] = []
        self._write(plan, pieces, lambda name, blob, size: self._rest(name, blob, size, surplus, whole=whole))
        return bool(surplus)

    def _own_size_bytes(self, name: str) -> int:
        if name not in {self.names.logs, self.names.events} and not run_files.is_events_of_rank(name):
            return 0  # a name that no writer has put there
        return self.insist(lambda: self.run_dir.size_bytes(name))

    def _is_anything_stored_since(self, time_s: float) -> bool:
        names = (*self._own_events(), self.names.logs)
        return any(self.insist(lambda name=name: self.run_dir.changed_at(name)) > time_s for name in names)  # type: ignore[misc]

    def _tally_from_files(self, sizes: dict[str, int] | None = None) -> None:
        """What the plan would have said of the records that are stored.

        Args:
            sizes: only of those behind these lengths: a part of a batch that cannot be built again may be there.
        """
        for name in self._own_events() if sizes is None else [*{*self._own_events()} & {*sizes}]:
            start_bytes = 0 if sizes is None else sizes[name]
            with self._reading(name, start_bytes) as lines:
                for step in last_lines.steps_of(lines, self._opened_at):
                    self.tally.records += sizes is None
                    self.tally.owned = True
                    self.tally.last_step = max(step, self.tally.last_step or step)
            if self.tally.primary is not None:
                with self._reading(name, start_bytes) as lines:
                    for value, step in last_lines.values_of(lines, self.tally.primary.name):
                        self.tally.see_value(value, step)

    def _settle_doubt(self) -> None:
        """Of what the segments hold, store what the files do not have: until nothing is there already."""
        while True:
            pieces = self._tail.collect(_DOUBT_BYTES, probe=True)
            if not pieces or not (self._store_in_doubt(pieces) or self._tail.has_left()):
                return
            self._control.beat()

    def _store_in_doubt(self, pieces: list[SegmentChunk]) -> bool:
        return self._write_in_doubt(self._put_plan(pieces, last=False, in_doubt=True), pieces)

    @property
    def owes_a_plan(self) -> bool:
        """Whether something is stored that waits for the next plan to give its room back."""
        return bool(self.tally.spent)

    def store(self, pieces: list[SegmentChunk], *, last: bool = False) -> None:
        """Store a batch; when this returns, a crash neither loses nor doubles any of it.

        Args:
            pieces: the batch.
            last: nothing follows.
        """
        # A record still waits for its values if they were damaged after it was stored with them.
        waits = last and self._goes_on and bool(self.tally.held)
        plan = self._put_plan(pieces, last=last, in_doubt=self._tail.is_in_doubt or waits)
        if plan.in_doubt:
            self._write_in_doubt(plan, pieces)
        else:
            self._write(plan, pieces)

    def _put_plan(self, pieces: list[SegmentChunk], *, last: bool, in_doubt: bool = False) -> Plan:
        names = {self.names.logs} | {self.names.events_of(piece.hello.rank) for piece in pieces}
        if last:
            names |= {self.names.events_of(rank) for rank in pending.ranks(self.tally.held)}
        sizes = {name: self.insist(lambda name=name: self.run_dir.size_bytes(name)) for name in names}  # type: ignore[misc]
        finished = [each for each in self._tail.finished() if each.start == each.reader.position]
        self._sequence += 1
        plan = Plan(
            self._sequence,
            self._tail.ranges(),
            sizes,
            self.tally,
            last=last,
            in_doubt=in_doubt,
            follows_lost=self._tail.has_lost_plan,
        )
        self.insist(lambda: self._plan_file.write(plan))
        crash_point("planned")
        # The plan in place says that these are finished, so their going cannot be misread.
        self._tail.drop(finished)
        self._remove_spent_blobs()
        return plan

    def _write(
        self,
        plan: Plan,
        pieces: list[SegmentChunk],
        rest_of: Callable[[str, bytearray, int], memoryview] | None = None,
    ) -> None:
        """Build the lines of a batch, and append them; after a crash, the rest of them.

        Args:
            plan: of the batch.
            pieces: the batch.
            rest_of: from a file's name, its lines and its length before the batch to what is not in it yet.
        """
        blobs = self._built(plan, pieces, self._build)
        for name, blob in blobs.items():
            left = memoryview(blob) if rest_of is None else rest_of(name, blob, plan.sizes.get(name, 0))
            self._append(name, left)
        self._conclude()

    def _built(
        self,
        plan: Plan,
        pieces: list[SegmentChunk],
        build: Callable[[SegmentChunk, dict[str, bytearray], dict[str, int]], None],
    ) -> dict[str, bytearray]:
        """The lines of a batch, by the name of their file."""
        blobs: dict[str, bytearray] = {self.names.logs: bytearray()}
        for piece in pieces:
            blobs.setdefault(self.names.events_of(piece.hello.rank), bytearray())
            build(piece, blobs, plan.sizes)
        if plan.last:
            for each in pending.give_up(self.tally.held):
                self._add_held([each], blobs.setdefault(self.names.events_of(each.hello.rank), bytearray()))
        for rank, lines in self.tally.trim_screens(last=plan.last):
            add_printed(lines, rank, blobs[self.names.logs])
        return blobs

    def _conclude(self) -> None:
        crash_point("appended")
        if self._summary_changed:
            self.write_summary()
        self.write_assets()
        self._tail.advance()
        self._control.report(self.tally.records, self.tally.last_step or 0)
        crash_point("stored")

    def _rest(self, name: str, blob: bytearray, size_before: int, surplus: list[str], *, whole: bool) -> memoryview:
        """What a file has not got of a batch; ``surplus`` takes its name if it has more than that."""
        fd = self.insist(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return memoryview(blob)
        try:
            there = _read_from(fd, size_before, len(blob) + 1)
            if there.startswith(blob) and len(there) > len(blob):
                surplus.append(name)
            if blob.startswith(there) or there.startswith(blob):
                return memoryview(blob)[len(there) :]
            if whole and name == self.names.logs:  # in another time zone, or language, text has other lines
                return memoryview(blob)[len(there) :]
            lines = last_lines.lines_of(fd, os.fstat(fd).st_size, size_before)
            if name == self.names.logs:
                missing = reconcile.text_behind(blob, list(lines))
            else:
                missing = reconcile.without(blob, reconcile.Wanted(blob).count_in(lines))
            return memoryview(reconcile.rest_of_torn(reconcile.torn_end(fd), missing))
        finally:
            os.close(fd)

    def _write_in_doubt(self, plan: Plan, pieces: list[SegmentChunk]) -> bool:
        """Append what the files have not got of a batch, wherever in them the rest of it is; whether any is there."""
        # A segment may have another one's name, and text is known by the order in which it was logged.
        pieces = sorted(pieces, key=lambda piece: piece.turn)
        steps: dict[str, list[reconcile.Step]] = {}
        blobs = self._built(plan, pieces, lambda piece, blobs, sizes: self._build_in_steps(piece, blobs, sizes, steps))
        there = {name: self._lines_there(name, blob) for name, blob in blobs.items()}
        text_there = there.pop(self.names.logs)
        rest = {name: reconcile.without(blobs[name], known.copy()) for name, known in there.items()}
        texts = [reconcile.text_of(each, there) for each in steps.values()]
        by_records = sum(len(step.text) for each in steps.values() for step in each)
        texts.append(reconcile.SegmentText(bytes(blobs[self.names.logs][by_records:]).split(b"\n")[:-1]))
        with self._reading(self.names.logs) as lines:
            logs = reconcile.missing_text(texts, lines, text_there)
        found = sum(known.total() for known in there.values())
        if plan.in_doubt:
            self.tally.records -= min(found, self.tally.records)  # they were counted when the files were scanned
        for name, missing in {self.names.logs: logs, **rest}.items():
            self._append(name, memoryview(reconcile.rest_of_torn(self._torn_end(name), missing)))
        self._conclude()
        return bool(found) or len(logs) < len(blobs[self.names.logs])

    def _build_in_steps(
        self,
        piece: SegmentChunk,
        blobs: dict[str, bytearray],
        sizes: dict[str, int],
        steps: dict[str, list[reconcile.Step]],
    ) -> None:
        """Build record by record, and note what each has become."""
        self._build(piece._replace(payloads=[]), blobs, sizes)
        name = self.names.events_of(piece.hello.rank)
        events, logs = blobs[name], blobs[self.names.logs]
        of_segment = steps.setdefault(piece.segment, [])
        for payload in piece.payloads:
            before = len(events), len(logs)
            self._build(piece._replace(payloads=[payload], damages=()), blobs, sizes)
            of_segment.append(reconcile.Step(name, bytes(events[before[0] :]), bytes(logs[before[1] :])))

    def _lines_there(self, name: str, blob: bytearray) -> Counter[bytes]:
        wanted = reconcile.Wanted(blob)
        found = Counter[bytes]()
        names = [name]
        if self.names.late and name != self.names.logs:
            # An earlier writer may have written into the files that a newer session has now.
            names += [each for each in self.insist(self.run_dir.names) if each.startswith("events.") and each != name]
        for each in names:
            with self._reading(each) as lines:
                found.update(wanted.count_in(lines))
        return found

    def _torn_end(self, name: str) -> bytes:
        fd = self.insist(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return b""
        try:
            return reconcile.torn_end(fd)
        finally:
            os.close(fd)

    @contextmanager
    def _reading(self, name: str, start_bytes: int = 0) -> Iterator[Iterator[bytes]]:
        """The whole lines of a file, from ``start_bytes`` on; none if it is not there, or not so long."""
        fd = self.insist(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            yield iter(())
            return
        try:
            yield last_lines.lines_of(fd, os.fstat(fd).st_size, start_bytes)
        finally:
            os.close(fd)

    def _rest_beside_earlier(self, name: str, blob: bytearray, sizes: dict[str, int]) -> memoryview:
        """The lines of a late batch that neither our own file has, nor one that an earlier writer has written into.

        Those have gone on by a newer session's lines, so that their lengths say nothing.
        """
        kind = os.path.splitext(name)[1]
        there = Counter[bytes]()
        for each in {name, *(planned for planned in sizes if planned.endswith(kind))}:
            there += self._lines_of(each, sizes.get(each, 0))
        self.insist(lambda: self.run_dir.end_torn_line(name))
        return memoryview(reconcile.without(blob, there))

    def _lines_of(self, name: str, start_bytes: int) -> Counter[bytes]:
        fd = self.insist(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return Counter()
        try:
            return Counter(last_lines.lines_of(fd, os.fstat(fd).st_size, start_bytes))
        finally:
            os.close(fd)

    def _build(self, piece: SegmentChunk, blobs: dict[str, bytearray], sizes: dict[str, int]) -> None:
        hello, tally = piece.hello, self.tally
        events, logs = blobs[self.names.events_of(hello.rank)], blobs[self.names.logs]
        tally.see_hello(hello)
        for damage in piece.damages:
            tally.damaged_bytes += damage.size_bytes
            self.note(
                f"segment {piece.segment} was damaged in {counted(damage.size_bytes, 'byte')} at {damage.start}: "
                "what was logged there is lost, the rest is stored"
            )
        for payload in piece.payloads:
            try:
                record = decode(payload)
            except (msgspec.DecodeError, RecursionError):  # its checksum was right: another version of this package
                tally.damaged_bytes += len(payload)
                size = counted(len(payload), "byte")
                self.note(f"a record of {size} in segment {piece.segment} cannot be decoded: it is lost")
                continue
            if type(record) is Metrics:
                if record.step > HIGHEST_STEP:  # noqa: PLR1730 - an auto step behind the highest; min() costs three times that
                    record.step = HIGHEST_STEP
                if not tally.held or not pending.is_in_the_way(tally.held, record, hello):
                    self._add_metrics(record, hello, events)
            else:
                try:
                    self._apply(record, hello, (events, logs), lambda each: self._set_primary(each, blobs, sizes))
                except GaveUpError:
                    raise
                except Exception as error:  # noqa: BLE001 - one that no writer can store must not stop all that follow
                    if isinstance(record, End):  # without it the run would be waited for for ever
                        tally.see_end(record, hello)
                        continue
                    kind = type(record).__name__
                    self.note(f"a record of type {kind} was not stored: {type(error).__name__}: {error}")

    def _add_metrics(
        self, record: Metrics | Holed, hello: Hello, events: bytearray, lost: list[str] | None = None
    ) -> None:
        tally = self.tally
        step = record.step
        primary = tally.primary
        if primary is not None and primary.name in record.data:
            tally.see_value(record.data[primary.name], step)
        if not hello.joined and not hello.rank and (tally.last_step is None or step > tally.last_step):
            tally.last_step = step
        tally.records += 1
        tally.last_time = record.time
        add_metrics(record, hello, events, lost)

    def _add_held(self, released: list[pending.Held], events: bytearray) -> None:
        """Lines of records that have waited for values from a device."""
        for each in released:
            self.tally.lost_values += len(each.record.lost)
            self._add_metrics(each.record, each.hello, events, each.record.lost)

    def _apply(
        self,
        record: Any,
        hello: Hello,
        blobs: tuple[bytearray, bytearray],
        set_primary: Callable[[Primary], None],
    ) -> None:
        tally = self.tally
        events, logs = blobs
        record_names.check(record)
        if isinstance(record, Holed):
            self._add_held(pending.enter(tally.held, record, hello), events)
            return
        if isinstance(record, Landed):
            self._add_held(pending.land(tally.held, record, hello), events)
            return
        if isinstance(record, Printed):
            add_printed(tally.see_printed(record, hello), hello.rank, logs)
            return
        if isinstance(record, Text):
            add_text(record, logs)
        elif isinstance(record, Image):
            if self._store_image(record):
                add_image(record, hello, events)
        elif isinstance(record, Summary):
            self._summary.update(self._newer("summary", record.update, record.time, hello))
            self._summary_changed = True
        elif isinstance(record, Config):
            self.assets.update_config(record, hello.producer)
        elif isinstance(record, WatchOutputs):
            tally.set_watch(record, hello)
            return
        elif isinstance(record, Material) and not record.source:
            self.assets.add(record.section, {**record.entry, "saved": False})
        elif isinstance(record, Chore):
            tally.add_chore(record)
        elif isinstance(record, Primary):
            if self._newer("", {"primary": record}, record.time, hello):
                set_primary(record)
            return
        elif isinstance(record, Lost):
            tally.lost_records += record.records
            tally.refused_values += record.refused
            return
        elif isinstance(record, End):
            tally.see_end(record, hello)
            return
        else:
            return
        tally.records += 1

    def _remove_spent_blobs(self) -> None:
        """Those of batches before the plan that is in place."""
        while self.tally.spent:
            self._blobs.keep_or_remove(self.tally.spent.pop())

    def _store_image(self, record: Image) -> bool:
        """Write an image's file; False where there is none to write."""
        self.tally.spent.append(record.blob)
        if self.insist(lambda: self.run_dir.has(record.path)):  # by the writer before us
            return True
        data = self.insist(lambda: self._blobs.read(record.blob))
        if data is None:
            self.tally.damaged_bytes += record.blob.size_bytes
            self.note(f"the image {record.path} was not stored: somebody has removed its pixels from the spool")
            return False
        from runicorn.writer import imaging

        try:
            content = imaging.file_bytes(
                record.mode, record.width, record.height, data, record.extension, record.quality
            )
        except Exception as error:  # noqa: BLE001 - whatever a codec raises: the other records must be stored
            self.note(f"the image {record.path} was not stored: {type(error).__name__}: {error}")
            return False
        self.insist(lambda: self.run_dir.write_media(record.path, content))
        return True

    def note(self, text: str) -> None:
        """Have something that is missing told in ``status.json``, and to the owner; once."""
        text = escape(text)
        if self._record(text):
            self._control.put_message(MISSING + text)

    def _record(self, text: str) -> bool:
        troubles = self.tally.troubles
        if len(troubles) >= _MOST_TROUBLES or any(each["error"] == text and "until" not in each for each in troubles):
            return False
        troubles.append({"time": time.time(), "error": text})
        return True

    def write_assets(self) -> None:
        """Write ``assets.json`` where it has changed."""
        if self.assets.changed:
            self.insist(lambda: self.run_dir.replace(self.names.assets, self.assets.content))
            self.assets.changed = False

    def _newer(self, kind: str, update: dict[str, Any], time_s: float, hello: Hello) -> dict[str, Any]:
        """The fields of an update that no other producer has set by a later call.

        Producers are read one after the other, so what arrives later may have been called earlier. A producer's own
        records are in the order of its calls, whatever the clock did between them.
        """
        newer = {}
        for name, value in update.items():
            set_at, setter = self._set_by.get((kind, name), (0.0, ""))
            if setter in {"", hello.producer} or time_s >= set_at:
                newer[name] = value
                self._set_by[kind, name] = (time_s, hello.producer)
        return newer

    def _set_primary(self, primary: Primary, blobs: dict[str, bytearray], sizes: dict[str, int]) -> None:
        tally = self.tally
        if tally.primary is not None and (tally.primary.name, tally.primary.mode) == (primary.name, primary.mode):
            return
        tally.set_primary(primary)
        self._summary_changed = True
        # Values logged before count too: those on disk before this batch, then those of the batch so far.
        for name in self._own_events():
            fd = self.insist(lambda name=name: self.run_dir.open_for_reading(name))  # type: ignore[misc]
            if fd is None:
                continue
            try:
                stop = sizes.get(name, os.fstat(fd).st_size)
                for value, step in last_lines.values_of(last_lines.lines_of(fd, stop), primary.name):
                    tally.see_value(value, step)
            finally:
                os.close(fd)
        for name, blob in blobs.items():
            if name != self.names.logs:
                for value, step in last_lines.values_of(bytes(blob).split(b"\n"), primary.name):
                    tally.see_value(value, step)

    def _own_events(self) -> list[str]:
        """The events files that this host's processes have written, those of earlier sessions included."""
        found = self.insist(self.run_dir.names)
        return [self.names.events, *(name for name in sorted(found) if self._is_of_our_rank(name))]

    def _is_of_our_rank(self, name: str) -> bool:
        if not run_files.is_events_of_rank(name):
            return False
        fd = self.insist(lambda: self.run_dir.open_for_reading(name))
        if fd is None:
            return False
        try:
            return last_lines.host_of(fd) == self.names.host
        finally:
            os.close(fd)

    def refresh_best(self) -> None:
        """Write the best metric into ``summary.json`` where it has changed since the last time."""
        if self.tally.best() != self._written_best:
            self.write_summary()

    def write_summary(self, effort: dict[str, Any] | None = None) -> None:
        """Write ``summary.json``: what the user gave, the best metric, and at the end what it has cost."""
        best = self.tally.best()
        if best or self.tally.primary is not None:
            for name in ("best_metric_value", "best_metric_name", "best_metric_step", "best_metric_mode"):
                self._summary.pop(name, None)
        self._summary.update(best)
        if effort is not None:
            self._summary[KEY] = effort
        if self._summary:
            self.insist(lambda: self.run_dir.replace(self.names.summary, self._summary))
        self._summary_changed = False
        self._written_best = best

    def sync(self) -> None:
        """Make everything that was appended durable."""
        self.insist(self.run_dir.sync)

    def insist(self, action: Callable[[], _Result]) -> _Result:
        """Do something to storage until it succeeds; trouble is reported once, and recorded.

        Raises:
            GaveUpError: it has failed for so long that patience has run out.
        """
        since: float | None = None
        pause_s = _FIRST_RETRY_S
        while True:
            try:
                result = action()
            except OSError as error:
                if since is None:
                    since = time.monotonic()
                    self._report(error)
                if not self._patience(time.monotonic() - since):
                    raise GaveUpError(str(error)) from error
                self._control.beat()
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, self._retry_max_s)
            else:
                if since is not None and self.tally.troubles:
                    self.tally.troubles[-1]["until"] = time.time()
                while self.run_dir.kept_aside:
                    self.note(self.run_dir.kept_aside.pop())
                return result

    def _append(self, name: str, left: memoryview) -> None:
        while left:
            taken = self.insist(lambda left=left: self.run_dir.append(name, left))  # type: ignore[misc]
            crash_point("appending")
            left = left[taken:]

    def _report(self, error: OSError) -> None:
        # What fails in the run's directory is named relative to that; what fails in the spool, by its path.
        named = error.filename
        place = named if isinstance(named, str) and os.path.isabs(named) else self.run_dir.path
        text = escape(f"{error.strerror or error} ({place})")
        self._record(text)
        self._control.put_message(text)

    def read_or_set_aside(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; one that cannot be read gets another name, and stays."""
        return self.insist(lambda: self.run_dir.read_or_keep_aside(name))

    def _resume_best(self) -> None:
        name, mode = self._summary.get("best_metric_name"), self._summary.get("best_metric_mode")
        value, step = self._summary.get("best_metric_value"), self._summary.get("best_metric_step")
        if isinstance(name, str) and mode in {"max", "min"}:
            self.tally.set_primary(Primary(name, mode))
            if isinstance(value, (int, float)) and isinstance(step, int):
                self.tally.see_value(value, step)
        self._written_best = self.tally.best()


def _read_from(fd: int, start: int, most_bytes: int) -> bytes:
    os.lseek(fd, start, os.SEEK_SET)
    blocks = []
    while most_bytes > 0 and (block := os.read(fd, most_bytes)):
        blocks.append(block)
        most_bytes -= len(block)
    return b"".join(blocks)
