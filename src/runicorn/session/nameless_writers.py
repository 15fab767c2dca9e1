"""A writer whose spool somebody has removed by name: it stores by what it has open, and nobody finds the spool."""

from __future__ import annotations

import itertools
import os
import time
from contextlib import suppress

from runicorn.errors import StillBusyError
from runicorn.queue import rendezvous, spool_address
from runicorn.session import writer_process
from runicorn.storage import run_files

_POLL_S = 0.02


def writer_of(run_dir: str, host: str) -> int | None:
    """Process id of the writer that lives though its spool has no address by name; None if there is none.

    Args:
        run_dir: the run directory, whose pointer file names the spool still.
        host: the host's label in file names.
    """
    spool_path = _named_without_address(run_dir, host)
    return process_of(spool_path) if spool_path else None


def any_writer_of(run_dir: str, host: str) -> int | None:
    """Process id of the writer that lives, whether its spool has an address by name or not; None if there is none.

    Args:
        run_dir: as for ``writer_of()``.
        host: as for ``writer_of()``.
    """
    spool_path = rendezvous.read(os.path.join(run_dir, run_files.spool_pointer(host)))
    with suppress(OSError, ValueError):
        if spool_path and not spool_address.read_address(spool_path).is_of(
            run_dir
        ):  # the pointer file was copied with its directory
            return None
    return process_of(spool_path) if spool_path else None


def process_of(spool_path: str) -> int | None:
    """Process id of a writer of a spool, by its arguments: the name of its lock file may be gone.

    Raises:
        OSError: the processes of this host cannot be listed.
    """
    try:
        import psutil
    except ImportError:  # then nobody can be asked
        return None
    for pid in psutil.pids():
        # Whatever psutil makes of a process that ends while it reads.
        with suppress(psutil.Error, OSError, ValueError, IndexError):
            if pid != os.getpid() and _is_writer(psutil.Process(pid).cmdline(), spool_path):
                return int(pid)
    return None


def _is_writer(arguments: list[str], spool_path: str) -> bool:
    """Whether the path stands behind the boot code: an editor, or a ``tail -f``, may have it among its arguments."""
    return any(path == spool_path and writer_process.MAIN in code for code, path in itertools.pairwise(arguments))


def wait_until_found(run_dir: str, host: str, limit_s: float) -> None:
    """Wait until such a writer has made its spool again, or has ended.

    Args:
        run_dir: as for ``writer_of()``.
        host: as for ``writer_of()``.
        limit_s: how long to wait; 0 = for ever.

    Raises:
        TimeoutError: it has done neither.
    """
    deadline = time.monotonic() + (limit_s or float("inf"))
    while (pid := writer_of(run_dir, host)) is not None:
        if time.monotonic() > deadline:
            raise StillBusyError(
                f"init(): after {limit_s:.0f} s, process {pid} has still not stored what an earlier session of the run "
                f"in {run_dir} logged. Nothing was changed. Check that the directory can be written."
            )
        time.sleep(_POLL_S)


def _named_without_address(run_dir: str, host: str) -> str | None:
    spool_path = rendezvous.read(os.path.join(run_dir, run_files.spool_pointer(host)))
    if not spool_path or os.path.lexists(os.path.join(spool_path, spool_address.ADDRESS)):
        return None
    return spool_path
