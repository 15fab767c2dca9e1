"""What an exception, or the way in which the interpreter ends, says about a run's status.

``sys.exit`` is wrapped while a run is open. Nothing that Python leaves behind tells ``atexit`` of a ``SystemExit``, and
most of them are raised by that call. Whether one has ended the interpreter, or was caught, is seen by when it is thrown
away: with no Python code on the stack, or with some. What neither this nor the main module's frame tells, the writer
asks the operating system for.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.storage import statuses
from runicorn.storage.escaping import escape

if TYPE_CHECKING:
    from types import FrameType

UNKNOWN_CODE = "exit code unknown"
_NO_FAILURE = (GeneratorExit, StopIteration, StopAsyncIteration)
_INTERRUPTIONS = ("BdbQuit", "CancelledError", "Cancelled")
_RUNNER = "_run_module_as_main"  # python -m

_real_exit: Any = None
_our_exit: Any = None
_exits: list[_Exit] = []
"""The last ``sys.exit()`` of the main thread."""

_main_frame: FrameType | None = None


def describe(error: BaseException) -> str:
    """Exception type and message, in one line."""
    text = _line(error)
    name = type(error).__name__
    return f"{name}: {text}" if text else name


def _line(value: Any) -> str:
    """Its text in one line that can be stored; empty if the program's own ``__str__`` raises."""
    try:
        return escape(" ".join(str(value).split())[:500])
    except Exception:  # noqa: BLE001 - whatever that raises
        return ""


def of_exception(error: BaseException | None) -> tuple[str, str | None]:
    """Status and reason of a run whose ``with`` block, or process, was left by an exception, or by none."""
    if error is None or isinstance(error, _NO_FAILURE):
        return statuses.FINISHED, None
    if isinstance(error, KeyboardInterrupt):
        return statuses.INTERRUPTED, "KeyboardInterrupt"
    if isinstance(error, SystemExit):
        return (statuses.FAILED, describe(error)) if exit_code(error.code) else (statuses.FINISHED, None)
    name = type(error).__name__
    if name in _INTERRUPTIONS and (name == "BdbQuit" or not isinstance(error, Exception)):
        return statuses.INTERRUPTED, describe(error)
    members = getattr(error, "exceptions", None)  # a group: of trio and anyio, around a KeyboardInterrupt
    if isinstance(members, tuple) and len(members) == 1 and not isinstance(error, Exception):
        return of_exception(members[0])
    code = getattr(error, "exit_code", None)  # click.exceptions.Exit, typer.Exit
    if type(code) is int:
        if code == 0:
            return statuses.FINISHED, None
        return statuses.FAILED, describe(error) if _line(error) else f"exit code {code}"
    return statuses.FAILED, describe(error)


def exit_code(code: Any) -> int:
    """What a process ends with that is left by ``SystemExit`` with this ``code``."""
    if code is None:
        return 0
    return int(code) & 0xFF if isinstance(code, int) else 1


def of_system_exit(error: SystemExit) -> tuple[str, str | None]:
    """Status and reason of a run whose process was ended by ``SystemExit``.

    One that was raised while another exception was handled has that one for its reason: a launcher that prints the
    program's exception and exits.
    """
    code = exit_code(error.code)
    if code == 0:
        return statuses.FINISHED, None
    handled = error.__context__
    if handled is None or isinstance(handled, SystemExit):
        text = "" if isinstance(error.code, int) else f": {_line(error.code)}"
        return statuses.FAILED, f"exit code {code}{text}"
    if any(isinstance(each, KeyboardInterrupt) for each in (handled, handled.__cause__, handled.__context__)):
        return statuses.INTERRUPTED, "KeyboardInterrupt"
    return statuses.FAILED, f"{describe(handled)} (exit code {code})"


def of_interpreter() -> tuple[str, str | None] | None:
    """Status and reason at ``atexit`` of what has ended the interpreter; None if nothing here tells."""
    if _has_main_returned():
        return statuses.FINISHED, None
    if _exits and _exits[-1].pid == os.getpid() and not _exits[-1].caught:
        return _exits[-1].ending
    return None


class _Exit:
    """One call of ``sys.exit()``: what it means if it was not caught."""

    def __init__(self, error: SystemExit) -> None:
        self.pid = os.getpid()
        self.ending = of_system_exit(error)
        self.caught = False


class _Witness:
    """Hangs on a ``SystemExit`` and goes with it: from within Python code if that has caught it."""

    __slots__ = ("_noted",)

    def __init__(self, noted: _Exit) -> None:
        self._noted = noted

    def __del__(self) -> None:
        with suppress(ValueError):  # no Python code is on the stack
            sys._getframe(1)  # noqa: SLF001 - documented
            self._noted.caught = True


def watch() -> None:
    """Wrap ``sys.exit``, and find which module this interpreter ends with; again at each ``init()``."""
    global _real_exit, _our_exit, _main_frame  # noqa: PLW0603 - one per process
    _main_frame = _find_main_frame()
    if _our_exit is not None:  # somebody may have wrapped ours
        return
    real = sys.exit

    @functools.wraps(real)
    def leave(status: Any = None, /) -> Any:
        try:
            real(status)
        except SystemExit as error:
            _note(error)
            raise

    _real_exit, _our_exit = real, leave
    sys.exit = leave


def unwatch() -> None:
    """No run is open any more: ``sys.exit`` is what it was, unless somebody else has set it since."""
    global _our_exit, _main_frame  # noqa: PLW0603 - as above
    _main_frame = None
    if _our_exit is not None and sys.exit is _our_exit:
        sys.exit = _real_exit
        _our_exit = None


def _note(error: SystemExit) -> None:
    if threading.current_thread() is not threading.main_thread():  # it ends that thread alone
        return
    with suppress(Exception):  # whatever the program's exceptions raise when they are printed
        noted = _Exit(error)
        error._runicorn = _Witness(noted)  # type: ignore[attr-defined]  # noqa: SLF001 - ours
        _exits[:] = [noted]


def _find_main_frame() -> FrameType | None:
    """The frame that this interpreter ends with: the main module's, or that of ``python -m``."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)  # noqa: SLF001 - documented
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame if frame is not None and frame.f_code.co_name in {"<module>", _RUNNER} else None


def _has_main_returned() -> bool:
    """Whether that frame has come to its end; a frame that was left by an exception stays where it was raised."""
    if _main_frame is None:
        return False
    try:
        import opcode
    except (OSError, ImportError):  # out of descriptors
        return False
    at = _main_frame.f_lasti
    return at >= 0 and opcode.opname[_main_frame.f_code.co_code[at]].startswith("RETURN_")
