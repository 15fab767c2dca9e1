"""What the tests by ssh share: a server of ssh, and a viewer that is reached through it."""

from __future__ import annotations

import getpass
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
from support import holds_within, wait_until

import runicorn
from runicorn.viewer import address

SSHD = "/usr/sbin/sshd"
SOURCE = Path(runicorn.__file__).parents[1]
USER = getpass.getuser()
HOST = "login.test"
PATIENCE_S = 60


class Sshd:
    """A server that lets this user in by a key made for the test, and knows nobody else.

    Args:
        folder: for its files.
        *lines: more of its configuration.
    """

    def __init__(self, folder: Path, *lines: str) -> None:
        folder.mkdir()
        self.options = ""
        self.folder, self.home = folder, folder / "far"
        self.links = self.home / "links"
        self.links.mkdir(parents=True)
        for name in ("host_key", "key"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, timeout=PATIENCE_S)
        self.write_program("runicorn", f'exec {shlex.quote(sys.executable)} -m runicorn "$@"')
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        variables = {
            "PATH": f"{self.home}:/usr/bin:/bin",
            "PYTHONPATH": str(SOURCE),
            "RUNICORN_VIEWER_DIR": str(self.links),
            "RUNICORN_CACHE_DIR": str(self.home / "cache"),
            "TMPDIR": os.environ["TMPDIR"],
        }
        configuration = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder}/host_key",
            f"AuthorizedKeysFile {folder}/key.pub",
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PidFile none",
            "SetEnv " + " ".join(f'"{name}={value}"' for name, value in variables.items()),
            *lines,
        ]
        (folder / "sshd_config").write_text("\n".join(configuration) + "\n")
        (folder / "ssh_config").write_text(
            f"Host *\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {folder}/key\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {folder}/known_hosts\n GlobalKnownHostsFile none\n BatchMode yes\n"
        )
        key = " ".join((folder / "host_key.pub").read_text().split()[:2])
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}\n")
        self.told = folder / "sshd.txt"
        with self.told.open("wb") as told:
            self.process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=told)
        wait_until(lambda: "Server listening" in self.told.read_text() or self.process.poll() is not None)
        assert self.process.poll() is None, self.told.read_text()

    @property
    def ssh(self) -> str:
        """The command that reaches it."""
        return f"ssh {self.options} -F {shlex.quote(str(self.folder / 'ssh_config'))}"

    def write_program(self, name: str, line: str) -> Path:
        """A program that commands over ssh find."""
        path = self.home / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)
        return path

    def sessions(self) -> list[psutil.Process]:
        """All that runs in it."""
        return [each for each in psutil.Process(self.process.pid).children(recursive=True) if each.is_running()]

    def close(self) -> None:
        if self.process.poll() is not None:
            return
        # Who was killed with its connection is no child of sshd any more, and has a file with its link until it ends.
        left = not holds_within(lambda: not (self.sessions() or [*self.links.rglob("*.json")]), PATIENCE_S)
        for each in self.sessions():
            each.kill()
        self.process.kill()
        self.process.wait()
        assert not left, "something ran on after its connection"


class NearViewer:
    """``runicorn viewer HOST:DIR`` as a process in a group of its own, as a shell starts it."""

    def __init__(self, sshd: Sshd, target: str, *options: object, links: Path) -> None:
        self.sshd, self.links = sshd, links
        self.told = links.parent / f"told-{os.urandom(4).hex()}.txt"
        command = [sys.executable, "-m", "runicorn", "viewer", target, "--port", "0", "--no-open", *map(str, options)]
        with self.told.open("wb") as told:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(SOURCE), "RUNICORN_VIEWER_SSH": sshd.ssh, **self.environment()},
            )
        self.link = self.process.stdout.readline().strip()

    def environment(self) -> dict[str, str]:
        return {"RUNICORN_VIEWER_DIR": str(self.links)}

    @property
    def ssh(self) -> psutil.Process:
        """The ssh that it has started."""
        (found,) = [each for each in psutil.Process(self.process.pid).children() if each.name() == "ssh"]
        return found

    def said(self) -> str:
        """All that it has written to its standard error."""
        return self.told.read_text()

    def close(self) -> None:
        with_it = psutil.Process(self.process.pid).children() if self.process.poll() is None else []
        self.process.kill()
        for each in with_it:
            each.kill()
        self.process.wait()
        self.process.stdout.close()


def entry_of(link, page=""):
    """What a link says of its viewer."""
    port, token = re.fullmatch(rf"http://127\.0\.0\.1:(\d+)/{page}#t=([\w-]+)", link).groups()
    return address.Entry("127.0.0.1", int(port), "", token, [], False, 0, "")


def ask(link, path):
    """The answer of the viewer behind a link."""
    return address.ask(entry_of(link), "GET", f"/api/v1/{path}")


def interrupt_all(near: NearViewer) -> None:
    """Ctrl-C: every process of the group in the foreground gets SIGINT."""
    os.killpg(near.process.pid, signal.SIGINT)


def is_dead(folder: Path) -> bool:
    """Whether nobody listens at the socket of a folder."""
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(folder / "viewer.sock"))
        except OSError:
            return True
    return False
