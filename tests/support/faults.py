"""Faults that tests and benchmarks pass to a script: processes that die at named moments, storage that fails on demand.

The package has no code for them. The first line of the script installs them there. A line at the beginning of a
writer's code installs them in every writer that the script or its children start.

These lines import this module by its bare name, so that a writer loads nothing else of the tests.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from collections.abc import Callable

_HERE = os.path.dirname(os.path.abspath(__file__))
_POLL_S = 0.005
_WRITER_BEGINS = "from runicorn.writer.main import"


def line_for_script(crash_at: str = "", storage_fault: str = "", marks: str = "") -> str:
    """Code for the beginning of a script that installs faults; empty if there is no fault.

    Args:
        crash_at: ``<moment>:<n-th time>:<who>``: at which call of ``crash_point()`` who dies; ``who`` is ``owner``,
            ``writer`` or ``both``.
        storage_fault: a file. While it exists, the writer's calls to the storage fail with the errno in its text
            (``ENOSPC``, ``EROFS``, ``EIO``). ``once`` after the name removes the file at the first failure. ``block``
            holds every call until the file is gone, as a hanging disk does.
        marks: the directory for files that say for which spool processes have died.
    """
    return _line("install_in_owner", crash_at, storage_fault, marks) if crash_at or storage_fault else ""


def _line(install: str, *faults: str) -> str:
    return f"import sys; sys.path.append({_HERE!r}); import faults; faults.{install}{faults!r}; "


def install_in_owner(
    crash_at: str, storage_fault: str, marks: str, *, put: Callable[[Any, str, Any], None] = setattr
) -> None:
    """Install faults in this process, and in the writers that it starts.

    Args:
        crash_at: as for ``line_for_script()``, like the next two.
        storage_fault: see there.
        marks: see there.
        put: sets an attribute; ``monkeypatch.setattr`` undoes that after the test.
    """
    from runicorn.lifecycle import opening
    from runicorn.session import writer_process

    line = _line("install_in_writer", crash_at, storage_fault, marks)
    for name in ("_BOOT", "_FORKING_BOOT"):
        boot = getattr(writer_process, name)
        assert boot.count(_WRITER_BEGINS) == 1, f"writers begin otherwise: {boot}"
        put(writer_process, name, boot.replace(_WRITER_BEGINS, line + _WRITER_BEGINS))
    _break_storage(storage_fault, put)
    if crash_at:
        death = _Death(crash_at, "owner", marks, put)
        death.learn_peer(opening, "Session", lambda made: (made.address.spool, lambda: made.control.writer_pid))


def install_in_writer(crash_at: str, storage_fault: str, marks: str) -> None:
    """Install faults in this writer process, before its main function runs."""
    from runicorn.writer import serve

    _break_storage(storage_fault, setattr)
    if crash_at:
        death = _Death(crash_at, "writer", marks, setattr)
        death.learn_peer(serve, "Writer", lambda made: (made._address.spool, lambda: made._address.owner_pid))


def mark_of(marks: os.PathLike[str] | str, spool: os.PathLike[str] | str) -> str:
    """The file that exists after processes have died for a spool."""
    return os.path.join(marks, f"crashed-{os.path.basename(spool)}")


class _Death:
    """Kills processes by SIGKILL, so they clean up nothing. This happens once for a spool: the next writer lives."""

    def __init__(self, crash_at: str, role: str, marks: str, put: Callable[[Any, str, Any], None]) -> None:
        from runicorn.queue import crash_points

        self._moment, count, self._who = crash_at.split(":")
        self._left = int(count)
        self._role, self._marks, self._put = role, marks, put
        self._spool = ""
        self._peer_pid: Callable[[], int] = int  # 0: there is none yet
        put(crash_points, "hook", self._come_to)

    def learn_peer(self, module: Any, name: str, told_by: Callable[[Any], tuple[str, Callable[[], int]]]) -> None:
        """Learn the spool and a function for the other process's pid from the objects that a class makes."""
        made_by = getattr(module, name)

        def make(*arguments: Any, **options: Any) -> Any:
            made = made_by(*arguments, **options)
            self._spool, self._peer_pid = told_by(made)
            return made

        self._put(module, name, make)

    def _come_to(self, moment: str) -> None:
        if moment != self._moment:
            return
        self._left -= 1
        if self._left or not self._is_first_for_this_spool():
            return
        if self._who != self._role and (pid := self._peer_pid()):
            os.kill(pid, signal.SIGKILL)
        if self._who in {self._role, "both"}:
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first_for_this_spool(self) -> bool:
        if not self._spool:  # there is none yet
            return True
        try:
            os.close(os.open(mark_of(self._marks, self._spool), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def _break_storage(storage_fault: str, put: Callable[[Any, str, Any], None]) -> None:
    if storage_fault:
        from runicorn.writer import loop

        put(loop, "RunDir", lambda path: _FaultyRunDir(path, storage_fault))


class _FaultyRunDir(RunDir):
    """A run directory that fails on demand, if a test cannot make the real fault."""

    def __init__(self, path: str, storage_fault: str) -> None:
        super().__init__(path)
        self._fault = storage_fault

    def append(self, name: str, data: memoryview) -> int:
        """Append, or fail."""
        self._fail()
        return super().append(name, data)

    def replace(self, name: str, content: dict[str, Any], *, sync: bool = True) -> None:
        """Replace, or fail."""
        self._fail()
        super().replace(name, content, sync=sync)

    def write_media(self, path: str, content: bytes) -> None:
        """Write, or fail."""
        self._fail()
        super().write_media(path, content)

    def link(self, name: str, source: str) -> None:
        """Link, or fail."""
        self._fail()
        super().link(name, source)

    def sync(self) -> None:
        """Sync, or fail."""
        self._fail()
        super().sync()

    def _fail(self) -> None:
        while (text := self._fault_text()) == ["block"]:
            time.sleep(_POLL_S)
        if not text:
            return
        if text[1:] == ["once"]:
            with suppress(FileNotFoundError):
                os.unlink(self._fault)
        number = getattr(errno, text[0])
        raise OSError(number, f"{os.strerror(number)} (made by the tests)")

    def _fault_text(self) -> list[str]:
        try:
            with open(self._fault, encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []
