"""The boundary of the calls in the training loop: no exception gets out of them, but by ``RUNICORN_STRICT=1``.

``log()`` has its own, for it is called too often for one more frame.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.refusals import Refusals

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
            self._refusals.broken(f"{call.__name__.strip('_')}()", error)
            return nothing  # type: ignore[no-any-return]

    return guard
