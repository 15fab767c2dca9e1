"""The run that a command may change: where it seems to be, inside its storage, and open on no other host."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runicorn import reading
from runicorn.errors import RefusedChangeError, StorageError, storage_error
from runicorn.host import identity
from runicorn.queue import spool, spool_address
from runicorn.reading.directories import run_locations
from runicorn.reading.info import RECYCLE, read_info
from runicorn.reading.liveness import is_of_this_host, judged
from runicorn.reading.plain_files import is_inside
from runicorn.session import adopt
from runicorn.storage import paths, run_files, statuses
from runicorn.storage.removal import NotOursError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.reading import RunInfo
    from runicorn.settings import Settings

_POINTER = run_files.spool_pointer("")


def find(run: str | RunInfo, storage: str | None) -> RunInfo:
    """The one run that is meant, for a command that changes it.

    Args:
        run: its id, the beginning of one, its alias, path or directory; or its info.
        storage: the storage root; None = as ``init()`` finds it.

    Raises:
        LookupError: none is meant, or several are.
        RefusedChangeError: a link is on the way to its directory.
    """
    info = reading.find(run, storage)
    root = paths.storage_root(storage)
    if info.storage != root and is_inside(root, info.run_dir):
        # A directory that was named: what the storage calls it, which knows the layouts of earlier versions.
        locations = {os.path.realpath(location.run_dir): location for location in run_locations(root)}
        location = locations.get(os.path.realpath(info.run_dir))
        if location is not None:
            info = judged(read_info(location.run_dir, root, location.path))
    check_location(info.storage, info.run_dir)
    return info


def check_location(storage: str, directory: str) -> None:
    """Make sure that a directory is below a storage, and that no link is on the way from there to it.

    Raises:
        RefusedChangeError: it is not, or there is one.
    """
    relative = os.path.relpath(directory, storage)
    segments = relative.split(os.sep)
    if segments[0] == os.pardir or os.path.isabs(relative):
        raise RefusedChangeError(f"{directory} is not below the storage {storage}. Nothing was changed.")
    at = storage
    for segment in segments:
        at = os.path.join(at, segment)
        if os.path.islink(at):
            raise RefusedChangeError(
                f"{at} is a link, and commands that change a run follow no link. Nothing was changed. Name the storage "
                "that it leads to with --storage."
            )


@contextmanager
def worded(what: str, path: str) -> Iterator[None]:
    """Say of an error of the system what it kept from being done: else it names a temporary file at best.

    Args:
        what: what cannot be done, ``{reason}``, and what became of it.
        path: of the directory.
    """
    try:
        yield
    except (StorageError, NotOursError):
        raise
    except OSError as error:
        made = storage_error(error, what.replace("{reason}", error.strerror or str(error)), path)
        if made is error:
            raise
        raise made from error


def is_in_recycle_folder(info: RunInfo) -> bool:
    """Whether a run has been deleted already."""
    return RECYCLE in os.path.relpath(info.run_dir, info.storage).split(os.sep)[:-1]


def check_not_elsewhere(info: RunInfo, *, force: bool) -> None:
    """Make sure that no other host may have a run open.

    Args:
        info: of the run.
        force: the user knows that none has.

    Raises:
        RefusedChangeError: one may have; nobody here can know whether it is still there.
    """
    if force:
        return
    others = sorted(name.removeprefix(_POINTER) for name in os.listdir(info.run_dir) if name.startswith(_POINTER))
    others = [name for name in others if name != identity.label_of(identity.hostname())]
    if info.status == statuses.RUNNING and not is_of_this_host(info):
        others.append(info.hostname or "that it does not name")
    if others:
        raise RefusedChangeError(
            f"run {info.id} may be open on the host {others[-1]}, and this host cannot check. Nothing was changed. Run "
            "the command there, or add --force-other-host to it here if that host is gone."
        )


def spools_of(info: RunInfo, settings: Settings) -> list[str]:
    """The spools of this host in which records of a run wait to be stored, whether anybody does it or not."""
    found = []
    address = adopt.find_spool(info.run_dir, identity.label_of(identity.hostname()))
    named = [address.spool] if address is not None else []
    for path in {*spool.find(settings), *spool.find_overflows(settings), *named}:
        try:
            address = spool_address.read_address(path)
            if os.path.samefile(address.run_dir, info.run_dir) and not _is_beside_spool(path, address):
                found.append(path)
        except (OSError, ValueError):  # another user's, half made, or gone
            continue
    return sorted(found)


def _is_beside_spool(path: str, address: spool_address.Address) -> bool:
    """Whether it is the overflow directory of a spool that is there."""
    return path != address.spool and os.path.lexists(os.path.join(address.spool, spool_address.ADDRESS))
