"""``runicorn viewer USER@HOST:DIR``: whichever part ends, the others end, and nothing is left on either machine."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys

import psutil
import pytest
from far import HOST, PATIENCE_S, ask, entry_of, interrupt_all
from support import wait_until

from runicorn import cli
from runicorn.viewer import address


class Shown:
    """A viewer on the other machine that is looked at, with a stream open, and everything that it consists of."""

    def __init__(self, near, sshd):
        self.near, self.sshd = near, sshd
        self.entry = entry_of(near.link)
        self.far = psutil.Process(ask(near.link, "server")["pid"])
        self.ssh = near.ssh
        sockets = [each.laddr for each in self.far.net_connections("unix")]
        (self.socket,) = {each for each in sockets if each.startswith("/tmp/runicorn-ssh-")}
        self.stream = http.client.HTTPConnection("127.0.0.1", self.entry.port, timeout=PATIENCE_S)
        self.stream.request("GET", "/api/v1/live?list=1", headers={"X-Runicorn-Token": self.entry.token})
        self.events = self.stream.getresponse()
        assert self.events.status == 200
        self.events.readline()

    def is_gone(self):
        """No process on either side, no socket and no folder of it, and no port."""
        processes = (self.far, self.ssh)
        return (
            not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes)
            and not self.sshd.sessions()
            and not os.path.lexists(os.path.dirname(self.socket))
            and address.ask(self.entry, "GET", "/api/v1/server") is None
        )

    def words(self):
        """Files that either side has left word in, with its link."""
        return [path for folder in (self.sshd.links, self.near.links) for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def shown(far_viewer, far_storage, sshd):
    """Such a viewer."""
    viewer = Shown(far_viewer(f"{HOST}:{far_storage}"), sshd)
    assert len(viewer.words()) == 2
    yield viewer
    viewer.stream.close()


def interrupt_one(near):
    near.process.send_signal(signal.SIGINT)


def terminate(near):
    near.process.terminate()


def hang_up(near):
    near.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize("end", [interrupt_all, interrupt_one, terminate, hang_up])
def test_ending_it_here_ends_it_there(shown, end):
    """Ctrl-C, SIGTERM, or a terminal that is closed, with a stream open: exit code 0, and nothing is left."""
    end(shown.near)
    assert shown.near.process.wait(PATIENCE_S) == 0
    wait_until(shown.is_gone)
    assert shown.words() == []


def test_a_kill_of_this_end_ends_it_there(shown, capsys):
    """After SIGKILL of ``runicorn`` here, with a page open, ssh ends and the viewer there too.

    The next ``--list`` forgets its link.
    """
    started = [shown.ssh, *psutil.Process(shown.near.process.pid).children()]
    shown.near.process.kill()
    shown.near.process.wait()
    wait_until(shown.is_gone)  # the page's stream is still open
    wait_until(lambda: not any(each.is_running() for each in started))
    assert len(shown.words()) == 1
    assert list_of(shown.near.links, capsys) == ""
    assert shown.words() == []


def test_a_kill_of_ssh_ends_both(shown):
    """After SIGKILL of ssh: exit code 1, what has become of it and what to do, and nothing is left there."""
    shown.ssh.kill()
    assert shown.near.process.wait(PATIENCE_S) == 1
    assert f"The connection to {HOST} is lost" in shown.near.said()
    assert "Start it again" in shown.near.said()
    wait_until(shown.is_gone)
    assert shown.words() == []


def test_a_kill_of_the_server_of_ssh_ends_both(shown):
    """The process of sshd that has the connection gets SIGKILL, as if the machine dropped it: the same."""
    parents = [each for each in shown.sshd.sessions() if each.pid in {each.pid for each in shown.far.parents()}]
    for each in parents:
        if each.name() == "sshd":
            each.kill()
    assert shown.near.process.wait(PATIENCE_S) == 1
    assert "is lost" in shown.near.said()
    wait_until(shown.is_gone)


def test_a_network_that_is_silent_is_told(far_viewer, far_storage, sshd):
    """The other machine answers no more, and says nothing: exit code 1, after the time that the user has given ssh."""
    sshd.options = "-o ServerAliveInterval=1 -o ServerAliveCountMax=1"
    viewer = Shown(far_viewer(f"{HOST}:{far_storage}"), sshd)
    silent = [each for each in sshd.sessions() if each.name() == "sshd"]
    for each in silent:
        each.suspend()
    assert viewer.near.process.wait(PATIENCE_S) == 1
    assert "is lost" in viewer.near.said()
    for each in silent:
        each.resume()
    viewer.stream.close()
    wait_until(viewer.is_gone)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_there_ends_it_here(shown, number):
    """Who ends the viewer there ends it here: exit code 0, and it says so."""
    shown.far.send_signal(number)
    assert shown.near.process.wait(PATIENCE_S) == 0
    assert f"The viewer on {HOST} has ended." in shown.near.said()
    wait_until(shown.is_gone)
    assert shown.words() == []


def test_a_kill_there_is_told_and_cleaned_up_by_the_next_one(shown, far_viewer, far_storage):
    """After SIGKILL of the viewer there: exit code 1; the next viewer there removes the socket that was left."""
    shown.far.kill()
    assert shown.near.process.wait(PATIENCE_S) == 1
    assert os.path.exists(shown.socket)
    again = far_viewer(f"{HOST}:{far_storage}")
    assert ask(again.link, "server")["api"] == 1
    assert not os.path.exists(os.path.dirname(shown.socket))
    assert len(list(shown.sshd.links.rglob("*.json"))) == 1


def list_of(links, capsys, *options):
    """What ``runicorn viewer --list``, or another option, prints for a folder of links."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RUNICORN_VIEWER_DIR", str(links))
        assert cli.main(["viewer", *(options or ("--list",))]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("side", ["here", "there"])
def test_it_is_listed_and_stopped_on_either_machine(shown, side, capsys):
    """``--list`` shows the link that works on this machine, and ``--stop`` ends both ends."""
    links = shown.near.links if side == "here" else shown.sshd.links
    listed = list_of(links, capsys).split()
    assert listed[0].replace("localhost", "127.0.0.1") == shown.near.link
    list_of(links, capsys, "--stop")
    assert shown.near.process.wait(PATIENCE_S) == 0
    wait_until(shown.is_gone)
    assert shown.words() == []


def test_it_ends_when_nobody_looks(far_viewer, far_storage, sshd):
    """``--idle-timeout`` holds there: both ends end, with exit code 0."""
    near = far_viewer(f"{HOST}:{far_storage}", "--idle-timeout", "0.5")
    assert near.link
    assert near.process.wait(PATIENCE_S) == 0
    wait_until(lambda: not sshd.sessions())


def test_ctrl_c_while_ssh_connects_ends_it(far_storage, sshd, tmp_path):
    """Before the link, too: ssh ends with it, and the exit code is that of Ctrl-C."""
    started = tmp_path / "started"
    sshd.write_program("runicorn", f"touch {started}; exec sleep 600")
    command = [sys.executable, "-m", "runicorn", "viewer", f"{HOST}:{far_storage}", "--port", "0", "--no-open"]
    near = subprocess.Popen(command, env={**os.environ, "RUNICORN_VIEWER_SSH": sshd.ssh}, start_new_session=True)
    wait_until(started.exists)
    os.killpg(near.pid, signal.SIGINT)
    assert near.wait(PATIENCE_S) == 130
    for each in sshd.sessions():
        if "sleep" in each.name():
            each.kill()


def test_two_of_them_do_not_disturb_each_other(far_viewer, far_storage, sshd):
    """Each has a port, a socket and a token of its own; one ends, and the other goes on."""
    first, second = (far_viewer(f"{HOST}:{far_storage}") for _ in range(2))
    assert first.link != second.link
    interrupt_all(first)
    assert first.process.wait(PATIENCE_S) == 0
    wait_until(lambda: len(list(sshd.links.rglob("*.json"))) == 1)
    assert ask(second.link, "server")["api"] == 1
