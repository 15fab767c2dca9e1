"""``runs()`` and ``find()``: the runs of a storage, all that match, or the one that is meant."""

from __future__ import annotations

import fnmatch
import os
import time
from typing import TYPE_CHECKING

from runicorn.errors import RunNotFoundError, WrongTypeError, WrongValueError
from runicorn.reading.cache import Cache
from runicorn.reading.directories import location_of, run_locations
from runicorn.reading.index import Index
from runicorn.reading.info import STATUSES, RunInfo, read_info
from runicorn.reading.liveness import judged
from runicorn.storage import paths

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import Protocol

    class LoggedRun(Protocol):
        """A run of this process, as ``init()`` returns it."""

        @property
        def run_dir(self) -> Path:
            """Its directory."""


_MOST_CANDIDATES = 10


def runs(
    storage: str | os.PathLike[str] | None = None,
    *,
    path: str | None = None,
    status: str | Iterable[str] | None = None,
    alias: str | None = None,
    group: str | None = None,
    newer_than_s: float | None = None,
    older_than_s: float | None = None,
    where: Callable[[RunInfo], object] | None = None,
    recycled: bool = False,
) -> list[RunInfo]:
    """List the runs of a storage, newest first.

    Args:
        storage: the storage root; None = the one that ``init()`` would use.
        path: only runs at this path and below it (``cv`` matches ``cv`` and ``cv/x``); or a pattern (``cv/*``).
        status: only runs of this status, or of one of these.
        alias: only runs of this alias; or a pattern.
        group: only runs of this group, such as a sweep; or a pattern.
        newer_than_s: only runs created at most this many seconds ago.
        older_than_s: only runs created more than this many seconds ago.
        where: a function that is called last with each run; a run stays if it returns true.
        recycled: also list runs in the recycle bin.

    Raises:
        ValueError: there is no such status.
    """
    root = paths.storage_root(storage)
    wanted = _statuses(status)
    now = time.time()
    found = []
    for stored in Index(root, Cache.of_user()).infos(recycled=recycled):
        if path is not None and not _is_at(stored.path, path):
            continue
        if alias is not None and not (stored.alias is not None and _matches(stored.alias, alias)):
            continue
        if group is not None and not (stored.group is not None and _matches(stored.group, group)):
            continue
        age_s = now - (stored.created_at or 0.0)
        if (newer_than_s is not None and age_s > newer_than_s) or (older_than_s is not None and age_s <= older_than_s):
            continue
        info = judged(stored)
        if (wanted is None or info.status in wanted) and (where is None or where(info)):
            found.append(info)
    return sorted(found, key=lambda info: (info.created_at or 0.0, info.id), reverse=True)


def find(run: str | os.PathLike[str] | RunInfo | LoggedRun, storage: str | os.PathLike[str] | None = None) -> RunInfo:
    """The one run that is meant, read anew.

    Args:
        run: its id, the beginning of one, its alias, its directory (of whichever storage), its path if no other run
            has it, its info, or the run itself.
        storage: the storage root in which ids and aliases are searched; None = as ``init()`` finds it.

    Raises:
        LookupError: none is meant, or several are; says which. Or tracking is switched off, and there is none.
        TypeError: it is nothing of these.
    """
    if isinstance(run, RunInfo):
        return _in_directory(run.run_dir, run.storage, run.path)
    if not isinstance(run, (str, os.PathLike)):
        return _in_directory(_directory_of(run))
    given = os.fspath(run)
    directory = os.path.abspath(os.path.expanduser(given))
    if not isinstance(run, str) or (os.path.isabs(given) and given.strip(os.sep)):
        return _in_directory(directory)
    if (os.sep in given or (os.altsep and os.altsep in given)) and location_of(directory, "") is not None:
        return _in_directory(directory)
    root = paths.storage_root(storage)
    locations = list(run_locations(root))
    by_id = [location for location in locations if os.path.basename(location.run_dir) == given]
    if not by_id:
        return _by_other_names(given, root, directory)
    if len(by_id) > 1:
        directories = ", ".join(location.run_dir for location in by_id)
        raise RunNotFoundError(
            f"{len(by_id)} directories in {root} have the run id {given!r}: {directories}. Name one of them."
        )
    return judged(read_info(by_id[0].run_dir, root, by_id[0].path))


def _by_other_names(given: str, root: str, directory: str) -> RunInfo:
    """The run of an alias, of the beginning of an id, in a directory, or of a path: the first of these that matches."""
    infos = runs(root)
    by_alias = [info for info in infos if info.alias == given and given]
    by_prefix = [info for info in infos if info.id.startswith(given) and given]
    if not (by_alias or by_prefix) and location_of(directory, "") is not None:
        return _in_directory(directory)
    chosen = by_alias or by_prefix or [info for info in infos if info.path == given.strip("/") and given]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise RunNotFoundError(
            f"No run matches {given!r} in {root} (tried id, id prefix, alias, path, directory). "
            f"{_newest(infos) or 'The storage has no runs.' + inside_a_run(root)}"
        )
    what = "alias" if by_alias else "id prefix" if by_prefix else "path"
    error = RunNotFoundError(
        f"{len(chosen)} runs in {root} match the {what} {given!r}: {_listed(chosen)}. Name one by its id."
    )
    error.candidates = chosen
    raise error


def inside_a_run(root: str) -> str:
    """What to say of a storage that is a run's directory, or is inside one; empty for any other storage."""
    run_dir = paths.run_around(root)
    if run_dir is None:
        return ""
    name, above = os.path.basename(run_dir), paths.storage_of_run(run_dir)
    return f" This directory belongs to run {name}, which is in the storage {above}. Use that storage."


def _directory_of(run: object) -> str:
    """The directory of a run of this process."""
    where = getattr(run, "_directory_to_read", None)  # of both kinds of handle: their classes stand above
    if callable(where):
        return str(where())
    raise WrongTypeError(
        f"load(): run is of type {type(run).__name__}. Pass a run, its id, its alias, its directory, or its info."
    )


def _in_directory(directory: str, storage: str | None = None, path: str | None = None) -> RunInfo:
    directory = os.path.normpath(directory)
    if location_of(directory, "") is None:
        what = "has neither meta.json nor status.json" if os.path.isdir(directory) else "is not there"
        raise RunNotFoundError(f"No run in {directory}: the directory {what}.")
    root, path_by_location = _by_location(directory)
    return judged(read_info(directory, storage or root, path_by_location if path is None else path))


def _by_location(directory: str) -> tuple[str, str]:
    """Storage root and path of a run, by where its directory is."""
    at, segments = os.path.dirname(directory), list[str]()
    while os.path.basename(at) not in {paths.RUNS, ""}:
        segments.insert(0, os.path.basename(at))
        at = os.path.dirname(at)
    if os.path.basename(at) != paths.RUNS:  # a copy that lies by itself
        return os.path.dirname(directory), ""
    return os.path.dirname(at), "/".join(segments)


def _statuses(given: str | Iterable[str] | None) -> set[str] | None:
    if given is None:
        return None
    wanted = {given} if isinstance(given, str) else set(given)
    unknown = sorted(wanted.difference(STATUSES))
    if unknown:
        raise WrongValueError(f"runs(): status={unknown[0]!r} is not a status. Write one of {', '.join(STATUSES)}.")
    return wanted


def _is_at(path: str, given: str) -> bool:
    if any(sign in given for sign in "*?["):
        return fnmatch.fnmatchcase(path, given.strip("/"))
    above = given.strip("/")
    return not above or path == above or path.startswith(f"{above}/")


def _matches(text: str, given: str) -> bool:
    return text == given or fnmatch.fnmatchcase(text, given)


def _listed(infos: list[RunInfo]) -> str:
    shown = [f"{info.id} ({info.path or '/'})" for info in infos[:_MOST_CANDIDATES]]
    more = len(infos) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _newest(infos: list[RunInfo]) -> str:
    return f"Newest runs: {_listed(infos[:3])}." if infos else ""
