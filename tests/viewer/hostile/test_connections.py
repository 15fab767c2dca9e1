"""Who has no token can connect, and that takes nothing from who has it: no descriptors, no places, no memory."""

from __future__ import annotations

import http.client
import resource
import socket
from contextlib import ExitStack, contextmanager, suppress

import pytest
from links import link_parts
from support import wait_until

HALF = b"GET / HTTP/1.1\r\nHost: localh"
UNREAD = b"GET /static/page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 30


@contextmanager
def few_descriptors(count):
    """What is started in this block may have so many open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def status_of(link, path):
    port, token = link_parts(link)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"X-Runicorn-Token": token})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize("sent", [b"", HALF, UNREAD], ids=["nothing", "half", "unread"])
def test_connections_without_a_token_take_nothing(start_viewer, make_run, sent):
    """300 that send nothing, half a request, or read no answer: the table, a stream and the end are as ever."""
    make_run()
    with few_descriptors(256):
        viewer = start_viewer("--port", 0)
    port, token = link_parts(viewer.link)
    stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    stream.request("GET", "/api/v1/live?list=1", headers={"X-Runicorn-Token": token})
    events = stream.getresponse()
    assert events.readline() == b"event: hello\n"
    with ExitStack() as opened:
        for _ in range(300):
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            connection.setblocking(False)
            with suppress(OSError):  # it was closed already, or takes no more
                connection.send(sent)
        assert status_of(viewer.link, "/api/v1/runs") == 200
        assert status_of(viewer.link, "/") == 200
        viewer.terminate()
        assert b"event: bye\n" in events.read()
        viewer.wait(timeout=60)
    stream.close()
    assert "Traceback" not in viewer.told.read_text()


def test_a_connection_that_waits_is_ended(start_program, make_run):
    """On which no request comes, or half of one, or a whole one and then none, is closed by the viewer."""
    make_run()
    viewer = start_program(
        "import sys\nfrom runicorn.viewer import limits\nlimits.REQUEST_S = 0.2\nfrom runicorn.cli import main\n"
        "sys.exit(main(['viewer', '--port', '0', '--no-open', '--storage', sys.argv[1]]))"
    )
    port, token = link_parts(viewer.stdout.readline())
    stream = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    stream.request("GET", "/api/v1/live", headers={"X-Runicorn-Token": token})
    events = stream.getresponse()
    for sent in (b"", HALF, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(sent)

            def is_closed(connection=connection):
                try:
                    return not connection.recv(65_536)
                except ConnectionResetError:
                    return True

            wait_until(is_closed)
    viewer.terminate()
    assert b"event: bye\n" in events.read()  # the one that is answered was not
    stream.close()
    viewer.communicate(timeout=60)
