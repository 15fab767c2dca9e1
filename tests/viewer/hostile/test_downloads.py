"""Downloads over a real connection: of clients that go away, that pause, and of files that change meanwhile."""

from __future__ import annotations

import http.client
import json
import os
import socket
import zipfile

import psutil
import pytest
from links import link_parts
from support import wait_until

KEY = "20260101_120000_abcdef"
SIZE_BYTES = 64 << 20


@pytest.fixture
def viewer(start_viewer, make_run):
    """A viewer of a run whose log is larger than what the buffers of a connection take."""
    run_dir = make_run()
    with (run_dir / "logs.txt").open("wb") as file:
        file.truncate(SIZE_BYTES)
    process = start_viewer("--port", 0)
    process.log = run_dir / "logs.txt"
    return process


def begun(viewer, kind, **more):
    """A connection on which a download has begun."""
    port, token = link_parts(viewer.link)
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    wish = json.dumps({"run": KEY, "kind": kind, **more})
    asking.request("POST", "/api/v1/tickets", body=wish, headers={"X-Runicorn-Token": token})
    ticket = json.loads(asking.getresponse().read())["ticket"]
    asking.close()
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(f"GET /api/v1/files/{ticket} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def end_of(viewer):
    """End the viewer; what it has told."""
    viewer.terminate()
    viewer.wait(timeout=60)
    return viewer.told.read_text()


@pytest.mark.parametrize("kind", ["log", "folder"])
def test_a_client_that_goes_leaves_no_open_file(viewer, kind):
    """In the middle of a download the connection is closed: soon the file is, too."""
    process = psutil.Process(viewer.pid)
    for _ in range(4):
        begun(viewer, kind).close()
    wait_until(lambda: str(viewer.log) not in [each.path for each in process.open_files()])
    assert "Traceback" not in end_of(viewer)


@pytest.mark.parametrize("kind", ["log", "folder"])
def test_a_paused_download_does_not_hold_the_end(viewer, kind):
    """A client that reads nothing of a large file that it downloads: the viewer ends as ever, without a traceback."""
    with begun(viewer, kind):
        assert "Traceback" not in end_of(viewer)


def test_a_file_that_shrinks_is_cut(viewer):
    """The connection ends before the length that was told, so that nobody takes it for the whole; one line says so."""
    with begun(viewer, "log") as connection:
        os.truncate(viewer.log, 1000)
        got = 0
        while piece := connection.recv(1 << 20):
            got += len(piece)
    assert got < SIZE_BYTES
    told = end_of(viewer)
    assert "has become shorter while it was sent" in told
    assert "Traceback" not in told


def test_a_member_that_is_damaged_further_back_is_cut(start_viewer, make_run):
    """The connection ends before the length that was told; one line says so, and no traceback."""
    run_dir, size = make_run(), 1 << 20
    with zipfile.ZipFile(run_dir / "code_snapshot.zip", "w") as archive:
        archive.writestr("a.py", b"x" * size)
    with (run_dir / "code_snapshot.zip").open("r+b") as file:
        file.seek(size // 2)
        file.write(b"damage")
    snapshot = {"saved": True, "size_bytes": size, "file_count": 1}
    (run_dir / "assets.json").write_text(json.dumps({"code": {"snapshot": snapshot}}))
    viewer = start_viewer("--port", 0)
    with begun(viewer, "member", number=0, member=0) as connection:
        got = 0
        while piece := connection.recv(1 << 20):
            got += len(piece)
    assert size // 2 < got < size
    told = end_of(viewer)
    assert "the answer is cut" in told
    assert "Traceback" not in told


def test_a_file_that_grows_comes_as_far_as_was_told(viewer):
    """What a live run appends meanwhile is not in it."""
    with begun(viewer, "log") as connection:
        with viewer.log.open("ab") as file:
            file.write(b"x" * 1000)
        got = b""
        while b"\r\n\r\n" not in got:
            got += connection.recv(1 << 16)
        rest = SIZE_BYTES - len(got.partition(b"\r\n\r\n")[2])
        while rest > 0:
            piece = connection.recv(1 << 20)
            assert piece
            assert b"x" not in piece
            rest -= len(piece)
    assert rest == 0
    assert "Traceback" not in end_of(viewer)
