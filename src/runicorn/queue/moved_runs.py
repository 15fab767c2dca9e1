"""Runs whose storage, or whose directory, was renamed after a crash: found again by device and inode."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from runicorn.errors import MissingPathError
from runicorn.queue import spool, spool_address
from runicorn.storage import paths, removal, run_files
from runicorn.storage.run_directory import RunDir

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.queue.spool_address import Address

_UNKNOWN = (0, 0)


def follow(address: Address, storage: str | None = None) -> Address:
    """The address with the location of its run now.

    A run directory that is gone from a storage which is there stays as it is: it is made again.

    Args:
        address: of the run's spool.
        storage: where the storage may be; None = beside where it was.

    Raises:
        FileNotFoundError: the storage is gone; says what to do.
    """
    if os.path.isdir(address.run_dir):
        return address
    for root in _roots(address, storage):
        run_dir = _find(root, address)
        if run_dir is not None:
            return msgspec.structs.replace(address, storage=root, run_dir=run_dir)
    if not os.path.isdir(address.storage):
        raise MissingPathError(
            f"the storage {address.storage} is not there: it was moved, removed, or is not mounted. If it was moved, "
            "run: runicorn recover --storage NEW_PLACE. If it is gone for good, remove the directory of the records"
        )
    return address


def note(address: Address, storage: str | None = None) -> Address:
    """The same, left in the spool for whoever serves it, whose processes are all gone.

    Raises:
        FileNotFoundError: as ``follow()``.
        OSError: the spool cannot be written.
    """
    now = follow(address, storage)
    if now != address:
        path = os.path.join(address.spool, spool_address.ADDRESS)
        temporary = f"{path}.new"
        removal.remove_from_spool(temporary)  # half made by a process that was killed
        spool._write(temporary, spool_address.encode_address(now))  # noqa: SLF001 - its own package
        removal.rename_in_spool(temporary, path)
    return now


def _roots(address: Address, storage: str | None) -> Iterator[str]:
    """Where the storage may be now, the likeliest first."""
    if os.path.isdir(address.storage):
        yield address.storage
    if address.storage_id == _UNKNOWN or spool_address.directory_id(address.storage) == address.storage_id:
        return
    if storage is not None and spool_address.directory_id(storage) == address.storage_id:
        yield storage
    beside = _beside(address)
    if beside is not None:
        yield beside


def _beside(address: Address) -> str | None:
    """The storage under another name of itself, or of a directory above it; where no other name has changed."""
    above, below = os.path.dirname(address.storage), ""
    gone = os.path.basename(address.storage)
    while not os.path.isdir(above):
        above, below, gone = os.path.dirname(above), os.path.join(gone, below), os.path.basename(above)
    with suppress(OSError), os.scandir(above) as entries:
        for entry in entries:
            candidate = os.path.join(entry.path, below).rstrip(os.sep)
            if spool_address.directory_id(candidate) == address.storage_id:
                return candidate
    return None


def _find(storage: str, address: Address) -> str | None:
    """The run directory: where it was in its storage, or under another name, or elsewhere in it."""
    same = os.path.join(storage, os.path.relpath(address.run_dir, address.storage))
    if os.path.isdir(same):
        return same
    found = paths.find_run(storage, address.run_id)
    if found is not None or address.run_dir_id == _UNKNOWN:
        return found
    renamed = paths.run_directories(os.path.join(storage, paths.RUNS))
    return next((each for each in renamed if _is_of(address, each)), None)


def _is_of(address: Address, run_dir: str) -> bool:
    """Whether it is the run's directory, and not one that was made since and has the number of one that was removed."""
    if spool_address.directory_id(run_dir) != address.run_dir_id:
        return False
    files = RunDir(run_dir, sole=False)
    try:
        return bool(files.read(run_files.META).get("id", address.run_id) == address.run_id)
    except (OSError, ValueError):
        return True
    finally:
        files.close()
