"""The arguments of ``log()`` that are not as they should be: what can be made of them, and what is refused."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongTypeError, WrongValueError
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT, clean_metrics, shown

if TYPE_CHECKING:
    from runicorn.refusals import Refusals


SWITCHES_OF_OTHERS = frozenset({"commit", "sync"})


def merged(data: Any, more: dict[str, Any], refusals: Refusals) -> dict[Any, Any]:
    """``data`` that is not a plain dict, and keyword metrics, which win."""
    if data is None:
        return more
    if not SWITCHES_OF_OTHERS.isdisjoint(more):
        more = _without_switches(more, refusals)
    if not more and type(data) is dict:
        return data
    try:
        return {**dict(data), **more}
    except Exception:  # noqa: BLE001 - whatever a mapping of the program's own raises
        return {**clean_metrics(data, refusals), **more}


def _without_switches(more: dict[str, Any], refusals: Refusals) -> dict[str, Any]:
    """Keyword metrics without the switches that ``log()`` of another tracker has, which are no metrics."""
    switches = {name for name in SWITCHES_OF_OTHERS & more.keys() if more[name] is None or type(more[name]) is bool}
    for name in sorted(switches):
        refusals.warn(
            ("switch", name),
            f"log() has no argument {name!r}: it was left out, and the metrics of the call were stored at once. "
            "Metrics of several calls belong together if the calls have the same step=.",
        )
    return {name: value for name, value in more.items() if name not in switches}


def value_by_position(data: Any, more: tuple[Any, ...], refusals: Refusals) -> tuple[Any, tuple[Any, ...]]:
    """The metrics of ``log("loss", 0.4)``, and what stands behind them."""
    if not issubclass(type(data), str):
        return data, more
    refusals.warn(
        "positional value", f"log(): a name and a value were given, and stored. Write log({{{shown(data)}: ...}})."
    )
    return {data: more[0]}, more[1:]


def clean_stage(stage: Any, refusals: Refusals) -> str | None:
    """A stage as text; None, and a refusal, for what is neither text nor a whole number."""
    kind = type(stage)  # isinstance() would ask the value itself what it is
    if issubclass(kind, str):
        return str.__str__(stage)
    number = _integral(stage) if not issubclass(kind, (bool, float)) else None
    if number is not None:
        return str(number)
    refusals.refuse(
        ("stage", type(stage)),
        WrongTypeError(
            f"log(): stage={shown(stage)} is of type {type(stage).__name__}. Write a string, for example "
            'stage="epoch_1". The metrics of the call were stored without a stage.'
        ),
    )
    return None


_LATEST_S = 1e11
"""The year 5138; larger numbers are milliseconds or nanoseconds."""

_STEP_OF_LOG = "log()", "The metrics of the call were stored at the next step."


def clean_step(step: Any, refusals: Refusals, told: tuple[str, str] = _STEP_OF_LOG) -> int | None:
    """An explicit step that is not a plain int in range; None, and a refusal, where it is no step at all."""
    number = _integral(step)
    if number is not None and LOWEST_INT <= number <= HIGHEST_INT:
        return number
    refusals.refuse(
        ("step", type(step)),
        WrongTypeError(
            f"{told[0]}: step={shown(step)} is not a whole number of at most 64 bits. Write an int, or leave it out. "
            f"{told[1]}"
        ),
    )
    return None


def step_by_position(more: tuple[Any, ...], step: Any, refusals: Refusals) -> Any:
    """The step of ``log(data, 3)``; an argument by its name wins, and whatever stands behind is refused."""
    if len(more) > 1 or step is not None:
        refusals.refuse(
            "positional arguments",
            WrongTypeError(
                f"log() takes at most two positional arguments, the metrics and the step. It was given {1 + len(more)} "
                f"arguments{'' if step is None else ' beside step='}. Write log(data, step=..., stage=...). "
                "The metrics of the call were stored; the other arguments were ignored."
            ),
        )
    else:
        refusals.warn(
            "positional step",
            f"log(): the second argument {shown(more[0])} was taken as the step. Write log(data, step=...).",
        )
    return more[0] if step is None else step


def clean_wall_time(wall_time: Any, refusals: Refusals) -> float | None:
    """A time in seconds since 1970; None, and a refusal, for what can be none."""
    try:
        kind = type(wall_time)
        if not issubclass(kind, (bool, str, bytes)):
            seconds = float(wall_time)
            if 0 <= seconds < _LATEST_S:
                return seconds
    except Exception:  # noqa: BLE001, S110 - whatever a value's own methods raise
        pass
    refusals.refuse(
        ("wall_time", type(wall_time)),
        WrongValueError(
            f"log(): wall_time={shown(wall_time)} is not a time in seconds since 1970. Write for example time.time(), "
            "or a datetime's timestamp(). The metrics of the call were stored with the time of the call."
        ),
    )
    return None


def timeout_s(given: Any, call: str) -> float:
    """A time to wait, in seconds, as a plain float.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative, or not a number ("NaN").
    """
    kind = type(given)
    try:
        if issubclass(kind, (bool, str, bytes, bytearray)) or kind.__name__ == "bool":  # NumPy's is no bool
            raise TypeError  # noqa: TRY301 - float() takes these
        seconds = float(given)
    except OverflowError:
        seconds = float("inf")
    except Exception:  # noqa: BLE001 - whatever a value's own methods raise
        raise WrongTypeError(
            f"{call}: timeout_s={shown(given)} is of type {kind.__name__}. Write a number of seconds, or None. It did "
            "not wait."
        ) from None
    if not seconds >= 0:
        raise WrongValueError(
            f"{call}: timeout_s={shown(given)} is not a time to wait. It did not wait. Write a number of seconds, 0 to "
            "wait for ever, or None."
        )
    return seconds


def _integral(step: Any) -> int | None:
    """The whole number that a step is; None where it is none."""
    try:
        return operator.index(step)
    except Exception:  # noqa: BLE001 - whatever a value's own methods raise
        if issubclass(type(step), (str, bytes)):
            return None
    try:
        number = float(step)
        return int(number) if number.is_integer() else None
    except Exception:  # noqa: BLE001 - as above
        return None
