"""Where viewers of this user are: their links in files that only the user can read, their ports and their sockets.

Nobody is signalled by what stands in a file: a viewer that shall end is asked to, with its token.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import os
import socket
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.host.identity import process_start
from runicorn.storage import directory_kinds, modes
from runicorn.storage.removal import Directory
from runicorn.viewer import sockets

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "RUNICORN_VIEWER_DIR"
LOCAL = "127.0.0.1"
SOCKET_PORT = 23300
"""Of another machine, that ssh is told to carry to a socket here."""
_FOLDER = f"runicorn-viewers-{os.geteuid() if hasattr(os, 'geteuid') else 0}"
_MOST_PORTS = 100
_ASK_S = 5.0
_MOST_BYTES = 1 << 20
_BACKLOG = 64


class Entry(msgspec.Struct, frozen=True):
    """A viewer that runs.

    Attributes:
        host: that it listens at; empty for a socket.
        port: likewise; of a socket, the port of another machine that leads to it, 0 = not known.
        socket: path of its socket; empty for a port.
        token: that it asks for.
        storages: that it shows.
        read_only: whether it writes nothing.
        pid: of its process; for people.
        start: when that was started.
        over_ssh: whether it ends with a connection of ssh.
        socket_file: identity of its socket's file; if the viewer was killed, only this file may be removed.
    """

    host: str
    port: int
    socket: str
    token: str
    storages: list[str]
    read_only: bool
    pid: int
    start: str
    over_ssh: bool = False
    socket_file: sockets.Identity | None = None

    @property
    def link(self) -> str:
        """The link that opens it; of a socket, through the port that is carried to it."""
        return self.link_to("")

    def link_to(self, page: str) -> str:
        """The link to one of its pages."""
        if self.socket:
            return f"http://localhost:{self.port or SOCKET_PORT}/{page}#t={self.token}"
        host = LOCAL if self.host in {"0.0.0.0", "::", ""} else self.host  # noqa: S104 - it is not bound here
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/{page}#t={self.token}"


def folder() -> str:
    """The folder for links and sockets; made, for this user alone.

    Raises:
        OSError: it cannot be made, or is somebody else's.
    """
    given = os.environ.get(DIRECTORY) or os.environ.get("XDG_RUNTIME_DIR")
    top = given if given and os.path.isdir(given) else tempfile.gettempdir()
    path = os.path.join(os.path.abspath(top), _FOLDER)
    with contextlib.suppress(FileExistsError):
        modes.make_directory(path, 0o700)
    with Directory(path, directory_kinds.VIEWERS):  # whose it is
        return path


def write(entry: Entry) -> str:
    """Leave word of a viewer; the name of the file.

    Raises:
        OSError: it cannot be written.
    """
    return _new_file(f"viewer-{os.urandom(8).hex()}.json", msgspec.json.encode(entry))


def write_opener(link: str) -> str:
    """A page that leads to a link, so that no program's arguments hold it; its path."""
    target = json.dumps(link).replace("<", "\\u003c")
    content = f"<!doctype html><meta charset=utf-8><title>runicorn</title><script>location.replace({target})</script>\n"
    return os.path.join(folder(), _new_file(f"open-{os.urandom(8).hex()}.html", content.encode()))


def _new_file(name: str, content: bytes) -> str:
    with Directory(folder(), directory_kinds.VIEWERS) as directory:
        fd = directory.new_file(name, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
    return name


def remove(name: str) -> None:
    """Remove a file of ours from the folder, if it is there."""
    with contextlib.suppress(OSError), Directory(folder(), directory_kinds.VIEWERS) as directory:
        directory.remove(os.path.basename(name))


def entries() -> Iterator[tuple[str, Entry]]:
    """The viewers of this user of which there is word: names of files, and what they say."""
    try:
        with Directory(folder(), directory_kinds.VIEWERS) as directory:
            names = sorted(name for name in directory.names() if name.endswith(".json") and directory.has_shape(name))
    except OSError:
        return
    for name in names:
        entry = _read(os.path.join(folder(), name))
        if entry is not None:
            yield name, entry


def _read(path: str) -> Entry | None:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(_MOST_BYTES), type=Entry)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):  # gone, or of another version
        return None


def running() -> list[Entry]:
    """Those that answer; word of those whose process is gone is removed."""
    found = []
    for name, entry in entries():
        if ask(entry, "GET", "/api/v1/server") is not None:
            found.append(entry)
        elif process_start(entry.pid) != entry.start:
            _forget(name, entry)
    return found


def forget_killed() -> None:
    """Remove what viewers have left that were killed; the others are not asked."""
    for name, entry in entries():
        if process_start(entry.pid) != entry.start and ask(entry, "GET", "/api/v1/server") is None:
            _forget(name, entry)


def _forget(name: str, entry: Entry) -> None:
    remove(name)
    if entry.socket:
        sockets.remove_left(entry.socket, entry.socket_file)


def ask(entry: Entry, method: str, path: str, timeout_s: float = _ASK_S) -> dict[str, Any] | None:
    """Ask a viewer, with its token; None if it does not answer in time, or is another one."""
    connection = _Connection(entry, timeout_s)
    try:
        connection.request(method, path, headers={"X-Runicorn-Token": entry.token, "Host": "localhost"})
        with connection.getresponse() as response:  # it has the socket to itself, if the viewer ends the connection
            content = response.read(_MOST_BYTES)
        found = json.loads(content) if response.status == http.client.OK else None
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return found if isinstance(found, dict) else None


class _Connection(http.client.HTTPConnection):
    """To a viewer, by whatever it listens at; by no proxy."""

    def __init__(self, entry: Entry, timeout_s: float) -> None:
        host = LOCAL if entry.host in {"0.0.0.0", "::", ""} else entry.host  # noqa: S104 - it is not bound here
        super().__init__(host, entry.port or None, timeout=timeout_s)
        self._path = entry.socket

    def connect(self) -> None:
        if not self._path:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def bind(host: str, port: int) -> tuple[socket.socket, int]:
    """A socket that listens at a port, or at the next one that is free; and which it is.

    Raises:
        OSError: none can be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last: OSError | None = None
    for candidate in range(port, min(port + _MOST_PORTS, 65_536)) if port else (0,):
        made = socket.socket(family, socket.SOCK_STREAM)
        try:
            if sys.platform != "win32":  # there it would take a port that another one has
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, candidate))
            made.listen(_BACKLOG)
        except OSError as error:
            made.close()
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise OSError(error.errno, f"{error.strerror}: {host}:{candidate}") from error
            last = error
            continue
        return made, int(made.getsockname()[1])
    raise OSError(errno.EADDRINUSE, f"none of the ports from {port} on is free: {last}")
