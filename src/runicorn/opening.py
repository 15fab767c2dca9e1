"""``init()``: a new run, one that goes on, or one that another process owns."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from runicorn import active, exits, joining, locks, paths, ranks, rendezvous, rundir, statuses, switch
from runicorn.host import hostname, platform_text, python_text
from runicorn.noop import NoOpRun
from runicorn.refusals import Refusals
from runicorn.run import Run
from runicorn.rundir import RunDir
from runicorn.session import Session
from runicorn.settings import Settings
from runicorn.writer import adopt, crashpoints, spool
from runicorn.writer.crashpoints import crash_point

if TYPE_CHECKING:
    from runicorn.locks import Lock

TQDM_MODES = ("smart", "all", "none")
_BEING_MADE_S = 10.0
_POLL_S = 0.01


def init(
    path: str | None = None,
    storage: str | None = None,
    run_id: str | None = None,
    alias: str | None = None,
    capture_env: bool = False,
    snapshot_code: bool = False,
    workspace_root: str | None = None,
    snapshot_format: str = "zip",
    force_snapshot: bool = False,
    capture_console: bool = False,
    tqdm_mode: str = "smart",
) -> Run | NoOpRun:
    """Open a run: make a new one, resume one that has ended, or join one that is live on this host.

    Args:
        path: hierarchical path such as ``"cv/resnet50/baseline"``; None = ``"default"``, ``"/"`` = the root.
        storage: storage root; None = ``RUNICORN_DIR``, the user's configuration, or ``./.runicorn``.
        run_id: id of a run to resume or join, or of the new one; None = a new id.
        alias: short label.
        capture_env: record the environment.
        snapshot_code: archive the workspace.
        workspace_root: the project's directory; None = the nearest parent with ``.git``, or the working directory.
        snapshot_format: ``"zip"``.
        force_snapshot: override the snapshot's limits.
        capture_console: record stdout and stderr.
        tqdm_mode: ``"smart"``, ``"all"`` or ``"none"``.

    Returns:
        The run; a ``NoOpRun`` while tracking is switched off.

    Raises:
        TypeError, ValueError: an argument is wrong; nothing was made.
        OSError: the storage cannot be written; nothing is left behind.
        RuntimeError: the run is open on another host, so nobody here can know whether it lives.
    """
    if not switch.is_enabled():
        return NoOpRun(path, alias, workspace_root)
    settings = Settings.from_environment()
    _check_flags(
        capture_env=capture_env,
        snapshot_code=snapshot_code,
        force_snapshot=force_snapshot,
        capture_console=capture_console,
    )
    if snapshot_format != "zip":
        raise ValueError(f'init(): snapshot_format={snapshot_format!r} is not supported. Write "zip".')
    if tqdm_mode not in TQDM_MODES:
        raise ValueError(f'init(): tqdm_mode={tqdm_mode!r} is not one of "smart", "all", "none". Write one of them.')
    if alias is not None and not isinstance(alias, str):
        raise TypeError(f"init(): alias={alias!r} is a {type(alias).__name__}. Write a string, or None.")
    opening = _Opening(
        path=paths.normalise_path(path),
        storage=paths.storage_root(storage),
        alias=alias,
        workspace_root=paths.workspace(workspace_root),
        settings=settings,
    )
    adopt.adopt_orphans(settings, opening.storage)
    run = opening.named(paths.check_run_id(run_id)) if run_id is not None else opening.of_this_process()
    asked = {"capture_env": capture_env, "snapshot_code": snapshot_code, "capture_console": capture_console}
    for name in (name for name, wanted in asked.items() if wanted):
        run._refusals.warn(name, f"{name}=True: this version does not capture that yet; metrics are recorded as usual.")  # noqa: SLF001
    return run


def rejoin(address: spool.Address, alias: str | None, workspace_root: str, global_step: int) -> Run:
    """What a pickled run unpickles to: a handle of this process that has joined the run.

    Where the run has ended, it is a handle that refuses everything, as any other one of that run.
    """
    session, refusals = joining.join_anywhere(address)
    return Run(session, refusals, alias=alias, workspace_root=workspace_root, global_step=global_step)


class _Opening:
    """The checked arguments of one ``init()``."""

    def __init__(
        self, *, path: str, storage: str, alias: str | None, workspace_root: str, settings: Settings
    ) -> None:
        self.path = path
        self.storage = storage
        self.alias = alias
        self.workspace_root = workspace_root
        self.settings = settings
        self.host = hostname()

    def of_this_process(self) -> Run:
        """The run that the ranks of this process's job share; a new one where it is no rank of any."""
        place = ranks.place()
        if place is None:
            return self.new()
        if place.job is None:
            run = self.new()
            run._refusals.warn(  # noqa: SLF001 - ours
                "job",
                f"This is rank {place.rank} of a job that nothing in the environment tells from others: each "
                "rank gets a run of its own. Set RUNICORN_JOB_ID to a value that its ranks share, and no other job.",
            )
            return run
        return self._as_rank(place, rendezvous.run_id_of(self.storage, self.path, place.job))

    def new(self) -> Run:
        """A run with an id of its own; the directory is made exclusively, so two never share one."""
        while True:
            run_id = paths.new_run_id()
            made = _make_directories(paths.run_directory(self.storage, self.path, run_id))
            if made:
                return self._create(run_id, made)

    def named(self, run_id: str) -> Run:
        """The run of that id: joined where it lives, resumed where it has ended, made where there is none."""
        run_dir = paths.run_directory(self.storage, self.path, run_id)
        if not os.path.isdir(run_dir):
            # It may have been logged under another path, or moved there in the viewer.
            run_dir = paths.find_run(self.storage, run_id) or run_dir
        made = _make_directories(run_dir)
        if made:
            return self._create(run_id, made)
        return self._join_live(run_dir) or self._resume(run_id, run_dir)

    def _as_rank(self, place: ranks.Place, run_id: str) -> Run:
        run_dir = paths.run_directory(self.storage, self.path, run_id)
        if not os.path.isdir(run_dir):
            run_dir = paths.find_run(self.storage, run_id) or run_dir
        if _make_directories(run_dir):
            self._write_first_files(run_dir, run_id, time.time())
        self._wait_until_made(run_dir)
        refusals = Refusals(run_id, strict=self.settings.strict)
        session = joining.join_as_rank(
            place,
            refusals,
            run_id=run_id,
            run_dir=run_dir,
            storage=self.storage,
            path=self.path,
            settings=self.settings,
        )
        meta = _read_meta(run_dir)
        exits.watch_exit()
        if place.rank == 0:
            exits.mark_sigterm(session.address.spool)
            self._own_meta(run_dir, meta)
        step = joining.read_status(run_dir).get("last_step")
        run = Run(
            session,
            refusals,
            alias=meta.get("alias"),
            workspace_root=self.workspace_root,
            global_step=step if isinstance(step, int) else 0,
        )
        active.opened(run)
        return run

    def _own_meta(self, run_dir: str, meta: dict[str, Any]) -> None:
        """The viewer takes the pid in ``meta.json`` for the run's: that must be rank 0's, not the first comer's."""
        if (meta.get("pid"), meta.get("hostname")) != (os.getpid(), self.host):
            files = RunDir(run_dir)
            files.replace(rundir.META, {**meta, "pid": os.getpid(), "hostname": self.host})
            files.close()

    def _wait_until_made(self, run_dir: str) -> None:
        deadline = time.monotonic() + _BEING_MADE_S
        while not os.path.exists(os.path.join(run_dir, rundir.STATUS)):
            if time.monotonic() > deadline:  # its maker has died half way: then it is made here
                self._write_first_files(run_dir, os.path.basename(run_dir), time.time())
                return
            time.sleep(_POLL_S)

    def _write_first_files(self, run_dir: str, run_id: str, now: float) -> None:
        files = RunDir(run_dir)
        try:
            os.makedirs(os.path.join(run_dir, rundir.MEDIA), exist_ok=True)
            files.replace(rundir.META, self._meta(run_id, now), sync=False)
            files.replace(rundir.ASSETS, rundir.EMPTY_ASSETS, sync=False)
            # Last: a run with a status is whole.
            files.replace(rundir.STATUS, {"status": statuses.RUNNING, "started_at": now}, sync=False)
        finally:
            files.close()

    def _create(self, run_id: str, made: list[str]) -> Run:
        run_dir = made[-1]
        now = time.time()
        address: spool.Address | None = None
        lock: Lock | None = None
        try:
            crash_point("directory")
            address, lock = self._make_spool(run_id, run_dir, now)
            crash_point("spool")
            self._point_to(address)
            self._write_first_files(run_dir, run_id, now)
            return self._open(address, lock, self.alias, global_step=0)
        except BaseException as error:
            if lock is not None:
                lock.release()
            if address is not None:
                spool.remove(address.spool)
            _remove_made(made)
            if isinstance(error, OSError) and not error.filename:
                raise OSError(error.errno, error.strerror, run_dir) from error
            raise

    def _join_live(self, run_dir: str) -> Run | None:
        """Join the run where its owner lives on this host; wait while somebody is making it."""
        deadline = time.monotonic() + _BEING_MADE_S
        while True:
            address = adopt.find_spool(run_dir, self.host)
            if address is not None and locks.is_held(os.path.join(address.spool, spool.OWNER_LOCK)):
                if os.path.exists(os.path.join(run_dir, rundir.STATUS)):
                    meta = _read_meta(run_dir)
                    return _join(address, meta.get("alias"), self.workspace_root)
            elif os.path.exists(os.path.join(run_dir, rundir.STATUS)) or time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)

    def _resume(self, run_id: str, run_dir: str) -> Run:
        meta = _read_meta(run_dir)
        earlier = adopt.find_spool(run_dir, self.host)
        if earlier is not None:
            adopt.finish_earlier_session(earlier)
        files = RunDir(run_dir)
        try:
            status = files.read(rundir.STATUS)
            last = (meta.get("resumed") or [meta])[-1]
            host = last.get("hostname") or last.get("host")
            if status.get("status") == statuses.RUNNING and host not in {None, self.host}:
                raise RuntimeError(
                    f"init(): run {run_id} is open on host {host} (pid {last.get('pid')}), and nobody here can know "
                    f"whether it lives. Nothing was changed. If it is gone, set the status in {run_dir}/"
                    f"{rundir.STATUS} to failed and call init() again; else use another run_id."
                )
            last_step = status.get("last_step")
            if not isinstance(last_step, int):
                last_step = adopt.last_step_of(files)
            now = time.time()
            address, lock = self._make_spool(run_id, run_dir, now, path=meta.get("path"))
            try:
                self._point_to(address)
                os.makedirs(os.path.join(run_dir, rundir.MEDIA), exist_ok=True)
                entry = {"time": now, "hostname": self.host, "pid": os.getpid()}
                resumed = [*(meta.get("resumed") or []), entry]
                fresh = self._meta(run_id, now)
                kept = {**fresh, **meta, "hostname": self.host, "pid": os.getpid(), "resumed": resumed}
                files.replace(rundir.META, kept)
                running = {"status": statuses.RUNNING, "started_at": status.get("started_at", now)}
                files.replace(rundir.STATUS, {**running, "last_step": last_step})
                return self._open(address, lock, kept.get("alias"), global_step=last_step)
            except BaseException:
                lock.release()
                spool.remove(address.spool)
                raise
        finally:
            files.close()

    def _make_spool(self, run_id: str, run_dir: str, now: float, path: Any = None) -> tuple[spool.Address, Lock]:
        return spool.create(
            run_id=run_id,
            run_dir=run_dir,
            storage=self.storage,
            path=path if isinstance(path, str) else self.path,
            host=self.host,
            opened_at=now,
            settings=self.settings,
        )

    def _point_to(self, address: spool.Address) -> None:
        """Leave word in the run directory where the spool is, for other processes of this host."""
        with open(os.path.join(address.run_dir, rundir.spool_pointer(self.host)), "w", encoding="utf-8") as file:
            file.write(address.spool)

    def _meta(self, run_id: str, now: float) -> dict[str, Any]:
        return {
            "id": run_id,
            "path": self.path,
            "alias": self.alias,
            "created_at": now,
            "python": python_text(),
            "platform": platform_text(),
            "hostname": self.host,
            "pid": os.getpid(),
            "storage_dir": self.storage,
            "workspace_root": self.workspace_root,
        }

    def _open(self, address: spool.Address, lock: Lock, alias: str | None, *, global_step: int) -> Run:
        refusals = Refusals(address.run_id, strict=self.settings.strict)
        session = Session(address, lock, refusals)
        crashpoints.arm(crashpoints.OWNER, address.spool, lambda: session.control.writer_pid)
        crash_point("files")
        exits.watch_exit()
        exits.mark_sigterm(address.spool)
        session.start_writer()
        crash_point("launched")
        run = Run(session, refusals, alias=alias, workspace_root=self.workspace_root, global_step=global_step)
        active.opened(run)
        return run


def _join(address: spool.Address, alias: str | None, workspace_root: str) -> Run:
    session, refusals = joining.join(address)
    step = joining.step_so_far(session)
    run = Run(session, refusals, alias=alias, workspace_root=workspace_root, global_step=step)
    active.opened(run)
    return run


def _check_flags(**flags: Any) -> None:
    for name, value in flags.items():
        if not isinstance(value, bool):
            raise TypeError(f"init(): {name}={value!r} is a {type(value).__name__}. Write True or False.")


def _make_directories(run_dir: str) -> list[str]:
    """Make a run directory exclusively, with its parents; the made ones, outermost first; empty if it was there.

    Raises:
        OSError: one cannot be made; names it.
    """
    missing = []
    parent = os.path.dirname(run_dir)
    while not os.path.isdir(parent):
        missing.append(parent)
        parent = os.path.dirname(parent)
    made: list[str] = []
    try:
        for directory in reversed(missing):
            try:
                os.mkdir(directory)
                made.append(directory)
            except FileExistsError:  # another process was faster; or a file is in the way, and the next mkdir says so
                continue
        try:
            os.mkdir(run_dir)
        except FileExistsError:
            if os.path.isdir(run_dir):
                return []
            raise
    except OSError:
        _remove_made(made)
        raise
    return [*made, run_dir]


def _remove_made(made: list[str]) -> None:
    """Leave nothing behind of a run that could not be opened."""
    if not made:
        return
    import shutil

    run_dir = made[-1]
    shutil.rmtree(run_dir, ignore_errors=True)
    for directory in reversed(made[:-1]):
        try:
            os.rmdir(directory)
        except OSError:  # another run has moved in
            return


def _read_meta(run_dir: str) -> dict[str, Any]:
    files = RunDir(run_dir)
    try:
        return files.read(rundir.META)
    except ValueError:
        return {}
    finally:
        files.close()
