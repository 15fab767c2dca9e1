"""The value gate: what may be the value of a metric.

The gate is ours and not the encoder's: msgspec would let ``Decimal`` and ``datetime`` through as strings, and
lists, bytes and integer keys as they are.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.devices import OnDevice, accelerator_of
from runicorn.errors import WrongTypeError, WrongValueError
from runicorn.storage.escaping import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.queue.records import Scalar
    from runicorn.refusals import Refusals

LOWEST_INT, HIGHEST_INT = -(2**63), 2**63 - 1

AS_THEY_ARE = frozenset({float, bool, str, type(None)})
"""Types of values that need no check at all; ``int`` has a range."""

_RESERVED = frozenset({"time", "step", "global_step"})
"""What a record has of its own under these names; a metric of that name gets a ``_`` behind it."""
_DEEPEST = 32
"""Mappings in mappings that are flattened; also the bound for one that makes new ones for ever."""
_MOST_MAPPINGS = 10_000
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
    if data is None:
        return {}
    if type(data) is not dict:
        try:
            data = dict(data)
        except Exception:  # noqa: BLE001 - whatever a mapping of the program's own raises
            refusals.refuse(
                ("data", type(data)),
                WrongTypeError(
                    f"log(): data is of type {type(data).__name__}. Write a dict of names and numbers, for example "
                    'log({"loss": 0.4}). Nothing of it was stored.'
                ),
            )
            return {}
    cleaned: dict[str, Scalar] = {}
    nested: list[_Nested] | None = None
    for given, value in list(data.items()):  # a list: another thread may be adding to it
        name = given if type(given) is str and given in known_names else _clean_name(given, data, refusals)
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
            elif kind_of_number is _Nested:
                nested = [] if nested is None else nested
                nested.append(number._replace(name=name))
                continue
            elif kind_of_number not in AS_THEY_ARE and kind_of_number is not int:
                raise TypeError(f"it holds a value of type {kind_of_number.__name__}")  # noqa: TRY301 - as a converter's
            cleaned[name] = number
        except Exception as error:  # noqa: BLE001 - whatever a value's own methods raise must not end the training
            refusals.refuse(("value", kind), _not_a_number(name, value, error))
    if nested:
        flat = _flattened(nested, refusals)
        for name in flat.keys() & cleaned.keys():
            refusals.warn(
                "twice",
                f"log(): {name!r} was given twice, once inside a nested dict: the nested value was stored.",
            )
        cleaned.update(clean_metrics(flat, refusals, on_device))
    return cleaned


class _Nested(NamedTuple):
    """A mapping that is the value of a metric."""

    mapping: Any
    name: str = ""
    inside: tuple[int, ...] = ()
    """Identities of the mappings that it is in."""


def _flattened(nested: list[_Nested], refusals: Refusals) -> dict[str, Any]:
    """What mappings hold, by names that are joined with ``/``; no value of it is a mapping."""
    flat: dict[str, Any] = {}
    opened = 0
    nested.reverse()
    while nested:
        each = nested.pop()
        opened += 1
        if id(each.mapping) in each.inside or len(each.inside) >= _DEEPEST or opened > _MOST_MAPPINGS:
            refusals.refuse("too deep", _too_deep(each))
            continue
        try:
            items = list(dict(each.mapping).items())
        except Exception as error:  # noqa: BLE001 - whatever a mapping of the program's own raises
            refusals.refuse(("value", type(each.mapping)), _not_a_number(each.name, each.mapping, error))
            continue
        deeper = []
        for key, value in items:
            name = _clean_name(key, {}, refusals, below=each.name)
            if name is None:
                continue
            if _is_mapping(type(value)):
                deeper.append(_Nested(value, name, (*each.inside, id(each.mapping))))
            else:
                flat[name] = value
        nested += reversed(deeper)
    return flat


def _too_deep(nested: _Nested) -> Exception:
    return WrongValueError(
        f"log(): metric {nested.name[:100]!r} is a dict that contains itself, or lies more than {_DEEPEST} levels "
        f"deep, or beside more than {_MOST_MAPPINGS:,} others. Log numbers by name. The other metrics of the call were "
        "stored."
    )


def _is_mapping(kind: type) -> bool:
    """Whether values of a type are flattened: mappings, and proxies of other processes' that only behave as such."""
    if issubclass(kind, Mapping):
        return True
    return hasattr(kind, "keys") and hasattr(kind, "__getitem__") and not hasattr(kind, "__array__")


def escape_surrogates(data: dict[str, Scalar]) -> dict[str, Scalar]:
    r"""The same with lone surrogates, which UTF-8 cannot carry, written as ``\\udc80``."""
    return {escape(name): escape(value) if isinstance(value, str) else value for name, value in data.items()}


def shown(value: Any) -> str:
    """A value as a message shows it: its ``repr()``, shortened; its type where it has none."""
    try:
        return repr(value)[:100]
    except Exception:  # noqa: BLE001 - the message must come
        return f"<{type(value).__name__}>"


def _clean_name(name: Any, beside: Any, refusals: Refusals, below: str | None = None) -> str | None:
    """The name of a metric as it is stored; None, and a refusal, if it is no name.

    Args:
        name: what was given.
        beside: the names of the call.
        refusals: where it is told.
        below: the name of the mapping that it stands in.
    """
    if not issubclass(type(name), str):
        error: Exception = WrongTypeError(
            f"log(): the name {shown(name)} is of type {type(name).__name__}. Write a string, for example "
            'log({"loss": ...}). The other metrics of the call were stored.'
        )
        refusals.refuse(("name", type(name)), error)
        return None
    text = str.__str__(name)
    if not text:
        error = WrongValueError(
            "log(): a metric has an empty name. Give it one. The other metrics of the call were stored."
        )
        refusals.refuse("empty name", error)
        return None
    if below is not None:
        return f"{below}/{text}"
    if text in _RESERVED:
        return _renamed(text, beside, refusals)
    if text != "stage":
        if len(known_names) >= _MOST_NAMES:
            known_names.clear()
        known_names.add(text)
    return text


def _renamed(reserved: str, beside: Any, refusals: Refusals) -> str:
    name = f"{reserved}_"
    while name in beside:
        name += "_"
    instead = "wall_time= sets the record's time" if reserved == "time" else "step= sets the record's step"
    refusals.warn(
        ("reserved", reserved),
        f"log(): a metric cannot be called {reserved!r}: it was stored as {name!r}. Give it another name; {instead}.",
    )
    return name


def _as_float(number: int, name: str, refusals: Refusals) -> float:
    as_float = float(number)
    refusals.warn(
        "large int",
        f"log(): metric {name!r} = {number} does not fit into 64 bits: it was stored as the float {as_float!r}.",
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
        return accelerator.number_or_pending
    for base, exact in _EXACT:
        if issubclass(kind, base):
            return exact
    if is_missing(kind):
        return lambda _value: None
    if _is_mapping(kind):
        return _Nested
    if hasattr(kind, "is_nan") and hasattr(kind, "as_integer_ratio"):  # Decimal: float() takes no signalling NaN
        return lambda value: math.nan if value.is_nan() else nearest_float(value)
    if hasattr(kind, "as_integer_ratio"):  # numpy's floats, seven times as fast as their item(); Fraction
        return float if kind.__module__ == "numpy" and kind.__name__ in _SHORT_FLOATS else nearest_float
    if hasattr(kind, "is_integer") and hasattr(kind, "__index__"):  # numpy's integers
        return operator.index
    if callable(getattr(kind, "item", None)):  # arrays and tensors of numpy, torch, JAX; raises for several elements
        return _item_unless_masked if hasattr(kind, "mask") or hasattr(kind, "get_mask") else _item
    if callable(getattr(kind, "as_py", None)):  # pyarrow
        return lambda value: _number(value, value.as_py())
    if callable(getattr(kind, "numpy", None)):  # TensorFlow
        return lambda value: _item(value.numpy())
    if issubclass(kind, (complex, bytes, bytearray)):
        return _nothing
    if hasattr(kind, "__index__"):
        return operator.index
    if hasattr(kind, "__float__"):
        return nearest_float
    return _nothing


# What a subclass makes of itself in its own __float__() or __str__() is not what it holds.
_EXACT: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (float, float.__float__),
    (int, int.__index__),
    (str, str.__str__),
)
_MISSING = frozenset({"NAType", "NaTType"})
_SHORT_FLOATS = frozenset({"float16", "float32"})


def is_missing(kind: type) -> bool:
    """Whether values of a type stand for one that is not there: ``NA`` and ``NaT`` of pandas."""
    return kind.__name__ in _MISSING and kind.__module__.startswith("pandas.")


def plain_elements(value: Any) -> Any:
    """What ``tolist()`` of an array or scalar gives; of a longdouble, which it leaves as it is, the nearest float."""
    plain = value.tolist()
    return nearest_float(plain) if type(plain) is type(value) and plain.dtype.kind == "f" else plain


def nearest_float(value: Any) -> float:
    """The nearest float; one that is too large is no infinity."""
    number = float(value)
    if math.isinf(number) and value != number:
        raise OverflowError("it is too large for a float")
    return number


def _item_unless_masked(value: Any) -> Any:
    """None for the one element that a masked array or tensor says is not there."""
    masked = value.get_mask() if hasattr(value, "get_mask") else value.mask
    if callable(masked):  # Series.mask() of pandas
        return _item(value)
    number = _item(value)
    is_there = bool(masked) if hasattr(value, "get_mask") else not masked
    return number if is_there else None


def _item(value: Any) -> Any:
    if getattr(getattr(value, "dtype", None), "kind", None) in {"m", "M"}:  # dates, which at ns say that they are ints
        if str(value.item()) in {"None", "NaT"}:
            return None
        raise TypeError("it is a date or a time span")
    return _number(value, value.item())


def _number(value: Any, inner: Any) -> Any:
    """The number that was in ``value``, if ``inner`` is one or holds one."""
    kind = type(inner)
    if kind in AS_THEY_ARE or kind is int:
        return inner
    if kind is type(value):  # a scalar that knows no Python type of its own: bfloat16, longdouble
        return nearest_float(inner)
    number = (_converters.get(kind) or _find_converter(kind))(inner)
    if type(number) is _Nested:
        raise TypeError("it holds a mapping")
    return number


def _not_a_number(name: str, value: Any, cause: Exception) -> Exception:
    kind = type(value)
    try:
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple):
            what = f"of type {kind.__name__} and shape {tuple(shape)}"
        elif issubclass(kind, (list, tuple, dict, set, frozenset)):
            from runicorn.storage.wording import counted  # for a message alone

            what = f"of type {kind.__name__}, with {counted(len(value), 'element')}"
        else:
            what = f"of type {kind.__name__}"
        detail = f" ({cause})" if cause.args else ""
    except Exception:  # noqa: BLE001 - the message must come
        what, detail = f"of type {kind.__name__}", ""
    return WrongTypeError(
        f"log(): metric {name!r} is {what}{detail}. A metric is one number (or a bool, None or a string): log a "
        f"mean, or each element under a name of its own. The other metrics of the call were stored."
    )
