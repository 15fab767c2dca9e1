"""A program that runs in our terminal as if it were started there; what it prints is also handed on as text.

Its standard input is ours. A stream of ours that is a terminal is a terminal for the program too, of the same size;
any other one is a pipe. Signals that are sent to us are sent on. The program itself gets the
signals of a terminal's keys, because it is in our process group.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_READ_BYTES = 64 * 1024
_POLL_S = 0.05
_REST_S = 2.0
"""How long we read after the program's end: processes that it has started may hold its streams open for ever."""
_OF_KEYS = {"SIGINT", "SIGQUIT"}
_SENT_ON = ("SIGINT", "SIGQUIT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


class Program:
    """A program that has been started.

    Args:
        words: the program and its arguments.
        environment: variables beside our own.
        take: by stream, 1 or 2, what gets the text that is written to it; a stream that is not there is ours.
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
        self._process = subprocess.Popen(
            words, env={**os.environ, **environment}, stdout=ends.get(1), stderr=ends.get(2), restore_signals=True
        )
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
        ended_at: float | None = None
        while selector.get_map():
            ready = selector.select(_POLL_S)
            for key, _ in ready:
                data = self._streams[key.data].read()
                if not data:
                    selector.unregister(key.fileobj)
                self._hand_on(key.data, data)
            if ended_at is None and process.poll() is not None:
                ended_at = time.monotonic()
            if ended_at is not None and (not ready or time.monotonic() - ended_at > _REST_S):
                return

    def _hand_on(self, number: int, data: bytes) -> None:
        with suppress(OSError):  # nobody reads what we write any more: the run still gets it
            _write_all(number, data)
        text = self._streams[number].text_of(data)
        if text:
            self._take[number](text)

    def _send_on(self, number: int, _frame: object) -> None:
        if signal.Signals(number).name in _OF_KEYS and _is_in_foreground():
            return
        if self._process is None:
            self._waiting.append(number)
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(number)


class _Stream:
    """One stream of the program: our end, to read from, and theirs."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        if os.name == "posix" and os.isatty(number):
            self.ours, self.theirs = _terminal_like(number)
        else:
            self.ours, self.theirs = os.pipe()

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
        os.close(self.ours)


def _terminal_like(number: int) -> tuple[int, int]:
    """A pseudo-terminal of the same size, which leaves what is written to it as it is: ours does the rest."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)

    def resize(*_: object) -> None:
        with suppress(OSError):
            fcntl.ioctl(ours, termios.TIOCSWINSZ, fcntl.ioctl(number, termios.TIOCGWINSZ, bytes(8)))

    resize()
    before = signal.getsignal(signal.SIGWINCH)

    def resize_all(*arguments: object) -> None:
        resize()
        if callable(before):
            before(*arguments)  # type: ignore[arg-type]

    signal.signal(signal.SIGWINCH, resize_all)
    return ours, theirs


def _is_in_foreground() -> bool:
    """Whether the terminal's keys send their signals to our process group, and so to the program."""
    try:
        return os.tcgetpgrp(sys.__stdin__.fileno() if sys.__stdin__ else 0) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


def _numbers(names: Sequence[str]) -> list[int]:
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
