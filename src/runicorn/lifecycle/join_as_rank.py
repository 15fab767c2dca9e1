"""The run of a distributed job: its ranks open it, each when it comes, without waiting for one another."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from runicorn.errors import RunElsewhereError, StillBusyError
from runicorn.host import locks
from runicorn.host.identity import hostname, machine
from runicorn.queue import opening_lock, spool, spool_address
from runicorn.refusals import Refusals
from runicorn.session import at_exit, joining
from runicorn.storage import last_lines, paths, run_files, statuses
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.host.locks import Lock
    from runicorn.host.ranks import RankInfo
    from runicorn.session.session import Session
    from runicorn.settings import Settings

_BEING_MADE_S = 10.0
_POLL_S = 0.005


class Job:
    """One run of a job, seen from one of its ranks.

    Args:
        rank_info: of this process.
        run_id: of the run, as the rendezvous has it.
        path: where it is made if it is nowhere yet.
        storage: the storage root.
        settings: of this process.
    """

    def __init__(self, rank_info: RankInfo, run_id: str, *, path: str, storage: str, settings: Settings) -> None:
        self.rank_info = rank_info
        self.run_id = run_id
        self.path = path
        self.storage = storage
        self.settings = settings
        self.run_dir = paths.locate_run(storage, path, run_id)

    def make_run(self, write_first_files: Callable[[str], Any]) -> None:
        """Make the run's directory, or wait until the rank that came first has done it."""
        if paths.make_directories(self.run_dir):
            write_first_files(self.run_dir)
        deadline = time.monotonic() + _BEING_MADE_S
        while not os.path.exists(os.path.join(self.run_dir, run_files.STATUS)):
            if time.monotonic() > deadline:  # its maker has died half way: then it is made here
                write_first_files(self.run_dir)
            time.sleep(_POLL_S)

    def join(self, *, as_owner: bool) -> Session:
        """Join the run: rank 0 as its owner, the others as producers that the writer knows from now on.

        Raises:
            RuntimeError: another process is rank 0 of this job.
            TimeoutError: the run's spool on this host could not be joined.
        """
        refusals = Refusals(self.run_id, strict=self.settings.strict)
        deadline = time.monotonic() + joining.PATIENCE_S
        while time.monotonic() < deadline:
            address, made = joining.spool_here(
                run_id=self.run_id,
                run_dir=self.run_dir,
                storage=self.storage,
                path=self.path,
                settings=self.settings,
                on_main_host=self.rank_info.on_main_host,
                attempt=self.rank_info.attempt,
            )
            session = self._join(address, made, refusals, as_owner=as_owner)
            if session is not None:
                return session
        raise StillBusyError(
            f"init(): the spool of run {self.run_id} on this host appeared and disappeared for "
            f"{joining.PATIENCE_S:.0f} s. All records are safe. Check {self.run_dir}, and call init() again."
        )

    def step_so_far(self) -> int:
        """Where the auto step of this rank goes on: behind rank 0's that is stored, and behind its own."""
        step = joining.read_status(self.run_dir).get("last_step")
        steps = [step] if isinstance(step, int) else []
        files = RunDir(self.run_dir)
        try:
            # The host of rank 0 may not have stored its last step yet.
            fd = files.open_for_reading(run_files.events_of_rank(self.rank_info.rank)) if self.rank_info.rank else None
            if fd is not None:
                own = last_lines.newest_step(fd)
                os.close(fd)
                steps += [own] if own is not None else []
        finally:
            files.close()
        return max(steps, default=0)

    def _join(
        self, address: spool_address.Address, made: Lock | None, refusals: Refusals, *, as_owner: bool
    ) -> Session | None:
        lock, session = made, None
        try:
            if as_owner:
                lock = made or self._own(address)
                if lock is None:
                    return None
            session = joining.register(address, lock if as_owner else None, refusals, self.rank_info.rank)
        finally:
            if lock is not None and (session is None or not as_owner):
                lock.release()
        if session is None:
            return None
        try:
            if as_owner:
                at_exit.mark_sigterm(address.spool)
            if as_owner or made is not None:
                # Rank 0 and the maker of the spool may be two: what one has written the other must have read.
                with opening_lock.hold(self.run_dir, self.settings):
                    if as_owner:
                        self._own_meta()
                    self._say_running(as_owner=as_owner)
        except BaseException:
            session.discard()
            raise
        return session

    def _own(self, address: spool_address.Address) -> Lock | None:
        path = os.path.join(address.spool, spool.OWNER_LOCK)
        deadline = time.monotonic() + joining.PATIENCE_S
        while time.monotonic() < deadline:  # the rank that made the spool holds it for a moment
            try:
                lock = locks.Lock.take(path, create=False)
            except FileNotFoundError:
                return None
            if lock is not None:
                return lock
            time.sleep(_POLL_S)
        raise RunElsewhereError(
            f"init(): another process owns run {self.run_id} as rank 0 of this job. Nothing was changed. Give each job "
            "its own RUNICORN_JOB_ID, or set RUNICORN_RANK_MODE=separate."
        )

    def _own_meta(self) -> None:
        """The viewer takes the pid in ``meta.json`` for the run's: that must be rank 0's, not the first comer's."""
        ours = {"pid": os.getpid(), "hostname": hostname(), "machine": self._machine()}
        files = RunDir(self.run_dir, sole=False)
        try:
            meta = files.read_or_empty(run_files.META)
            if {**meta, **ours} != meta:
                files.replace(run_files.META, {**meta, **ours})
        finally:
            files.close()

    def _machine(self) -> str:
        return machine(spool.usual_directory(self.settings)).text()

    def _say_running(self, *, as_owner: bool) -> None:
        """The run goes on when its owner comes, or when its job is started anew: the status is running again.

        A rank that comes when the run has ended adds its records, and the run has ended all the same.
        """
        files = RunDir(self.run_dir, sole=False)
        try:
            status = files.read_or_empty(run_files.STATUS)
            if status.get("status") == statuses.RUNNING or not self.rank_info.on_main_host:
                return
            meta = files.read_or_empty(run_files.META)
            resumed = meta.get("resumed") or []
            attempts = [entry.get("attempt", 0) for entry in resumed if isinstance(entry, dict)]
            if not as_owner and self.rank_info.attempt <= max(attempts, default=0):
                return
            from runicorn.storage import resumption  # for a resume alone

            entry = {
                "time": time.time(),
                "hostname": hostname(),
                "pid": os.getpid(),
                "machine": self._machine(),
                "attempt": self.rank_info.attempt,
                **resumption.noted(files, continued=False),
            }
            files.replace(run_files.META, {**meta, "resumed": [*resumed, entry]})
            kept: dict[str, Any] = {name: status[name] for name in ("started_at", "last_step") if name in status}
            kept.update(statuses.of_earlier_sessions(status))
            files.replace(run_files.STATUS, {"status": statuses.RUNNING, **kept})
        finally:
            files.close()
