"""The far end of ``runicorn viewer USER@HOST:DIR``, without ssh: what it reads, what it answers, and when it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import wait_until

import runicorn
from runicorn.viewer import address, over_ssh, sockets

SOURCE = str(Path(runicorn.__file__).parents[1])
TOKEN = "x" * 43


class FarEnd:
    """``runicorn viewer --over-ssh`` as a process with pipes, as sshd starts it."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "runicorn", "viewer", "--over-ssh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": SOURCE},
        )
        self.socket = sockets.new_ssh_path()

    def ask(self, storage, **more):
        """Send a request; the reply to it."""
        request = {"socket": self.socket, "port": 23301, "storages": [str(storage)], **more}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        return over_ssh.read_reply(self.process.stdout, self.socket)[0]

    def is_gone(self):
        return not os.path.lexists(os.path.dirname(self.socket)) and not list(address.entries())

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        address.forget_killed()


@pytest.fixture
def far_end():
    """One of those."""
    end = FarEnd()
    yield end
    end.close()


def test_it_answers_with_a_token_and_ends_with_its_input(far_end, storage):
    """One line with the token; at the end of its input another one, exit code 0, no socket, no folder, no link."""
    storage.mkdir()
    reply = far_end.ask(storage)
    (entry,) = address.running()
    assert (reply.token, reply.storages, reply.error) == (entry.token, [str(storage)], "")
    assert entry.link == f"http://localhost:23301/#t={reply.token}"
    far_end.process.stdin.close()
    last, _ = over_ssh.read_reply(far_end.process.stdout, far_end.socket)
    assert last.ended
    assert far_end.process.wait(timeout=60) == 0
    assert far_end.is_gone()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, "silence"])
def test_it_ends_by_a_signal_and_by_silence(far_end, storage, end):
    """A signal, or no sign of the near end for the time it has named, as if the network had gone: the same."""
    storage.mkdir()
    far_end.ask(storage, silence_s=0.2 if end == "silence" else 300)
    if end != "silence":
        far_end.process.send_signal(end)
    assert far_end.process.wait(timeout=60) == 0
    assert far_end.is_gone()


def test_it_goes_on_while_signs_come():
    """Each empty line begins the wait anew; the end of the stream ends it, however long it may be silent."""
    reading, writing = os.pipe()
    os.write(writing, b"\n" * 10_000)
    os.close(writing)
    over_ssh.wait_for_silence(reading, 3600)
    os.close(reading)


def test_it_ends_if_its_input_has_ended_already(far_end, storage):
    """The near end asked, and was gone before the viewer was there; or was gone before it asked."""
    storage.mkdir()
    far_end.process.stdin.write(json.dumps({"socket": far_end.socket, "port": 1, "storages": [str(storage)]}).encode())
    far_end.process.stdin.write(b"\n")
    far_end.process.stdin.close()
    assert far_end.process.wait(timeout=60) == 0
    assert far_end.is_gone()
    other = FarEnd()
    other.process.stdin.close()
    assert other.process.wait(timeout=60) == 1
    assert other.is_gone()
    other.close()


def test_a_viewer_for_ssh_is_no_viewer_for_others(far_end, storage, start_viewer):
    """It ends with somebody's connection: a ``--socket`` of the same storage gets a viewer of its own."""
    storage.mkdir()
    reply = far_end.ask(storage)
    path = Path(os.environ["TMPDIR"]) / os.urandom(4).hex() / "s"
    viewer = start_viewer("--socket", path)
    assert reply.token not in viewer.link
    viewer.terminate()
    assert viewer.wait(timeout=60) == 0
    path.parent.rmdir()


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"\xff\xfe\n", b"[1]\n", b'{"socket": 1, "port": "x"}\n'])
def test_what_is_no_request_is_misuse(far_end, line):
    """Somebody calls it by hand: exit code 2."""
    far_end.process.stdin.write(line)
    far_end.process.stdin.close()
    assert far_end.process.wait(timeout=60) == 2


def test_a_folder_of_the_socket_that_is_there_and_open_to_others_is_refused(far_end, storage):
    """Somebody has foreseen its name: no viewer, and the folder stays as it is."""
    storage.mkdir()
    folder = os.path.dirname(far_end.socket)
    os.mkdir(folder)
    os.chmod(folder, 0o777)
    assert "0700" in far_end.ask(storage).error
    assert far_end.process.wait(timeout=60) == 1
    os.rmdir(folder)


def answer(**fields):
    return over_ssh._MARK + json.dumps({"socket": "/s", "token": TOKEN, **fields}).encode() + b"\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"token": ""},
        {"token": "short"},
        {"token": TOKEN + "\n"},
        {"token": TOKEN + "\u001b[2J"},
        {"token": TOKEN + "&x"},
        {"page": "a b"},
        {"page": "run/x#t=y"},
        {"page": "\u001b"},
        {"token": 1},
        {"storages": "x"},
    ],
)
def test_an_answer_that_cannot_stand_in_a_link_is_refused(fields):
    """Nothing of the far end gets into the terminal or a link as it likes."""
    with pytest.raises(ValueError, match="answer"):
        over_ssh.read_reply(io.BytesIO(answer(**fields)), "/s")


def test_what_is_printed_before_the_answer_is_kept_for_an_error():
    """Its end alone; more than 1 MiB without an answer is one."""
    lines = b"first\n" + b"x" * 5000 + b"\nlast\n"
    assert over_ssh.read_reply(io.BytesIO(lines + answer()), "/s")[0].token == TOKEN
    reply, printed = over_ssh.read_reply(io.BytesIO(lines + answer(socket="/other")), "/s")
    assert reply is None
    assert b"last" in printed
    assert len(printed) <= 2000
    with pytest.raises(ValueError, match="1 MiB"):
        over_ssh.read_reply(io.BytesIO(b"x\n" * (1 << 20)), "/s")


def test_names_that_are_no_text_are_shown(far_end, storage):
    """A storage there whose name has bytes that are no UTF-8, as ``RUNICORN_DIR`` may name it."""
    del storage
    request = over_ssh.Request(far_end.socket, 1)
    entry = address.Entry("", 1, "/s", TOKEN, ["/a\udcffb"], False, 1, "1")
    assert over_ssh.ready(request, entry, "").storages == ["/a\\udcffb"]
    assert over_ssh.failed(request, KeyError("no 'x'\udcff")).error == "no 'x'\\udcff"
    wait_until(lambda: far_end.process.poll() is None)
