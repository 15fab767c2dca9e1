"""What the writer has done beside its batches: chores are begun, outputs found, outcomes put into the files."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from runicorn.queue.asset_records import Code, Outputs
from runicorn.queue.blobs import Blobs
from runicorn.queue.crash_points import crash_point

if TYPE_CHECKING:
    from runicorn.capture.outputs import Seen
    from runicorn.queue import spool_address
    from runicorn.queue.control_page import ControlPage
    from runicorn.writer.background import Chores, Outcome
    from runicorn.writer.store import Store


class SideWork:
    """The loop's side of it; ``Chores`` is the thread's.

    Args:
        address: of the spool.
        control: where who waits for the end reads what is being done.
        store: owns the run's files, and the state that carries what is to do.
    """

    def __init__(self, address: spool_address.Address, control: ControlPage, store: Store) -> None:
        self._address = address
        self._settings = address.settings
        self._control = control
        self._store = store
        self._chores: Chores | None = None
        self._seen: dict[str, Seen] = {}
        self._scanned_at: dict[int, float] = {}
        self._ending_at: float | None = None

    def go_on(self) -> bool:
        """Take what was done, and begin what is to be done; whether the run's files have changed by that."""
        state = self._store.state
        if self._chores is None and not state.chores and not state.watches:
            return False
        chores = self._chores = self._chores or self._begin()
        outcomes = chores.outcomes()
        if outcomes:
            self._take(outcomes)
        for number, chore in state.chores.items():
            chores.begin(number, chore)
        self._begin_scans(chores)
        self._control.put_task(chores.doing)
        if chores.trouble:
            self._store.note(chores.trouble)
        return bool(outcomes)

    def finish(self) -> None:
        """Look for outputs once more, and wait until all is done; not for what has come to a stand for ever."""
        self._ending_at = time.monotonic()
        self._store.state.end_watches()
        done_bytes, since = 0, time.monotonic()
        self.go_on()
        while self._chores is not None and not (self._chores.idle and not self._store.state.chores):
            self._control.beat()
            time.sleep(self._settings.tick_s)
            self.go_on()
            if self._chores.done_bytes != done_bytes:
                done_bytes, since = self._chores.done_bytes, time.monotonic()
            limit_s = self._settings.finish_timeout_s
            if limit_s and time.monotonic() - since > limit_s:
                self._store.note(f"stopped, because it made no progress for {limit_s:.0f} s: {self._chores.doing}")
                return

    def _begin(self) -> Chores:
        from runicorn.writer.background import Chores  # most runs have none: 10 ms

        self._seen = self._seen_before()
        return Chores(
            self._address.run_id,
            self._address.storage,
            Blobs(self._address, self._control).read,
            self._seen,
            self._is_archive_waited_for,
        )

    def _begin_scans(self, chores: Chores) -> None:
        for number, watch in enumerate(self._store.state.distinct_watches(), start=1):
            # Below zero: chores of the state are numbered from 1 on.
            due = time.monotonic() - self._scanned_at.get(number, 0.0) >= watch.interval_s
            if watch.scanning is not None and due and not chores.is_begun(-number):
                self._scanned_at[number] = time.monotonic()
                chores.begin(-number, watch.scanning)

    def _is_archive_waited_for(self) -> bool:
        """While the run is live room may be made; who waits for its end waits for its records, not for copies."""
        return self._ending_at is None or time.monotonic() - self._ending_at < self._settings.archive_wait_s

    def _take(self, outcomes: list[tuple[int, Outcome]]) -> None:
        """Put outcomes into the run's files.

        What was seen of outputs comes last: after a crash before that they are archived again, and not forgotten.
        """
        store, state = self._store, self._store.state
        for _, outcome in outcomes:
            for section, entry in outcome.entries:
                store.assets.add(section, entry)
            if outcome.code is not None:
                store.assets.set_code(outcome.code)
            for name, content in outcome.files.items():
                store.retry(lambda name=name, content=content: store.run_dir.replace(name, content))  # type: ignore[misc]
            for name, source in outcome.links.items():
                store.retry(lambda name=name, source=source: store.run_dir.link(name, source))  # type: ignore[misc]
            for note in outcome.notes:
                store.note(note)
            if outcome.remark and outcome.remark not in state.remarks:
                state.remarks.append(outcome.remark)
        crash_point("outcome")
        store.write_assets()
        crash_point("assets")
        for number, outcome in outcomes:
            self._mark_archived(outcome)
            chore = state.chores.pop(number, None)
            if isinstance(chore, (Code, Outputs)):
                state.consumed.append(chore.blob)
        if any(outcome.has_scanned for _, outcome in outcomes):
            seen = {"seen": msgspec.to_builtins(self._seen)}
            store.retry(lambda: store.run_dir.replace(store.names.outputs_state, seen))

    def _mark_archived(self, outcome: Outcome) -> None:
        from runicorn.capture.outputs import archived

        now = time.time()
        for candidate in outcome.archived:
            archived(candidate, self._seen, now)

    def _seen_before(self) -> dict[str, Seen]:
        """What an earlier session, or an earlier writer, has seen of the outputs that are watched."""
        from runicorn.capture import outputs

        kept = self._store.read_or_set_aside(self._store.names.outputs_state).get("seen", {})
        try:
            return msgspec.convert(kept, dict[str, outputs.Seen])
        except msgspec.ValidationError:  # that of another program: then all are checked anew
            return {}
