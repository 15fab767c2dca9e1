"""No request takes more than it may, none changes anything, and none holds others."""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import time
from pathlib import Path

import pytest
from links import link_parts
from support import wait_until

import runicorn.viewer
from runicorn.viewer import limits

KEY = "20260101_120000_abcdef"
WRITES_MARKUP = (
    r"\b(innerHTML|outerHTML|insertAdjacentHTML|dangerouslySetInnerHTML|document\.write)\b|\beval\(|new Function"
)
SOURCE = Path(runicorn.viewer.__file__).parent


def curves(client, **body):
    return client.post("/api/v1/curves?format=json", json={"runs": [KEY], "metrics": ["loss"], **body})


def test_caps_are_told_and_kept(client):
    """More buckets, curves, runs, bytes of log, or bytes of a body than there may be: 400 or 413."""
    assert client.get("/api/v1/server").json()["limits"]["buckets"] == 4000
    for body in (
        {"buckets": 4001},
        {"runs": [KEY] * 501},
        {"runs": [KEY] * 400, "metrics": ["loss"] * 6},
        {"groups": [{"name": "a", "runs": [KEY] * 501}], "runs": []},
        {"buckets": 0},
        {"buckets": "many"},
        {"smooth": 1.0},
        {"smooth": -0.1},
        {"x": "y"},
        {"rank": "all"},
        {"width": 0},
        {"width": -1.0},
        {"metrics": "loss"},
        {"from": "a"},
    ):
        assert curves(client, **body).status_code == 400, body
    assert client.post("/api/v1/curves", content=b" " * (limits.BODY_BYTES + 1)).status_code == 413
    for content in (
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"runs": 1}',
        b'{"metrics": ["' + b"\\ud800" + b'"]}',
    ):
        assert client.post("/api/v1/curves", content=content).status_code in {200, 400}, content[:20]
    assert client.get(f"/api/v1/runs/{KEY}/logs?bytes={limits.LOG_BYTES + 1}").status_code == 400
    assert client.get(f"/api/v1/runs/{KEY}/metrics?limit=10001").status_code == 400
    for path in ("live", "compare", "compare/metrics", "compare/code"):
        assert client.get(f"/api/v1/{path}?runs={','.join(map(str, range(501)))}").status_code == 400
    assert client.get(f"/api/v1/runs/{KEY}/images?key=a&limit=5001").status_code == 400
    assert client.post("/api/v1/tickets", content=b" " * (limits.BODY_BYTES + 1)).status_code == 413
    for many in (f"cols={'a,' * 200}b", "&".join(["col=a"] * 201), f"cols={'a,' * 100}b&{'&'.join(['col=a,b'] * 100)}"):
        assert client.get(f"/api/v1/runs?{many}").status_code == 400


def test_a_width_makes_no_more_buckets_than_there_may_be(open_viewer, make_run):
    """Whatever width is asked for, 4,000 buckets are the most, and the answer says how wide they are."""
    lines = [
        json.dumps({"type": "metrics", "data": {"loss": 1.0, "global_step": at * 1000, "time": 1.0}}) + "\n"
        for at in range(9000)
    ]
    make_run(lines=lines)
    (curve,) = curves(open_viewer(), width=0.001, buckets=100).json()["curves"]
    assert curve["n"] <= 4001
    assert curve["width"] > 1000


@pytest.mark.parametrize(
    "q", ["(a+)+$", "(a|a)*b", "([a-z]*)*", "(.*)*x", "a*a*a*a*a*b", "a" * 300, "(", "[", "*", "(?P<", "a{99999999999}"]
)
def test_no_expression_takes_for_ever(client, q):
    """A regular expression that repeats what repeats, or is none, is 400."""
    assert client.get(f"/api/v1/runs/{KEY}/metrics", params={"q": q, "regex": "1"}).status_code == 400


def tree(folder):
    """Every file below a folder: name, size, times of change."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def test_no_get_changes_anything(client, storage):
    """All of them, and the curves, over a storage that cannot be written: nothing in it is another afterwards."""
    before = tree(storage)
    client.viewer.closing.set()
    of_run = ["metrics", "metrics?figures=1", "config", "summary", "environment", "problems", "logs", "logs/search?q=a"]
    of_run += ["images", "images?key=a", "images?at=", "assets", "assets/users"]
    others = ("server", "runs", "runs/columns", "problems", f"live?runs={KEY}&logs={KEY}&list=1", f"runs/{KEY}")
    others += tuple(f"compare{rest}?runs={KEY},nowhere" for rest in ("", "/metrics"))
    for path in (*others, *(f"runs/{KEY}/{rest}" for rest in of_run)):
        assert client.get(f"/api/v1/{path}").status_code == 200, path
    assert curves(client).status_code == 200
    for kind in ("asset", "log", "folder"):
        ticket = client.post("/api/v1/tickets", json={"run": KEY, "kind": kind}).json()["ticket"]
        assert client.get(f"/api/v1/files/{ticket}").status_code == 200
    assert tree(storage) == before


def test_a_read_only_viewer_ends_no_run(open_viewer, make_run):
    """Under ``--read-only`` a lost run is shown as lost, and stays as it is."""
    from runicorn.host import identity

    run_dir = make_run(status="running", meta={"hostname": identity.hostname(), "pid": 2**22 - 1})
    client = open_viewer(read_only=True, pace=limits.Pace(end_after_s=0.001))
    before = (run_dir / "status.json").read_bytes()
    for _ in range(3):
        client.viewer.checker.look()
    assert client.get("/api/v1/runs").json()["columns"]["status"] == ["lost"]
    assert (run_dir / "status.json").read_bytes() == before


def test_the_source_has_nothing_that_runs_what_it_reads():
    """No pickle, yaml, eval or subprocess in the viewer; in the page no innerHTML or eval outside of vendor."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {each.name.split(".")[0] for each in node.names} | {
                    str(getattr(node, "module", "") or "").split(".")[0]
                }
                assert not names & {"pickle", "marshal", "shelve", "yaml", "subprocess", "ctypes", "code"}, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, path
    for path in (SOURCE / "static").rglob("*.js"):
        if "vendor" not in path.parts:
            assert not re.search(WRITES_MARKUP, path.read_text()), path


CONNECTS = """
import sys
told = {"socket.connect", "socket.getaddrinfo"}
sys.addaudithook(lambda event, args: event in told and print(event, args[-1], file=sys.stderr))
from runicorn.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_server_opens_no_connection_of_its_own(start_program, make_run):
    """From its start, over requests of every kind, to its end it connects to nothing and looks no name up."""
    import http.client

    make_run()
    process = start_program(
        CONNECTS.replace("sys.argv[1:]", "['viewer', '--port', '0', '--no-open', '--storage', sys.argv[1]]")
    )
    port, token = link_parts(process.stdout.readline())
    for method, path in (
        ("GET", "/"),
        ("GET", "/api/v1/runs"),
        ("GET", f"/api/v1/runs/{KEY}"),
        ("GET", f"/api/v1/runs/{KEY}/images"),
        ("GET", f"/api/v1/runs/{KEY}/assets/users"),
        ("GET", "/api/v1/problems"),
        ("POST", "/api/v1/stop"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, headers={"X-Runicorn-Token": token})
        assert connection.getresponse().status == 200
        connection.close()
    _, errors = process.communicate(timeout=60)
    assert "socket." not in errors
    assert token not in errors


def ask(link, path, token=None, timeout=30, body=None):
    import http.client

    port, own = link_parts(link)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"X-Runicorn-Token": own if token is None else token}
    connection.request("POST" if body is not None else "GET", path, body=body, headers=headers)
    return connection, connection.getresponse()


def test_slow_clients_hold_nobody(start_viewer, make_run):
    """Twenty clients that send half a request, or half a body, and read nothing: another one is answered."""
    make_run()
    viewer = start_viewer("--port", 0)
    port, token = link_parts(viewer.link)
    slow = []
    for number in range(20):
        connection = socket.create_connection(("127.0.0.1", port), timeout=30)
        head = (
            f"POST /api/v1/curves HTTP/1.1\r\nHost: localhost\r\nX-Runicorn-Token: {token}\r\nContent-Length: 100\r\n"
        )
        connection.sendall((head if number % 2 else head + "\r\n{").encode())
        slow.append(connection)
    connection, answer = ask(viewer.link, "/api/v1/runs")
    assert answer.status == 200
    connection.close()
    for each in slow:
        each.close()


def test_more_requests_than_there_may_be_are_told_so(start_viewer, make_run):
    """With 64 streams open the next request is 429; when they are closed it is answered."""
    make_run()
    viewer = start_viewer("--port", 0)
    streams = [ask(viewer.link, "/api/v1/live") for _ in range(limits.CONNECTIONS)]
    assert all(answer.status == 200 for _, answer in streams)
    connection, answer = ask(viewer.link, "/api/v1/server")
    assert answer.status == 429
    connection.close()
    for each, open_answer in streams:
        open_answer.close()
        each.close()

    def is_answered():
        one, found = ask(viewer.link, "/api/v1/server")
        one.close()
        return found.status == 200

    wait_until(is_answered)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "stop"])
def test_it_is_gone_soon_with_streams_open(start_viewer, make_run, how, tmp_path):
    """After SIGTERM, Ctrl-C or ``--stop`` with ten streams open it ends by itself, and leaves no file behind."""
    import signal

    make_run()
    viewer = start_viewer("--port", 0)
    streams = [ask(viewer.link, f"/api/v1/live?runs={KEY}&list=1") for _ in range(10)]
    told = list((tmp_path / "viewers").rglob("*.json"))
    assert [path.stat().st_mode & 0o777 for path in told] == [0o600]
    if how == "stop":
        connection, answer = ask(viewer.link, "/api/v1/stop", body=b"")
        assert answer.status == 200
        connection.close()
    else:
        viewer.send_signal(getattr(signal, how))
    begun = time.monotonic()
    viewer.wait(timeout=60)
    print(f"it took {time.monotonic() - begun:.2f} s")
    assert not [path for path in (tmp_path / "viewers").rglob("*") if path.is_file()]
    for connection, _ in streams:
        connection.close()


def test_the_token_is_in_no_list_of_processes_and_in_no_log(start_viewer, make_run, tmp_path):
    """It is on the first line of the output, in a file of mode 0600, and nowhere else: arguments, environment, log."""
    make_run()
    viewer = start_viewer("--port", 0)
    _, token = link_parts(viewer.link)
    for path in ("/", "/api/v1/runs", "/api/v1/nothing", f"/{token}"):
        connection, _ = ask(viewer.link, path)
        connection.close()
    for name in ("cmdline", "environ"):
        assert token.encode() not in Path(f"/proc/{viewer.pid}/{name}").read_bytes()
    assert token not in viewer.told.read_text()
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert [(path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) for path in holding] == [(0o700, 0o600)]


def test_a_socket_is_the_users_alone(start_viewer, make_run, monkeypatch):
    """``--socket`` makes a folder of mode 0700 and a socket of mode 0600, and is asked through it with the token."""
    from runicorn.viewer import address

    make_run()
    monkeypatch.setenv("RUNICORN_VIEWER_DIR", os.environ["TMPDIR"])  # a socket's path is short
    viewer = start_viewer("--socket")
    (entry,) = address.running()
    assert entry.socket
    assert os.stat(entry.socket).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(entry.socket)).st_mode & 0o777 == 0o700
    assert address.ask(entry, "GET", "/api/v1/server")["pid"] == viewer.pid
    wait_until(lambda: "ssh -L 23300:" in viewer.told.read_text())
    address.ask(entry, "POST", "/api/v1/stop")
    viewer.wait(timeout=60)
    assert not os.path.exists(entry.socket)
    os.rmdir(os.path.dirname(entry.socket))


def test_a_folder_that_others_may_enter_gets_no_socket(storage, tmp_path, capsys):
    """``--socket PATH`` in such a folder, or through a link, is an error that says what to do."""
    from runicorn import cli

    storage.mkdir()
    wide, link = tmp_path / "wide", tmp_path / "link"
    wide.mkdir(mode=0o755)
    link.symlink_to(wide)
    for folder in (wide, link):
        assert cli.main(["viewer", "--storage", str(storage), "--no-open", "--socket", str(folder / "s")]) == 1
        assert "0700" in capsys.readouterr().err
    assert list(wide.iterdir()) == []


def test_another_host_needs_its_name(storage, capsys):
    """``--host 0.0.0.0`` without ``--allow-host`` is misuse, and says that there is no encryption."""
    from runicorn import cli

    storage.mkdir()
    assert cli.main(["viewer", "--storage", str(storage), "--no-open", "--host", "0.0.0.0"]) == 2
    told = capsys.readouterr().err
    assert "--allow-host" in told
    assert "encryption" in told


@pytest.mark.parametrize("text", ["0", "-1", "inf", "1e9", "soon"])
def test_a_pause_that_is_no_number_of_seconds_is_refused_by_its_name(monkeypatch, text):
    """A viewer that never pauses, or always, is not started."""
    monkeypatch.setenv("RUNICORN_VIEWER_CHECK_S", text)
    with pytest.raises(ValueError, match="RUNICORN_VIEWER_CHECK_S"):
        limits.Pace.from_environment()
    monkeypatch.setenv("RUNICORN_VIEWER_CHECK_S", "0.5")
    assert limits.Pace.from_environment() == limits.Pace(check_s=0.5)
