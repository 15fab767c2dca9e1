"""From a batch of records to the run's files: each exactly once, whatever fails or dies in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn.queue.crash_points import crash_point
from runicorn.storage import last_lines, run_files
from runicorn.writer import pending, reconcile
from runicorn.writer.apply import Records
from runicorn.writer.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.writer.followed import SegmentChunk

_DOUBT_BYTES = 16 * 1024 * 1024
"""So much is compared with the files at a time, if the plan does not say what is stored."""


class Store(Records):
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
        state: what is known of the run beside its files.
        assets: ``assets.json``.
    """

    def recover(self) -> None:
        """Take up where the previous writer of this spool stopped; at a fresh spool, where the run stands."""
        self.retry(self.run_dir.sweep)
        self._summary = self.read_or_set_aside(self.names.summary)
        for name in (run_files.META, run_files.STATUS, self.names.assets):
            self.run_dir.keep(name, self.read_or_set_aside(name))
        if self.names.assets == run_files.ASSETS and not self.retry(lambda: self.run_dir.has(run_files.ASSETS)):
            self.retry(lambda: self.run_dir.replace(run_files.ASSETS, run_files.EMPTY_ASSETS))  # every run has one
        plan, sound = self._plan_file.read(), self._plan_file.is_sound()
        if plan is None:
            self._resume_best()
            if sound and not self._is_anything_stored_since(self._opened_at):
                for name in (*self._own_events(), self.names.logs):
                    self.retry(lambda name=name: self.run_dir.end_torn_line(name))  # type: ignore[misc]
                return
            self._goes_on = self._tail.has_lost_plan = True
            self._state_from_files()
            self.retry(self._plan_file.clear)
            if not sound:
                self.note("the plan in the spool cannot be read: only the run's files show what was stored")
            self._settle_doubt()
            return
        self.state, self._goes_on = plan.state, True
        self._tail.has_lost_plan = plan.follows_lost
        self._remove_consumed_blobs()
        self._sequence = plan.sequence
        if self._take_up(plan) or not sound:
            self._settle_doubt()

    def _take_up(self, plan: Plan) -> bool:
        """Store what is missing of the batch of a plan; whether what follows it may be stored as well."""
        pieces, gone_bytes = self.retry(lambda: self._tail.restore(plan.segments))
        self.state.damaged_bytes += gone_bytes
        if self.names.late:
            self._write(plan, pieces, lambda name, buffer, _: self._rest_beside_earlier(name, buffer, plan.sizes))
            return False
        shorter = [name for name, size in plan.sizes.items() if self._own_size_bytes(name) < size]
        for name in shorter:
            self.note(f"{name} is shorter than before: another program removed lines, and they are not stored again")
        whole = not gone_bytes and not any(piece.damages for piece in pieces)
        if not whole:
            self._state_from_files(plan.sizes)
        if plan.in_doubt or shorter or self._tail.is_in_doubt:
            self._write_in_doubt(plan, pieces)
            return True
        surplus: list[str] = []
        self._write(plan, pieces, lambda name, buffer, size: self._rest(name, buffer, size, surplus, whole=whole))
        return bool(surplus)

    def _state_from_files(self, sizes: dict[str, int] | None = None) -> None:
        """What the plan would have said of the records that are stored.

        Args:
            sizes: only of those behind these lengths: a part of a batch that cannot be built again may be there.
        """
        for name in self._own_events() if sizes is None else [*{*self._own_events()} & {*sizes}]:
            start_bytes = 0 if sizes is None else sizes[name]
            with self._reading(name, start_bytes) as lines:
                for step in last_lines.steps_of(lines, self._opened_at):
                    self.state.records += sizes is None
                    self.state.owner_seen = True
                    self.state.last_step = max(step, self.state.last_step or step)
            if self.state.primary is not None:
                with self._reading(name, start_bytes) as lines:
                    for value, step in last_lines.values_of(lines, self.state.primary.name):
                        self.state.see_value(value, step)

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
    def needs_plan(self) -> bool:
        """Whether something is stored that waits for the next plan to give its room back."""
        return bool(self.state.consumed)

    def store(self, pieces: list[SegmentChunk], *, last: bool = False) -> None:
        """Store a batch; when this returns, a crash neither loses nor doubles any of it.

        Args:
            pieces: the batch.
            last: nothing follows.
        """
        # A record still waits for its values if they were damaged after it was stored with them.
        waits = last and self._goes_on and bool(self.state.pending or self.state.has_read_out_of_turn)
        plan = self._put_plan(pieces, last=last, in_doubt=self._tail.is_in_doubt or waits)
        if plan.in_doubt:
            self._write_in_doubt(plan, pieces)
        else:
            self._write(plan, pieces)

    def _put_plan(self, pieces: list[SegmentChunk], *, last: bool, in_doubt: bool = False) -> Plan:
        names = {self.names.logs} | {self.names.events_of(piece.hello.rank) for piece in pieces}
        if last:
            names |= {self.names.events_of(rank) for rank in pending.ranks(self.state.pending)}
        sizes = {name: self.retry(lambda name=name: self.run_dir.size_bytes(name)) for name in names}  # type: ignore[misc]
        finished = [each for each in self._tail.finished() if each.start == each.reader.position]
        self._sequence += 1
        plan = Plan(
            self._sequence,
            self._tail.ranges(),
            sizes,
            self.state,
            last=last,
            in_doubt=in_doubt,
            follows_lost=self._tail.has_lost_plan,
        )
        self.retry(lambda: self._plan_file.write(plan))
        crash_point("planned")
        # The plan in place says that these are finished, so their going cannot be misread.
        self._tail.drop(finished)
        self._remove_consumed_blobs()
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
        buffers = self._built(plan, pieces, self._build)
        for name, buffer in buffers.items():
            left = memoryview(buffer) if rest_of is None else rest_of(name, buffer, plan.sizes.get(name, 0))
            self._append(name, left)
        self._conclude()

    def _conclude(self) -> None:
        crash_point("appended")
        if self._summary_changed:
            self.write_summary()
        self.write_assets()
        self._tail.advance()
        self._control.report(self.state.records, self.state.last_step or 0)
        crash_point("stored")

    def _write_in_doubt(self, plan: Plan, pieces: list[SegmentChunk]) -> bool:
        """Append what the files have not got of a batch, wherever in them the rest of it is; whether any is there."""
        # A segment may have another one's name, and text is known by the order in which it was logged.
        pieces = sorted(pieces, key=lambda piece: piece.turn)
        steps: dict[str, list[reconcile.Step]] = {}
        out_of_turn = self.state.has_read_out_of_turn
        buffers = self._built(
            plan, pieces, lambda piece, buffers, sizes: self._build_in_steps(piece, buffers, sizes, steps)
        )
        of_unknown = reconcile.events_of_unknown(steps.values())
        there = {name: self._lines_there(name, buffer, of_unknown.get(name, b"")) for name, buffer in buffers.items()}
        text_there = there.pop(self.names.logs)
        rest = {name: reconcile.without(buffers[name], known.copy()) for name, known in there.items()}
        texts = [reconcile.text_of(each, there) for each in steps.values()]
        by_records = sum(len(step.text) for each in steps.values() for step in each)
        waiting = bytes(buffers[self.names.logs][by_records:]).split(b"\n")[:-1]
        if out_of_turn:  # the end of such a line may have been read before its beginning
            with self._reading(self.names.logs) as lines:
                waiting = reconcile.not_begun(waiting, lines)
        texts.append(reconcile.SegmentText(waiting))
        with self._reading(self.names.logs) as lines:
            logs = reconcile.missing_text(texts, lines, text_there)
        found = sum(known.total() for known in there.values())
        if plan.in_doubt:
            self.state.records -= min(found, self.state.records)  # they were counted when the files were scanned
        for name, missing in {self.names.logs: logs, **rest}.items():
            self._append(name, memoryview(reconcile.rest_of_torn(self._torn_end(name), missing)))
        self._conclude()
        return bool(found) or len(logs) < len(buffers[self.names.logs])

    def _remove_consumed_blobs(self) -> None:
        """Those of batches before the plan that is in place."""
        while self.state.consumed:
            self._blobs.keep_or_remove(self.state.consumed.pop())
