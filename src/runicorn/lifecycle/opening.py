"""Making the run that ``init()`` was asked for: a new one, one that goes on, one of a job, or one that is live."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.errors import RunElsewhereError, StillBusyError
from runicorn.host import ranks
from runicorn.host.identity import ancestors, hostname, label_of, machine, may_live, platform_text, python_text
from runicorn.queue import crash_points, live_spools, opening_lock, rendezvous, spool, spool_address
from runicorn.queue.crash_points import crash_point
from runicorn.refusals import Refusals
from runicorn.run import Run
from runicorn.session import active_runs, adopt, at_exit, joining
from runicorn.session.session import Session
from runicorn.storage import directory_kinds, paths, run_files, statuses
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from runicorn.host.locks import Lock
    from runicorn.settings import Settings

_BEING_MADE_S = 10.0
_POLL_S = 0.01
_MOST_TRIES = 1000

_had: set[tuple[int, str]] = set()
"""The runs that a process has opened before: its pid and their directories; a forked child is another process."""


class Opening:
    """The checked arguments of one ``init()``."""

    def __init__(self, *, path: str, storage: str, alias: str | None, workspace_root: str, settings: Settings) -> None:
        self.path = path
        self.storage = storage
        self.alias = alias
        self.workspace_root = workspace_root
        self.settings = settings
        self.host = label_of(hostname())

    def of_this_process(self) -> Run:
        """The run that this process shares with others, by what its environment says; else a new one."""
        rank_info = ranks.rank_info()
        nth = rendezvous.count_init(self.path)
        run = self._of_parent(rank_info, nth)
        if run is not None:
            return run
        if rank_info is None:
            return self.new()
        if rank_info.job is None:
            run = self.new()
            run._refusals.warn(  # noqa: SLF001 - ours
                "job",
                f"This is rank {rank_info.rank} of a job without an id in the environment: each "
                "rank gets a run of its own. Set RUNICORN_JOB_ID to a value that all ranks of "
                "this job share and no other job has.",
            )
            return run
        run_id = self._run_id_of_parent(rank_info, nth) or rendezvous.run_id_of(
            self.storage, self.path, rank_info.job, nth
        )
        return self._as_rank(rank_info, run_id)

    def _run_id_of_parent(self, rank_info: ranks.RankInfo, nth: int) -> str | None:
        """In a worker of a rank that imports the rank's script again: the run of the rank, by the rank's launcher."""
        if not (rank_info.by_launcher and joining.is_main_imported_again()):
            return None
        jobs = map(ranks.launched_by, ancestors())
        known = (rendezvous.known_run_id(self.storage, self.path, job, nth) for job in jobs)
        return next(filter(None, known), None)

    def _of_parent(self, rank_info: ranks.RankInfo | None, nth: int) -> Run | None:
        """The run that this process's parent has opened by this same call, where we are running its script again.

        So an ``init()`` that no ``__main__`` guard protects opens one run, and not one more in each worker; and a
        rank that rank 0 has started finds the run that rank 0 had opened before it became one.
        """
        rank = None if rank_info is None else rank_info.rank
        if rank_info is not None and rank_info.started_by is not None:
            parents = [rank_info.started_by]
        elif joining.is_main_imported_again() and rank_info is None:
            parents = ancestors()  # between us and the one who has started us there may be a fork server
        else:
            return None
        address = joining.owned_by(parents, nth, path=self.path, storage=self.storage, settings=self.settings)
        if address is None:
            return None
        meta = _read_meta(address.run_dir)
        return _join(address, meta.get("alias"), self.workspace_root, rank)

    def new(self) -> Run:
        """A run with an id of its own; the directory is made exclusively, so two never share one."""
        while True:
            run_id = paths.new_run_id()
            made = paths.make_directories(paths.run_directory(self.storage, self.path, run_id))
            if made:
                return self._create(run_id, made)

    def named(self, run_id: str) -> Run:
        """The run of that id: joined where it lives, resumed where it has ended, made where there is none."""
        run_dir = paths.locate_run(self.storage, self.path, run_id)
        made = paths.make_directories(run_dir)
        if made:
            return self._create(run_id, made)
        for _ in range(_MOST_TRIES):
            run = self._join_live(run_dir) or self._resume(run_id, run_dir)
            if run is not None:
                return run
            time.sleep(_POLL_S)
        raise StillBusyError(
            f"init(): run {run_id} was neither joined nor resumed in {_MOST_TRIES:,} tries: other processes keep "
            f"opening and ending it. Nothing was changed. Its directory is {run_dir}."
        )

    def _as_rank(self, rank_info: ranks.RankInfo, run_id: str) -> Run:
        from runicorn.lifecycle.join_as_rank import Job  # for ranks alone

        job = Job(rank_info, run_id, path=self.path, storage=self.storage, settings=self.settings)
        job.make_run(lambda run_dir: self._write_first_files(run_dir, run_id, time.time(), sole=False))
        # A worker of rank 0 that multiprocessing has import the script again is not a second rank 0.
        session = job.join(as_owner=rank_info.rank == 0 and not joining.is_main_imported_again())
        at_exit.watch_exit()
        run = Run(
            session,
            alias=_read_meta(job.run_dir).get("alias"),
            workspace_root=self.workspace_root,
            global_step=job.step_so_far(),
        )
        active_runs.opened(run)
        return run

    def _write_first_files(
        self, run_dir: str, run_id: str, now: float, *, sole: bool = True, opened_by: dict[str, Any] | None = None
    ) -> None:
        files = RunDir(run_dir, sole=sole)
        try:
            files.make_media()
            here = {"machine": machine(spool.usual_directory(self.settings)).text()} if opened_by is None else opened_by
            files.replace(run_files.META, {**self._meta(run_id, now), **here}, sync=False)
            files.replace(run_files.ASSETS, run_files.EMPTY_ASSETS, sync=False)
            # Last: a run with a status is whole.
            files.replace(run_files.STATUS, {"status": statuses.RUNNING, "started_at": now}, sync=False)
        finally:
            files.close()

    def _create(self, run_id: str, made: list[str]) -> Run:
        run_dir = made[-1]
        now = time.time()
        address: spool_address.Address | None = None
        lock: Lock | None = None
        try:
            crash_point("directory")
            address, lock = self._make_spool(run_id, run_dir, now)
            crash_point("spool")
            self._point_to(address)
            self._write_first_files(run_dir, run_id, now, opened_by=_opened_by(address))
            return self._open(address, lock, self.alias, global_step=0)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if address is not None:
                spool.remove(address.spool)
            paths.remove_made(made)
            if isinstance(error, OSError) and not error.filename:
                raise OSError(error.errno, error.strerror, run_dir) from error  # of the kind of its number
            raise

    def _join_live(self, run_dir: str) -> Run | None:
        """Join the run where its owner lives on this host; wait while somebody is making it."""
        deadline = time.monotonic() + _BEING_MADE_S
        while True:
            address = adopt.find_spool(run_dir, self.host)
            if address is not None and live_spools.is_live(address):
                if joining.is_closed(address):
                    self._wait_for_its_end(address)
                elif os.path.exists(os.path.join(run_dir, run_files.STATUS)):
                    with suppress(FileNotFoundError):  # it has just ended
                        return _join(address, _read_meta(run_dir).get("alias"), self.workspace_root)
            elif os.path.exists(os.path.join(run_dir, run_files.STATUS)) or time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)

    def _wait_for_its_end(self, address: spool_address.Address) -> None:
        """Wait while the run's owner is in ``finish()``: it takes no more records, and goes on when it has ended."""
        limit_s = self.settings.finish_timeout_s or float("inf")
        deadline = time.monotonic() + limit_s
        while live_spools.is_live(address) and joining.is_closed(address) and os.path.isdir(address.spool):
            if time.monotonic() > deadline:
                raise StillBusyError(
                    f"init(): run {address.run_id} is being ended by process {address.owner_pid}, which has not "
                    f"finished within {limit_s:.0f} s. Nothing was changed. Check that {address.run_dir} can be "
                    "written."
                )
            time.sleep(_POLL_S)

    def _resume(self, run_id: str, run_dir: str) -> Run | None:
        """Go on with a run that has ended, or whose owner is dead; None where another process has just done so."""
        self._check_host(run_id, run_dir)
        from runicorn.session import nameless_writers  # for a resume alone

        nameless_writers.wait_until_found(run_dir, self.host, self.settings.finish_timeout_s)
        for earlier in adopt.spools_of(run_dir, self.settings):
            if live_spools.is_live(earlier):
                return None  # another process was faster to resume it
            adopt.finish_earlier_session(earlier, self.settings, self.storage)
        with opening_lock.hold(run_dir, self.settings):
            if adopt.find_spool(run_dir, self.host) is not None:
                return None
            return self._go_on(run_id, run_dir)

    def _check_host(self, run_id: str, run_dir: str) -> None:
        """Raise where the run may live on another host."""
        if joining.read_status(run_dir).get("status") != statuses.RUNNING:
            return
        last = joining.last_session(_read_meta(run_dir))
        host, pid = last.get("hostname") or last.get("host"), last.get("pid")
        spool_path = rendezvous.read(os.path.join(run_dir, run_files.spool_pointer(self.host)))
        memory = os.path.dirname(spool_path) if spool_path else spool.usual_directory(self.settings)
        if host == hostname() and may_live(last.get("machine"), pid, memory):
            host = f"{host} (another machine, or a container with a /dev/shm of its own)"
        if host not in {None, hostname()}:
            raise RunElsewhereError(
                f"init(): run {run_id} is open on host {host} (pid {pid}), and this host cannot check "
                f"whether it lives. Nothing was changed. If it is gone, set the status in {run_dir}/"
                f"{run_files.STATUS} to failed and call init() again. If it lives, use another run_id."
            )

    def _go_on(self, run_id: str, run_dir: str) -> Run:
        from runicorn.storage import resumption  # for a resume alone

        meta = _read_meta(run_dir)
        files = RunDir(run_dir)
        try:
            status = files.read_or_empty(run_files.STATUS)
            last_step = status.get("last_step")
            if not isinstance(last_step, int):
                last_step = adopt.last_step_of(files)
            now = time.time()
            address, lock = self._make_spool(run_id, run_dir, now, path=meta.get("path"))
            joining.point_to(os.path.join(run_dir, run_files.spool_pointer(self.host)), address, lock)
            try:
                files.make_media()
                opened_by = _opened_by(address)
                had = (os.getpid(), os.path.realpath(run_dir)) in _had
                noted = resumption.noted(files, continued=had, after=meta.get("session"))
                resumed = [*(meta.get("resumed") or []), {"time": now, **opened_by, **noted}]
                kept = {**self._meta(run_id, now), **meta, **opened_by, "id": run_id, "resumed": resumed}
                files.replace(run_files.META, kept)
                running = {"status": statuses.RUNNING, "started_at": status.get("started_at", now)}
                running.update(statuses.of_earlier_sessions(status))
                files.replace(run_files.STATUS, {**running, "last_step": last_step})
                run = self._open(address, lock, kept.get("alias"), global_step=last_step)
                for text in files.kept_aside:
                    run._refusals.warn(f"kept aside: {text}", text)  # noqa: SLF001 - ours
                return run  # noqa: TRY300 - below is what a failure leaves
            except BaseException:
                lock.release()
                spool.remove(address.spool)
                raise
        finally:
            files.close()

    def _make_spool(
        self, run_id: str, run_dir: str, now: float, path: Any = None
    ) -> tuple[spool_address.Address, Lock]:
        return spool.create(
            run_id=run_id,
            run_dir=run_dir,
            storage=self.storage,
            path=path if isinstance(path, str) else self.path,
            host=self.host,
            opened_at=now,
            settings=self.settings,
        )

    def _point_to(self, address: spool_address.Address) -> None:
        """Write the pointer to the spool into the run directory, for other processes of this host."""
        pointer = os.path.join(address.run_dir, run_files.spool_pointer(self.host))
        rendezvous.write_first(pointer, address.spool, directory_kinds.RUN)

    def _meta(self, run_id: str, now: float) -> dict[str, Any]:
        return {
            "id": run_id,
            "path": self.path,
            "alias": self.alias,
            "created_at": now,
            "python": python_text(),
            "platform": platform_text(),
            "hostname": hostname(),
            "pid": os.getpid(),
            "storage_dir": self.storage,
            "workspace_root": self.workspace_root,
        }

    def _open(self, address: spool_address.Address, lock: Lock, alias: str | None, *, global_step: int) -> Run:
        refusals = Refusals(address.run_id, strict=self.settings.strict)
        session = Session(address, lock, refusals)
        crash_points.arm(crash_points.OWNER, address.spool, lambda: session.control.writer_pid)
        crash_point("files")
        at_exit.watch_exit()
        at_exit.mark_sigterm(address.spool)
        session.start_writer()
        crash_point("launched")
        _had.add((os.getpid(), os.path.realpath(address.run_dir)))
        run = Run(session, alias=alias, workspace_root=self.workspace_root, global_step=global_step)
        active_runs.opened(run)
        return run


def _join(address: spool_address.Address, alias: str | None, workspace_root: str, rank: int | None = None) -> Run:
    session = joining.join(address, rank, is_rank=rank is not None)
    run = Run(session, alias=alias, workspace_root=workspace_root, global_step=joining.step_so_far(session))
    active_runs.opened(run)
    return run


def _opened_by(address: spool_address.Address) -> dict[str, Any]:
    """What ``meta.json`` says of the process that opens the run by this spool."""
    return {
        "hostname": hostname(),
        "pid": address.owner_pid,
        "machine": address.machine,
        "session": address.session,
    }


def _read_meta(run_dir: str) -> dict[str, Any]:
    files = RunDir(run_dir)
    try:
        return files.read_or_empty(run_files.META)
    finally:
        files.close()
