"""A proxy that takes a prefix away, as notebooks and nginx do."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_BYTES = 65536


@contextmanager
def prefix_proxy(root: str, prefix: str) -> Iterator[str]:
    """A proxy of a viewer below a prefix; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(urlsplit(root).netloc, quote(prefix)))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{quote(prefix)}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(target: str, prefix: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
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
