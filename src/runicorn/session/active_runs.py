"""The runs of this process: those that it has opened, oldest first, and those that it was sent.

Nothing here knows the class ``Run``, which stands above.
"""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from runicorn.queue.spool_address import Address

_open: list[Any] = []
_sent: list[Any] = []
_in_context: ContextVar[tuple[Any, ...]] = ContextVar("runicorn_runs", default=())
_naming: dict[tuple[int, str], threading.RLock] = {}


def get_active_run() -> Any:
    """Return the newest run that is not finished; when that one is finished, the one before it.

    First of those that were opened in this thread or asynchronous task (a ``contextvars`` context), then of those of
    this process.

    Returns:
        The run; None if there is none.
    """
    return next(active(), None)


def active() -> Iterator[Any]:
    """The runs that are not finished, newest first: those of this context, then those of this process."""
    for runs in (in_context(), _open):
        for run in reversed(runs):
            if not run.is_finished:
                yield run


def in_context() -> tuple[Any, ...]:
    """The runs that were opened in this context, oldest first."""
    return _in_context.get()


def opened(run: Any) -> None:
    """Note a run that was opened; one that was open already is the newest one of this context from now on."""
    if run not in _open:
        _open.append(run)
    others = (each for each in _in_context.get() if each is not run and not each.is_finished)
    _in_context.set((*others, run))


def named(run_id: str, storage: str, host: str) -> Any:
    """The run of that id, if this process itself has opened it, and it is not ended or being ended."""
    for run in reversed(_open):
        session = run._session  # noqa: SLF001 - ours, not the public's
        if run.id == run_id and not session.queue.forked_here and not run.is_finished:
            there = (session.address.host, os.path.realpath(session.address.storage))
            if there == (host, os.path.realpath(storage)):
                return run
    return None


def naming(run_id: str) -> threading.RLock:
    """Held while a run is opened by its id: of two threads that name it, the second finds what the first has opened."""
    return _naming.setdefault((os.getpid(), run_id), threading.RLock())


def find_owned(address: Address) -> Any:
    """The run of a spool, if this process owns it."""
    for run in _open:
        session = run._session  # noqa: SLF001 - ours, not the public's
        if session.address.spool == address.spool and session.is_owner:
            return run
    return None


def ended(run: Any) -> None:
    """Forget a run that has ended."""
    if run in _open:
        _open.remove(run)


def open_runs() -> list[Any]:
    """All of them, newest first."""
    return _open[::-1]


def sent(run: Any) -> None:
    """Note a run that was unpickled here; forget those that have ended."""
    _sent[:] = [each for each in _sent if not each.is_finished]
    _sent.append(run)


def find_joined(address: Address, rank: int | None) -> Any:
    """The handle through which this process logs into somebody else's run already: inherited by fork, or sent.

    A worker that unpickles the run for each task has one, and not thousands.
    """
    for run in _open + _sent:
        session = run._session  # noqa: SLF001 - ours, not the public's
        ours = session.address
        # On another host than the run's owner it has a spool of that host's, and no rank.
        elsewhere = ours.host != address.host and ours.run_dir == address.run_dir and not run.is_finished
        here = ours.spool == address.spool and session.queue.rank == rank
        if not session.is_owner and (here or elsewhere):
            return run
    return None
