"""The writer process: what is done once, before the loop."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress

from runicorn.host import own_pidfd
from runicorn.writer import owner


def main(spool_path: str, handed: str) -> None:
    """Run as the detached writer of a spool; called by the boot code of ``launch``.

    Args:
        spool_path: the spool.
        handed: ``own_pidfd.HANDED`` if there is a pidfd of the owner at ``own_pidfd.HANDED_FD``.
    """
    _let_go(own_pidfd.HANDED_FD + (handed == own_pidfd.HANDED))
    gc.disable()  # what is imported stays: looking for garbage among it is a twentieth of the start
    _import_msgspec()
    from runicorn.writer.serve import serve

    gc.enable()
    serve(spool_path, handle_signals=True)
    # Nothing is left to be done: not for the interpreter either, whose end would take longer than the run's.
    sys.stdout.flush()
    os._exit(0)


def _import_msgspec() -> None:
    """Without ``typing_extensions``, which it takes where it finds it and can do without.

    That package's import is a fifth of what ``finish()`` of a short run waits for.
    """
    missing = "typing_extensions"
    sys.modules[missing] = None  # type: ignore[assignment]  # to Python: it is not there
    try:
        import msgspec  # noqa: F401 - for the modules that come after
    finally:
        del sys.modules[missing]


def _let_go(first_fd: int) -> None:
    """Keep nothing of the process that started us: descriptors from this one on, signals, working directory."""
    os.closerange(first_fd, 4096)
    owner.handed[:] = range(own_pidfd.HANDED_FD, first_fd)
    for name in ("SIGINT", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGTTOU", "SIGPIPE"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    os.chdir(os.path.abspath(os.sep))
    if sys.platform != "win32":
        import resource

        # Every segment is held open, and a backlog can be a thousand of them.
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            with suppress(ValueError, OSError):  # macOS allows less than the hard limit says
                resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
