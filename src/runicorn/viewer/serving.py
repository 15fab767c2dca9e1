"""A viewer as a process: it listens, says where, and is gone soon after it is told to go."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

from runicorn.host import identity
from runicorn.viewer import address, ending, limits
from runicorn.viewer.app import make_app
from runicorn.viewer.connections import BoundedConnection

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from runicorn.viewer.sockets import PrivateSocket
    from runicorn.viewer.state import Viewer

_GRACE_S = 1
_PATIENCE_S = 0.8
"""Before the end of the grace, at which answers that were not sent are cancelled with a traceback."""
_NICENESS = 5
_IDLE_LOOK_S = 0.5


class Server(uvicorn.Server):
    """A server whose streams end when it is told to go.

    Args:
        viewer: that it serves.
        config: of the server.
    """

    def __init__(self, viewer: Viewer, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._viewer = viewer
        self._loop: asyncio.AbstractEventLoop | None = None
        viewer.stop = self.end

    def end(self) -> None:
        """End it; may be called in any thread, and by a signal handler."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._viewer.closing.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        del frame
        self.end()

    async def main_loop(self) -> None:
        """Wait until it is told to go; its own one looks ten times a second."""
        if not self.should_exit:
            await self._viewer.closing.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End what is being answered: streams say goodbye, and who reads nothing, such as a paused download, is cut."""
        self._cut(lambda connection: connection.is_answering and connection.may_end)
        asyncio.get_running_loop().call_later(_PATIENCE_S, self._cut, lambda _connection: True)
        await super().shutdown(sockets)

    def _cut(self, is_meant: Callable[[BoundedConnection], bool]) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, BoundedConnection) and is_meant(connection):
                connection.end()


def serve(
    viewer: Viewer, made: socket.socket, *, idle_s: float | None = None, until: Callable[[], None] | None = None
) -> None:
    """Answer until told to go.

    Args:
        viewer: what is shown.
        made: the socket that listens.
        idle_s: end after so many seconds without a request or an open page; None = never.
        until: returns when it shall end; is called in a thread. None = nothing but a signal or a request ends it.
    """
    config = uvicorn.Config(
        make_app(viewer),
        log_level="error",
        access_log=False,  # an address may hold names of runs
        server_header=False,
        date_header=False,
        proxy_headers=False,
        http=BoundedConnection,
        ws="none",
        lifespan="on",
        backlog=limits.BACKLOG,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=30,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = Server(viewer, config)
    if idle_s is not None:
        threading.Thread(target=_watch_idle, args=(server, viewer, idle_s), daemon=True).start()
    if until is not None:
        threading.Thread(target=_end_after, args=(server, until), daemon=True).start()
    if hasattr(os, "nice"):
        with suppress(OSError):
            os.nice(_NICENESS)  # a training beside it goes first
    ending.on_hang_up(server.handle_exit)
    try:
        server.run(sockets=[made])
    finally:
        viewer.close()


def _end_after(server: Server, until: Callable[[], None]) -> None:
    try:
        until()
    finally:
        server.end()


def _watch_idle(server: Server, viewer: Viewer, idle_s: float) -> None:
    while not server.should_exit:
        time.sleep(min(_IDLE_LOOK_S, idle_s))
        if not viewer.streams and time.monotonic() - viewer.asked_at > idle_s:
            server.end()


def entry_of(
    viewer: Viewer,
    *,
    bound: tuple[str, int] = ("", 0),
    private: PrivateSocket | None = None,
    over_ssh: bool = False,
) -> address.Entry:
    """The entry by which others find a viewer: its host and port, or its own socket."""
    pid = os.getpid()
    return address.Entry(
        *bound,
        "" if private is None else private.path,
        viewer.token.text,
        viewer.storages,
        viewer.read_only,
        pid,
        identity.process_start(pid),
        over_ssh,
        None if private is None else private.identity,
    )
