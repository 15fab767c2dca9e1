"""One writer: it takes the lock of a spool, and stores what is in it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from runicorn.host.locks import Lock
from runicorn.queue import live_spools, moved_runs, rendezvous, spool, spool_address, spool_repair
from runicorn.queue.control_page import ControlPage
from runicorn.storage import run_files, statuses
from runicorn.storage.run_directory import RunDir
from runicorn.writer import superseded
from runicorn.writer.loop import Writer
from runicorn.writer.retry import GaveUpError


def is_unused(address: spool_address.Address) -> bool:
    """Whether a spool was made for a run that then used another one: nobody has ever known of it, or written to it."""
    if not os.path.exists(os.path.join(address.run_dir, run_files.STATUS)):
        return False  # its run was being made as well
    named = rendezvous.read(os.path.join(address.run_dir, run_files.spool_pointer(address.host)))
    if named == address.spool:
        return False
    from runicorn.writer.plan import PlanFile  # for a writer alone: init() does without it

    plan_file = PlanFile(os.path.join(address.spool, spool.PLAN))
    planned = plan_file.read() is not None
    plan_file.close()
    return not planned and not any(_has_segments(directory) for directory in (address.spool, address.overflow))


def _has_segments(directory: str) -> bool:
    try:
        return any(name.endswith(spool.SEGMENT_SUFFIX) for name in os.listdir(directory))
    except FileNotFoundError:  # an overflow directory is made when it is needed
        return False


_LOCK_TRIES = 25


def serve(spool_path: str, *, handle_signals: bool) -> bool:
    """Be the writer of a spool until its run has ended.

    Args:
        spool_path: the spool.
        handle_signals: whether this process is the writer's own (else it is a training process that digests
            its spool itself, whose signals are its own business).

    Returns:
        False where another process is this spool's writer already.
    """
    with suppress(OSError, ValueError):
        spool_repair.repair_before_serving(spool_path)
    lock = take_writer_lock(spool_path)
    if lock is None:
        return False
    writer = None
    try:
        address = _follow(spool_address.read_address(spool_path))
        ControlPage.restore_magic(os.path.join(spool_path, spool.CONTROL))
        if _had_writer(spool_path) and spool_repair.has_unlinked_writer(spool_path):
            return False
        if _is_done(address) or is_unused(address):
            # The writer before us was killed while it removed it, or its maker while it made it.
            spool.remove_spool(address)
            return True
        writer = Writer(address, own_process=handle_signals)
        if handle_signals:
            signal.signal(signal.SIGTERM, writer.on_sigterm)
            if hasattr(signal, "pthread_sigmask"):  # launch has held it back until now
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        writer.run()
    except FileNotFoundError as error:
        if writer is not None or os.path.exists(os.path.join(spool_path, spool_address.ADDRESS)):
            raise
        print(f"{error}: another writer has stored everything and removed the spool", flush=True)  # noqa: T201 - as below
    except GaveUpError as error:
        print(f"gave up storing: {error}; the records stay in {spool_path}", flush=True)  # noqa: T201 - to writer.log
    finally:
        lock.release()
        if writer is not None:
            if handle_signals:
                writer.correct_status()
            writer.close()
    if writer is not None and handle_signals:  # a training process has better things to do
        writer.write_row_late()
    return True


def _follow(address: spool_address.Address) -> spool_address.Address:
    """Where the run is now; one that lives has its directory made again where it was."""
    try:
        return moved_runs.follow(address)
    except FileNotFoundError as error:
        if live_spools.is_live(address):
            return address
        raise GaveUpError(str(error)) from error


def _had_writer(spool_path: str) -> bool:
    """Whether another process has been this spool's writer before."""
    return ControlPage.open(os.path.join(spool_path, spool.CONTROL)).generation > 0


def _is_done(address: spool_address.Address) -> bool:
    """Whether the writer before us had stored everything; one byte alone is not believed, for it may be damaged."""
    if not ControlPage.open(os.path.join(address.spool, spool.CONTROL)).done:
        return False
    try:
        files = RunDir(address.run_dir)
    except OSError:  # moved or removed since
        return True
    try:
        status, meta = files.read(run_files.STATUS), files.read(run_files.META)
    except (OSError, ValueError):
        return True
    finally:
        files.close()
    ended = status.get("status") in statuses.FINAL
    return ended or not address.on_main_host or superseded.is_superseded(address, meta)


def take_writer_lock(spool_path: str) -> Lock | None:
    """Take the lock; somebody who merely probes it holds it for some microseconds, so try for half a second."""
    path = os.path.join(spool_path, spool.WRITER_LOCK)
    for _ in range(_LOCK_TRIES):
        try:
            # It came with the spool, and is not made again in one that is being removed.
            lock = Lock.take(path, create=False)
        except (FileNotFoundError, RuntimeError):  # removed; or another thread of this program is storing it
            return None
        if lock is not None:
            return lock
        time.sleep(0.02)
    return None
