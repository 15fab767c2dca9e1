"""The near end of a viewer on another machine: the system's ssh, which carries a port of this machine to its socket.

The far end ends with the connection. So it is enough to end ssh: nothing of ours is left there. If this process is
killed, ssh's standard input ends, and so the viewer there ends. But ssh waits for open pages, so a guard ends ssh.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from runicorn.commands.kill_guard import KillGuard
from runicorn.errors import MissingPathError, StorageError, WrongValueError
from runicorn.host import identity
from runicorn.reading.plain_text import plain
from runicorn.viewer import address, over_ssh, sockets

if TYPE_CHECKING:
    from runicorn.commands.ssh_target import Target

SSH = "RUNICORN_VIEWER_SSH"
REMOTE_COMMAND = "RUNICORN_VIEWER_REMOTE_COMMAND"
_USUAL_COMMAND = """sh -c 'PATH="$PATH:$HOME/.local/bin"; exec runicorn "$@"' runicorn"""
"""Adds ``~/.local/bin`` to the PATH: a shell that runs one command does not read the files that add it."""
_OPTIONS = [
    *("-T", "-a", "-x"),  # a terminal would change the bytes; the other machine needs no agent and no screen
    *("-o", "ControlMaster=no", "-o", "ControlPath=none"),  # a shared connection would keep our port after our end
    *("-o", "RemoteCommand=none", "-o", "ClearAllForwardings=no", "-o", "ExitOnForwardFailure=yes"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),  # ssh ends a minute after the network has died
]
_MISUSED, _NOT_EXECUTABLE, _NOT_FOUND, _SSH_FAILED = 2, 126, 127, 255
_END_S = 1.0
_ANSWER_S = 60.0


class FarViewer:
    """A viewer on another machine, and the ssh that connects to it.

    Args:
        target: the other machine, and its storage.
        request: what to show there.
        command: starts ``runicorn`` there, as text for the shell there; empty = the environment's, else ``runicorn``.

    Raises:
        OSError: ssh is missing, ssh cannot connect, or the viewer there does not start; the text says what to do.

    Attributes:
        entry: what other commands of this machine find the viewer by.
        page: address of the page of the run that was asked for.
    """

    def __init__(self, target: Target, request: over_ssh.Request, command: str = "") -> None:
        self._target = target
        self._ssh = _start(_command_line(target, request, command))
        self._guard = KillGuard(self._ssh.pid)
        self._last: over_ssh.Reply | None = None
        self._reader = threading.Thread(target=self._read_last, args=(request.socket,), daemon=True)
        try:
            reply = self._ask(request)
            shown = [f"{target.login}:{storage}" for storage in reply.storages]
            self.page = reply.page
            self.entry = address.Entry(
                address.LOCAL,
                request.port,
                "",
                reply.token,
                shown,
                request.read_only,
                os.getpid(),
                identity.process_start(os.getpid()),
            )
            self._reader.start()
            self._check_port()
        except BaseException:
            self.close()
            raise

    def wait(self) -> None:
        """Wait until the viewer there has ended.

        Raises:
            OSError: the connection has ended, and the viewer has not said that it ended.
        """
        while self._reader.is_alive():
            self._reader.join(over_ssh.SIGN_S)
            self._say(b"\n")
        if self._last is None:
            raise StorageError(
                f"The connection to {self._target.login} is lost, so the viewer there ends too. The runs are "
                "untouched. Start it again with the same command, and open the new link."
            )
        if self._last.error:
            raise StorageError(f"The viewer on {self._target.login} has failed: {plain(self._last.error)}")

    def close(self) -> None:
        """End both ends."""
        assert self._ssh.stdin is not None
        assert self._ssh.stdout is not None
        self._guard.dismiss()
        with suppress(OSError):
            self._ssh.stdin.close()
        for end in (self._ssh.terminate, self._ssh.kill):
            try:
                self._ssh.wait(_END_S)
                break
            except subprocess.TimeoutExpired:  # ssh waits for open pages
                end()
        self._ssh.wait()
        if not self._reader.is_alive():
            self._ssh.stdout.close()

    def __enter__(self) -> FarViewer:
        return self

    def __exit__(self, *_: object) -> None:
        """End both ends."""
        self.close()

    def _say(self, content: bytes) -> None:
        assert self._ssh.stdin is not None
        with suppress(OSError):  # ssh has ended; its exit status is read later
            self._ssh.stdin.write(content)
            self._ssh.stdin.flush()

    def _read_last(self, socket: str) -> None:
        assert self._ssh.stdout is not None
        with suppress(ValueError):
            self._last, _ = over_ssh.read_reply(self._ssh.stdout, socket)

    def _ask(self, request: over_ssh.Request) -> over_ssh.Reply:
        assert self._ssh.stdout is not None
        self._say(msgspec.json.encode(request) + b"\n")
        try:
            reply, printed = over_ssh.read_reply(self._ssh.stdout, request.socket)
        except ValueError as error:
            raise StorageError(f"{self._target.login} has not sent an answer of a viewer: {error}.") from error
        if reply is None:
            self._guard.dismiss()
            raise StorageError(_why(self._target, self._ssh.wait(), printed))
        if reply.error:
            raise StorageError(f"On {self._target.login}: {plain(reply.error)}")
        return reply

    def _check_port(self) -> None:
        if address.ask(self.entry, "GET", "/api/v1/server", _ANSWER_S) is None:
            raise StorageError(
                f"The viewer on {self._target.login} has started, but ssh does not connect to its socket. The sshd "
                "there may forbid that (AllowStreamLocalForwarding). The viewer has ended again. Run `runicorn viewer` "
                f"there, and `ssh -L 23300:localhost:PORT {self._target.login}` here, with the port of its link."
            )


def free_port(port: int) -> int:
    """This port, or the next one that is free; ssh will listen at it.

    Raises:
        OSError: no port is free.
    """
    made, found = address.bind(address.LOCAL, port)
    made.close()
    return found


def _command_line(target: Target, request: over_ssh.Request, command: str) -> list[str]:
    ssh = shlex.split(os.environ.get(SSH) or "ssh", posix=sys.platform != "win32")
    there = command or os.environ.get(REMOTE_COMMAND) or _USUAL_COMMAND
    return [
        *ssh,
        *_OPTIONS,
        *(() if target.port is None else ("-p", str(target.port))),
        *("-L", f"{address.LOCAL}:{request.port}:{request.socket}"),
        *("--", target.login, f"{there} viewer {over_ssh.OPTION}"),
    ]


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    try:
        # In this process's group: it has the terminal to ask for passwords, and Ctrl-C reaches it too.
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except FileNotFoundError as error:
        raise MissingPathError(
            f"There is no {command[0]!r} on this machine. Install OpenSSH's client, or name another one with {SSH}."
        ) from error


def _why(target: Target, status: int, printed: bytes) -> str:
    """What to do if the far end has ended without an answer."""
    host = target.login
    if status == _SSH_FAILED or status < 0:
        return (
            f"ssh has not connected to {host}, or has lost the connection; its own message is above. Try `ssh {host}`. "
            f"If ssh says that it cannot listen at a port, look at the LocalForward lines in your ssh configuration."
        )
    if status in {_NOT_EXECUTABLE, _NOT_FOUND}:
        return (
            f"A command over ssh finds no `runicorn` on {host}. Install it there (pip install "
            f"'runicorn[viewer]'), or say where it is: --remote-command '~/venv/bin/runicorn', or {REMOTE_COMMAND}."
        )
    if status == _MISUSED:
        return (
            f"The runicorn on {host} is older than this command. Install a newer one there: "
            "pip install -U 'runicorn[viewer]'. Or run `runicorn viewer --socket` there, "
            "and here the ssh command that it prints."
        )
    said = plain(printed.decode("utf-8", "replace").strip(), keep="\n")
    return f"`runicorn viewer` on {host} has ended with the status {status}, without an answer." + (
        f"\n{said}" if said else ""
    )


def new_request(
    port: int, storages: list[str], *, run: str | None = None, read_only: bool = False, idle_s: float | None = None
) -> over_ssh.Request:
    """Make the request for a viewer; this machine reaches it by a port.

    Raises:
        WrongValueError: a name is not valid UTF-8.
    """
    for name in (*storages, run or ""):
        if not _is_text(name):
            raise WrongValueError(
                f"{name!r} has bytes that are not UTF-8. Write this name on the other machine itself."
            )
    return over_ssh.Request(sockets.new_ssh_path(), port, storages, run, read_only, idle_s)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
