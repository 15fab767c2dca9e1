"""Recording what a program prints: the text goes to the real stream first, then into the queue.

Only the stream objects ``sys.stdout`` and ``sys.stderr`` are replaced. There is no thread and no pipe between the
program and its terminal, so nothing of ours can hold up a ``print()``; what C libraries and child processes write
to the descriptors is not recorded. What a line finally was is found out by the writer (``writer/terminal.py``).

State of the module: the streams that were replaced in this process, and the threads that are within a patch of one. A
stream with nobody who records is a mere passage, for a logging handler may have kept it.
"""

from __future__ import annotations

import sys
from threading import get_ident
from time import time
from typing import TYPE_CHECKING, Any

from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.queue.records import CONSOLE_MODES, Printed, encode
from runicorn.queue.segment import adler32, frame, pack_frame_header
from runicorn.storage.escaping import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runicorn.session.session import Session

NAMES = {1: "stdout", 2: "stderr"}
_ONE_PIECE_BYTES = 5 * 1024

_replaced: list[CapturedStream] = []
_in_patch: set[int] = set()
"""Threads within a patched ``write`` that has handed nothing on to a captured stream yet."""


class Recorder:
    """One run's record of one stream."""

    __slots__ = ("_mode", "_queue", "_stream", "session")

    def __init__(self, session: Session, stream: int, mode: str) -> None:
        self.session = session
        self._queue = session.queue
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
        if not self._queue.checked_at <= now < self._queue.next_check_at:
            self.session.check(now)

    def _push_slowly(self, framed: bytes) -> None:
        try:
            self._queue.push_slowly(framed)
        except ClosedError:  # the run has ended: what is printed now is not its own
            return
        except SpoolFullError as error:
            self.session.refuse_full(error)


class CapturedStream:
    """Stands in the place of a text stream, and is like it in everything but that ``write()`` is recorded.

    A ``write`` that a program assigns is kept here, for it calls the one that it replaces. Other attributes are set on
    the real stream.
    """

    def __init__(self, stream: Any, number: int) -> None:
        self._runicorn_stream = stream
        self._runicorn_number = number
        self._runicorn_recorders: tuple[Recorder, ...] = ()
        self._runicorn_write = stream.write

    def write(self, text: str) -> Any:
        """Write to the real stream, at once; then record."""
        written = self._runicorn_write(text)
        if _in_patch:
            _in_patch.discard(get_ident())
        self._runicorn_record(text)
        return written

    def _runicorn_record(self, text: Any) -> None:
        if isinstance(text, str) and text:
            if type(text) is not str:
                text = str.__str__(text)
            for recorder in self._runicorn_recorders:
                recorder.record(text)

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
        elif name not in _PATCHABLE:
            setattr(self._runicorn_stream, name, value)
        else:
            self.__dict__.pop(name, None)
            owner = getattr(value, "__self__", None)
            if owner is self._runicorn_stream:  # a patch that is older than this capture is taken back
                setattr(owner, name, value)
                self._runicorn_write = owner.write
            elif owner is not self or getattr(value, "__func__", None) is not getattr(CapturedStream, name):
                is_new = name == "write" and type(value) is not _Patch
                object.__setattr__(self, name, _Patch(self, value) if is_new else value)
            _give_back_if_unused(self)

    def __delattr__(self, name: str) -> None:
        if name in self.__dict__:
            object.__delattr__(self, name)
            _give_back_if_unused(self)
        else:
            delattr(self._runicorn_stream, name)
            self._runicorn_write = self._runicorn_stream.write

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


_PATCHABLE = ("write", "writelines")


class _Patch:
    """A function that a program has assigned as ``write``; what it hands on to ours is recorded there.

    If it hands nothing on, for example because it has kept the real stream's ``write``, the text is recorded as given.
    """

    def __init__(self, stream: CapturedStream, function: Any) -> None:
        self._stream = stream
        self._function = function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        thread = get_ident()
        _in_patch.add(thread)
        try:
            written = self._function(*arguments, **named)
            if thread in _in_patch and arguments:
                self._stream._runicorn_record(arguments[0])  # noqa: SLF001 - ours
        finally:
            _in_patch.discard(thread)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_function"), name)

    def __eq__(self, other: object) -> bool:
        return bool(self._function == (other._function if isinstance(other, _Patch) else other))

    def __hash__(self) -> int:
        return hash(self._function)


def start(session: Session, mode: str) -> None:
    """Record both streams of this process for a run, until ``stop()``.

    Args:
        session: of a run of this process.
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
        # Both names may stand for one stream; and a run has one record, by however many handles, also if a program has
        # put a stream of its own over ours meanwhile.
        below = [other for other in _replaced if other._runicorn_number == number]  # noqa: SLF001 - ours
        known = {each for other in (stream, *below) for each in other._runicorn_recorders}  # noqa: SLF001 - ours
        if all(each.session.address.spool != session.address.spool for each in known):
            stream._runicorn_recorders = (*recorders, Recorder(session, number, mode))  # noqa: SLF001 - ours


def _stream_named(name: str) -> Any:
    """What a pickled stream is where it arrives."""
    return getattr(sys, name)


def stop(session: Session) -> None:
    """Record no more for a run; a stream that nobody records any more gets its place back, where it still is ours."""
    for stream in _replaced[:]:  # it becomes shorter
        kept = tuple(each for each in stream._runicorn_recorders if each.session is not session)  # noqa: SLF001 - ours
        stream._runicorn_recorders = kept  # noqa: SLF001 - ours
        _give_back_if_unused(stream)


def _give_back_if_unused(stream: CapturedStream) -> None:
    """Put the real stream in its place again, unless somebody records, or a program has a patch on ours."""
    if stream._runicorn_recorders:  # noqa: SLF001 - ours
        return
    if stream in _replaced:
        _replaced.remove(stream)
    name = NAMES[stream._runicorn_number]  # noqa: SLF001 - ours
    if getattr(sys, name) is stream and not any(patch in stream.__dict__ for patch in _PATCHABLE):
        setattr(sys, name, stream._runicorn_stream)  # noqa: SLF001 - ours
