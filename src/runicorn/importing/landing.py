"""Give imported runs their place: each run whole, once, and found again if its source is imported again.

A run is made in ``<storage>/.importing/<hex>`` (``staging``), where no reader looks, and is renamed to its place when
it is durable. The lock file beside it lets one process at a time import into a storage.
"""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import runicorn.reading.directories as locations
from runicorn.errors import ForbiddenPathError, StillBusyError
from runicorn.host.locks import Lock
from runicorn.importing.refused_storage import worded
from runicorn.importing.run_writing import IMPORTED
from runicorn.importing.source_runs import UnreadableSourceError
from runicorn.importing.staging import StagingFolder
from runicorn.managing import viewer_database
from runicorn.reading.info import read_info
from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.storage import directory_kinds, modes, paths, removal, run_files
from runicorn.storage.run_directory import RunDir
from runicorn.storage.slugs import slug

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.importing.run_writing import Writing
    from runicorn.importing.source_runs import SourceRun

_FOLDER, _LOCK = ".importing", "lock"
_KEPT = ("alias", "tags", "notes", "group", "path", "id", "created_at")
_VALUES = (run_files.EVENTS, run_files.LOGS, run_files.SYSTEM)
_IN_ORDER = (*_VALUES, run_files.SUMMARY, run_files.STATUS, run_files.META, run_files.ASSETS)
"""How an update replaces the files of a run: the one that says what was imported comes last."""
_LONGEST_PATH = 200
_LETTERS = 6


class Imported(NamedTuple):
    """A run that was imported before: its directory, its path in the storage, and what it says of its source."""

    run_dir: str
    path: str
    source: dict[str, Any]

    @property
    def is_deleted(self) -> bool:
        """Whether it is in the recycle bin."""
        return f"{os.sep}{paths.RUNS}{os.sep}.recycle{os.sep}" in self.run_dir

    @property
    def was_resumed(self) -> bool:
        """Whether somebody has logged into it here, or does so now."""
        try:
            meta = read_object(self.run_dir, run_files.META)
        except DamagedError:
            return True
        resumed = meta.get("resumed")
        entries = resumed if isinstance(resumed, list) else []
        return any(not (isinstance(entry, dict) and entry.get(IMPORTED) is True) for entry in entries)


class Landing:
    """A storage that runs are imported into, for as long as this process alone may do that.

    Args:
        storage: its root.
        staging: where runs are made; None if no run is made.

    Attributes:
        storage: its root.
        unknown: directories of runs that say nothing of a source, by their ids: most were made here, and of some the
            file that would say it is damaged.
        damaged: how many these are.
    """

    def __init__(self, storage: str, staging: StagingFolder | None = None) -> None:
        self.damaged = 0
        self.storage = storage
        self._staging = staging
        self._known: dict[tuple[str, str], Imported] = {}
        self._ids: set[str] = set()
        self.unknown: dict[str, str] = {}
        for location in locations.run_locations(storage, recycled=True):
            self._note(location.run_dir, location.path)

    def _note(self, run_dir: str, path: str) -> None:
        run_id = os.path.basename(run_dir)
        self._ids.add(run_id)
        try:
            source = read_object(run_dir, run_files.ASSETS).get(IMPORTED)
        except (OSError, DamagedError) as error:
            self.damaged += isinstance(error, DamagedError)
            source = None
        if isinstance(source, dict):
            key = str(source.get("format")), str(source.get("source"))
            self._known[key] = Imported(run_dir, path, source)
            self.unknown.pop(run_id, None)
        else:
            self.unknown[run_id] = run_dir

    def find(self, form: str, key: str) -> Imported | None:
        """The run that was imported from a source before."""
        return self._known.get((form, key))

    def find_same(self, form: str, state: str) -> Imported | None:
        """A run of the same content from another place: the source was moved or copied."""
        runs = self._known.items()
        return next((run for (known, _), run in runs if known == form and run.source.get("state") == state), None)

    def check_is_new(self, source: SourceRun, first_s: float | None) -> None:
        """Refuse a source whose id a run has that does not say any more where it is from.

        Raises:
            UnreadableSourceError: so it is.
        """
        before = self.unknown.get(_first_id(source, first_s))
        if before is not None:
            raise UnreadableSourceError(
                f"a run of its id is in {before}, and {run_files.ASSETS} there does not say any more where it is "
                "from. Nothing was imported, so that it is not here twice. Repair that file, or delete that run"
            )

    @contextmanager
    def staging(self) -> Iterator[RunDir]:
        """A directory in which a run is made; what is still there when the block ends goes."""
        staging = self._staging
        assert staging is not None
        name = staging.make()
        files = RunDir(os.path.join(self.storage, _FOLDER, name))
        try:
            yield files
        finally:
            files.close()
            staging.remove(name)

    def place(self, source: SourceRun, writing: Writing, files: RunDir, state: str, *, prefix: str | None) -> str:
        """Give a new run its place; its directory.

        Raises:
            OSError: it cannot be; nothing of it is there.
        """
        path = self._path_of(source, prefix)
        run_id = self._new_id(source, writing.written.first_s)
        writing.write_head(run_id, path, self.storage, self._parent(source), _about(source, state))
        run_dir = paths.run_directory(self.storage, path, run_id)
        modes.make_directories(os.path.dirname(run_dir))
        removal.move(files.path, run_dir)
        _sync_directory(os.path.dirname(run_dir))
        self._note(run_dir, path)
        self._tell_viewer(run_dir, path)
        return run_dir

    def update(self, before: Imported, source: SourceRun, writing: Writing, files: RunDir, state: str) -> None:
        """Replace the files of a run that was imported before; its labels stay as they are here.

        Raises:
            OSError: one cannot be replaced; the same update made again completes it.
        """
        meta = read_object(before.run_dir, run_files.META)
        labels = {name: meta[name] for name in _KEPT if name in meta}
        run_id = os.path.basename(before.run_dir)
        kept = {**labels, "parent": meta["parent"]} if "parent" in meta else {**self._parent(source), **labels}
        writing.write_head(run_id, before.path, self.storage, kept, _about(source, state))
        kind = directory_kinds.IMPORTED
        with removal.Directory(files.path, kind) as staged, removal.Directory(before.run_dir, kind) as run:
            with staged.child(run_files.MEDIA) as new, run.child(run_files.MEDIA, make=True) as media:
                for name in new.names():
                    new.replace(name, name, media)
            for name in _IN_ORDER:
                if staged.status(name) is not None:
                    staged.replace(name, name, run)
        _sync_directory(before.run_dir)
        self._note(before.run_dir, before.path)

    def _path_of(self, source: SourceRun, prefix: str | None) -> str:
        segments = source.head.path if prefix is None else [*prefix.split("/"), *source.head.path[1:]]
        path = "/".join(slug(each) for each in segments if each)[:_LONGEST_PATH].rstrip("/. ")
        path = paths.normalise_path(path or "/")
        paths.check_location(self.storage, path, None)
        return path

    def _new_id(self, source: SourceRun, first_s: float | None) -> str:
        """An id as ``init()`` gives it, of the source's time; the same source gives the same one, if it is free."""
        run_id = _first_id(source, first_s)
        while run_id in self._ids:
            run_id = f"{run_id[:-_LETTERS]}{os.urandom(_LETTERS // 2).hex()}"
        return run_id

    def _parent(self, source: SourceRun) -> dict[str, Any]:
        parent = source.head.parent and self.find(source.form, source.head.parent)
        return {"parent": os.path.basename(parent.run_dir)} if parent else {}

    def _tell_viewer(self, run_dir: str, path: str) -> None:
        """A viewer of Runicorn 0.7.2 that is open lists a run only once it has a row."""
        with suppress(TimeoutError), viewer_database.changing(self.storage) as rows:
            rows.set_location(read_info(run_dir, self.storage, path), run_dir, path, None)


@contextmanager
def importing_into(storage: str) -> Iterator[Landing]:
    """Import into a storage, which is made if it is not there.

    Raises:
        OSError: it cannot be written.
        StillBusyError: another process imports into it.
        ForbiddenPathError: the folder of its runs is a link, and runs behind one are not found again.
    """
    with worded(f"Runs cannot be imported into {storage}", "Nothing was imported.", storage):
        directory, lock = _opened(storage)
    try:
        with worded(f"Runs cannot be imported into {storage}", "Nothing was imported.", storage):
            staging = StagingFolder(directory)
            staging.remove_left()
            landing = Landing(storage, staging)
        yield landing
    finally:
        lock.release()
        directory.close()


def _opened(storage: str) -> tuple[removal.Directory, Lock]:
    folder, runs = os.path.join(storage, _FOLDER), os.path.join(storage, paths.RUNS)
    if os.path.islink(runs):
        raise ForbiddenPathError(f"{runs} is a link, and runs behind a link are not found. Nothing was imported.")
    modes.make_directories(storage)
    modes.make_directories(folder, 0o700)
    directory = removal.Directory(folder, directory_kinds.IMPORTS)  # refuses a link, before anything is in it
    try:
        lock = Lock.take(os.path.join(folder, _LOCK), again=True)
    except BaseException:
        directory.close()
        raise
    if lock is None:
        directory.close()
        raise StillBusyError(f"Another process imports runs into {storage} now. Nothing was imported. Try again later.")
    return directory, lock


def _first_id(source: SourceRun, first_s: float | None) -> str:
    head = source.head
    at = next((each for each in (head.created_at, head.started_at, first_s) if each), time.time())
    try:
        clock = time.strftime("%Y%m%d_%H%M%S", time.localtime(at))
    except (ValueError, OverflowError, OSError):  # no time that a calendar has
        clock = time.strftime("%Y%m%d_%H%M%S")
    key = f"{source.form}\0{source.key}".encode("utf-8", "surrogatepass")
    return f"{clock}_{hashlib.sha256(key).hexdigest()[:_LETTERS]}"


def _about(source: SourceRun, state: str) -> dict[str, Any]:
    return {
        "format": source.form,
        "source": source.key,
        "state": state,
        "location": source.location,
        "imported_at": time.time(),
    }


def _sync_directory(path: str) -> None:
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
