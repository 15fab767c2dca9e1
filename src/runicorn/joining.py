"""Becoming one more producer of a run that somebody else has opened: on this host, on another, as a rank of a job."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from runicorn import locks, rundir, statuses
from runicorn.host import hostname
from runicorn.refusals import Refusals
from runicorn.rendezvous import publish
from runicorn.rundir import RunDir
from runicorn.session import ClosedError, Session
from runicorn.writer import adopt, launch, peek, spool
from runicorn.writer.control import ControlPage

if TYPE_CHECKING:
    from runicorn.locks import Lock
    from runicorn.ranks import Place
    from runicorn.settings import Settings

PATIENCE_S = 30.0
_POLL_S = 0.005
_OWNER_LOCK_TRIES = 400

_sessions: dict[tuple[int, str], tuple[Session, Refusals]] = {}
"""Joined sessions by process and spool: a worker that unpickles the run for each task has one, and not thousands."""


def join(address: spool.Address) -> tuple[Session, Refusals]:
    """Join by the address of a spool on this host.

    Raises:
        FileNotFoundError: it is gone.
        PermissionError: it is not private to this user.
    """
    key = (os.getpid(), address.spool)
    found = _sessions.get(key)
    if found is None:
        spool.check_private(address.spool)
        refusals = Refusals(address.run_id, strict=address.settings.strict)
        found = _sessions[key] = (Session(address, None, refusals), refusals)
    return found


def join_anywhere(address: spool.Address) -> tuple[Session, Refusals]:
    """Join from whichever host this is; where the run has ended, a session that refuses everything."""
    try:
        if address.host == hostname():
            return join(address)
        if read_status(address.run_dir).get("status") == statuses.RUNNING:
            return _join_on_this_host(address)
    except FileNotFoundError:
        pass
    refusals = Refusals(address.run_id, strict=address.settings.strict)
    return Session.ended(address, refusals), refusals


def join_as_rank(place: Place, refusals: Refusals, **run: Any) -> Session:
    """Join the run of a job: rank 0 as its owner, the others as producers that the writer knows from now on.

    Raises:
        RuntimeError: another process is rank 0 of this job.
        TimeoutError: the run's spool on this host could not be joined.
    """
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        address, lock = spool_here(place=place, **run)
        if place.rank == 0:
            lock = lock or _own(address)
            if lock is None:
                continue
        session = _appear(address, lock if place.rank == 0 else None, refusals, place.rank)
        if lock is not None and (place.rank != 0 or session is None):
            lock.release()
        if session is not None:
            return session
    raise TimeoutError(f"init(): the spool of run {run['run_id']} on this host came and went for {PATIENCE_S:.0f} s")


def _join_on_this_host(address: spool.Address) -> tuple[Session, Refusals]:
    """A host where the run has no spool yet gets one, whose writer writes files of its own beside the others."""
    refusals = Refusals(address.run_id, strict=address.settings.strict)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        here, lock = spool_here(
            run_id=address.run_id,
            run_dir=address.run_dir,
            storage=address.storage,
            path=address.path,
            settings=address.settings,
            place=None,
        )
        key = (os.getpid(), here.spool)
        if key in _sessions:
            return _sessions[key]
        session = _appear(here, None, refusals, None)
        if lock is not None:
            lock.release()
        if session is not None:
            _sessions[key] = (session, refusals)
            return session, refusals
    raise FileNotFoundError(f"no spool of run {address.run_id} could be joined on this host")


def _appear(address: spool.Address, owner_lock: Lock | None, refusals: Refusals, rank: int | None) -> Session | None:
    """A session that the writer can see; None where the spool has gone since its address was read."""
    try:
        session = Session(address, owner_lock, refusals, rank=rank)
        session.queue.appear()
    except (FileNotFoundError, ClosedError):
        return None
    # Closed meanwhile: whoever closed it looks at the spool again afterwards, and has found us or not.
    return None if session.control.closed[0] else session


def spool_here(
    *, run_id: str, run_dir: str, storage: str, path: str, settings: Settings, place: Place | None
) -> tuple[spool.Address, Lock | None]:
    """The spool that the run has on this host; made, with its writer, by whoever comes first.

    Returns:
        Its address; and its owner lock where it was made here, which keeps others from taking it for an orphan:
        to be kept by rank 0, and by another process until it can be seen as a producer.

    Raises:
        TimeoutError: an earlier session's spool could not be stored.
        OSError: none can be made.
    """
    host = hostname()
    attempt = place.attempt if place is not None else 0
    pointer = os.path.join(run_dir, rundir.spool_pointer(host))
    while True:
        address = adopt.find_spool(run_dir, host)
        if address is not None and address.attempt == attempt and not _is_closed(address):
            if not locks.is_held(os.path.join(address.spool, spool.WRITER_LOCK)):
                _launch(address)
            return address, None
        if address is not None:
            adopt.finish_earlier_session(address, settings)
        else:
            remove_stale(pointer)
        fresh, lock = spool.create(
            run_id=run_id,
            run_dir=run_dir,
            storage=storage,
            path=path,
            host=host,
            opened_at=time.time(),
            settings=settings,
            main=place.main if place is not None else False,
            ranked=True,
            attempt=attempt,
        )
        if publish(pointer, fresh.spool):
            _say_running(fresh)
            _launch(fresh)
            return fresh, lock
        lock.release()
        spool.remove(fresh.spool)


def step_so_far(session: Session) -> int:
    """The owner's step at this moment: what is still in the spool is newer than what the writer has stored."""
    in_spool = peek.last_step(session.address)
    return session.control.last_step if in_spool is None else in_spool


def read_status(run_dir: str) -> dict[str, Any]:
    """``status.json`` of a run; empty where there is none.

    Raises:
        FileNotFoundError: there is no such run.
    """
    files = RunDir(run_dir)
    try:
        return files.read(rundir.STATUS)
    except ValueError:
        return {}
    finally:
        files.close()


def _own(address: spool.Address) -> Lock | None:
    path = os.path.join(address.spool, spool.OWNER_LOCK)
    for _ in range(_OWNER_LOCK_TRIES):
        try:
            lock = locks.Lock.take(path)
        except FileNotFoundError:
            return None
        if lock is not None:
            return lock
        time.sleep(_POLL_S)
    raise RuntimeError(
        f"another process owns run {address.run_id} as rank 0 of this job. Give each job its own RUNICORN_JOB_ID, or "
        "set RUNICORN_RANK_MODE=separate."
    )


def _is_closed(address: spool.Address) -> bool:
    try:
        return bool(ControlPage.open(os.path.join(address.spool, spool.CONTROL)).closed[0])
    except OSError:
        return True


def _say_running(address: spool.Address) -> None:
    """A job that is started anew goes on with its run: the status is running again."""
    files = RunDir(address.run_dir)
    try:
        status = files.read(rundir.STATUS)
        if address.main and status.get("status") != statuses.RUNNING:
            meta = files.read(rundir.META)
            entry = {"time": address.opened_at, "hostname": address.host, "pid": os.getpid()}
            files.replace(rundir.META, {**meta, "resumed": [*(meta.get("resumed") or []), entry]})
            kept: dict[str, Any] = {name: status[name] for name in ("started_at", "last_step") if name in status}
            files.replace(rundir.STATUS, {"status": statuses.RUNNING, **kept})
    finally:
        files.close()


def _launch(address: spool.Address) -> None:
    if launch.can_launch():
        launch.launch(address.spool)


def remove_stale(pointer: str) -> None:
    """Remove word of a spool that is gone: the host was restarted, or its shared memory was emptied."""
    aside = f"{pointer}.{os.getpid():x}.{os.urandom(4).hex()}"
    try:
        os.rename(pointer, aside)
    except FileNotFoundError:
        return
    with open(aside, encoding="utf-8") as file:
        path = file.read()
    os.unlink(aside)
    if os.path.isdir(path):  # another rank has published a new one since we looked
        publish(pointer, path)
