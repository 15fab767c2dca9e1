"""Becoming one more producer of a run that somebody else has opened: on this host, or on another."""

from __future__ import annotations

import errno
import os
import time
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.errors import MissingPathError
from runicorn.host import locks
from runicorn.host.identity import hostname, is_other, label_of, machine
from runicorn.queue import opening_lock, spool, spool_address
from runicorn.queue.control_page import ControlPage
from runicorn.queue.rendezvous import publish, read, withdraw
from runicorn.refusals import Refusals
from runicorn.session import adopt, writer_process
from runicorn.session.session import ClosedError, Session, SpoolFullError
from runicorn.settings import Settings
from runicorn.storage import directory_kinds, run_files, statuses
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from runicorn.host.locks import Lock

PATIENCE_S = 30.0


def join(address: spool_address.Address, rank: int | None = None, *, is_rank: bool = False) -> Session:
    """Join by the address of a spool on this host.

    Raises:
        FileNotFoundError: it is gone.
        PermissionError: it is not private to this user.
    """
    spool_address.check_private(address.spool)
    return Session(address, None, _refusals(address), rank=rank, is_rank=is_rank)


def join_anywhere(address: spool_address.Address, rank: int | None) -> Session:
    """Join from whichever host this is; where the run has ended, a session that refuses everything.

    On another host without the rank, for the rank's file has a writer already.
    """
    try:
        if address.host == label_here(address.run_dir, address.settings):
            return join(address, rank)
        if read_status(address.run_dir).get("status") == statuses.RUNNING:
            return _join_on_this_host(address)
    except FileNotFoundError:
        pass
    return Session.ended(address, _refusals(address))


def label_here(run_dir: str, settings: Settings) -> str:
    """This host's label in the file names of a run.

    That is its name, unless another machine of the same name, or a container with other shared memory, has opened the
    run before: no file may have two writers.
    """
    plain = label_of(hostname())
    memory = spool.usual_directory(settings)
    here = machine(memory)
    own = f"{plain}-{zlib.crc32(f'{here.boot}/{here.memory}/{here.machine_id}'.encode()):08x}"
    for label in (plain, own):
        if adopt.find_spool(run_dir, label) is not None:
            return label
    return own if is_other(_machine_of(run_dir), memory) else plain


def _machine_of(run_dir: str) -> str | None:
    meta = _read_meta(run_dir)
    stored = last_session(meta).get("machine")
    return stored if isinstance(stored, str) and meta.get("hostname") == hostname() else None


def _read_meta(run_dir: str) -> dict[str, Any]:
    files = RunDir(run_dir)
    try:
        return files.read(run_files.META)
    except ValueError:
        return {}
    finally:
        files.close()


def last_session(meta: dict[str, Any]) -> dict[str, Any]:
    """What ``meta.json`` says of the process that has opened the run last: the newest entry that names a machine."""
    entries = [meta, *(entry for entry in meta.get("resumed") or [] if isinstance(entry, dict))]
    return entries[-1]


def owned_by(pids: list[int], nth: int, *, path: str, storage: str, settings: Settings) -> spool_address.Address | None:
    """The n-th run of a path that one of these processes of this host, the nearest first, has opened and not ended."""
    spools = [
        address
        for address in adopt.spools_in(storage, settings)
        if address.path == path and locks.is_held(os.path.join(address.spool, spool.OWNER_LOCK))
    ]
    spools.sort(key=lambda address: address.opened_at)
    for pid in pids:
        found = [address for address in spools if address.owner_pid == pid]
        if len(found) >= nth:
            return found[nth - 1]
    return None


def register(
    address: spool_address.Address,
    owner_lock: Lock | None,
    refusals: Refusals,
    rank: int | None = None,
) -> Session | None:
    """A session that the writer can see; None where the spool has gone since its address was read."""
    try:
        session = Session(address, owner_lock, refusals, rank=rank, is_rank=rank is not None)
    except FileNotFoundError:
        return None
    try:
        session.queue.register()
    except SpoolFullError as error:
        refusals.warn("register", f"init(): the spool has no room ({error}): records are refused until there is some.")
    except ClosedError:
        session.discard()
        return None
    # Closed meanwhile: whoever closed it reads the spool again afterwards, and has found us or not.
    if session.control.closed[0]:
        session.discard()
        return None
    return session


def spool_here(
    *,
    run_id: str,
    run_dir: str,
    storage: str,
    path: str,
    settings: Settings,
    on_main_host: bool,
    attempt: int,
) -> tuple[spool_address.Address, Lock | None]:
    """The spool that the run has on this host; made, with its writer, by whoever comes first.

    Returns:
        Its address; and its owner lock where it was made here, which keeps others from taking it for an orphan:
        to be kept by rank 0, and by another process until it can be seen as a producer.

    Raises:
        TimeoutError: an earlier session's spool could not be stored.
        OSError: none can be made.
    """
    host = label_here(run_dir, settings)
    if host != label_of(hostname()):  # the other machine writes the common files
        on_main_host = False
    pointer = os.path.join(run_dir, run_files.spool_pointer(host))
    while True:
        from runicorn.session import nameless_writers  # for ranks alone

        nameless_writers.wait_until_found(run_dir, host, settings.finish_timeout_s)
        address = adopt.find_spool(run_dir, host)
        if address is not None:
            if address.attempt >= attempt and not is_closed(address):
                return address, None
            adopt.finish_earlier_session(address, settings, storage)
        with opening_lock.hold(run_dir, settings):
            if adopt.find_spool(run_dir, host) is not None:
                continue  # another process was faster
            fresh, lock = spool.create(
                run_id=run_id,
                run_dir=run_dir,
                storage=storage,
                path=path,
                host=host,
                opened_at=time.time(),
                settings=settings,
                on_main_host=on_main_host,
                distributed=True,
                attempt=attempt,
                joined_session=str(last_session(_read_meta(run_dir)).get("session") or ""),
            )
            point_to(pointer, fresh, lock)
            with suppress(OSError):  # those who log check for a writer, and start one
                if writer_process.can_launch():
                    writer_process.launch(fresh.spool)
            return fresh, lock


def point_to(pointer: str, address: spool_address.Address, lock: Lock) -> None:
    """Write the pointer to this host's spool into the run directory, instead of one to a spool that is gone.

    By one process at a time (``opening_lock``).

    Raises:
        OSError: it cannot be; the spool is removed.
    """
    published = False
    try:
        # Where the lock could not be had another process may have been faster: what it has written stays.
        if adopt.find_spool(address.run_dir, address.host) is None:
            withdraw(pointer, read(pointer) or "", directory_kinds.RUN)
            published = publish(pointer, address.spool, directory_kinds.RUN)
    finally:
        if not published:
            spool.remove(address.spool)
            lock.release()
    if not published:
        raise FileExistsError(errno.EEXIST, "another process has just written it", pointer)


def is_closed(address: spool_address.Address) -> bool:
    """Whether a spool takes no more records, or is gone."""
    try:
        return bool(ControlPage.open(os.path.join(address.spool, spool.CONTROL)).closed[0])
    except OSError:
        return True


def step_so_far(session: Session) -> int:
    """The owner's step at this moment: what is still in the spool is newer than what the writer has stored."""
    from runicorn.queue import peek  # for a process that joins alone

    in_spool = peek.last_step(session.address)
    return session.control.last_step if in_spool is None else in_spool


def read_status(run_dir: str) -> dict[str, Any]:
    """``status.json`` of a run; empty where there is none.

    Raises:
        FileNotFoundError: there is no such run.
    """
    files = RunDir(run_dir)
    try:
        return files.read_or_empty(run_files.STATUS)
    finally:
        files.close()


def _join_on_this_host(address: spool_address.Address) -> Session:
    """A host where the run has no spool yet gets one, whose writer writes files of its own beside the others."""
    # Where shared memory is differs from host to host; everything else is the owner's.
    settings = msgspec.structs.replace(address.settings, shm_dir=Settings.from_environment().shm_dir)
    refusals = _refusals(address)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        here, lock = spool_here(
            run_id=address.run_id,
            run_dir=address.run_dir,
            storage=address.storage,
            path=address.path,
            settings=settings,
            on_main_host=False,
            attempt=address.attempt,
        )
        try:
            session = register(here, None, refusals)
        finally:
            if lock is not None:
                lock.release()
        if session is not None:
            return session
    raise MissingPathError(f"no spool of run {address.run_id} could be joined on this host")


def _refusals(address: spool_address.Address) -> Refusals:
    return Refusals(address.run_id, strict=address.settings.strict)
