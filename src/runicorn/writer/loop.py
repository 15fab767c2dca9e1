"""The writer's loop: scan, read, store, until the run has ended."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import Any

from runicorn.host.locks import Lock, Probe
from runicorn.queue import spool, spool_address, spool_repair
from runicorn.queue.blobs import Blobs
from runicorn.queue.control_page import ControlPage
from runicorn.queue.crash_points import crash_point
from runicorn.queue.records import End
from runicorn.storage import modes, paths, run_files, statuses
from runicorn.storage.run_directory import RunDir
from runicorn.writer import end_status, status_correction, superseded
from runicorn.writer.background_thread import SideWork
from runicorn.writer.database import DatabaseRow
from runicorn.writer.follow import Tail
from runicorn.writer.machine_watch import MachineWatch
from runicorn.writer.overhead import OverheadMeter
from runicorn.writer.owner import OwnerProcess, last_owner_pid
from runicorn.writer.plan import PlanFile
from runicorn.writer.retry import GaveUpError
from runicorn.writer.store import Store

OWNER_PROBE_S = 0.25
CLOSING_PAUSE_S = 0.001
REPAIR_EVERY_S = 1.0
_LOCK_TO_END_S = 2.0
"""How long a process may take from releasing its locks to its end; after ``exec`` it goes on as another program."""
_EXIT_CODE_WAIT_S = 30.0
_RANKS_MAY_COME_S = 2.0
"""Ranks of a job start apart: if some leave before rank 0 has come, the run waits so long for others."""


class Writer:
    """Serves one spool. Whoever runs it holds the spool's writer lock.

    Args:
        address: what the spool belongs to.
        own_process: whether this process is the writer's own, and no training process.
    """

    def __init__(self, address: spool_address.Address, *, own_process: bool) -> None:
        self._address = address
        self._own_process = own_process
        self._settings = address.settings
        self._control = ControlPage.open(os.path.join(address.spool, spool.CONTROL))
        self._control.set_writer_pid(os.getpid())
        self._control.begin_generation()
        self._owner = spool_repair.probe_owner(address)
        self._owner_process = OwnerProcess(address.owner_pid)
        self._sigterm_mark = end_status.Mark(os.path.join(address.spool, spool.SIGTERM_MARK))
        self._owner_probed_at = 0.0
        self._owner_gone = False
        self._found_owner_gone = not (self._owner.is_held() or self._has_owner_dropped_its_lock())
        self._rank_seen_at = float("-inf") if self._found_owner_gone else time.monotonic()
        self._told: tuple[End, dict[str, Any]] | None = None
        self._tail = Tail(address, self._control)
        self._plan_file = PlanFile(os.path.join(address.spool, spool.PLAN))
        self._run_dir = self._open_run_dir()
        self._superseded = superseded.is_superseded(address, self._read_meta())
        self._store = Store(
            address.run_id,
            self._run_dir,
            superseded.names(address)
            if self._superseded
            else run_files.Names.of(address.host, on_main_host=address.on_main_host),
            self._plan_file,
            self._tail,
            self._control,
            retry_max_s=self._settings.retry_max_s,
            patience=self._is_waited_for,
            blobs=Blobs(address, self._control),
            opened_at=address.opened_at,
        )
        self._side_work = SideWork(address, self._control, self._store)
        # Of who was killed there is nothing left to sample; who has joined may have no owner on this host.
        sampled = own_process and (address.distributed or bool(address.joined_session) or not self._found_owner_gone)
        self._machine = MachineWatch(address, self._store, self._control, self._owner_process, is_on=sampled)
        self._largest_segment_bytes = spool.largest_segment_bytes(address)
        self._database = DatabaseRow(address.storage)
        self._synced_at = self._summarised_at = time.monotonic()
        self._locks: list[Lock] = []
        self._repaired_at = self._freshened_at = time.monotonic()
        self.terminated = False

    def run(self) -> None:
        """Store until the run has ended, end it, and remove the spool.

        Raises:
            GaveUpError: storage has failed for too long with nobody left to wait; the spool stays.
        """
        self._store.recover()
        meter = OverheadMeter(self._store.state.overhead, own_process=self._own_process)
        self._tell_database({"status": statuses.RUNNING})
        pause_s = self._settings.tick_s
        while True:
            self._control.beat()
            meter.read(self._store.state.overhead, self._control.spooled_bytes)
            busy = self._store_what_is_there() >= max(1, self._settings.batch_bytes // 2)
            end = self._detect_end()
            if end is not None:
                self._finalize(end, meter)
                return
            self._keep_durable()
            self._tail.account()
            self._repair_spool()
            self._machine.go_on()
            if self._side_work.go_on():
                self._tell_database({"status": statuses.RUNNING})
            if busy:
                pause_s = self._settings.tick_s
                continue
            time.sleep(self._settings.tick_s if self.terminated else pause_s)
            pause_s = min(pause_s * 1.5, self._settings.idle_tick_s)

    def on_sigterm(self, _signal: int, _frame: Any) -> None:
        """A scheduler ends the job: store faster, and know why the owner will be gone."""
        self.terminated = True
        self._synced_at = 0.0

    def _store_what_is_there(self, *, probe: bool = False) -> int:
        """Store one batch; how many bytes it was. A full one leaves some, and so may one in which shares were full."""
        pieces = self._tail.collect(self._settings.batch_bytes, probe=probe)
        self._note_lacks()
        if pieces or self._tail.finished() or self._store.needs_plan:
            self._tail.prepare_spares(self._largest_segment_bytes)
            self._store.store(pieces)
        return self._tail.collected_bytes

    def _repair_spool(self) -> None:
        """Make again what somebody has removed of the spool by name, so that the next writer finds it."""
        now = time.monotonic()
        if now - self._repaired_at < REPAIR_EVERY_S:
            return
        self._repaired_at = now
        try:
            again = spool_repair.renew_lock(self._address, spool.WRITER_LOCK)
            if again is not None:
                self._locks.append(again)
            with suppress(FileNotFoundError):
                self._plan_file.follow_name()
            spool_repair.repair(self._address, self._control)
            if now - self._freshened_at >= spool_repair.FRESH_FOR_S:
                self._freshened_at = now
                spool_repair.freshen(self._address)
        except BlockingIOError as error:
            raise GaveUpError(f"another writer has begun: {error}") from error
        except OSError as error:  # no room, or no shared memory: we go on by what we have open
            print(f"the spool cannot be repaired: {error}", flush=True)  # noqa: T201 - to writer.log

    def _note_lacks(self) -> None:
        for text in self._tail.take_lacks():
            self._store.note(text)

    def _detect_end(self) -> End | None:
        """How the run has ended; None while it goes on."""
        if self._tail.left_out or self._tail.held_back:  # what is not read yet may be anybody's, also after an end
            return None
        end = self._store.state.end
        if end is not None and not end.lingering:
            return end
        if end is None and not self._is_owner_gone():
            return None
        others = self._tail.living()
        self._control.set_others(self._tail.living_beside_owner())
        # Closed without an end: the run is being resumed, and what is left of this session is not waited for.
        resumed = self._control.closed[0] and end is None
        if others and not resumed:
            self._rank_seen_at = time.monotonic()
            return None
        # Between our last read and a producer's death it may have pushed, an end among it: read, after the probe, until
        # there is nothing more.
        if self._store_what_is_there(probe=True) or (self._tail.living() and not resumed):
            return None
        state = self._store.state
        if state.end is not None:
            return state.end
        if self._address.distributed and not state.owner_seen:
            is_soon = time.monotonic() - self._rank_seen_at < _RANKS_MAY_COME_S
            if is_soon and not (resumed or self.terminated):
                return None
            return end_status.without_owner(state, now=self._time_of_death())
        return end_status.without_end(
            now=self._time_of_death(),
            sigterm_mark=self._sigterm_mark,
            writer_got_sigterm=self.terminated,
            exit_code=self._exit_code(_LOCK_TO_END_S),
        )

    def _time_of_death(self) -> float:
        # Found dead: the last sign of life says more than the time of the finding.
        if self._found_owner_gone:
            return max(self._store.state.last_time, self._address.opened_at)
        return time.time()

    def _is_owner_gone(self) -> bool:
        now = time.monotonic()
        if self._address.distributed:  # rank 0 may come at any moment, and be killed in the next
            self._owner_process.follow(self._owner.holder_pid())
        if (not self._owner_gone or self._address.distributed) and now - self._owner_probed_at >= OWNER_PROBE_S:
            self._owner_probed_at = now
            self._owner_gone = not (self._owner.is_held() or self._has_owner_dropped_its_lock())
            if not self._owner_gone:
                self._owner_process.follow(self._owner.holder_pid())
        return self._owner_gone

    def _has_owner_dropped_its_lock(self) -> bool:
        if not isinstance(self._owner, Probe) or self._owner.is_given_up():
            return False
        pid = last_owner_pid(self._address, self._owner_process.pid)
        return spool_repair.has_dropped_lock(self._owner, pid, self._address.spool)

    def _exit_code(self, wait_s: float) -> int | None:
        # The owner's lock of a job is held by whichever rank makes the spool, until rank 0 comes.
        if self._address.distributed and self._read(run_files.META).get("pid") != self._owner_process.pid:
            return None
        return self._owner_process.exit_code(wait_s)

    def _is_waited_for(self, failing_s: float) -> bool:
        """Whether storing shall be tried again: for ever while the owner lives."""
        return not self._is_owner_gone() or not 0 < self._settings.finish_timeout_s <= failing_s

    def _finalize(self, end: End, meter: OverheadMeter) -> None:
        """Refuse what starts from now on, store what came before, write how the run ended."""
        with suppress(OSError):
            self._control.follow_name(os.path.join(self._address.spool, spool.CONTROL), make=False)
        self._control.close_run()
        # Whoever read the flag before we set it has pushed before that: after this pause the record can be seen.
        time.sleep(CLOSING_PAUSE_S)
        crash_point("closing")
        short_since: float | None = None
        while True:
            pieces = self._tail.collect(self._settings.batch_bytes, probe=True)
            self._note_lacks()
            if pieces:
                short_since = None
            elif self._tail.held_back:  # not for long
                time.sleep(CLOSING_PAUSE_S)
            elif not self._tail.left_out:
                break
            else:  # out of descriptors: those of what is stored are given back by the next batch, an empty one too
                short_since = short_since or time.monotonic()
                if not self._is_waited_for(time.monotonic() - short_since):
                    raise GaveUpError(f"{self._tail.left_out} segments cannot be opened: no descriptor is left")
                time.sleep(CLOSING_PAUSE_S)
            self._store.store(pieces)
            self._control.beat()
        self._tail.give_up_unseen()
        self._note_lacks()
        self._machine.ask_last()
        self._side_work.finish()
        self._store.store([], last=True)
        self._machine.finish(end)
        meter.read(self._store.state.overhead, 0)
        self._store.write_summary({**self._store.state.overhead_fields(), **self._machine.conclusions()})
        self._store.sync()
        crash_point("synced")
        # Elsewhere the run may go on.
        if (self._address.on_main_host or self._store.state.owner_seen) and not self._superseded:
            end = self._machine.explained(end_status.corrected(end, self._exit_code(0)))
            final = self._final_status(end)
            self._told = end, final
            self._store.retry(lambda: self._run_dir.replace(run_files.STATUS, final))
            self._tell_database(final)
        crash_point("status")
        # Before anything goes: a writer that finds this only removes the rest, and touches a run no more that may have
        # been resumed meanwhile.
        self._control.set_done()
        crash_point("done")
        self._remove_pointer()
        spool.remove_spool(self._address)

    def _remove_pointer(self) -> None:
        """Through the descriptor of the run directory, which may have been moved."""
        name = run_files.spool_pointer(self._address.host)
        try:
            fd = self._run_dir.open_for_reading(name)
            if fd is None:
                return
            with os.fdopen(fd, encoding="utf-8", errors="surrogateescape") as file:
                ours = file.read() == self._address.spool
            if ours:
                self._run_dir.remove(name)
        except OSError as error:
            print(f"{name} was not removed: {error}", flush=True)  # noqa: T201 - to writer.log

    def correct_status(self) -> None:
        """After the lock: wait for the owner's end, and say what its exit code says, if ``atexit`` could not know it.

        The run may have been resumed or changed meanwhile: then it is left as it is.
        """
        if self._told is None or not self._told[0].provisional:
            return
        end, before = self._told
        truth = end_status.corrected(end, self._exit_code(_EXIT_CODE_WAIT_S))
        final = status_correction.correct(self._run_dir, self._address, before, end, truth)
        if final is not None:
            self._tell_database(final)

    def write_row_late(self) -> None:
        """Retry the runicorn.db row for database_wait_s, after the writer lock is released."""
        self._database.write_row_late(self._settings.database_wait_s)

    def _final_status(self, end: End) -> dict[str, Any]:
        state = self._store.state
        before = self._read(run_files.STATUS)
        if self._address.distributed and state.end is None and before.get("status") in statuses.FINAL:
            # Rank 0 has ended the run, by another writer or before these ranks came: it has ended as rank 0 said.
            end = End(before.get("ended_at", end.time), before["status"], before.get("exit_reason"))
        return end_status.document(end, state, before, self._address.opened_at)

    def _keep_durable(self) -> None:
        now = time.monotonic()
        if now - self._synced_at >= self._settings.fsync_interval_s:
            self._store.sync()
            self._synced_at = now
        if now - self._summarised_at >= self._settings.summary_interval_s:
            self._store.refresh_best()
            self._summarised_at = now
            # If the job was started again, status.json may say "running" only after this writer has come up.
            if self._store.state.best() or self._address.attempt:
                self._tell_database({"status": statuses.RUNNING})

    def _tell_database(self, status: dict[str, Any]) -> None:
        if not self._address.on_main_host or self._superseded or not self._database.exists():
            return
        if status["status"] == statuses.RUNNING and self._read(run_files.STATUS).get("status") in statuses.FINAL:
            return  # a rank has joined after the run's end
        meta = self._read(run_files.META)
        fields = ("path", "alias", "created_at", "pid", "python", "platform", "hostname", "workspace_root")
        self._database.tell(
            {
                **{name: meta.get(name) for name in fields},
                **{name: status.get(name) for name in ("status", "ended_at", "exit_reason")},
                **self._store.state.best(),
                "id": self._address.run_id,
                "run_dir": self._address.run_dir,
                "started_at": status.get("started_at", self._address.opened_at),
            },
            self._store.assets.content,
        )

    def _read_meta(self) -> dict[str, Any]:
        """``meta.json`` before there is a store: what cannot be read now tells nothing."""
        try:
            return self._run_dir.read(run_files.META)
        except (OSError, ValueError):
            return {}

    def _read(self, name: str) -> dict[str, Any]:
        try:
            return self._store.retry(lambda: self._run_dir.read(name))
        except ValueError:
            return {}

    def _open_run_dir(self) -> RunDir:
        path, since = self._address.run_dir, time.monotonic()
        while True:
            try:
                if not os.path.isdir(path):
                    # Moved in the viewer, or removed while nobody held it open: then what the spool has is kept there.
                    path = paths.find_run(self._address.storage, self._address.run_id) or path
                    modes.make_directories(os.path.join(path, run_files.MEDIA))
                return RunDir(path)
            except OSError as error:
                self._control.put_message(f"{error.strerror or error} ({path})")
                self._control.beat()
                if not self._is_waited_for(time.monotonic() - since):
                    raise GaveUpError(f"{path} cannot be opened: {error}") from error
                time.sleep(self._settings.retry_max_s)

    def close(self) -> None:
        """Give all descriptors back: in a training process others are wanted."""
        self._tail.close()
        self._run_dir.close()
        self._plan_file.close()
        self._owner.close()
        self._owner_process.close()
        self._sigterm_mark.close()
        self._control.close()
        for lock in self._locks:
            lock.release()
