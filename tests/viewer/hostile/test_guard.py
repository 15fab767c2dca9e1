"""Who may ask the viewer: each line of the rules is a test, over the app, and over real sockets where those matter."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import socket
from itertools import product

import pytest
from asking import TestClient
from starlette.websockets import WebSocketDisconnect

from runicorn.viewer import pages
from runicorn.viewer.app import ROUTES, make_app

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
KEY = "20260101_120000_abcdef"
PATHS = [route.path.replace("{key}", KEY).replace("{folder}", "a").replace("{name}", "b") for route in ROUTES]
FILES = "/api/v1/files/{ticket}"  # a link carries no header: its ticket was given for the token
API = [path for path in PATHS if path.startswith("/api/") and path != FILES]
OPEN = [path for path in PATHS if not path.startswith("/api/")]


def test_the_interface_is_closed_without_the_token(client):
    """Without the token, with half of it, with a longer one, with two, or in a query or cookie, the answer is 401."""
    token = client.viewer.token.text
    bare = TestClient(make_app(client.viewer), base_url="http://localhost")
    for path, headers in product(
        API,
        (
            {},
            {"X-Runicorn-Token": ""},
            {"X-Runicorn-Token": token[:-1]},
            {"X-Runicorn-Token": token + "x"},
            {"Authorization": f"Bearer {token}"},
            {"Cookie": f"t={token}; X-Runicorn-Token={token}"},
            [("X-Runicorn-Token", token), ("X-Runicorn-Token", token)],
        ),
    ):
        method = "POST" if path.endswith(("curves", "stop")) else "GET"
        assert bare.request(method, f"{path}?t={token}&token={token}", headers=headers).status_code == 401, path


def test_pages_need_no_token_and_tell_nothing(client):
    """The page's own addresses answer anybody, with the same bytes whatever runs there are."""
    bare = TestClient(make_app(client.viewer), base_url="http://localhost")
    content = b"".join(bare.get(path).content for path in OPEN)
    for secret in (client.viewer.token.text, KEY, "hello", str(client.viewer.storages[0])):
        assert secret.encode() not in content


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "HEAD"])
def test_every_answer_carries_the_headers(client, method):
    """Whatever is asked, and however it is answered: the policy, no sniffing, no referrer, no CORS, no cookie."""
    client.viewer.closing.set()  # so that the stream ends
    for path in (*PATHS, "/nothing", "/api/v1/nothing", "/api/v1/runs/nothing"):
        check_headers(client.request(method, path))


def check_headers(answer):
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert not [name for name in answer.headers if name.startswith("access-control-") or name == "set-cookie"]
    assert "server" not in answer.headers


def test_names_of_this_machine_are_answered(client):
    """On any port, in any case, with a dot at the end."""
    for host in (
        "localhost",
        "localhost:1",
        "LOCALHOST:23300",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:8888",
        "[::1]:99",
    ):
        assert client.get("/api/v1/server", headers={"Host": host}).status_code == 200, host


def test_other_hosts_are_refused(client):
    """A name that a foreign page can have point here is 403, and the answer names the flag; none is 200."""
    for host in (
        *("evil.example", "evil.example:23300", "localhost.evil.example", "evil.example.", "127.0.0.1.evil.example"),
        *("127.0.0.2", "0.0.0.0", "[::]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "localhost:23300:1", "", " "),
        *("user@localhost", "localhost/", "localhost#", "localhost?x", "localhost\\", "localhost\t.evil", "::1"),
        *(
            "xn--lcalhost-95a",
            "localhost,evil.example",
            "localhost evil.example",
            "evil.example#localhost",
            "localhost..x",
        ),
    ):
        answer = client.get("/api/v1/server", headers={"Host": host})
        assert answer.status_code == 403, host
        assert "--allow-host" in answer.json()["error"]["hint"]
        assert client.get("/", headers={"Host": host}).status_code == 403, host


def test_several_hosts_are_refused_whatever_server_is_in_front(client):
    """Two Host headers, or none, are 400 by the guard itself: the library below may let them pass."""
    for hosts in ([], [b"localhost", b"localhost"], [b"localhost", b"evil.example"]):
        headers = [(b"host", host) for host in hosts]
        headers.append((b"x-runicorn-token", client.viewer.token.text.encode()))
        told = []

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message, told=told):
            told.append(message)

        scope = {"type": "http", "method": "GET", "path": "/api/v1/server", "headers": headers, "query_string": b""}
        asyncio.run(client.app({**scope, "raw_path": b"/"}, receive, send))
        assert told[0]["status"] == 400


def test_an_allowed_host_is_answered(open_viewer, make_run):
    """``--allow-host`` lets the name of a proxy pass, as Host and as Origin, and no other."""
    make_run()
    client = open_viewer(allowed=["Hub.example"], client_host="hub.example")
    assert client.get("/api/v1/server").status_code == 200
    assert client.get("/api/v1/server", headers={"Origin": "https://hub.example"}).status_code == 200
    assert (
        client.get("/api/v1/server", headers={"Host": "localhost", "Origin": "https://hub.example"}).status_code == 200
    )
    assert client.get("/api/v1/server", headers={"Host": "x.hub.example"}).status_code == 403


def test_foreign_origins_are_refused(client):
    """A page of another origin, also of another port of this machine, gets 403 even with the token."""
    for origin in (
        *(
            "http://evil.example",
            "null",
            "http://localhost:8888",
            "http://localhost",
            "file://",
            "https://evil.example:23300",
        ),
        *("http://localhost:23300.evil.example", "http://evil.example/localhost:23300", "localhost:23300", ""),
        *(
            "http://127.0.0.1:23300",
            "ws://localhost:23300",
            "http://localhost:23300@evil.example",
            "http://[::1]:23300",
        ),
    ):
        for method, path in (("GET", "/"), ("GET", "/api/v1/server"), ("POST", "/api/v1/curves")):
            assert client.request(method, path, headers={"Origin": origin}).status_code == 403, origin


def test_its_own_origin_is_answered(client):
    """What its own page sends passes."""
    assert client.get("/api/v1/server", headers={"Origin": "http://localhost:23300"}).status_code == 200


def test_what_another_site_has_a_browser_send_is_refused(client):
    """A cross-site request is 403, but for a link to a page that somebody has clicked."""
    sites = ("cross-site", "cross-site, same-origin", "unheard-of")
    modes = ("cors", "no-cors", "websocket", "navigate")
    for site, mode, dest in product(sites, modes, ("script", "image", "iframe", "document", "empty")):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest}
        is_link = (mode, dest) == ("navigate", "document")
        assert client.get("/", headers=headers).status_code == (200 if is_link else 403)
        assert client.get("/api/v1/server", headers=headers).status_code == 403
        assert client.post("/api/v1/stop", headers=headers).status_code == 403


def test_preflights_are_refused(client):
    """OPTIONS is 403, and says nothing of what would be allowed."""
    headers = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-runicorn-token"}
    answer = client.options("/api/v1/curves", headers=headers)
    assert answer.status_code == 403
    assert "allow" not in answer.headers


def test_what_is_unknown_is_404_in_json(client):
    """No address that there is not is a page."""
    for path in (
        "/nothing",
        "/run",
        "/run/a/b/c",
        "/api",
        "/api/v1/",
        "/api/v1/runs/x/nothing",
        "/static/",
        "/index.html",
    ):
        answer = client.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["error"]["status"] == 404


def test_no_token_is_shown_by_its_object(client):
    """A traceback or a debugger's list of names does not print the token."""
    viewer = client.viewer
    assert viewer.token.text not in f"{viewer.token!r} {viewer.token} {viewer!r} {vars(viewer)!r}"
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", viewer.token.text)


def raw(link, content, *, limit=65_536):
    """Send bytes to a viewer's port, and take what comes until it closes."""
    port = int(re.search(r":(\d+)/", link)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        got = b""
        with contextlib.suppress(ConnectionError):  # it closes without reading all that was sent
            connection.sendall(content)
            while len(got) < limit and (piece := connection.recv(65_536)):
                got += piece
    return got


def test_what_a_client_library_would_not_send(start_viewer, make_run):
    """Over a real socket: two Host headers, none, a request line with a host in it, and bytes that are no HTTP."""
    make_run()
    viewer = start_viewer("--port", 0)
    token = viewer.link.partition("#t=")[2].encode()
    last = b"X-Runicorn-Token: " + token + b"\r\nConnection: close\r\n\r\n"

    def status(request):
        answer = raw(viewer.link, request)
        return int(answer.split(None, 2)[1]) if answer else None

    get = b"GET /api/v1/server HTTP/1.1\r\n"
    assert status(get + b"Host: localhost\r\n" + last) == 200
    assert status(get + b"Host: localhost\r\nHost: localhost\r\n" + last) == 400
    assert status(get + b"Host: localhost\r\nHost: evil.example\r\n" + last) == 400
    assert status(get + last) == 400
    assert status(b"GET /api/v1/server HTTP/1.0\r\n" + last) == 400
    assert status(b"GET http://evil.example/api/v1/server HTTP/1.1\r\nHost: localhost\r\n" + last) == 400
    assert status(b"GET http://localhost/api/v1/server HTTP/1.1\r\nHost: evil.example\r\n" + last) in {400, 403}
    assert status(get + b"Host: evil.example\r\nX-Forwarded-Host: localhost\r\n" + last) == 403
    assert status(get + b"Host : localhost\r\n" + last) == 400
    assert status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20) in {400, None}
    assert status(get + b"Host: localhost\r\nX: " + b"a" * 200_000 + b"\r\n" + last) in {400, 431, None}
    assert status(b"TRACE / HTTP/1.1\r\nHost: localhost\r\n" + last) == 405
    assert status(get + b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + last) in {200, 400, 403}


def test_a_websocket_is_closed(client):
    """There is none, at no address."""
    for path in ("/", "/api/v1/live"):
        with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
            pass


def test_the_policy_allows_what_the_page_needs():
    """The page's own HTML has no inline script, no inline style, and no address that is not relative."""
    content = (pages._read("index.html") or b"").decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\bstyle=|\bon[a-z]+=", content)
    assert not re.search(r"(?:src|href)=[\"']?(?:[a-z]+:|//|/)", content)


def test_the_connection_library_of_python_gets_an_answer(start_viewer, make_run):
    """A script with the token and nothing else is answered, and so is the page without it."""
    make_run()
    viewer = start_viewer("--port", 0)
    port, _, token = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/(#t=)(.+)", viewer.link).groups()
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=20)
    connection.request("GET", "/api/v1/runs", headers={"X-Runicorn-Token": token})
    answer = connection.getresponse()
    assert (answer.status, b"cv" in answer.read()) == (200, True)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
