"""The page's own files: served by name from one folder, with the way back to it written into the page."""

from __future__ import annotations

import hashlib
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from starlette.responses import Response

from runicorn.viewer.answers import ProblemError, packed
from runicorn.viewer.joined import joined_modules

if TYPE_CHECKING:
    from starlette.requests import Request

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "static")
ADDRESSES = (
    *("/", "/compare", "/deleted", "/explore", "/problems", "/run/{key}"),
    *(f"/run/{{key}}/{tab}" for tab in ("summary", "logs", "images", "assets", "system")),
)
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,80}")
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
    ".png": "image/png",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
}
_INDEX = "index.html"
_JOINED = "page.js"
_NO_PAGE = b"<!doctype html><meta charset=utf-8><title>runicorn</title><p>The page is not installed.\n"


def index(request: Request) -> Response:
    """The page, whatever its address says: that is for the page to read."""
    up = "../" * (request.url.path.count("/") - 1) or "./"
    content = _read(_INDEX) or _NO_PAGE
    for before in (b'"./static/', b'data-root="./"', b'"./favicon'):
        content = content.replace(before, before.replace(b"./", up.encode(), 1))
    return _file(request, content, ".html")


def static(request: Request) -> Response:
    """A file of the page."""
    names = [request.path_params[part] for part in ("folder", "name") if part in request.path_params]
    if names == [_JOINED]:
        return _file(request, _joined(), ".js")
    content = _read(*names) if all(_NAME.fullmatch(name) for name in names) else None
    if content is None:
        raise ProblemError(404, "There is nothing at this address.")
    return _file(request, content, os.path.splitext(names[-1])[1])


def favicon(request: Request) -> Response:
    """What browsers ask for by themselves."""
    for name in ("favicon.ico", "favicon.svg"):
        content = _read(name)
        if content is not None:
            return _file(request, content, os.path.splitext(name)[1])
    return Response(b"", 204)


def _file(request: Request, content: bytes, ending: str) -> Response:
    tag = f'"{_digest(content)}"'
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"etag": tag, "cache-control": "no-cache"})
    answer = packed(request, content, _KINDS.get(ending, "application/octet-stream"))
    answer.headers["etag"] = tag
    answer.headers["cache-control"] = "no-cache"
    return answer


@lru_cache(1)
def _joined() -> bytes:
    return joined_modules(FOLDER).encode()


@lru_cache(256)
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _read(*names: str) -> bytes | None:
    path = os.path.join(FOLDER, *names)
    try:
        if os.path.islink(path):
            return None
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None
