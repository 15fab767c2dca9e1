"""Unix sockets that only their user can connect to, each in a folder that only the user can enter."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import stat
import sys
from typing import TYPE_CHECKING

from runicorn.errors import StorageError
from runicorn.storage import directory_kinds, modes
from runicorn.storage.directory_kinds import SSH_SOCKETS
from runicorn.storage.removal import Directory, parent_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_BACKLOG = 64
Identity = tuple[int, int, int]
"""Identity of a socket's file: device, inode, and the time at which it was bound, in ns."""
_LONGEST_BYTES = 103
"""Of a path, on every system: macOS has room for 104 with the zero at the end, Linux for 108."""
_TMP, _NAME = "/tmp", "viewer.sock"  # noqa: S108 - a folder is made there that nobody else may enter


class PrivateSocket:
    """A Unix socket that listens; ``close()`` takes its name away.

    Args:
        path: of it.

    Attributes:
        identity: of the socket's file.

    Raises:
        OSError: it cannot be made; something is there.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(os.path.expanduser(path))
        if not hasattr(socket, "AF_UNIX"):
            raise StorageError("Python has no Unix sockets on this system. Leave out --socket.")
        if len(os.fsencode(self.path)) > _LONGEST_BYTES:
            raise OSError(
                errno.ENAMETOOLONG,
                f"longer than the {_LONGEST_BYTES} bytes that a socket may have. Name a shorter one with --socket PATH",
                self.path,
            )
        _make_folder(os.path.dirname(self.path))
        with _locked(os.path.dirname(self.path)):
            self.socket = _listening(self.path)
            self.identity = _identity(os.lstat(self.path))

    def close(self) -> None:
        """Take its name away, if the name is still that of this socket; and its folder, if that was made for ssh."""
        self.socket.close()
        with contextlib.suppress(OSError), parent_of(self.path, directory_kinds.SOCKET) as (folder, name):
            _remove_it(folder, name, self.identity)
        _remove_ssh_folder(self.path)

    def __enter__(self) -> PrivateSocket:
        return self

    def __exit__(self, *_: object) -> None:
        """Take its name away."""
        self.close()


def new_ssh_path() -> str:
    """A path that nobody can foresee, for the socket of a viewer on a machine of which nothing is known yet."""
    return f"{_TMP}/runicorn-ssh-{os.urandom(16).hex()}/{_NAME}"


def is_ssh_path(path: str) -> bool:
    """Whether a path is one of ``new_ssh_path()``."""
    return re.fullmatch(rf"{_TMP}/{SSH_SOCKETS.shape}/{_NAME}", path) is not None


def remove_left(path: str, identity: Identity | None) -> None:
    """Remove the socket that a killed viewer has left, as far as possible.

    Nobody can tell whether a program will listen at a socket later. So only the file that this viewer has noted is
    removed. If another program has put its own file there, that file stays.

    Args:
        path: of the socket.
        identity: of the file, as noted; None = it was not.
    """
    if identity is not None:
        parent = parent_of(path, directory_kinds.SOCKET)
        with contextlib.suppress(OSError), _locked(os.path.dirname(path)), parent as (folder, name):
            _remove_it(folder, name, identity)
    _remove_ssh_folder(path)


def _remove_it(folder: Directory, name: str, identity: Identity) -> None:
    """Remove a socket, if its name still belongs to the same file."""
    found = folder.status(name)
    if found is not None and stat.S_ISSOCK(found.st_mode) and _identity(found) == identity:
        folder.remove(name)


def _identity(status: os.stat_result) -> Identity:
    """The identity of a file. A later file may have the same inode, but then the socket was bound at another time."""
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _remove_ssh_folder(path: str) -> None:
    if is_ssh_path(path):
        with contextlib.suppress(OSError), parent_of(os.path.dirname(path), SSH_SOCKETS) as (above, name):
            above.remove_empty(name)


def _make_folder(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        modes.make_directory(path, 0o700)
    status = os.stat(path, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise PermissionError(
            errno.EPERM, "others may enter the folder of the socket, or it is a link. Make one with mode 0700", path
        )


@contextlib.contextmanager
def _locked(path: str) -> Iterator[None]:
    """Keep other viewers from making or removing a socket in this folder during the block."""
    with Directory(path, directory_kinds.SOCKET) as folder:
        if sys.platform != "win32" and folder.fd is not None:
            import fcntl

            with contextlib.suppress(OSError):  # a file system that has no locks for directories
                fcntl.flock(folder.fd, fcntl.LOCK_EX)
        yield


def _listening(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # no thread of ours runs yet
    try:
        made.bind(path)
        os.chmod(path, 0o600)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            hint = "it exists already. Name another path, or remove it if no program uses it"
            raise FileExistsError(errno.EEXIST, hint, path) from error
        raise OSError(error.errno, error.strerror, path) from error
    finally:
        os.umask(before)
    return made
