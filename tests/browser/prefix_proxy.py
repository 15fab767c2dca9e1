"""A proxy that takes a prefix away, as notebooks and nginx do."""

from __future__ import annotations

import http.client
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 65536


@contextmanager
def prefix_proxy(root: str, prefix: str, port: int = 0) -> Iterator[str]:
    """A proxy of a viewer below a prefix; gives its address. At its end all its connections are cut."""
    open_sockets: set[socket.socket] = set()
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(urlsplit(root).netloc, quote(prefix), open_sockets))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{quote(prefix)}"
    finally:
        server.shutdown()
        for each in list(open_sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.server_close()


def _handler(target: str, prefix: str, open_sockets: set[socket.socket]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def setup(self) -> None:
            super().setup()
            open_sockets.add(self.connection)

        def finish(self) -> None:
            open_sockets.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def _pass_on(self) -> None:
            if not self.path.startswith(prefix):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            connection = http.client.HTTPConnection(target)
            with suppress(OSError):
                connection.request(self.command, "/" + self.path[len(prefix) :], body, dict(self.headers))
                self._answer(connection.getresponse())
            connection.close()
            self.close_connection = True

        def _answer(self, answer: http.client.HTTPResponse) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"transfer-encoding", "connection"}:
                    self.send_header(name, value)
            self.send_header("connection", "close")
            self.end_headers()
            while piece := answer.read1(PIECE_BYTES):
                self.wfile.write(piece)
                self.wfile.flush()

        do_GET = do_POST = _pass_on  # noqa: N815 - names that http.server looks for

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler
