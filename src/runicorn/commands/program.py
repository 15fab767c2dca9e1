"""A program that runs in our terminal as if it were started there; what it prints is also handed on as text.

Its standard input is ours. A stream of ours that is a terminal is a terminal for the program too, of the same size;
any other one is a pipe. Signals that are sent to us are sent on. The program itself gets the
signals of a terminal's keys, because it is in our process group.
"""

from __future__ import annotations

import codecs
import errno
import os
import selectors
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_READ_BYTES = 64 * 1024
_POLL_S = 0.05
_REST_BYTES = 1024 * 1024
"""How much is read on after the program's end, more than a pipe holds: what it has started may write for ever."""
_OF_KEYS = {"SIGINT", "SIGQUIT"}
_SENT_ON = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Program:
    """A program that has been started.

    Args:
        words: the program and its arguments.
        environment: variables beside our own.
        take: by stream, 1 or 2, what gets the text that is written to it; a stream that is not there is ours.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], take: Mapping[int, Callable[[str], Any]]
    ) -> None:
        self._take = take
        self._streams = {number: _Stream(number) for number in take}
        ends = {number: stream.theirs for number, stream in self._streams.items()}
        # One that is ignored, as by nohup, stays so, for the program inherits that.
        before = {number: signal.getsignal(number) for number in _numbers(_SENT_ON)}
        self._before = {number: handler for number, handler in before.items() if handler is not signal.SIG_IGN}
        self._process: subprocess.Popen[bytes] | None = None
        self._waiting: list[int] = []
        for number in self._before:
            signal.signal(number, self._send_on)
        if any(stream.is_terminal for stream in self._streams.values()):
            self._before[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, self._resize)
        self._process = _started(words, {**os.environ, **environment}, ends)
        for number in self._waiting:
            self._process.send_signal(number)
        for stream in self._streams.values():
            stream.close_theirs()

    def wait(self) -> int:
        """Hand on what it prints until it has ended; its exit code, or minus the number of the signal."""
        assert self._process is not None
        try:
            with selectors.DefaultSelector() as selector:
                for number, stream in self._streams.items():
                    selector.register(stream.ours, selectors.EVENT_READ, number)
                self._read_all(selector, self._process)
            return self._process.wait()
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
            for stream in self._streams.values():
                stream.close()

    def _read_all(self, selector: selectors.BaseSelector, process: subprocess.Popen[bytes]) -> None:
        rest_bytes = _REST_BYTES
        while selector.get_map():
            has_ended = process.poll() is not None
            ready = selector.select(0 if has_ended else _POLL_S)
            for key, _ in ready:
                size = self._hand_on(key.data)
                if has_ended:
                    rest_bytes -= size
                if not size:
                    selector.unregister(key.fileobj)
                    self._streams[key.data].close()
            # Asked after the end: what the program has written is there by then, however long we wait for our reader.
            if has_ended and (not ready or rest_bytes <= 0):
                return

    def _hand_on(self, number: int) -> int:
        """Read, write and record once; how many bytes, 0 if there is nothing more to do."""
        data = self._streams[number].read()
        is_read = True
        try:
            _write_all(number, data)
        except BrokenPipeError:  # the program is told so by its next write, as without us
            is_read = False
        except OSError:  # our terminal is gone, or the disk is full: the run still gets what it writes
            pass
        text = self._streams[number].text_of(data)
        if text:
            self._take[number](text)
        return len(data) if is_read else 0

    def _send_on(self, number: int, _frame: object) -> None:
        if signal.Signals(number).name in _OF_KEYS and _is_in_foreground():
            return
        if self._process is None:
            self._waiting.append(number)
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def _resize(self, number: int, _frame: object) -> None:
        """Our terminal has another size: so have the program's; it has heard of it already, and looked too early."""
        for stream in self._streams.values():
            stream.resize()
        if self._process is not None:
            self._process.send_signal(number)


class _Stream:
    """One stream of the program: our end, to read from, and theirs."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._is_open = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.is_terminal = os.name == "posix" and os.isatty(number)
        self.ours, self.theirs = _raw_terminal() if self.is_terminal else os.pipe()
        self.resize()

    def resize(self) -> None:
        """Have a terminal be of the size of the one that it stands for."""
        if self.is_terminal and self._is_open:
            import fcntl
            import termios

            with suppress(OSError):
                fcntl.ioctl(self.ours, termios.TIOCSWINSZ, fcntl.ioctl(self._number, termios.TIOCGWINSZ, bytes(8)))

    def read(self) -> bytes:
        """What has been written; empty at the end."""
        try:
            return os.read(self.ours, _READ_BYTES)
        except OSError:  # Linux says so at the end of a pseudo-terminal
            return b""

    def text_of(self, data: bytes) -> str:
        """The characters that are whole by now."""
        return self._decoder.decode(data, final=not data)

    def close_theirs(self) -> None:
        """Once the program has it."""
        os.close(self.theirs)

    def close(self) -> None:
        """Give our end back."""
        if self._is_open:
            self._is_open = False
            os.close(self.ours)


def _started(words: Sequence[str], environment: Mapping[str, str], ends: Mapping[int, int]) -> subprocess.Popen[bytes]:
    """The process of a program; a file that says of no interpreter is the shell's, as ``env`` and ``nohup`` have it.

    Raises:
        OSError: it cannot be started.
    """
    try:
        return subprocess.Popen(words, env=environment, stdout=ends.get(1), stderr=ends.get(2))
    except OSError as error:
        path = shutil.which(words[0])
        if error.errno != errno.ENOEXEC or path is None:
            raise
        shell = ["/bin/sh", path, *words[1:]]
        return subprocess.Popen(shell, env=environment, stdout=ends.get(1), stderr=ends.get(2))


def _raw_terminal() -> tuple[int, int]:
    """The two ends of a pseudo-terminal that leaves what is written to it as it is: ours does the rest."""
    import pty
    import termios

    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    return ours, theirs


def _is_in_foreground() -> bool:
    """Whether the terminal's keys send their signals to our process group, and so to the program."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)  # also if our standard input is a file
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _numbers(names: Sequence[str]) -> list[int]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody who shares the stream has it so that it does not wait: we do
            with selectors.DefaultSelector() as selector:
                selector.register(fd, selectors.EVENT_WRITE)
                selector.select()
