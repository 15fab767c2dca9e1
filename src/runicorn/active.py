"""The runs of this process: those that it has opened, oldest first, and those that it was sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runicorn.run import Run
    from runicorn.writer.spool import Address

_open: list[Run] = []
_sent: list[Run] = []


def get_active_run() -> Run | None:
    """The newest run that is not finished; finishing it gives back the one before. None where there is none."""
    for run in reversed(_open):
        if not run.is_finished:
            return run
    return None


def opened(run: Run) -> None:
    """Note a run that was opened."""
    _open.append(run)


def ended(run: Run) -> None:
    """Forget a run that has ended."""
    if run in _open:
        _open.remove(run)


def open_runs() -> list[Run]:
    """All of them, newest first."""
    return _open[::-1]


def sent(run: Run) -> None:
    """Note a run that was unpickled here; forget those that have ended."""
    _sent[:] = [each for each in _sent if not each.is_finished]
    _sent.append(run)


def joined(address: Address, rank: int | None) -> Run | None:
    """The handle through which this process logs into somebody else's run already: inherited by fork, or sent.

    A worker that unpickles the run for each task has one, and not thousands.
    """
    for run in _open + _sent:
        session = run._session  # noqa: SLF001 - ours, not the public's
        ours = session.address
        # On another host than the run's owner it has a spool of that host's, and no rank.
        elsewhere = ours.host != address.host and ours.run_dir == address.run_dir and not run.is_finished
        here = ours.spool == address.spool and session.queue.rank == rank
        if session.joined and (here or elsewhere):
            return run
    return None
