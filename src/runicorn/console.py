"""Recording what a program prints: the text goes to the real stream first, then into the queue.

Only the stream objects ``sys.stdout`` and ``sys.stderr`` are replaced. There is no thread and no pipe between the
program and its terminal, so nothing of ours can hold up a ``print()``; what C libraries and child processes write
to the descriptors is not recorded. What a line finally was is found out by the writer (``writer/terminal.py``).

State of the module: the streams that were replaced in this process. A stream with nobody who records is a mere
passage, for a logging handler may have kept it.
"""

from __future__ import annotations

import sys
from threading import get_ident
from time import time
from typing import TYPE_CHECKING, Any

from runicorn.session import ClosedError, SpoolFullError
from runicorn.values import escape
from runicorn.writer.records import CONSOLE_MODES, Printed, encode
from runicorn.writer.segment import adler32, frame, pack_frame_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runicorn.run import Run

NAMES = {1: "stdout", 2: "stderr"}
_ONE_PIECE_BYTES = 5 * 1024

_replaced: list[CapturedStream] = []


class Recorder:
    """One run's record of one stream."""

    __slots__ = ("_mode", "_queue", "_stream", "run")

    def __init__(self, run: Run, stream: int, mode: str) -> None:
        self.run = run
        self._queue = run._queue  # noqa: SLF001 - ours, not the public's
        self._stream = stream
        self._mode = CONSOLE_MODES.index(mode)

    def record(self, text: str) -> None:
        """Push what was written; what cannot be stored is counted, and never raises into a ``print()``."""
        now = time()
        try:
            payload = encode(Printed(now, self._stream, self._mode, get_ident(), text))
        except UnicodeEncodeError:
            payload = encode(Printed(now, self._stream, self._mode, get_ident(), escape(text)))
        size = len(payload)
        framed = pack_frame_header(size, adler32(payload)) + payload if size <= _ONE_PIECE_BYTES else frame(payload)
        try:
            self._queue.push(framed)
        except ValueError:
            self._push_slowly(framed)
        run = self.run
        if not run._looked_at <= now < run._look_at:  # noqa: SLF001 - as above
            run._look(now)  # noqa: SLF001 - as above

    def _push_slowly(self, framed: bytes) -> None:
        try:
            self._queue.push_slowly(framed)
        except ClosedError:  # the run has ended: what is printed now is not its own
            return
        except SpoolFullError as error:
            self.run._refuse_full(error)  # noqa: SLF001 - as above


class CapturedStream:
    """Stands in the place of a text stream, and is like it in everything but that ``write()`` is recorded."""

    def __init__(self, stream: Any, number: int) -> None:
        self._runicorn_stream = stream
        self._runicorn_number = number
        self._runicorn_recorders: tuple[Recorder, ...] = ()
        self._runicorn_write = stream.write

    def write(self, text: str) -> Any:
        """Write to the real stream, at once; then record."""
        written = self._runicorn_write(text)
        if isinstance(text, str) and text:
            if type(text) is not str:
                text = str.__str__(text)
            for recorder in self._runicorn_recorders:
                recorder.record(text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_runicorn_"):  # asked by copy() and the like of one that is not whole yet
            raise AttributeError(name)
        return getattr(self._runicorn_stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_runicorn_"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._runicorn_stream, name, value)

    def __iter__(self) -> Any:
        return iter(self._runicorn_stream)

    def __enter__(self) -> Any:
        self._runicorn_stream.__enter__()
        return self

    def __exit__(self, *error: object) -> Any:
        return self._runicorn_stream.__exit__(*error)

    def __reduce__(self) -> Any:
        return _stream_named, (NAMES[self._runicorn_number],)

    def __repr__(self) -> str:
        return f"<recorded by runicorn: {self._runicorn_stream!r}>"

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """That of the real stream: ``isinstance(sys.stdout, io.TextIOWrapper)`` stays what it was."""
        return type(self._runicorn_stream)


def start(run: Run, mode: str) -> None:
    """Record both streams of this process for a run, until ``stop()``.

    Args:
        run: of this process.
        mode: one of ``CONSOLE_MODES``: what becomes of progress bars.
    """
    for number, name in NAMES.items():
        stream = getattr(sys, name)
        if stream is None:  # a program without a console
            continue
        if type(stream) is not CapturedStream:
            stream = CapturedStream(stream, number)
            setattr(sys, name, stream)
        if stream not in _replaced:
            _replaced.append(stream)
        recorders = stream._runicorn_recorders  # noqa: SLF001 - ours
        # Both names may stand for one stream; and a run has one record, by however many handles.
        if all(_spool_of(each.run) != _spool_of(run) for each in recorders):
            stream._runicorn_recorders = (*recorders, Recorder(run, number, mode))  # noqa: SLF001 - ours


def _spool_of(run: Run) -> str:
    return run._session.address.spool  # noqa: SLF001 - ours


def _stream_named(name: str) -> Any:
    """What a pickled stream is where it arrives."""
    return getattr(sys, name)


def stop(run: Run) -> None:
    """Record no more for a run; a stream that nobody records any more gets its place back, where it still is ours."""
    for stream in list(_replaced):
        kept = tuple(each for each in stream._runicorn_recorders if each.run is not run)  # noqa: SLF001 - ours
        stream._runicorn_recorders = kept  # noqa: SLF001 - ours
        if not kept:
            _replaced.remove(stream)
            name = NAMES[stream._runicorn_number]  # noqa: SLF001 - ours
            if getattr(sys, name) is stream:
                setattr(sys, name, stream._runicorn_stream)  # noqa: SLF001 - ours
