"""What an object of a configuration holds: items, fields, elements, attributes, or the shape of an array.

Libraries are known by what their objects can do, and none is imported.
"""

from __future__ import annotations

import collections
import collections.abc
import datetime as dt
import enum
import functools
import os
import re
import sys
import types
from itertools import islice
from typing import TYPE_CHECKING, Any

from runicorn.storage.wording import counted
from runicorn.validation.json_values import text_of
from runicorn.validation.metrics import is_missing, shown
from runicorn.validation.secret_names import strength

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MOST_IN_ONE = 20_000
"""Elements of one object that are read."""

NOT_THERE = object()
"""Stands for a value that is missing, as None is one."""

ADDRESS = re.compile(r"(?: at)? ?\b0x[0-9a-fA-F]{6,16}\b")
_ENVIRONMENT = re.compile(r"\$\{(?:oc\.)?env:([^,}]{1,200})")
_LONGEST_BYTES = 40_000


def plain_of(value: Any) -> Any:
    """A value of one of Python's own simple types, or of a kind of them, as one of those."""
    if isinstance(value, enum.Enum):
        return value.value
    for base in (int, float):
        if isinstance(value, base):
            return base(value)
    if (text := text_of(value)) is not None:
        return text
    if is_missing(type(value)):
        return None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[:_LONGEST_BYTES]).decode("utf-8", "backslashreplace")
    if isinstance(value, memoryview):
        return f"<memoryview of {counted(value.nbytes, 'byte')}>"
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return NOT_THERE


def qualified_name(value: Any) -> str | None:
    """The name of a class or function, with its module's; None if it has none, as a partly bound type has."""
    if getattr(value, "__origin__", None) is not None:  # list[int]
        return None
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return None
    module = getattr(value, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name


def shape_of(value: Any) -> tuple[int, ...] | None:
    """The shape of an array, tensor or table; None if it is none."""
    kind = type(value)
    if not (hasattr(kind, "shape") or "shape" in getattr(value, "__dict__", ())):
        return None
    if not any(hasattr(value, name) for name in ("dtype", "dtypes", "numel", "item")):
        return None
    try:
        return tuple(int(size) for size in value.shape)
    except TypeError:  # an unknown rank
        return None


def array_text(value: Any, shape: tuple[int, ...]) -> str:
    """An array told by its shape and the type of its elements, which are not read."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return f"tensor{shape}" if not hasattr(value, "dtypes") else f"{type(value).__name__}{shape}"
    if hasattr(type(value), "columns") or hasattr(type(value), "index"):  # of pandas
        return f"{type(value).__name__}{shape}"
    name = getattr(dtype, "name", None)
    return f"tensor{shape} {name if isinstance(name, str) else str(dtype).rpartition('.')[2]}"


def is_at_hand(value: Any) -> bool:
    """Whether an array lies in this host's memory, and can be read without waiting for a device."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return True
    if hasattr(type(value), "full_tensor"):  # spread over several processes
        return False
    device = getattr(value, "device", None)
    return str(getattr(device, "type", device)) == "cpu"


def fields_of(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The items of a mapping, or the fields of an object of which the class says what they are."""
    kind = type(value)
    if isinstance(value, dict) and kind.items is dict.items and kind.__getitem__ is dict.__getitem__:
        return list(islice(dict.items(value), MOST_IN_ONE + 1))  # a list: another thread may be adding to it
    if isinstance(value, collections.abc.Mapping) or (hasattr(kind, "__getitem__") and _has_keys(value)):
        return _items_of_mapping(value)
    if callable(getattr(kind, "flag_values_dict", None)):  # absl
        return list(value.flag_values_dict().items())
    names = _names(kind)
    if names is None:
        return None
    pairs = [(name, found) for name in names if (found := _read(value, name)) is not NOT_THERE]
    extra = getattr(value, "__pydantic_extra__", None)
    return pairs + list(extra.items()) if isinstance(extra, dict) else pairs


def _has_keys(value: Any) -> bool:
    try:
        return callable(getattr(value, "keys", None)) and not isinstance(value, type)
    except Exception:  # noqa: BLE001 - a __getattr__ of its own
        return False


def _items_of_mapping(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in islice(iter(value.keys()), MOST_IN_ONE + 1):
        yield key, _element(value, key)


def _element(value: Any, key: Any) -> Any:
    """An element as it is read; as it was written if it cannot be, such as an interpolation of what is missing."""
    raw = _raw(value, key)
    if raw is not NOT_THERE and not (isinstance(raw, str) and "${" in raw and not _reads_secret(raw)):
        return raw
    try:
        return value[key]
    except Exception as error:  # noqa: BLE001 - an interpolation, a value that is missing, whatever it raises
        if raw is not NOT_THERE:
            return raw
        try:
            return value.get(key, raw=True)  # configparser
        except Exception:  # noqa: BLE001 - it has no such thing
            return f"<{type(error).__name__}>"


def _raw(value: Any, key: Any) -> Any:
    """A value of omegaconf before it is resolved, which takes ten times as long and may raise."""
    if not hasattr(type(value), "_get_node"):
        return NOT_THERE
    try:
        # omegaconf has no public way to a single value that does not raise.
        node = object.__getattribute__(value, "__dict__")["_content"][key]
        raw = node._value()  # noqa: SLF001 - as above
    except Exception:  # noqa: BLE001 - another library's of that name
        return NOT_THERE
    return node if isinstance(raw, (dict, list)) else raw


def _reads_secret(raw: str) -> bool:
    """Whether an interpolation would bring a secret of the environment in under another name."""
    return any(strength(name.strip()) for name in _ENVIRONMENT.findall(raw))


def _names(kind: Any) -> list[str] | None:
    """The fields that a class declares."""
    if (declared := getattr(kind, "__dataclass_fields__", None)) is not None:
        return [name for name, field in declared.items() if field._field_type.name == "_FIELD"]  # noqa: SLF001 - as dataclasses.fields()
    if (declared := getattr(kind, "__attrs_attrs__", None)) is not None:
        return [attribute.name for attribute in declared]
    if (declared := getattr(kind, "__struct_fields__", None)) is not None:  # msgspec
        return list(declared)
    if issubclass(kind, tuple) and isinstance(declared := getattr(kind, "_fields", None), tuple):
        return list(declared)
    if isinstance(declared := getattr(kind, "__pydantic_fields__", None), dict):
        return list(declared)
    for base in kind.__mro__:  # pydantic 1; asked of the class in pydantic 2 it would warn
        if isinstance(declared := vars(base).get("__fields__"), dict):
            return list(declared)
    return None


def _read(value: Any, name: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:  # a slot that was never set
        return NOT_THERE
    except Exception as error:  # noqa: BLE001 - a property of its own
        return f"<{type(error).__name__}>"


def items_of(value: Any) -> Iterable[Any] | None:
    """The elements of a list, a set or their like; an iterator is none of them: it would be used up."""
    if isinstance(value, (list, tuple, collections.deque)):
        return islice(iter(value), MOST_IN_ONE + 1)
    if isinstance(value, collections.abc.Set):
        some = list(islice(iter(value), MOST_IN_ONE + 1))
        try:
            return sorted(some)
        except Exception:  # noqa: BLE001 - of several types
            return sorted(some, key=_sort_key)
    if isinstance(value, collections.abc.Sequence) and not isinstance(value, range):
        return (_element(value, index) for index in range(min(len(value), MOST_IN_ONE + 1)))
    return list(islice(iter(value), MOST_IN_ONE + 1)) if isinstance(value, collections.abc.ValuesView) else None


def _sort_key(value: Any) -> tuple[str, str]:
    return type(value).__name__, ADDRESS.sub("", shown(value))


def has_text(kind: Any) -> bool:
    """Whether objects of a class say more of themselves than where they lie in memory."""
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def is_bag(kind: Any) -> bool:
    """Whether an object's attributes say more than its text: it has no text of its own, or it has nothing else."""
    if not has_text(kind):
        return True
    own = [vars(base) for base in kind.__mro__ if base is not object]
    return not any(
        callable(each) or hasattr(type(each), "__get__")
        for names in own
        for name, each in names.items()
        if not name.startswith("_")
    )


def attributes_of(value: Any) -> list[tuple[str, Any]] | None:
    """The public attributes that an object itself holds; None if it can hold none."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        held = None
    names = [name for base in type(value).__mro__ for name in _slots(base)]
    if not isinstance(held, dict) and not names:
        return None
    found = _public(held) if isinstance(held, dict) else []
    for name in names:
        if not name.startswith("_") and (each := _read(value, name)) is not NOT_THERE:
            found.append((name, each))
    return found


def _slots(kind: Any) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(name for name in slots if isinstance(name, str))


def _public(held: dict[Any, Any], *, and_settings_only: bool = False) -> list[tuple[Any, Any]]:
    found = [(name, each) for name, each in list(held.items()) if not (isinstance(name, str) and name.startswith("_"))]
    return [pair for pair in found if not and_settings_only or _is_setting(pair[1])]


def _is_setting(value: Any) -> bool:
    """Whether a module's or class's attribute is a value, and not a part of the program."""
    return not isinstance(value, _PROGRAM)


def _attributes_of_class(kind: type) -> list[tuple[Any, Any]]:
    found: dict[Any, Any] = {}
    for base in reversed(kind.__mro__):
        if base is not object:
            found.update(_public(dict(vars(base)), and_settings_only=True))
    return list(found.items())


_PROGRAM = (
    types.ModuleType,
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MemberDescriptorType,
    types.GetSetDescriptorType,
    classmethod,
    staticmethod,
    property,
)
_NO_CONFIGURATIONS = (
    *(str, bytes, bytearray, int, float, complex, range, enum.Enum, os.PathLike),
    *(types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial),
)


def fields_of_argument(given: Any) -> Iterable[tuple[Any, Any]] | None:
    """The fields of what was given as a whole configuration; None if it is none."""
    if isinstance(given, type):
        return _attributes_of_class(given)
    if isinstance(given, types.ModuleType):
        return _public(vars(given), and_settings_only=True)
    if isinstance(given, _NO_CONFIGURATIONS) or shape_of(given) is not None:
        return None
    fields = fields_of(given)
    if fields is not None:
        return fields
    if isinstance(given, (collections.abc.Sequence, collections.abc.Set, collections.deque)):
        pairs = list(islice(iter(given), MOST_IN_ONE + 1))
        return pairs if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs) else None
    return attributes_of(given)
