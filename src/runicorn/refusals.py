"""How a slip inside the training loop is told: once per kind, through logging, never by an exception.

With ``RUNICORN_STRICT=1`` a refusal raises instead.
"""

from __future__ import annotations

import functools
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from runicorn.errors import WrongTypeError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LOGGER = "runicorn"
MOST_WARNINGS = 20


class Refusals:
    """The warnings of one run, in one process."""

    def __init__(self, run_id: str, *, strict: bool) -> None:
        self._run_id = run_id
        self._strict = strict
        self._seen: set[Hashable] = set()
        self._refused = 0
        self._refused_by = 0

    def refuse(self, kind: Hashable, error: Exception) -> None:
        """Warn with an error's message, once per kind.

        Raises:
            Exception: the error itself, when strict.
        """
        pid = os.getpid()
        if pid != self._refused_by:  # what the parent has counted before a fork is the parent's
            self._refused, self._refused_by = 0, pid
        self._refused += 1
        if self._strict:
            raise error
        self.warn(kind, str(error))

    def take_count(self) -> int:
        """How many refusals there were in this process since the last time that this was asked."""
        count = self._refused if self._refused_by == os.getpid() else 0
        self._refused = 0
        return count

    def warn(self, kind: Hashable, message: str) -> None:
        """Warn once per kind, and at most twenty times a run."""
        if kind in self._seen or len(self._seen) >= MOST_WARNINGS:
            return
        self._seen.add(kind)
        last = " This run shows no more kinds of warnings." if len(self._seen) == MOST_WARNINGS else ""
        _say(f"{message}{last} [run {self._run_id}]")

    def broken(self, call: str, error: Exception) -> None:
        """Tell of an exception inside this package that must not get out of a call.

        Raises:
            Exception: the error itself, when strict.
        """
        if self._strict:
            raise error
        with suppress(Exception):  # str() of an exception of the program's own may raise
            self.warn(("broken", call, type(error)), _told_of(call, error))


def _told_of(call: str, error: Exception) -> str:
    if sys.is_finalizing():  # nothing more can be imported, and our own exit hook has ended the run before
        return (
            f"{call} was called while the interpreter was shutting down, for example by a __del__: it did nothing. The "
            "run had ended before, and what was logged until then was stored. Call it before the program ends."
        )
    return (
        f"{call} failed inside runicorn: {type(error).__name__}: {error}. What this call had to store may be "
        "missing; later calls are stored. Please report it with this line."
    )


def _say(text: str) -> None:
    """Through logging, or to stderr; a handler of the program's own may raise whatever it likes."""
    try:
        import logging  # not before it is needed: 5 ms

        logging.getLogger(LOGGER).warning("%s", text)
    except Exception:  # noqa: BLE001 - out of descriptors, the interpreter is ending, a handler of the program's
        with suppress(Exception):
            sys.stderr.write(f"{text}\n")


_EXAMPLES = {
    "Run": "runicorn.init(): it makes the run",
    "init": 'init(path="cv/resnet50", storage="~/runicorn")',
    "log_text": 'log_text("a line")',
    "summary": 'summary({"final_acc": 0.9})',
    "log_config": 'log_config(args={"lr": 0.1})',
    "log_image": 'log_image("sample", image, caption="a line")',
    "log_dataset": 'log_dataset("cifar10", "/data/cifar10")',
    "log_pretrained": 'log_pretrained("bert", path_or_uri="bert-base-uncased")',
    "set_primary_metric": 'set_primary_metric("acc", mode="max")',
    "set_labels": 'set_labels(tags=["baseline"], notes="a line")',
    "finish": 'finish("failed", reason="a line"); finish() alone means that all went well',
    "flush": "flush(timeout_s=10)",
    "scan_outputs_once": 'scan_outputs_once(output_dirs=["checkpoints"])',
    "watch_outputs": 'watch_outputs(output_dirs=["checkpoints"])',
}
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class _Refusing(Protocol):
    _refusals: Refusals


_Self = TypeVar("_Self", bound=_Refusing)


def guarded(
    call: Callable[Concatenate[_Self, _Arguments], _Result],
) -> Callable[Concatenate[_Self, _Arguments], _Result]:
    """Have an exception inside a method told as a warning; the method then returns what its type is empty as."""
    nothing: Any = "" if call.__annotations__.get("return") == "str" else None

    @functools.wraps(call)
    def guard(self: _Self, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return call(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - the boundary
            if not is_wrong_call(error):
                self._refusals.broken(f"{call.__name__.strip('_')}()", error)
            elif call.__name__ == "summary" and len(args) <= 1 and kwargs:
                self._refusals.warn("summary", 'summary(): fields by keyword were stored. Write summary({"acc": 0.9}).')
                return guard(self, {**dict(*args), **kwargs})  # type: ignore[call-arg, arg-type]
            else:
                self._refusals.refuse(("called wrongly", call.__name__), called_wrongly(call, error))
            return nothing  # type: ignore[no-any-return]

    return guard


def explained(call: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Have a call with arguments that it does not have told with an example of what to write."""

    @functools.wraps(call)
    def explain(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            return call(*args, **kwargs)
        except TypeError as error:
            if not is_wrong_call(error):
                raise
            raise called_wrongly(call, error) from None

    return explain


def is_wrong_call(error: Exception) -> bool:
    """Whether the arguments of a call did not fit: Python raises that before the function's own frame is there.

    Args:
        error: as it is caught in the frame that made the call.
    """
    return type(error) is TypeError and error.__traceback__ is not None and error.__traceback__.tb_next is None


def called_wrongly(call: Callable[..., Any], error: Exception) -> WrongTypeError:
    """The error for a call with arguments that it does not have.

    Args:
        call: what was called.
        error: Python's own.
    """
    name = "Run" if call.__name__ == "__init__" else call.__name__
    what = str(error).partition("() ")[2]
    if what.startswith("takes"):  # it counts the run itself as an argument
        what = "got too many positional arguments"
    return WrongTypeError(f"{name}() {what}. Nothing was done. Write for example {_EXAMPLES.get(name, f'{name}()')}.")
