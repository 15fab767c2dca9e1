"""The address of a spool: what its producers and its writer need to know of the run, and its file."""

from __future__ import annotations

import os
import zlib

import msgspec

from runicorn.settings import Settings  # noqa: TC001 - msgspec reads it
from runicorn.storage import directory_kinds, removal

ADDRESS = "address.json"
_CHECKSUM_BYTES = len('{"checksum":"00000000",')
_MOST_ADDRESS_BYTES = 1024 * 1024

_STORED_AS = {"on_main_host": "main", "distributed": "ranked"}
"""Names in the files of live spools."""


class Address(msgspec.Struct, frozen=True, rename=_STORED_AS):
    """What a spool belongs to: all that a process needs to join the run, or to end it.

    Attributes:
        run_id: id of the run.
        run_dir: absolute path of its directory.
        storage: absolute path of the storage root.
        path: the run's path, normalised.
        host: host name of the processes that use this spool.
        owner_pid: process id of the owner; for people.
        opened_at: when this session of the run began, epoch seconds.
        spool: path of the spool.
        overflow: path of its overflow directory; made when needed.
        settings: the owner's settings.
        budget_bytes: of the spool.
        overflow_bytes: budget of the overflow directory.
        floor_bytes: what the spool leaves free in shared memory for its neighbours.
        on_main_host: whether this host's writer owns the run's common files; others write their own.
        distributed: whether processes come and go as ranks of a job, so that the owner need not be there yet.
        attempt: which start of the job's ranks it belongs to.
        run_dir_id: device and inode of the run directory: a copy of it is not the run. Zeros if they are not known.
        storage_id: likewise of the storage root, which may be reached by several names.
        machine: where the owner runs, as ``Machine.text()``.
        joined_session: the session that was the run's newest when a spool was made to join it; empty for the owner's.
    """

    run_id: str
    run_dir: str
    storage: str
    path: str
    host: str
    owner_pid: int
    opened_at: float
    spool: str
    overflow: str
    settings: Settings
    budget_bytes: int
    overflow_bytes: int
    floor_bytes: int
    on_main_host: bool = True
    distributed: bool = False
    attempt: int = 0
    run_dir_id: tuple[int, int] = (0, 0)
    storage_id: tuple[int, int] = (0, 0)
    machine: str = ""
    joined_session: str = ""

    @property
    def session(self) -> str:
        """What tells this session of the run from those before and after it."""
        return os.path.basename(self.spool).rpartition("-")[2]

    def is_of(self, run_dir: str) -> bool:
        """Whether the spool belongs to the run in this directory, by whatever name it is reached."""
        return self.run_dir_id in {(0, 0), directory_id(run_dir)}

    def is_in(self, storage: str) -> bool:
        """Whether its run is in a storage, by whatever name that is reached."""
        return self.storage == storage or (self.storage_id != (0, 0) and self.storage_id == directory_id(storage))


def directory_id(path: str) -> tuple[int, int]:
    """Device and inode of a directory; zeros if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino


_PATHS = ("run_dir", "storage", "spool", "overflow")
_NO_TEXT = "bytes:"  # an absolute path does not begin like that


def read_address(spool: str) -> Address:
    """Read where a spool belongs, after a check of who made it.

    Raises:
        OSError: it is not there, or not private to this user: records in it could be somebody else's.
        ValueError: its address is damaged.
    """
    return _decoded(_content(spool))


def is_distributed(spool: str) -> bool:
    """``read_address(spool).distributed``, without the types of all the other fields, which take 1.5 ms to find.

    Raises:
        OSError, ValueError: as there.
    """
    return bool(msgspec.json.decode(_content(spool)).get(_STORED_AS["distributed"]))


def _content(spool: str) -> bytes:
    check_private(spool)
    with open(os.path.join(spool, ADDRESS), "rb") as file:
        content = file.read(_MOST_ADDRESS_BYTES)
    # One bit, and records would go into another run: so a part that is damaged damages all of it.
    if content != _checked(b"{" + content[_CHECKSUM_BYTES:]):
        raise ValueError(f"{os.path.join(spool, ADDRESS)} is damaged: it does not have the checksum that it names")
    return content


def encode_address(address: Address) -> bytes:
    """What ``address.json`` holds."""
    return _checked(_encoded(address))


def _checked(encoded: bytes) -> bytes:
    """A JSON object with the checksum of its other members as its first."""
    return b'{"checksum":"%08x",' % zlib.crc32(encoded[1:]) + encoded[1:]


def _encoded(address: Address) -> bytes:
    """As JSON, which holds no name that is not UTF-8: such paths are stored as hexadecimal digits of their bytes."""
    try:
        return msgspec.json.encode(address)
    except UnicodeEncodeError:
        paths = {name: _NO_TEXT + os.fsencode(getattr(address, name)).hex() for name in _PATHS}
        # Each process reads the variable itself.
        settings = msgspec.structs.replace(address.settings, shm_dir="")
        return msgspec.json.encode(msgspec.structs.replace(address, settings=settings, **paths))


def _decoded(content: bytes) -> Address:
    address = msgspec.json.decode(content, type=Address)
    if not address.spool.startswith(_NO_TEXT):
        return address
    paths = {name: os.fsdecode(bytes.fromhex(getattr(address, name).removeprefix(_NO_TEXT))) for name in _PATHS}
    return msgspec.structs.replace(address, **paths)


def check_private(directory: str) -> None:
    """Make sure that a directory is ours alone.

    Raises:
        PermissionError: it is a link, belongs to another user, or others may enter it.
        FileNotFoundError: it is not there.
    """
    removal.check(directory, directory_kinds.SPOOL, os.lstat(directory))
