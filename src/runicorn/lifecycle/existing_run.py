"""A run that is there already: joined if it is live, resumed if it has ended; or the one that a parent has opened."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from runicorn.errors import RunElsewhereError, StillBusyError
from runicorn.host.identity import hostname, may_live
from runicorn.lifecycle.opening import opened_before, read_meta, session_of
from runicorn.queue import live_spools, opening_lock, rendezvous, spool
from runicorn.run import Run
from runicorn.session import active_runs, adopt, at_exit, joining, nameless_writers
from runicorn.storage import resumption, run_files, statuses
from runicorn.storage.escaping import escape
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from runicorn.lifecycle.opening import Opening
    from runicorn.queue import spool_address

_BEING_MADE_S = 10.0
_POLL_S = 0.01
_MOST_TRIES = 1000


class ExistingRun:
    """A run whose directory is there.

    Args:
        opening: what ``init()`` was asked for.
        run_id: id of the run.
        run_dir: its directory.
    """

    def __init__(self, opening: Opening, run_id: str, run_dir: str) -> None:
        self._opening = opening
        self._run_id = run_id
        self._run_dir = run_dir

    def join_or_resume(self) -> Run:
        """Join it if it lives, resume it if it has ended."""
        for _ in range(_MOST_TRIES):
            run = self._join_live() or self._resume()
            if run is not None:
                return run
            time.sleep(_POLL_S)
        raise StillBusyError(
            f"init(): run {self._run_id} was neither joined nor resumed in {_MOST_TRIES:,} tries: other processes keep "
            f"opening and ending it. Nothing was changed. Its directory is {self._run_dir}."
        )

    def _join_live(self) -> Run | None:
        """Join the run if its owner lives on this host; wait while a process is making it."""
        deadline = time.monotonic() + _BEING_MADE_S
        while True:
            address = adopt.find_spool(self._run_dir, self._opening.host)
            if address is not None and live_spools.is_live(address):
                if joining.is_closed(address):
                    self._wait_for_its_end(address)
                elif os.path.exists(os.path.join(self._run_dir, run_files.STATUS)):
                    with suppress(FileNotFoundError):  # it has just ended
                        return _join(address, read_meta(self._run_dir).get("alias"), self._opening.workspace_root)
            elif os.path.exists(os.path.join(self._run_dir, run_files.STATUS)) or time.monotonic() > deadline:
                return None
            time.sleep(_POLL_S)

    def _wait_for_its_end(self, address: spool_address.Address) -> None:
        """Wait while the run's owner is in ``finish()``: it takes no more records, and goes on when it has ended."""
        limit_s = self._opening.settings.finish_timeout_s or float("inf")
        deadline = time.monotonic() + limit_s
        while live_spools.is_live(address) and joining.is_closed(address) and os.path.isdir(address.spool):
            if time.monotonic() > deadline:
                raise StillBusyError(
                    f"init(): run {address.run_id} is being ended by process {address.owner_pid}, which has not "
                    f"finished within {limit_s:.0f} s. Nothing was changed. Check that {address.run_dir} can be "
                    "written."
                )
            time.sleep(_POLL_S)

    def _resume(self) -> Run | None:
        """Go on with a run that has ended, or whose owner is dead; None if another process has just done so."""
        self._check_host()
        nameless_writers.wait_until_found(self._run_dir, self._opening.host, self._opening.settings.finish_timeout_s)
        for earlier in adopt.spools_of(self._run_dir, self._opening.settings):
            if live_spools.is_live(earlier):
                return None  # another process was faster to resume it
            adopt.finish_earlier_session(earlier, self._opening.settings, self._opening.storage)
        with opening_lock.hold(self._run_dir, self._opening.settings):
            if adopt.find_spool(self._run_dir, self._opening.host) is not None:
                return None
            return self._go_on()

    def _check_host(self) -> None:
        """Raise if the run may live on another host."""
        if joining.read_status(self._run_dir).get("status") != statuses.RUNNING:
            return
        last = joining.last_session(read_meta(self._run_dir))
        host, pid = last.get("hostname") or last.get("host"), last.get("pid")
        spool_path = rendezvous.read(os.path.join(self._run_dir, run_files.spool_pointer(self._opening.host)))
        memory = os.path.dirname(spool_path) if spool_path else spool.usual_directory(self._opening.settings)
        if host == hostname() and may_live(last.get("machine"), pid, memory):
            host = f"{host} (another machine, or a container with a /dev/shm of its own)"
        if host not in {None, hostname()}:
            raise RunElsewhereError(
                f"init(): run {self._run_id} is open on host {host} (pid {pid}), and this host cannot check "
                f"whether it lives. Nothing was changed. If it is gone, set the status in {self._run_dir}/"
                f"{run_files.STATUS} to failed and call init() again. If it lives, use another run_id."
            )

    def _go_on(self) -> Run:
        meta = read_meta(self._run_dir)
        files = RunDir(self._run_dir)
        try:
            status = files.read_or_empty(run_files.STATUS)
            last_step = status.get("last_step")
            if not isinstance(last_step, int):
                last_step = adopt.last_step_of(files)
            now = time.time()
            address, lock = self._opening.make_spool(self._run_id, self._run_dir, now, path=meta.get("path"))
            joining.point_to(os.path.join(self._run_dir, run_files.spool_pointer(self._opening.host)), address, lock)
            try:
                files.make_media()
                opened_by = session_of(address)
                had = (os.getpid(), os.path.realpath(self._run_dir)) in opened_before
                noted = resumption.noted(files, continued=had, after=meta.get("session"))
                resumed = [*(meta.get("resumed") or []), {"time": now, **opened_by, **noted}]
                now_here = self._opening.meta(self._run_id, now)
                kept = {**now_here, **meta, **opened_by, "id": self._run_id, "resumed": resumed}
                files.replace(run_files.META, kept)
                running = {"status": statuses.RUNNING, "started_at": status.get("started_at", now)}
                running.update(statuses.of_earlier_sessions(status))
                files.replace(run_files.STATUS, {**running, "last_step": last_step})
                run = self._opening.open_run(address, lock, kept.get("alias"), global_step=last_step)
                for text in files.kept_aside:
                    run._refusals.warn(f"kept aside: {text}", text)  # noqa: SLF001 - ours
                return run  # noqa: TRY300 - below is what a failure leaves
            except BaseException:
                lock.release()
                spool.remove(address.spool)
                raise
        finally:
            files.close()


def of_parents(opening: Opening, parents: list[int], nth: int, rank: int | None) -> Run | None:
    """The n-th run of the path that one of these processes has opened, joined; None if there is none."""
    address = joining.owned_by(parents, nth, path=opening.path, storage=opening.storage, settings=opening.settings)
    if address is None:
        return None
    return _join(address, read_meta(address.run_dir).get("alias"), opening.workspace_root, rank)


def _join(address: spool_address.Address, alias: str | None, workspace_root: str, rank: int | None = None) -> Run:
    session = joining.join(address, rank, is_rank=rank is not None)
    at_exit.watch_exit()
    run = Run(session, alias=alias, workspace_root=workspace_root, global_step=joining.step_so_far(session))
    active_runs.opened(run)
    return run


def of_command(opening: Opening, run_dir: str, rank: int | None) -> Run | None:
    """The run that ``runicorn run`` has opened for this script; None if it has ended, or lives on another host.

    An alias that the script gives becomes the run's if it has none.
    """
    from runicorn.managing import labels
    from runicorn.session import supervised

    address = supervised.address_of(run_dir, opening.host)
    if address is None:
        return None
    alias = read_meta(address.run_dir).get("alias")
    if alias is None and opening.alias is not None:
        alias = opening.alias
        labels.merge(address.run_dir, address.storage, opening.settings, {"alias": escape(alias)}, ())
    run = _join(address, alias, opening.workspace_root, rank)
    opened_before.add((os.getpid(), os.path.realpath(address.run_dir)))
    supervised.join(run._session)  # noqa: SLF001 - ours
    return run
