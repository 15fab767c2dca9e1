"""What every request has to pass, and what every answer carries: Host, Origin, token, limits, headers."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING, Any

from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError, error_content

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from runicorn.viewer.token import Token

TOKEN_HEADER = b"x-runicorn-token"
API = "/api/"
FILES = "/api/v1/files/"
"""A link carries no header, and so no token: it has a ticket, a secret that was given to who has the token."""
TRUSTED = "runicorn.trusted"
"""In the scope of a request that has the token."""
_ALWAYS = frozenset({"localhost", "127.0.0.1", "[::1]"})
_METHODS = ("GET", "HEAD", "POST", "PATCH", "PUT", "DELETE")
_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:/@?#\s]+)(?::([0-9]{1,5}))?")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
]


class Guard:
    """Lets requests pass to the app, or answers them.

    Args:
        app: behind it.
        token: that every request to the interface has to carry.
        allowed: names of hosts beside those of this machine.
    """

    def __init__(self, app: ASGIApp, token: Token, allowed: Iterable[str] = ()) -> None:
        self._app = app
        self._token = token
        self._allowed = frozenset(name_of(name) or name for name in allowed)
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: there is none
            await send({"type": "websocket.close", "code": 1008})
            return
        answering = _Answering(send, is_api=scope["path"].startswith(API))
        try:
            self._check(scope)
        except ProblemError as problem:
            await answering.refuse(problem)
            return
        if not _is_with_token(scope):  # anybody may ask for the page, and must not be able to fill the places
            await self._app(scope, receive, answering.send)
            return
        scope[TRUSTED] = True
        self._active += 1
        try:
            await self._app(scope, receive, answering.send)
        finally:
            self._active -= 1

    def _check(self, scope: Scope) -> None:
        headers = _Headers(scope)
        if not scope["path"].startswith("/"):
            raise ProblemError(400, "The request line names a host.", "Ask for a path alone.")
        host = self._check_host(headers)
        self._check_origin(headers, host)
        method = scope["method"]
        if method == "OPTIONS":
            raise ProblemError(403, "Other pages may not ask this viewer.", "Open the viewer's own address.")
        if method not in _METHODS:
            raise ProblemError(405, f"{method} is no method that there is here.")
        self._check_site(headers, scope)
        if _is_with_token(scope) and not self._token.is_it(headers.all(TOKEN_HEADER)):
            raise ProblemError(
                401,
                "The token is missing, or is that of another start of the viewer.",
                "Open the link that `runicorn viewer` has printed; `runicorn viewer --list` prints it again.",
            )
        if _is_with_token(scope) and self._active >= limits.CONNECTIONS:
            raise ProblemError(429, "Too many requests are being answered.", "Close other tabs, or ask again.")

    def _check_host(self, headers: _Headers) -> str:
        hosts = headers.all(b"host")
        if len(hosts) != 1:
            raise ProblemError(400, f"The request has {len(hosts)} Host headers.", "Send one.")
        host = hosts[0].decode("latin-1").strip().lower()
        name = name_of(host)
        if name is None or (name not in _ALWAYS and name not in self._allowed):
            raise _foreign("Host", host)
        return host

    def _check_origin(self, headers: _Headers, host: str) -> None:
        for origin in headers.all(b"origin"):
            text = origin.decode("latin-1").strip().lower()
            scheme, _, authority = text.partition("://")
            name = name_of(authority) if scheme in {"http", "https"} else None
            if name is None or (authority != host and name not in self._allowed):
                raise _foreign("Origin", text)

    def _check_site(self, headers: _Headers, scope: Scope) -> None:
        """Refuse what another site has a browser send; a link to a page that was clicked is none of that."""
        site = headers.one(b"sec-fetch-site")
        if site in {"", "same-origin", "none"}:
            return
        is_page = not scope["path"].startswith(API) and scope["method"] in {"GET", "HEAD"}
        if is_page and headers.one(b"sec-fetch-mode") == "navigate" and headers.one(b"sec-fetch-dest") == "document":
            return
        if site == "same-site" and not scope["path"].startswith(API):
            return
        raise ProblemError(403, "Another site has sent this request.", "Open the viewer's own address.")


class _Headers:
    def __init__(self, scope: Scope) -> None:
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]

    def all(self, name: bytes) -> list[bytes]:
        return [value for key, value in self._headers if key == name]

    def one(self, name: bytes) -> str:
        """What a header says; if there are several, something that nothing is equal to."""
        found = self.all(name)
        return ",".join(value.decode("latin-1").strip().lower() for value in found)


class _Answering:
    """Adds to an answer what all have."""

    def __init__(self, send: Send, *, is_api: bool) -> None:
        self._send = send
        self._is_api = is_api

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: list[Any] = [*message.get("headers", ()), *_HEADERS]
            if self._is_api:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def refuse(self, problem: ProblemError) -> None:
        content = error_content(problem.status, problem.what, problem.hint)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        if problem.status == 405:
            headers.append((b"allow", ", ".join(_METHODS).encode()))
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": content})


def _is_with_token(scope: Scope) -> bool:
    return scope["path"].startswith(API) and not scope["path"].startswith(FILES)


def name_of(authority: str) -> str | None:
    """The name in ``name:port``, in lower case and without a dot at its end; None if it is none."""
    found = _AUTHORITY.fullmatch(authority.strip().lower())
    if found is None:
        return None
    return found[1][:-1] if found[1].endswith(".") and len(found[1]) > 1 else found[1]


def _foreign(header: str, value: str) -> ProblemError:
    authority = value.partition("://")[2] or value
    shown = urllib.parse.quote(name_of(authority) or authority[:100], safe="[]:.-_")
    return ProblemError(
        403,
        f"The {header} {shown!r} is none that this viewer answers to.",
        f"If it is a proxy of yours, start the viewer with --allow-host {shown}",
    )
