"""Starting the writer: a grandchild, so that no descendant of ours is visible to ``os.wait()``.

The intermediate is ``/bin/sh``, which puts the writer into the background and exits at once: about a
millisecond, where a Python that forks itself would take ten. ``posix_spawn`` and not ``subprocess``: it forks
without copying page tables (a training process can be large), runs no hook of the program's, and needs no import.

The interpreter runs with ``-I -S``: no site, no user site, no script directory, no ``PYTHON*`` variable. The
boot code *appends* the directories where this process found our dependencies, so the standard library comes
first and a ``queue.py`` beside ``train.py`` never shadows it.
"""

from __future__ import annotations

import os
import signal
import sys

from runicorn.writer import spool

_BOOT = "import sys; sys.path.extend(sys.argv[2:]); from runicorn.writer.main import main; main(sys.argv[1])"
_SHELL = "/bin/sh"
_SCRIPT = '"$@" </dev/null &'
_FORKING_BOOT = "import os\nif os.fork(): os._exit(0)\n" + _BOOT


def can_launch() -> bool:
    """Whether this interpreter can start another one: not from a frozen program, nor from an embedding one."""
    executable = sys.executable
    if getattr(sys, "frozen", False) or not executable or not os.path.exists(executable):
        return False
    name = os.path.basename(executable).lower()
    return "python" in name or "pypy" in name


def launch(spool_path: str) -> None:
    """Start a writer for a spool and do not wait for it.

    Raises:
        OSError: no process can be started; the records stay in the spool.
    """
    directories = _import_directories()
    if sys.platform == "win32":
        _launch_on_windows(spool_path, directories)
        return
    interpreter = [sys.executable, "-I", "-S", "-c"]
    if os.access(_SHELL, os.X_OK):
        arguments = [_SHELL, "-c", _SCRIPT, _SHELL, *interpreter, _BOOT, spool_path, *directories]
    else:
        arguments = [*interpreter, _FORKING_BOOT, spool_path, *directories]
    log = os.path.join(spool_path, spool.WRITER_LOG) if os.path.isdir(spool_path) else os.devnull
    pid = os.posix_spawn(
        arguments[0],
        arguments,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # Held back until the writer has its handler: a SIGTERM to everybody must not kill one that is starting.
        setsigmask=[signal.SIGTERM],
    )
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # the program's own os.wait() loop was faster, or it ignores SIGCHLD
        return


def _launch_on_windows(spool_path: str, directories: list[str]) -> None:
    import subprocess

    with open(os.path.join(spool_path, spool.WRITER_LOG), "ab") as log:
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BOOT, spool_path, *directories],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            creationflags=getattr(subprocess, "DETACHED_PROCESS", 0)
            | getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )


def _import_directories() -> list[str]:
    """Where this process finds us and what we import there, in that order."""
    from importlib.util import find_spec

    found: list[str] = []
    for name in ("runicorn", "msgspec", "psutil", "PIL"):  # Pillow where it is: it encodes images
        spec = find_spec(name)
        origin = spec.origin if spec is not None else None
        if origin:
            directory = os.path.dirname(os.path.dirname(os.path.abspath(origin)))
            if directory not in found:
                found.append(directory)
    return found
