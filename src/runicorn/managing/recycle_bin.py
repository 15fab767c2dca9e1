"""The recycle folder of Runicorn 0.7.2, ``runs/.recycle``: runs go into it, and come out again.

A run goes by one rename, with a marker ``.deleted`` in it, and its row in the viewer's database says the same: the
viewer shows it in its recycle bin and can restore it. Nothing is copied, nothing is overwritten, no link is followed.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from runicorn import reading
from runicorn.errors import PathExistsError, RefusedChangeError, RunNotFoundError, StorageError
from runicorn.host import locks
from runicorn.managing import deleted_marker, targets, viewer_database
from runicorn.queue import opening_lock, spool
from runicorn.reading.directories import location_of
from runicorn.reading.info import RECYCLE, read_info
from runicorn.reading.liveness import is_of_this_host
from runicorn.storage import modes, paths, removal, statuses

if TYPE_CHECKING:
    from runicorn.reading import RunInfo
    from runicorn.settings import Settings


class Moved(NamedTuple):
    """A run that was moved.

    Attributes:
        run_dir: where it is now.
        trouble: why the viewer's row was not changed; None where it was, or where there is none.
    """

    run_dir: str
    trouble: str | None


def check_removable(info: RunInfo, settings: Settings, *, force: bool = False) -> None:
    """Make sure that nobody writes to a run any more, and that all of it is in its directory.

    Args:
        info: of the run, from ``changeable.find()``.
        settings: where shared memory is.
        force: also where another host may have the run open.

    Raises:
        RefusedChangeError: it may not go; says why, and what to do.
    """
    if targets.is_in_recycle_folder(info):
        raise RefusedChangeError(
            f"run {info.id} is in the recycle folder already. Restore it with: rm --restore {info.id}"
        )
    if not _is_in_layout(info):
        raise RefusedChangeError(
            f"{info.run_dir} is not below {paths.RUNS!r} in a storage, where the recycle folder is. Nothing was "
            "moved. Remove it by hand."
        )
    targets.check_not_elsewhere(info, force=force)
    spools = targets.spools_of(info, settings)
    held = [path for path in spools if _is_held(path)]
    if held or (info.status == statuses.RUNNING and is_of_this_host(info)):
        raise RefusedChangeError(
            f"run {info.id} is live (process {info.pid}). Nothing was moved. End it, or wait until it has ended."
        )
    if spools:
        raise RefusedChangeError(
            f"records of run {info.id} wait in {spools[0]}, left by processes that are gone. Nothing was moved. "
            "Store them first: runicorn recover"
        )


def remove(info: RunInfo, settings: Settings, *, force: bool = False) -> Moved:
    """Move a run into the recycle folder.

    Raises:
        FileExistsError: a run of that id is there already.
        OSError: it cannot be moved by a rename.
        RefusedChangeError: it may not go.
    """
    check_removable(info, settings, force=force)
    with targets.worded(f"{info.run_dir} cannot be moved: {{reason}}. Nothing was moved.", info.run_dir):
        return _remove(info, settings, force=force)


def _remove(info: RunInfo, settings: Settings, *, force: bool) -> Moved:
    target = os.path.join(_recycle_folder(info.storage, make=True), info.id)
    with opening_lock.hold(info.run_dir, settings):
        # Read again: somebody may have resumed it. Its path is as it was found: of old layouts the place alone has it.
        info = msgspec.structs.replace(reading.find(info), path=info.path)
        check_removable(info, settings, force=force)
        if os.path.lexists(target):
            raise PathExistsError(
                f"a run {info.id} is in the recycle folder already: {target}. Nothing was moved. Restore or remove "
                "that one first."
            )
        marker = deleted_marker.of(info)
        with viewer_database.changing(info.storage) as rows:
            rows.set_location(info, target, info.path, marker)
            deleted_marker.write(info.run_dir, marker)
            try:
                _rename(info.run_dir, target)
            except BaseException:
                deleted_marker.remove(info.run_dir)
                raise
    return Moved(target, rows.trouble)


def recycled(storage: str | os.PathLike[str] | None = None) -> list[RunInfo]:
    """The runs in the recycle folder of a storage, with the paths that they had.

    Args:
        storage: the storage root; None = as ``init()`` finds it.
    """
    root = paths.storage_root(storage)
    try:
        folder = _recycle_folder(root, make=False)
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        directory = os.path.join(folder, name)
        if not os.path.islink(directory) and location_of(directory, "") is not None:
            found.append(read_info(directory, root, deleted_marker.path_in(directory) or ""))
    return found


def find_recycled(run: str, storage: str | os.PathLike[str] | None = None) -> RunInfo:
    """The one run in the recycle folder that is meant.

    Args:
        run: its id, the beginning of one, its alias, or its path.
        storage: the storage root; None = as ``init()`` finds it.

    Raises:
        LookupError: none is meant, or several are.
    """
    there = recycled(storage)
    chosen = [info for info in there if info.id == run]
    chosen = chosen or [info for info in there if run and run in {info.alias, info.run_dir}]
    chosen = chosen or [info for info in there if run and info.id.startswith(run)]
    chosen = chosen or [info for info in there if run and info.path == run.strip("/")]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        ids = ", ".join(info.id for info in chosen)
        raise RunNotFoundError(f"{len(chosen)} runs in the recycle folder match {run!r}: {ids}. Name one by its id.")
    raise RunNotFoundError(
        f"No run matches {run!r} in the recycle folder of {paths.storage_root(storage)}, which has {len(there)}."
    )


def restore(info: RunInfo, settings: Settings) -> Moved:
    """Move a run back to where it was deleted.

    Args:
        info: of the run, from ``find_recycled()``.
        settings: where shared memory is.

    Raises:
        FileExistsError: something is in its place.
        OSError: it cannot be moved by a rename.
        RefusedChangeError: a link, or another run, is on the way there.
    """
    with targets.worded(f"{info.run_dir} cannot be moved: {{reason}}. Nothing was moved.", info.run_dir):
        return _restore(info, settings)


def _restore(info: RunInfo, settings: Settings) -> Moved:
    path = deleted_marker.path_to_restore(info.run_dir)
    target = paths.run_directory(info.storage, path, info.id)
    parent = os.path.dirname(target)
    targets.check_location(info.storage, target)
    at = parent
    while at != info.storage:
        if location_of(at, "") is not None:
            raise RefusedChangeError(
                f"{at} is a run itself, and no run may be inside another. Nothing was moved. Move that run away first."
            )
        at = os.path.dirname(at)
    with opening_lock.hold(target, settings):
        if os.path.lexists(target):
            raise PathExistsError(f"{target} is there already. Nothing was moved. Move that one away first.")
        modes.make_directories(parent)
        with viewer_database.changing(info.storage) as rows:
            rows.set_location(info, target, info.path, None)
            _rename_exclusively(info.run_dir, target)
        deleted_marker.remove(target)
    return Moved(target, rows.trouble)


def _is_in_layout(info: RunInfo) -> bool:
    segments = os.path.relpath(info.run_dir, info.storage).split(os.sep)
    return segments[0] == paths.RUNS or (len(segments) == 4 and segments[2] == paths.RUNS)


def _recycle_folder(storage: str, *, make: bool) -> str:
    """The folder, after a check of what it is.

    Raises:
        FileNotFoundError: it is not there.
        RefusedChangeError: it is a link, or no directory.
    """
    runs = os.path.join(storage, paths.RUNS)
    folder = os.path.join(runs, RECYCLE)
    if make and not os.path.islink(runs):
        modes.make_directories(runs)  # a storage of the layout before 0.6 may have none
        with suppress(FileExistsError):
            modes.make_directory(folder)
    for directory in (runs, folder):
        if not stat.S_ISDIR(os.lstat(directory).st_mode):
            raise RefusedChangeError(
                f"{directory} is a link or a file, so the run would be outside its storage. Nothing was moved. "
                "Remove it."
            )
    return folder


def _is_held(path: str) -> bool:
    with suppress(OSError):
        names = [name for name in os.listdir(path) if name.endswith(spool.LOCK_SUFFIX)]
        return any(locks.is_held(os.path.join(path, name)) for name in names)
    return False


def _rename_exclusively(source: str, target: str) -> None:
    """A rename onto a directory that we have made ourselves: ``init()`` makes one of that name without the lock."""
    try:
        modes.make_directory(target)
    except FileExistsError:
        raise PathExistsError(f"{target} is there already. Nothing was moved. Move that one away first.") from None
    try:
        if sys.platform == "win32":  # where no rename replaces a directory
            removal.remove_empty(target)
        _rename(source, target)
    except BaseException:
        with suppress(OSError):
            removal.remove_empty(target)
        raise


def _rename(source: str, target: str) -> None:
    try:
        removal.move(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        raise StorageError(
            f"{source} and {os.path.dirname(target)} are on different file systems, and a run is only renamed. "
            f"Nothing was moved. Move it by hand: {shlex.join(['mv', source, target])}"
        ) from error
