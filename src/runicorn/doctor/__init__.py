"""What ``runicorn doctor`` checks: where things are, whether they work, and what to do where one does not.

Each module has functions that return findings. They write probes of a few bytes where they check, and remove them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn.doctor import memory, processes, storage, surroundings
from runicorn.doctor.finding import BROKEN, NOTE, OK, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BROKEN", "NOTE", "OK", "Finding", "diagnose"]


def diagnose(given: str | None) -> Iterator[Finding]:
    """Everything, in the order in which a person would ask.

    Args:
        given: the storage root that was named; None = as ``init()`` finds it.
    """
    settings, told = surroundings.settings()
    root = storage.root(given)
    yield from storage.diagnose(given)
    yield from surroundings.tracking()
    yield from memory.diagnose(settings)
    yield from memory.leftovers(settings)
    yield from processes.locks_work(settings, root)
    yield from processes.writer_starts(settings, tried=all(each.status != BROKEN for each in told))
    yield from told
    yield from surroundings.launcher()
    yield from surroundings.versions()
    yield from surroundings.accelerator()
