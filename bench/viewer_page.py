"""What an open page does, as a process of its own, so that a training beside it shares no interpreter with it.

``viewer_page.py PORT``: the token is the first line of the standard input. Then each line is the key of a run, whose
page is opened, or empty: it is closed. Each is answered by a line when that is done.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
from contextlib import suppress

_ANSWER_S = 120.0


class Page:
    """The page of a run that is open until it is closed.

    Args:
        port: of the viewer.
        token: that it asks for.
        run: key of the run.
    """

    def __init__(self, port: int, token: str, run: str) -> None:
        self._headers = {"X-Runicorn-Token": token, "Accept-Encoding": "gzip"}
        self._run = run
        self._asking = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
        stream.request("GET", f"/api/v1/live?runs={run}", headers=self._headers)
        self._socket = stream.sock
        self._events = stream.getresponse()
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        self._opened.wait(_ANSWER_S)

    def _watch(self) -> None:
        """The curves again whenever the stream tells of something."""
        with suppress(OSError, ValueError, http.client.HTTPException):
            for line in self._events:
                if line.startswith(b"data: ") and b'"bytes"' in line:
                    body = json.dumps({"runs": [self._run], "metrics": ["loss", "accuracy"], "buckets": 1000})
                    self._asking.request("POST", "/api/v1/curves", body=body, headers=self._headers)
                    self._asking.getresponse().read()
                    self._opened.set()

    def close(self) -> None:
        """Close it."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._events.close()
        self._socket.close()
        self._asking.close()


def main() -> None:
    """Open and close pages as told."""
    port, token = int(sys.argv[1]), sys.stdin.readline().strip()
    page: Page | None = None
    for line in sys.stdin:
        if page is not None:
            page.close()
        page = Page(port, token, line.strip()) if line.strip() else None
        print(flush=True)


if __name__ == "__main__":
    main()
