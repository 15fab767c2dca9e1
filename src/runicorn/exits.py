"""What is done when an interpreter ends, and the mark that SIGTERM leaves.

No Python signal handler is installed: it would delay the end of a process that sits in C code, and fight with
the program's own. ``faulthandler`` writes to a descriptor at C level and then lets the default action end the
process; the file at that descriptor is the mark. One descriptor serves all runs of a process; each spool has
the file under a name of its own.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from typing import Any

from runicorn import statuses
from runicorn.active import open_runs
from runicorn.writer import spool
from runicorn.writer.records import End

_registered_pid: int | None = None
_exception_before: Any = None

_mark_fd = -1
_mark_path = ""
_marked_pid = 0


def watch_exit() -> None:
    """Have open runs ended when this interpreter ends; once per process."""
    global _registered_pid, _exception_before  # noqa: PLW0603 - one hook per process
    if _registered_pid == os.getpid():
        return
    _registered_pid = os.getpid()
    _exception_before = getattr(sys, "last_value", None)
    atexit.register(_end_open_runs)


def _end_open_runs() -> None:
    if os.getpid() != _registered_pid:  # a forked child runs its parent's hooks as well
        return
    _wait_for_children()
    status, reason = _how_it_ended()
    for run in open_runs():
        run._end_at_exit(End(time.time(), status, reason, lingering=True))  # noqa: SLF001 - ours, not the public's


def _wait_for_children() -> None:
    """Wait for the processes that multiprocessing will wait for anyway, a moment later: they may log until they end."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return
    try:
        for child in process.active_children():
            if not child.daemon:
                child.join()
    except KeyboardInterrupt:  # then they are not waited for, and the run is ended now
        return


def _how_it_ended() -> tuple[str, str]:
    error = getattr(sys, "last_value", None)
    interactive = hasattr(sys, "ps1") or bool(sys.flags.interactive)
    if error is None or error is _exception_before or interactive:
        return statuses.FINISHED, "finish() was not called"
    if isinstance(error, KeyboardInterrupt):
        return statuses.INTERRUPTED, "KeyboardInterrupt"
    return statuses.FAILED, describe(error)


def describe(error: BaseException) -> str:
    """Exception type and message, in one line."""
    text = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {text[:500]}" if text else name


def mark_sigterm(spool_path: str) -> None:
    """Have a SIGTERM that ends this process leave a mark in a spool; where the program has no handler."""
    global _mark_fd, _mark_path, _marked_pid  # noqa: PLW0603 - one mark per process
    if sys.platform == "win32":
        return
    path = os.path.join(spool_path, spool.SIGTERM_MARK)
    if _marked_pid == os.getpid() and _mark_fd >= 0:
        if _mark_path and _link(_mark_path, path):
            return
        _point_mark_at(path)
        return
    try:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return
        import faulthandler

        _mark_fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        faulthandler.register(signal.SIGTERM, file=_mark_fd, all_threads=False, chain=True)
    except (OSError, ValueError, AttributeError):  # no descriptor, or no faulthandler: the cause stays unknown
        return
    if not _marked_pid:
        os.register_at_fork(after_in_child=_unmark_child)
    _mark_path, _marked_pid = path, os.getpid()


def keep_mark_named(spool_path: str) -> None:
    """Leave the mark in the file that has its name, where somebody has removed that and another was made."""
    if _mark_fd < 0 or _marked_pid != os.getpid() or not _mark_path:
        return
    path = os.path.join(spool_path, spool.SIGTERM_MARK)
    try:
        if os.path.samestat(os.stat(path), os.fstat(_mark_fd)):
            return
    except OSError:
        return
    if _mark_path == path or not _link(_mark_path, path):
        _point_mark_at(path)


def unmark_sigterm() -> None:
    """No run is open any more: a later SIGTERM says nothing about one.

    The handler stays, for ``faulthandler.unregister`` would wipe out one that the program has set since.
    """
    global _mark_path  # noqa: PLW0603 - one mark per process
    if _mark_fd >= 0 and _marked_pid == os.getpid():
        _point_mark_at(os.devnull)
        _mark_path = ""


def _unmark_child() -> None:
    # A worker that its parent ends by SIGTERM is no sign that the parent was ended.
    global _mark_path, _marked_pid
    if _mark_fd >= 0:
        _point_mark_at(os.devnull)
    _mark_path, _marked_pid = "", os.getpid()


def _point_mark_at(path: str) -> None:
    global _mark_path  # noqa: PLW0603 - one mark per process
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return
    os.dup2(fd, _mark_fd, inheritable=False)
    os.close(fd)
    _mark_path = path


def _link(source: str, path: str) -> bool:
    temporary = f"{path}.link"
    try:
        os.link(source, temporary)
        os.replace(temporary, path)
    except OSError:  # its spool has gone, or lies on another file system
        return False
    return True
