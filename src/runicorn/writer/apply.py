"""What becomes of each record: lines, fields of the summary, files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from runicorn.queue.asset_records import Chore, Image, InputAsset, WatchOutputs
from runicorn.queue.record_decoding import decode
from runicorn.queue.records import (
    Config,
    Dropped,
    End,
    Hello,
    LateValues,
    Metrics,
    PartialMetrics,
    Primary,
    Printed,
    Summary,
    Text,
)
from runicorn.storage import last_lines
from runicorn.storage.wording import counted
from runicorn.writer import pending, reconcile, record_names
from runicorn.writer.lines import add_image, add_metrics, add_printed, add_resolved, add_text
from runicorn.writer.overhead import KEY
from runicorn.writer.retry import GaveUpError, RunFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runicorn.writer.followed import SegmentChunk
    from runicorn.writer.plan import Plan


class Records(RunFiles):
    """Records become lines; see ``Store``."""

    def _built(
        self,
        plan: Plan,
        pieces: list[SegmentChunk],
        build: Callable[[SegmentChunk, dict[str, bytearray], dict[str, int]], None],
    ) -> dict[str, bytearray]:
        """The lines of a batch, by the name of their file."""
        buffers: dict[str, bytearray] = {self.names.logs: bytearray()}
        for piece in pieces:
            buffers.setdefault(self.names.events_of(piece.hello.rank), bytearray())
            build(piece, buffers, plan.sizes)
        if plan.last:
            for each in pending.give_up(self.state.pending):
                self._add_resolved([each], buffers.setdefault(self.names.events_of(each.hello.rank), bytearray()))
        for rank, lines in self.state.trim_screens(last=plan.last):
            add_printed(lines, rank, buffers[self.names.logs])
        return buffers

    def _build_in_steps(
        self,
        piece: SegmentChunk,
        buffers: dict[str, bytearray],
        sizes: dict[str, int],
        steps: dict[str, list[reconcile.Step]],
    ) -> None:
        """Build record by record, and note what each has become."""
        self._build(replace(piece, payloads=[]), buffers, sizes)
        name = self.names.events_of(piece.hello.rank)
        events, logs = buffers[name], buffers[self.names.logs]
        of_segment = steps.setdefault(piece.segment, [])
        for payload in piece.payloads:
            before = len(events), len(logs)
            self._build(replace(piece, payloads=[payload], damages=()), buffers, sizes)
            new_events, new_text = bytes(events[before[0] :]), bytes(logs[before[1] :])
            of_segment.append(reconcile.Step(name, new_events, new_text, piece.has_stand_in))

    def _build(self, piece: SegmentChunk, buffers: dict[str, bytearray], sizes: dict[str, int]) -> None:
        hello, state = piece.hello, self.state
        events, logs = buffers[self.names.events_of(hello.rank)], buffers[self.names.logs]
        state.see_hello(hello)
        for damage in piece.damages:
            state.damaged_bytes += damage.size_bytes
            self.note(
                f"segment {piece.segment} was damaged in {counted(damage.size_bytes, 'byte')} at {damage.start}: "
                "what was logged there was dropped; the rest is stored"
            )
        for start in range(0, len(piece.payloads), _AT_A_TIME):
            records = self._decoded(piece.payloads[start : start + _AT_A_TIME], piece.segment)
            if {*map(type, records)} == _METRICS_ALONE:
                self._add_metrics(records, hello, events)
                continue
            metrics: list[Metrics] = []
            for record in records:
                if type(record) is Metrics:
                    metrics.append(record)
                    continue
                if type(record) not in _BESIDE_EVENTS:
                    self._add_metrics(metrics, hello, events)
                    metrics = []
                self._apply_or_note(record, piece, (events, logs), lambda each: self._set_primary(each, buffers, sizes))
            self._add_metrics(metrics, hello, events)

    def _decoded(self, payloads: list[bytes], segment: str) -> list[Any]:
        try:
            return list(map(decode, payloads))
        except (msgspec.DecodeError, RecursionError):  # its checksum was right: another version of this package
            if len(payloads) > 1:
                return [record for payload in payloads for record in self._decoded([payload], segment)]
        self.state.damaged_bytes += len(payloads[0])
        size = counted(len(payloads[0]), "byte")
        self.note(f"a record of {size} in segment {segment} cannot be decoded and was dropped")
        return []

    def _apply_or_note(
        self,
        record: Any,
        piece: SegmentChunk,
        buffers: tuple[bytearray, bytearray],
        set_primary: Callable[[Primary], None],
    ) -> None:
        try:
            self._apply(record, piece, buffers, set_primary)
        except GaveUpError:
            raise
        except Exception as error:  # noqa: BLE001 - one that no writer can store must not stop all that follow
            if isinstance(record, End):  # without it the run would be waited for for ever
                self.state.see_end(record, piece.hello)
                return
            kind = type(record).__name__
            self.note(f"a record of type {kind} was not stored: {type(error).__name__}: {error}")

    def _add_metrics(self, records: list[Metrics], hello: Hello, events: bytearray) -> None:
        """Lines of records of one producer, except of those that wait for an earlier one."""
        waiting = self.state.pending
        if waiting:
            records = [record for record in records if not pending.must_wait(waiting, record, hello)]
        if records:
            self._see(records, hello)
            add_metrics(records, hello, events)

    def _see(self, records: Sequence[Metrics | PartialMetrics], hello: Hello) -> None:
        """Update what is known of the run by the records that are stored now."""
        state = self.state
        highest = max([record.step for record in records])
        if highest > HIGHEST_STEP:  # an auto step behind the highest
            highest = HIGHEST_STEP
            for record in records:
                record.step = min(record.step, HIGHEST_STEP)
        if state.primary is not None:
            name = state.primary.name
            for record in records:
                if name in record.data:
                    state.see_value(record.data[name], record.step)
        if hello.is_owner and not hello.rank:
            state.last_step = highest if state.last_step is None else max(highest, state.last_step)
        state.records += len(records)
        state.last_time = records[-1].time

    def _add_resolved(self, resolved: list[pending.WaitingRecord], events: bytearray) -> None:
        """Lines of records that have waited for values from a device."""
        for each in resolved:
            self.state.missing_values += len(each.record.missing)
            self._see([each.record], each.hello)
            add_resolved(each.record, each.hello, events)

    def _apply(
        self,
        record: Any,
        piece: SegmentChunk,
        buffers: tuple[bytearray, bytearray],
        set_primary: Callable[[Primary], None],
    ) -> None:
        state, hello = self.state, piece.hello
        if piece.has_stand_in and isinstance(record, (PartialMetrics, LateValues)):
            hello = pending.hello_of(state.pending, record) or hello
        events, logs = buffers
        record_names.check(record)
        if isinstance(record, PartialMetrics):
            self._add_resolved(pending.add(state.pending, record, hello), events)
            return
        if isinstance(record, LateValues):
            self._add_resolved(pending.resolve(state.pending, record, hello), events)
            return
        if isinstance(record, Printed):
            beside = piece.segment if piece.is_out_of_turn else ""
            add_printed(state.see_printed(record, hello, beside), hello.rank, logs)
            return
        if isinstance(record, Text):
            add_printed(state.see_text(record, hello), hello.rank, logs)
            add_text(record, logs)
        elif isinstance(record, Image):
            if self._store_image(record):
                add_image(record, hello, events)
        elif isinstance(record, Summary):
            self._summary.update(self._newer("summary", record.update, record.time, piece))
            self._summary_changed = True
        elif isinstance(record, Config):
            self.assets.update_config(record, hello.producer)
        elif isinstance(record, WatchOutputs):
            state.set_watch(record, hello)
            return
        elif isinstance(record, InputAsset) and not record.source:
            self.assets.add(record.section, {**record.entry, "saved": False})
        elif isinstance(record, Chore):
            state.add_chore(record)
        elif isinstance(record, Primary):
            if self._newer("", {"primary": record}, record.time, piece):
                set_primary(record)
            return
        elif isinstance(record, Dropped):
            state.dropped_records += record.records
            state.refused_values += record.refused
            return
        elif isinstance(record, End):
            state.see_end(record, hello)
            return
        else:
            return
        state.records += 1

    def _store_image(self, record: Image) -> bool:
        """Write an image's file; False where there is none to write."""
        self.state.consumed.append(record.blob)
        if self.retry(lambda: self.run_dir.has(record.path)):  # by the writer before us
            return True
        data = self.retry(lambda: self._blobs.read(record.blob))
        if data is None:
            self.state.damaged_bytes += record.blob.size_bytes
            self.note(f"the image {record.path} was not stored: another program has removed its pixels from the spool")
            return False
        from runicorn.writer import imaging

        try:
            content = imaging.file_bytes(
                record.mode, record.width, record.height, data, record.extension, record.quality
            )
        except Exception as error:  # noqa: BLE001 - whatever a codec raises: the other records must be stored
            self.note(f"the image {record.path} was not stored: {type(error).__name__}: {error}")
            return False
        self.retry(lambda: self.run_dir.write_media(record.path, content))
        return True

    def _newer(self, kind: str, update: dict[str, Any], time_s: float, piece: SegmentChunk) -> dict[str, Any]:
        """The fields of an update that no other producer has set by a later call.

        Producers are read one after the other, so what arrives later may have been called earlier. A producer's own
        records are in the order of its calls, whatever the clock did between them; but not those of a file that has
        another one's name.
        """
        newer = {}
        producer = piece.hello.producer
        in_order = {""} if piece.is_out_of_turn else {"", producer}
        for name, value in update.items():
            set_at, setter = self._set_by.get((kind, name), (0.0, ""))
            if setter in in_order or time_s >= set_at:
                newer[name] = value
                self._set_by[kind, name] = (time_s, producer)
        return newer

    def _set_primary(self, primary: Primary, buffers: dict[str, bytearray], sizes: dict[str, int]) -> None:
        state = self.state
        if state.primary is not None and (state.primary.name, state.primary.mode) == (primary.name, primary.mode):
            return
        state.set_primary(primary)
        self._summary_changed = True
        # Values logged before count too: those on disk before this batch, then those of the batch so far.
        for name in self._own_events():
            fd = self.retry(lambda name=name: self.run_dir.open_for_reading(name))  # type: ignore[misc]
            if fd is None:
                continue
            try:
                stop = sizes.get(name, os.fstat(fd).st_size)
                for value, step in last_lines.values_of(last_lines.lines_of(fd, stop), primary.name):
                    state.see_value(value, step)
            finally:
                os.close(fd)
        for name, buffer in buffers.items():
            if name != self.names.logs:
                for value, step in last_lines.values_of(bytes(buffer).split(b"\n"), primary.name):
                    state.see_value(value, step)

    def refresh_best(self) -> None:
        """Write the best metric into ``summary.json`` where it has changed since the last time."""
        if self.state.best() != self._written_best:
            self.write_summary()

    def write_summary(self, overhead: dict[str, Any] | None = None) -> None:
        """Write ``summary.json``: what the user gave, the best metric, and at the end what it has cost."""
        best = self.state.best()
        if best or self.state.primary is not None:
            for name in ("best_metric_value", "best_metric_name", "best_metric_step", "best_metric_mode"):
                self._summary.pop(name, None)
        self._summary.update(best)
        if overhead is not None:
            self._summary[KEY] = overhead
        if self._summary:
            self.retry(lambda: self.run_dir.replace(self.names.summary, self._summary))
        self._summary_changed = False
        self._written_best = best

    def _resume_best(self) -> None:
        name, mode = self._summary.get("best_metric_name"), self._summary.get("best_metric_mode")
        value, step = self._summary.get("best_metric_value"), self._summary.get("best_metric_step")
        if isinstance(name, str) and mode in {"max", "min"}:
            self.state.set_primary(Primary(name, mode))
            if isinstance(value, (int, float)) and isinstance(step, int):
                self.state.see_value(value, step)
        self._written_best = self.state.best()


HIGHEST_STEP = 2**63 - 1

_AT_A_TIME = 256
"""Records that become lines together: many, because each call costs; few, so that the processor's cache holds them."""

_METRICS_ALONE = {Metrics}

_BESIDE_EVENTS = {Text, Printed, Dropped}
"""Records that have nothing to do with event lines: those before and behind them become lines together."""
