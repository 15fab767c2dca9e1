"""The runs of this process that are open, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runicorn.run import Run

_open: list[Run] = []


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
