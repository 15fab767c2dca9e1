"""The value gate: what may be the value of a metric.

The gate is ours and not the encoder's: msgspec would let ``Decimal`` and ``datetime`` through as strings, and
lists, bytes and integer keys as they are.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from runicorn.devices import OnDevice, accelerator_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.refusals import Refusals
    from runicorn.writer.records import Scalar

LOWEST_INT, HIGHEST_INT = -(2**63), 2**63 - 1

AS_THEY_ARE = frozenset({float, bool, str, type(None)})
"""Types of values that need no look at all; ``int`` has a range."""

_RESERVED = {
    "step": "pass step= instead",
    "global_step": "pass step= instead",
    "time": "the time of the call is recorded by itself; give yours another name",
}
_MOST_NAMES = 100_000

known_names: set[str] = set()
"""Names that have passed the gate before, of all runs of this process: one set lookup each from then on."""


def are_plain(values: list[Any]) -> bool:
    """Whether all values are stored as they are: floats and their like, and integers that fit into 64 bit."""
    for value in values:
        if type(value) is int:
            if not LOWEST_INT <= value <= HIGHEST_INT:
                return False
        elif type(value) not in AS_THEY_ARE:
            return False
    return True


def clean_metrics(data: Any, refusals: Refusals, on_device: dict[str, OnDevice] | None = None) -> dict[str, Scalar]:
    """Names and values as they are stored; what cannot be stored is refused and left out.

    Args:
        data: what was given.
        refusals: where it is told.
        on_device: takes values that are not known yet, which are None in the result; None = they are waited for.
    """
    if type(data) is not dict:
        try:
            data = dict(data)
        except Exception:  # noqa: BLE001 - whatever a mapping of the program's own raises
            refusals.refuse(
                ("data", type(data)),
                TypeError(
                    f"log(): data is a {type(data).__name__}. Write a dict of names and numbers, for example "
                    'log({"loss": 0.4}). Nothing of it was stored.'
                ),
            )
            return {}
    cleaned: dict[str, Scalar] = {}
    for given, value in list(data.items()):  # a list: another thread may be adding to it
        name = given if type(given) is str and given in known_names else _clean_name(given, refusals)
        if name is None:
            continue
        kind = type(value)
        if kind in AS_THEY_ARE:
            cleaned[name] = value
            continue
        try:
            number = (_converters.get(kind) or _find_converter(kind))(value)
            kind_of_number = type(number)
            if kind_of_number is int and not LOWEST_INT <= number <= HIGHEST_INT:
                number = _as_float(number, name, refusals)
            elif kind_of_number is OnDevice:
                if on_device is None:
                    number = number.value.item()
                else:
                    on_device[name], number = number, None
            elif kind_of_number not in _STORED_TYPES:
                raise TypeError(f"it holds a {kind_of_number.__name__}")  # noqa: TRY301 - as a converter's
            cleaned[name] = number
        except Exception as error:  # noqa: BLE001 - whatever a value's own methods raise must not end the training
            refusals.refuse(("value", kind), _not_a_number(name, value, error))
    return cleaned


def escape_surrogates(data: dict[str, Scalar]) -> dict[str, Scalar]:
    r"""The same with lone surrogates, which UTF-8 cannot carry, written as ``\\udc80``."""
    return {escape(name): escape(value) if isinstance(value, str) else value for name, value in data.items()}


def shown(value: Any) -> str:
    """A value as a message shows it: its ``repr()``, shortened; its type where it has none."""
    try:
        return repr(value)[:100]
    except Exception:  # noqa: BLE001 - the message must come
        return f"<{type(value).__name__}>"


def escape(text: str) -> str:
    r"""Text with lone surrogates written as ``\\udc80``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _clean_name(name: Any, refusals: Refusals) -> str | None:
    if not isinstance(name, str):
        error: Exception = TypeError(
            f"log(): the name {shown(name)} is a {type(name).__name__}. Write a string, for example "
            'log({"loss": ...}). The other metrics of the call were stored.'
        )
        refusals.refuse(("name", type(name)), error)
        return None
    text = str.__str__(name)
    if not text:
        error = ValueError("log(): a metric has an empty name. Give it one. The other metrics of the call were stored.")
        refusals.refuse("empty name", error)
        return None
    if text in _RESERVED:
        error = ValueError(
            f"log(): {text!r} cannot be the name of a metric: {_RESERVED[text]}. "
            "The other metrics of the call were stored."
        )
        refusals.refuse(("reserved", text), error)
        return None
    if text != "stage":
        if len(known_names) >= _MOST_NAMES:
            known_names.clear()
        known_names.add(text)
    return text


_STORED_TYPES = frozenset({float, int, bool, str})


def _as_float(number: int, name: str, refusals: Refusals) -> float:
    as_float = float(number)
    refusals.warn(
        "large int",
        f"log(): metric {name!r} = {number} is outside signed 64 bit: it was stored as the float {as_float!r}.",
    )
    return as_float


def _nothing(_value: Any) -> Any:
    raise TypeError


_converters: dict[type, Callable[[Any], Any]] = {int: int}
"""By type, what turns a value into the one number that it carries; raises where it carries none, or several."""


def _find_converter(kind: type) -> Callable[[Any], Any]:
    convert = _converters[kind] = _converter_of(kind)
    return convert


def _converter_of(kind: type) -> Callable[[Any], Any]:
    accelerator = accelerator_of(kind)
    if accelerator is not None:
        return accelerator.number_or_hole
    for base in (bool, float, int):
        if issubclass(kind, base):
            return base
    if issubclass(kind, str):
        return str.__str__
    if hasattr(kind, "as_integer_ratio"):  # numpy's floats, seven times as fast as their item(); Decimal, Fraction
        return float
    if hasattr(kind, "is_integer"):  # numpy's integers
        return operator.index
    if callable(getattr(kind, "item", None)):  # arrays and tensors of numpy, torch, JAX; raises for several elements
        return _item
    if callable(getattr(kind, "numpy", None)):  # TensorFlow
        return lambda value: _item(value.numpy())
    if issubclass(kind, (complex, bytes, bytearray)):
        return _nothing
    if hasattr(kind, "__index__"):
        return operator.index
    if hasattr(kind, "__float__"):
        return float
    return _nothing


def _item(value: Any) -> Any:
    if getattr(getattr(value, "dtype", None), "kind", None) in {"m", "M"}:  # dates, which at ns say that they are ints
        raise TypeError("it is a date or a time span")
    number = value.item()
    return number if type(number) in _STORED_TYPES or not hasattr(number, "__float__") else float(number)


def _not_a_number(name: str, value: Any, cause: Exception) -> Exception:
    kind = type(value)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        what = f"a {kind.__name__} of shape {tuple(shape)}"
    elif isinstance(value, (list, tuple, dict, set, frozenset)):
        what = f"a {kind.__name__} of {len(value)} elements"
    else:
        what = f"of type {kind.__name__}"
    detail = f" ({cause})" if cause.args else ""
    return TypeError(
        f"log(): metric {name!r} is {what}{detail}. A metric is one number (or a bool, None or a string): log a "
        f"mean, or each element under a name of its own. The other metrics of the call were stored."
    )
