"""Starting the writer: a grandchild, so that no descendant of ours is visible to ``os.wait()``.

The intermediate is ``/bin/sh``, which puts the writer into the background and exits at once: about a
millisecond, where a Python that forks itself would take ten. ``posix_spawn`` and not ``subprocess``: it forks
without copying page tables (a training process can be large), runs no hook of the program's, and needs no import.

The interpreter runs with ``-I -S``: no site, no user site, no script directory, no ``PYTHON*`` variable. The
boot code *appends* the directories where this process found our dependencies, so the standard library comes
first and a ``queue.py`` beside ``train.py`` never shadows it.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from contextlib import suppress

import msgspec

from runicorn.host import own_pidfd
from runicorn.host.locks import held_here
from runicorn.queue import spool, spool_address

MAIN = "runicorn.writer.main"
_BOOT = f"import sys; sys.path.extend(sys.argv[3:]); from {MAIN} import main; main(*sys.argv[1:3])"
_SHELL = "/bin/sh"
_SCRIPT = '"$@" </dev/null & echo $! >&0'
_FORKING_BOOT = (
    "import os\npid = os.fork()\nif pid: os.write(0, b'%d' % pid); os._exit(0)\n"
    "os.dup2(os.open(os.devnull, os.O_RDONLY), 0)\n" + _BOOT
)


def can_launch() -> bool:
    """Whether this interpreter can start another one: not from a frozen program, nor from an embedding one."""
    executable = sys.executable
    if getattr(sys, "frozen", False) or not executable or not os.path.exists(executable):
        return False
    name = os.path.basename(executable).lower()
    return "python" in name or "pypy" in name


def launch(spool_path: str) -> int | None:
    """Start a writer for a spool and do not wait for it.

    Returns:
        Its process id, if it is known. Nobody waits for that process but the system.

    Raises:
        OSError: no process can be started; the records stay in the spool.
    """
    directories = _import_directories()
    if sys.platform == "win32":
        return _launch_on_windows(spool_path, directories)
    own = own_pidfd.open_own() if _is_owner(spool_path) else -1
    handed = own_pidfd.HANDED if own >= 0 else own_pidfd.NOT_HANDED
    interpreter = [sys.executable, "-I", "-S", "-c"]
    if os.access(_SHELL, os.X_OK):
        arguments = [_SHELL, "-c", _SCRIPT, _SHELL, *interpreter, _BOOT, spool_path, handed, *directories]
    else:
        arguments = [*interpreter, _FORKING_BOOT, spool_path, handed, *directories]
    # Not made: a file that comes into a spool which is being removed would stay, and its directory.
    log = os.path.join(spool_path, spool.WRITER_LOG)
    log = log if os.path.exists(log) else os.devnull
    # First: in a program that has closed its own it may have the number of one of the three below.
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
    if own >= 0:
        actions.append((os.POSIX_SPAWN_DUP2, own, own_pidfd.HANDED_FD))
    told, tells = _pipe()
    actions += [
        (os.POSIX_SPAWN_DUP2, tells, 0),  # by which the intermediate says what it has started
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    try:
        pid = os.posix_spawn(
            arguments[0],
            arguments,
            os.environ,
            file_actions=actions,
            setsid=True,
            # Held back until the writer has its handler: a SIGTERM to everybody must not kill one that is starting.
            setsigmask=[signal.SIGTERM],
        )
    except BaseException:
        os.close(told)
        raise
    finally:
        os.close(tells)
        if own >= 0:
            os.close(own)
    try:
        with suppress(ChildProcessError):  # the program's own os.wait() loop was faster, or it ignores SIGCHLD
            os.waitpid(pid, 0)
        said = os.read(told, 32).strip()
    finally:
        os.close(told)
    return int(said) if said.isdigit() else None


def _pipe() -> tuple[int, int]:
    """A pipe whose writing end has none of the numbers that the intermediate gives to others."""
    import fcntl

    told, low = os.pipe()
    try:
        return told, fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, own_pidfd.HANDED_FD + 1)
    except OSError:
        os.close(told)
        raise
    finally:
        os.close(low)


def _is_owner(spool_path: str) -> bool:
    """Whether this process owns the run: it may have ended before the writer could get a pidfd of it by itself."""
    if held_here(os.path.join(spool_path, spool.OWNER_LOCK)) is None:
        return False
    # In a job any rank may hold that lock for a moment.
    return not spool_address.is_distributed(spool_path)


def _launch_on_windows(spool_path: str, directories: tuple[str, ...]) -> int:
    import subprocess

    with open(os.path.join(spool_path, spool.WRITER_LOG), "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, spool_path, own_pidfd.NOT_HANDED, *directories],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            creationflags=getattr(subprocess, "DETACHED_PROCESS", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    return process.pid


def _import_directories() -> tuple[str, ...]:
    """Where this process finds us and what we import there, in that order."""
    return _found_by(tuple(sys.path))


@functools.lru_cache(maxsize=1)
def _found_by(_path: tuple[str, ...]) -> tuple[str, ...]:
    """The same, searched once as long as ``sys.path`` stays as it is."""
    found: list[str] = []
    # Our own package by a folder in it. Pillow, if it is there: it encodes images.
    for origin in (os.path.dirname(__file__), msgspec.__file__, _origin("psutil"), _origin("PIL")):
        if origin:
            directory = os.path.dirname(os.path.dirname(os.path.abspath(origin)))
            if directory not in found:
                found.append(directory)
    return tuple(found)


def _origin(name: str) -> str | None:
    """Where a package would be imported from; None if it cannot be found.

    By the path and not by ``sys.modules``, in which a test, a notebook or a lazy importer may have put a stub.
    """
    from importlib.machinery import PathFinder

    try:
        spec = PathFinder.find_spec(name)
    except Exception:  # noqa: BLE001 - whatever an entry of sys.path, or a hook for one, does
        return None
    return spec.origin if spec is not None else None
