"""Where the runs of a storage are: a walk over its directories that follows no link."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runicorn.reading.info import RECYCLE
from runicorn.storage import paths, run_files

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOT_PROJECTS = {paths.RUNS, "webui", "archive", "index"}

Stamp = tuple[int, int] | None
"""Size and modification time in nanoseconds of a file; None where there is none."""


class RunLocation(NamedTuple):
    """A run directory, with the path that its location gives the run, and the stamps of meta, status and summary."""

    run_dir: str
    path: str
    stamps: tuple[Stamp, Stamp, Stamp]


def run_locations(storage: str, *, recycled: bool = False) -> Iterator[RunLocation]:
    """Every run of a storage: those below ``runs``, and those of the layout of Runicorn before 0.6.

    Args:
        storage: the storage root.
        recycled: also those that were deleted in the viewer.
    """
    top = os.path.join(storage, paths.RUNS)
    if not os.path.islink(top):
        yield from _below(top, "")
        if recycled and not os.path.islink(os.path.join(top, RECYCLE)):
            yield from _below(os.path.join(top, RECYCLE), "")
    for project in _directories(storage):
        if project in _NOT_PROJECTS or project.startswith("."):
            continue
        for name in _directories(os.path.join(storage, project)):
            legacy = os.path.join(storage, project, name, paths.RUNS)
            if os.path.islink(legacy):
                continue
            for run_id in _directories(legacy):
                location = location_of(os.path.join(legacy, run_id), f"{project}/{name}")
                if location is not None:
                    yield location


def location_of(directory: str, path: str) -> RunLocation | None:
    """A directory as a run; None where it is none."""
    stamps = (
        _stamp(directory + os.sep + run_files.META),
        _stamp(directory + os.sep + run_files.STATUS),
        _stamp(directory + os.sep + run_files.SUMMARY),
    )
    return RunLocation(directory, path, stamps) if stamps[0] or stamps[1] else None


def _below(top: str, path: str) -> Iterator[RunLocation]:
    for name in _directories(top):
        if name == RECYCLE:
            continue
        directory = top + os.sep + name
        location = location_of(directory, path)
        if location is not None:
            yield location
        else:
            yield from _below(directory, f"{path}/{name}" if path else name)


def _directories(top: str) -> list[str]:
    try:
        with os.scandir(top) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
