"""A stand-in on loopback for the server of wandb: it accepts every request, and keeps the content."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import threading
from typing import Any


class StandIn:
    """The content of the requests that a server got.

    Attributes:
        url: for ``WANDB_BASE_URL``.
        runs: variables of the calls that make a run or change it.
        files: content of the files that were uploaded, by name.
        streams: bodies of the calls that send rows.
    """

    def __init__(self) -> None:
        self.url = ""
        self.runs: list[dict[str, Any]] = []
        self.files: dict[str, bytes] = {}
        self.streams: list[dict[str, Any]] = []

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows in the order of their offsets."""
        found = {}
        for stream in self.streams:
            part = stream.get("files", {}).get("wandb-history.jsonl", {"offset": 0, "content": []})
            found.update({part["offset"] + number: line for number, line in enumerate(part["content"])})
        return [json.loads(found[number]) for number in sorted(found)]

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """Keep a request; the answer to it."""
        if path.startswith("/upload/"):
            self.files[path.removeprefix("/upload/")] = body
        elif path.endswith("/file_stream"):
            self.streams.append(json.loads(body))
        elif path == "/graphql":
            return {"data": self._data(json.loads(body))}
        return {}

    def _data(self, asked: dict[str, Any]) -> dict[str, Any]:
        query, given = asked["query"], asked.get("variables") or {}
        if "upsertBucket" in query:
            self.runs.append(given)
            project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": "me"}}
            bucket = {"id": "b", "name": given["name"], "displayName": "d", "config": "{}", "project": project}
            return {"upsertBucket": {"bucket": {**bucket, "historyLineCount": 0}, "inserted": True}}
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}


@contextlib.contextmanager
def stand_in():
    """A server that runs until the block ends."""
    kept = StandIn()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _body(self):
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
            return body

        def do_POST(self):
            body = self._body()
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            content = json.dumps(kept.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST  # noqa: N815 - as the base class looks them up

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
