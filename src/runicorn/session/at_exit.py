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
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.queue import spool
from runicorn.queue.records import End
from runicorn.session import exit_status
from runicorn.session.active_runs import open_runs
from runicorn.storage import directory_kinds, removal, statuses

if TYPE_CHECKING:
    from collections.abc import Callable

_registered_pid: int | None = None
_exception_before: Any = None

_LAST = -1000  # of all finalizers of multiprocessing

_mark_fd = -1
_mark_file: os.stat_result | None = None
_mark_path = ""
_marked_pid = 0


def watch_exit() -> None:
    """Have open runs ended when this interpreter ends, and note how it does; at each ``init()``."""
    global _registered_pid, _exception_before  # noqa: PLW0603 - one hook per process
    exit_status.watch()
    if _registered_pid == os.getpid():
        return
    _registered_pid = os.getpid()
    _exception_before = getattr(sys, "last_value", None)
    atexit.register(_leave_open_runs)  # which comes after
    atexit.register(_end_open_runs)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing import util

        # Such a process may end by os._exit(), past atexit. Last: the others may log.
        util.Finalize(None, _end_runs_of_child, exitpriority=_LAST)


def unwatch() -> None:
    """No run is open any more: nothing that ends this process says anything about one."""
    unmark_sigterm()
    exit_status.unwatch()


def _end_runs_of_child() -> None:
    """In a process of multiprocessing whose target has returned or raised; called while what it raised is handled."""
    error = sys.exc_info()[1]
    with suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what comes next: its threads may log
    ending = exit_status.of_system_exit(error) if isinstance(error, SystemExit) else exit_status.of_exception(error)
    _end_runs(lambda: ending)


def _end_open_runs() -> None:
    if os.getpid() != _registered_pid:  # a forked child runs its parent's hooks as well
        return
    _wait_for_children()
    _end_runs(how_it_ended)


def _end_runs(ending: Callable[[], tuple[str, str | None]]) -> None:
    try:
        status, reason = ending()
        for run in open_runs():
            run._end_at_exit(_last_word(status, reason))  # noqa: SLF001 - ours, not the public's
    except KeyboardInterrupt:  # of one who presses Ctrl-C again
        _leave_open_runs()


def _leave_open_runs() -> None:
    """Once more at the end: a Ctrl-C that came while C code ran is raised by the first line of our first hook."""
    if os.getpid() == _registered_pid:
        for run in open_runs():
            run._leave_at_exit(_last_word(statuses.INTERRUPTED, "KeyboardInterrupt"))  # noqa: SLF001 - as above


def _last_word(status: str, reason: str | None) -> End:
    # With process 1 of a container the kernel takes the writer: then nobody is left to ask for the exit code.
    provisional = os.getpid() != 1 and not _is_interactive()
    return End(time.time(), status, reason, lingering=True, provisional=provisional)


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


def how_it_ended() -> tuple[str, str | None]:
    """Status and reason that the end of this interpreter gives; for hooks of ``atexit``."""
    if _is_interactive():
        return statuses.FINISHED, None
    ending = exit_status.of_interpreter()
    if ending is not None:
        return ending
    error = getattr(sys, "last_value", None)
    if error is not None and error is not _exception_before:
        return exit_status.of_exception(error)
    return statuses.FINISHED, exit_status.UNKNOWN_CODE


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or bool(sys.flags.interactive)


def mark_sigterm(spool_path: str) -> None:
    """Have a SIGTERM that ends this process leave a mark in a spool; where the program has no handler."""
    global _mark_fd, _mark_file, _mark_path, _marked_pid  # noqa: PLW0603 - one mark per process
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
        _mark_file = os.fstat(_mark_fd)
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
        if _is_mark_open() and os.path.samestat(os.stat(path), os.fstat(_mark_fd)):
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
    global _mark_fd, _mark_file, _mark_path  # noqa: PLW0603 - one mark per process
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return
    if _is_mark_open():
        os.dup2(fd, _mark_fd, inheritable=False)
        os.close(fd)
    else:
        import faulthandler

        _mark_fd = fd
        # It is registered: only its file changes.
        faulthandler.register(signal.SIGTERM, file=fd, all_threads=False, chain=True)
    _mark_file, _mark_path = os.fstat(_mark_fd), path


def _is_mark_open() -> bool:
    """Whether the mark's descriptor is ours: a program may close all, and the number is another file's then."""
    try:
        return _mark_file is not None and os.path.samestat(_mark_file, os.fstat(_mark_fd))
    except OSError:
        return False


def _link(source: str, path: str) -> bool:
    try:
        with removal.parent_of(path, directory_kinds.SPOOL) as (directory, name):
            temporary = f"{name}.link"
            try:
                directory.link(source, temporary)
            except FileExistsError:  # of one who was killed here
                directory.remove(temporary)
                directory.link(source, temporary)
            directory.replace(temporary, name)
    except OSError:  # its spool has gone, or lies on another file system
        return False
    return True
