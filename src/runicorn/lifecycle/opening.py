"""Making the run that ``init()`` was asked for: a new one, one that goes on, one of a job, or one that is live."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from runicorn.host import ranks
from runicorn.host.identity import ancestors, hostname, label_of, machine, platform_text, python_text
from runicorn.queue import rendezvous, spool, spool_address
from runicorn.queue.crash_points import crash_point
from runicorn.refusals import Refusals
from runicorn.run import Run
from runicorn.session import active_runs, at_exit
from runicorn.session.session import Session
from runicorn.storage import directory_kinds, paths, run_files, statuses
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from runicorn.host.locks import Lock
    from runicorn.settings import Settings

opened_before: set[tuple[int, str]] = set()
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
        run = self._of_command(rank_info)
        if run is not None:
            return run
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

    def _of_command(self, rank_info: ranks.RankInfo | None) -> Run | None:
        """The run that ``runicorn run`` has opened for the script that we are in; for its first ``init()``."""
        run_dir = os.environ.get("RUNICORN_RUN_DIR")
        if not run_dir or any(pid == os.getpid() for pid, _ in opened_before):
            return None
        from runicorn.lifecycle import existing_run  # for such a script alone

        return existing_run.of_command(self, run_dir, None if rank_info is None else rank_info.rank)

    def _run_id_of_parent(self, rank_info: ranks.RankInfo, nth: int) -> str | None:
        """In a worker of a rank that imports the rank's script again: the run of the rank, by the rank's launcher."""
        if not (rank_info.by_launcher and ranks.is_main_imported_again()):
            return None
        jobs = map(ranks.launched_by, ancestors())
        known = (rendezvous.known_run_id(self.storage, self.path, job, nth) for job in jobs)
        return next(filter(None, known), None)

    def _of_parent(self, rank_info: ranks.RankInfo | None, nth: int) -> Run | None:
        """The run that this process's parent has opened by this same call, where we are running its script again.

        So an ``init()`` that no ``__main__`` guard protects opens one run, and not one more in each worker; and a
        rank that rank 0 has started finds the run that rank 0 had opened before it became one.
        """
        if rank_info is not None and rank_info.started_by is not None:
            parents = [rank_info.started_by]
        elif ranks.is_main_imported_again() and rank_info is None:
            parents = ancestors()  # between us and the one who has started us there may be a fork server
        else:
            return None
        from runicorn.lifecycle import existing_run  # for such a process alone

        return existing_run.of_parents(self, parents, nth, None if rank_info is None else rank_info.rank)

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
        from runicorn.lifecycle.existing_run import ExistingRun  # for a run that is named alone

        return ExistingRun(self, run_id, run_dir).join_or_resume()

    def _as_rank(self, rank_info: ranks.RankInfo, run_id: str) -> Run:
        from runicorn.lifecycle.join_as_rank import Job  # for ranks alone

        job = Job(rank_info, run_id, path=self.path, storage=self.storage, settings=self.settings)
        job.make_run(lambda run_dir: self._write_first_files(run_dir, run_id, time.time(), sole=False))
        # A worker of rank 0 that multiprocessing has import the script again is not a second rank 0.
        session = job.join(as_owner=rank_info.rank == 0 and not ranks.is_main_imported_again())
        at_exit.watch_exit()
        run = Run(
            session,
            alias=read_meta(job.run_dir).get("alias"),
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
            files.replace(run_files.META, {**self.meta(run_id, now), **here}, sync=False)
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
            address, lock = self.make_spool(run_id, run_dir, now)
            crash_point("spool")
            self._point_to(address)
            self._write_first_files(run_dir, run_id, now, opened_by=session_of(address))
            return self.open_run(address, lock, self.alias, global_step=0)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if address is not None:
                spool.remove(address.spool)
            paths.remove_made(made)
            if isinstance(error, OSError) and not error.filename:
                raise OSError(error.errno, error.strerror, run_dir) from error  # of the kind of its number
            raise

    def make_spool(self, run_id: str, run_dir: str, now: float, path: Any = None) -> tuple[spool_address.Address, Lock]:
        """The spool of a run that this process owns from now on, and its owner lock."""
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

    def meta(self, run_id: str, now: float) -> dict[str, Any]:
        """What ``meta.json`` of a new run says, without the session."""
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

    def open_run(self, address: spool_address.Address, lock: Lock, alias: str | None, *, global_step: int) -> Run:
        """The run of a spool: its writer is started, and it is this context's newest."""
        refusals = Refusals(address.run_id, strict=self.settings.strict)
        session = Session(address, lock, refusals)
        crash_point("files")
        at_exit.watch_exit()
        at_exit.mark_sigterm(address.spool)
        session.start_writer()
        crash_point("launched")
        opened_before.add((os.getpid(), os.path.realpath(address.run_dir)))
        run = Run(session, alias=alias, workspace_root=self.workspace_root, global_step=global_step)
        active_runs.opened(run)
        return run


def session_of(address: spool_address.Address) -> dict[str, Any]:
    """What ``meta.json`` says of the process that opens the run by this spool."""
    return {
        "hostname": hostname(),
        "pid": address.owner_pid,
        "machine": address.machine,
        "session": address.session,
    }


def read_meta(run_dir: str) -> dict[str, Any]:
    """``meta.json`` of a run; empty if there is none."""
    files = RunDir(run_dir)
    try:
        return files.read_or_empty(run_files.META)
    finally:
        files.close()
