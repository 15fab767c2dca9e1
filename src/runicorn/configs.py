"""What a training script calls its configuration, as JSON can hold it.

Objects of omegaconf, pydantic, attrs, ml_collections, absl and argparse are known by what they can do; none of these
libraries is imported. Nothing here raises for what is in a configuration, reads an array of a device, or consumes an
iterator: what cannot be stored becomes text. Secrets are masked as in the environment.
"""

from __future__ import annotations

import collections
import collections.abc
import datetime as dt
import enum
import functools
import math
import os
import re
import sys
import types
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from runicorn import secrets
from runicorn.secret_names import is_secret, strength
from runicorn.values import HIGHEST_INT, LOWEST_INT, escape, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SECONDS = 2.0
"""How long one call may convert; from then on values are only named."""

_MOST_VALUES = 300_000
_MOST_IN_ONE = 20_000
_MOST_CHARACTERS = 4_000_000
_LONGEST_TEXT = 20_000
_LONGEST_WHEN_FULL = 200
_LONGEST_KEY = 500
_DEEPEST = 40
_MOST_ELEMENTS = 64
_CUT = "<cut>"

_PLAIN_NUMBERS = frozenset({int, float, bool})
_ADDRESS = re.compile(r"(?: at)? ?\b0x[0-9a-fA-F]{6,16}\b")
_ENVIRONMENT = re.compile(r"\$\{(?:oc\.)?env:([^,}]{1,200})")
_NOT_THERE = object()


def config_dict(name: str, given: Any) -> dict[str, Any]:
    """An argument of ``log_config()`` as a dict that JSON can hold.

    Raises:
        TypeError: neither a mapping nor an object with attributes.
    """
    conversion = _Conversion()
    found = conversion.of_argument(given)
    if found is _NOT_THERE:
        raise TypeError(
            f"log_config(): {name} is of type {type(given).__name__}. Write a dict, or an object with fields such as an "
            f'argparse.Namespace, for example log_config({name}={{"lr": 0.1}}). Nothing was stored.'
        )
    if isinstance(found, dict):
        return found
    return {type(given).__name__: found}


def config_files(given: Any) -> list[str]:
    """Paths of configuration files as text.

    Raises:
        TypeError: neither a path nor several.
    """
    try:
        files = [given] if isinstance(given, (str, os.PathLike)) else list(given)
        return [secrets.mask_value(escape(os.fsdecode(os.fspath(file)))) for file in files]
    except TypeError:
        raise TypeError(
            f"log_config(): config_files is of type {type(given).__name__}. Write a path, or a list of paths, "
            'for example config_files=["train.yaml"]. Nothing was stored.'
        ) from None


class _Conversion:
    """One conversion: what is being looked at, and what is left of its budgets."""

    def __init__(self) -> None:
        self._until = monotonic() + SECONDS
        self._values_left = _MOST_VALUES
        self._characters_left = _MOST_CHARACTERS
        self._open: set[int] = set()
        self._known: dict[str, str] = {}

    def of_argument(self, given: Any) -> Any:
        """A whole argument; ``_NOT_THERE`` if it is no configuration."""
        try:
            fields = _fields_of_argument(given)
        except Exception:  # noqa: BLE001 - whatever an object's own methods raise
            return self._text_of(given)
        if fields is None:
            return _NOT_THERE
        self._open.add(id(given))
        try:
            return self._dict(fields, given)
        except Exception:  # noqa: BLE001 - as above
            return self._text_of(given)

    def of(self, value: Any, name: str = "", *, secret: bool = False) -> Any:
        """A value that stands under a name; ``secret`` if a name above says that all of it is."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value, name, secret=secret)
        if kind in {int, float}:
            return secrets.MASK if is_secret(name, value) else _number(value)
        self._values_left -= 1
        if self._is_over():
            return _CUT
        if len(self._open) >= _DEEPEST:
            return f"<{kind.__name__}, nested too deep>"
        if id(value) in self._open:
            return "<cycle>"
        self._open.add(id(value))
        try:
            return self._of_object(value, name, secret=secret)
        except Exception:  # noqa: BLE001 - whatever an object's own methods raise
            return self._text_of(value, name, secret=secret)
        finally:
            self._open.discard(id(value))

    def _is_over(self) -> bool:
        if self._values_left > 0 and self._until and monotonic() > self._until:
            self._values_left = 0
        return self._values_left <= 0

    def _of_object(self, value: Any, name: str, *, secret: bool) -> Any:
        kind = type(value)
        plain = _plain(value)
        if plain is not _NOT_THERE:
            return self.of(plain, name, secret=secret)
        if isinstance(value, type):
            return _qualified(value)
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, functools.partial):
            return self._partial(value)
        if hasattr(kind, "get_secret_value"):  # pydantic
            return secrets.MASK
        if (shape := _shape(value)) is not None:
            return self._array(value, shape, name, secret=secret)
        if (fields := _fields(value)) is not None:
            return self._dict(fields, value, name, secret=secret)
        if (items := _items(value)) is not None:
            return self._list(items, value, name, secret=secret)
        if callable(value) and (named := _qualified(value)):
            return named
        if hasattr(kind, "set") and hasattr(kind, "get") and hasattr(kind, "get_type"):  # a reference of ml_collections
            return self.of(value.get(), name, secret=secret)
        attributes = _attributes(value) if _is_bag(kind) else None
        if attributes or (attributes is not None and _has_text(kind)):
            return self._dict(attributes, value, name, secret=secret)
        return self._text_of(value, name, secret=secret)

    def _dict(
        self, fields: Iterable[tuple[Any, Any]], whole: Any, name: str = "", *, secret: bool = False
    ) -> dict[str, Any]:
        secret = secret or strength(name) == "strong"
        found: dict[str, Any] = {}
        for number, (key, value) in enumerate(fields):
            if number >= _MOST_IN_ONE or self._is_over():
                found[_CUT] = _left(whole, number)
                break
            self._values_left -= 1
            text = self._key(key)
            if text in found:  # 1 and "1"
                text = f"{text} ({type(key).__name__})"
            found[text] = self.of(value, text, secret=secret)
        return found

    def _list(self, items: Iterable[Any], whole: Any, name: str, *, secret: bool) -> list[Any]:
        secret = secret or bool(strength(name))
        if type(whole) in {list, tuple} and not secret and len(whole) <= _MOST_IN_ONE and _are_plain_numbers(whole):
            self._values_left -= len(whole)
            return list(whole)
        found: list[Any] = []
        for number, item in enumerate(items):
            if number >= _MOST_IN_ONE or self._is_over():
                found.append(f"{_CUT} {_left(whole, number)}")
                break
            self._values_left -= 1
            found.append(self.of(item, name, secret=secret))
        return found

    def _array(self, value: Any, shape: tuple[int, ...], name: str, *, secret: bool) -> Any:
        told = _told(value, shape)
        if math.prod(shape) > _MOST_ELEMENTS or not _is_at_hand(value):
            return told
        try:
            dates = getattr(value.dtype, "kind", "") in {"m", "M"}
            content = value.astype(str).tolist() if dates else value.tolist()
        except Exception:  # noqa: BLE001 - a library's own refusal
            return told
        return self.of(content, name, secret=secret)

    def _partial(self, value: functools.partial[Any]) -> str:
        given = [str(self.of(each)) for each in value.args]
        given += [f"{key}={self.of(each, str(key))}" for key, each in value.keywords.items()]
        return self._text(f"functools.partial({', '.join([str(self.of(value.func)), *given])})")

    def _key(self, key: Any) -> str:
        if type(key) is str:
            text = key
        elif isinstance(key, enum.Enum):
            text = str(key.value)
        elif isinstance(key, tuple):
            text = f"({', '.join(self._key(each) for each in islice(key, 20))})"
        else:
            text = str(self.of(key)) if key is not None else "None"
        known = self._known.get(text)
        if known is None:
            known = self._known[text] = _cut(secrets.mask_value(escape(text[: 2 * _LONGEST_KEY])), _LONGEST_KEY)
        return known

    def _text_of(self, value: Any, name: str = "", *, secret: bool = False) -> str:
        """The ``str()`` of an object without addresses in memory; its type's name if it has none."""
        kind = type(value)
        try:
            if not _has_text(kind):
                return f"<{kind.__module__}.{kind.__qualname__} object>"
            text = str(value)
        except Exception:  # noqa: BLE001 - as above
            return kind.__name__
        return self._text(_ADDRESS.sub("", text), name, secret=secret)

    def _text(self, text: str, name: str = "", *, secret: bool = False) -> str:
        if (secret and text) or is_secret(name, text):
            return secrets.MASK
        known = self._known.get(text) if len(text) < 100 else None
        if known is not None:
            return known
        limit = _LONGEST_TEXT if self._characters_left > 0 else _LONGEST_WHEN_FULL
        masked = secrets.mask_value(escape(text[: limit + 4000]))
        if len(text) > limit:
            masked = f"{masked[:limit]}... (cut: {len(text):,} characters)"
        self._characters_left -= len(masked)
        if len(text) < 100:
            self._known[text] = masked
        return masked


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _left(whole: Any, number: int) -> str:
    try:
        return f"{len(whole) - number:,} more"
    except Exception:  # noqa: BLE001 - it has no length
        return "more"


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if LOWEST_INT <= value <= HIGHEST_INT:
        return value
    # As a float it would be another number: seeds have 128 bit.
    return str(value) if value.bit_length() <= 4096 else f"<int of {value.bit_length():,} bit>"


def _are_plain_numbers(values: Any) -> bool:
    if not _PLAIN_NUMBERS.issuperset(map(type, values)):
        return False
    return not values or (min(values) >= LOWEST_INT and max(values) <= HIGHEST_INT and all(map(math.isfinite, values)))


def _plain(value: Any) -> Any:
    """A value of one of Python's own simple types, or of a kind of them, as one of those."""
    if isinstance(value, enum.Enum):
        return value.value
    for base in (int, float):
        if isinstance(value, base):
            return base(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray)):
        return bytes(value[: 2 * _LONGEST_TEXT]).decode("utf-8", "backslashreplace")
    if isinstance(value, memoryview):
        return f"<memoryview of {value.nbytes:,} bytes>"
    if isinstance(value, os.PathLike):
        return os.fsdecode(os.fspath(value))
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return _NOT_THERE


def _qualified(value: Any) -> str | None:
    """The name of a class or function, with its module's; None if it has none, as a partly bound type has."""
    if getattr(value, "__origin__", None) is not None:  # list[int]
        return None
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if not isinstance(name, str):
        return None
    module = getattr(value, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module != "builtins" else name


def _shape(value: Any) -> tuple[int, ...] | None:
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


def _told(value: Any, shape: tuple[int, ...]) -> str:
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        return f"tensor{shape}" if not hasattr(value, "dtypes") else f"{type(value).__name__}{shape}"
    if hasattr(type(value), "columns") or hasattr(type(value), "index"):  # of pandas
        return f"{type(value).__name__}{shape}"
    name = getattr(dtype, "name", None)
    return f"tensor{shape} {name if isinstance(name, str) else str(dtype).rpartition('.')[2]}"


def _is_at_hand(value: Any) -> bool:
    """Whether an array lies in this host's memory, and can be read without waiting for a device."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return True
    if hasattr(type(value), "full_tensor"):  # spread over several processes
        return False
    device = getattr(value, "device", None)
    return str(getattr(device, "type", device)) == "cpu"


def _fields(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """The items of a mapping, or the fields of an object of which the class says what they are."""
    kind = type(value)
    if isinstance(value, dict) and kind.items is dict.items and kind.__getitem__ is dict.__getitem__:
        return list(islice(dict.items(value), _MOST_IN_ONE + 1))  # a list: another thread may be adding to it
    if isinstance(value, collections.abc.Mapping) or (hasattr(kind, "__getitem__") and _has_keys(value)):
        return _items_of_mapping(value)
    if callable(getattr(kind, "flag_values_dict", None)):  # absl
        return list(value.flag_values_dict().items())
    names = _names(kind)
    if names is None:
        return None
    pairs = [(name, found) for name in names if (found := _read(value, name)) is not _NOT_THERE]
    extra = getattr(value, "__pydantic_extra__", None)
    return pairs + list(extra.items()) if isinstance(extra, dict) else pairs


def _has_keys(value: Any) -> bool:
    try:
        return callable(getattr(value, "keys", None)) and not isinstance(value, type)
    except Exception:  # noqa: BLE001 - a __getattr__ of its own
        return False


def _items_of_mapping(value: Any) -> Iterator[tuple[Any, Any]]:
    for key in islice(iter(value.keys()), _MOST_IN_ONE + 1):
        yield key, _element(value, key)


def _element(value: Any, key: Any) -> Any:
    """An element as it is read; as it was written if it cannot be, such as an interpolation of what is missing."""
    raw = _raw(value, key)
    if raw is not _NOT_THERE and not (isinstance(raw, str) and "${" in raw and not _reads_secret(raw)):
        return raw
    try:
        return value[key]
    except Exception as error:  # noqa: BLE001 - an interpolation, a value that is missing, whatever it raises
        if raw is not _NOT_THERE:
            return raw
        try:
            return value.get(key, raw=True)  # configparser
        except Exception:  # noqa: BLE001 - it has no such thing
            return f"<{type(error).__name__}>"


def _raw(value: Any, key: Any) -> Any:
    """A value of omegaconf before it is resolved, which takes ten times as long and may raise."""
    if not hasattr(type(value), "_get_node"):
        return _NOT_THERE
    try:
        # omegaconf has no public way to a single value that does not raise.
        node = object.__getattribute__(value, "__dict__")["_content"][key]
        raw = node._value()  # noqa: SLF001 - as above
    except Exception:  # noqa: BLE001 - another library's of that name
        return _NOT_THERE
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
        return _NOT_THERE
    except Exception as error:  # noqa: BLE001 - a property of its own
        return f"<{type(error).__name__}>"


def _items(value: Any) -> Iterable[Any] | None:
    """The elements of a list, a set or their like; an iterator is none of them: it would be used up."""
    if isinstance(value, (list, tuple, collections.deque)):
        return islice(iter(value), _MOST_IN_ONE + 1)
    if isinstance(value, collections.abc.Set):
        some = list(islice(iter(value), _MOST_IN_ONE + 1))
        try:
            return sorted(some)
        except Exception:  # noqa: BLE001 - of several types
            return sorted(some, key=_sort_key)
    if isinstance(value, collections.abc.Sequence) and not isinstance(value, range):
        return (_element(value, index) for index in range(min(len(value), _MOST_IN_ONE + 1)))
    return list(islice(iter(value), _MOST_IN_ONE + 1)) if isinstance(value, collections.abc.ValuesView) else None


def _sort_key(value: Any) -> tuple[str, str]:
    return type(value).__name__, _ADDRESS.sub("", shown(value))


def _has_text(kind: Any) -> bool:
    """Whether objects of a class say more of themselves than where they lie in memory."""
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__


def _is_bag(kind: Any) -> bool:
    """Whether an object's attributes say more than its text: it has no text of its own, or it has nothing else."""
    if not _has_text(kind):
        return True
    own = [vars(base) for base in kind.__mro__ if base is not object]
    return not any(
        callable(each) or hasattr(type(each), "__get__")
        for names in own
        for name, each in names.items()
        if not name.startswith("_")
    )


def _attributes(value: Any) -> list[tuple[str, Any]] | None:
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
        if not name.startswith("_") and (each := _read(value, name)) is not _NOT_THERE:
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


def _fields_of_argument(given: Any) -> Iterable[tuple[Any, Any]] | None:
    """The fields of what was given as a whole configuration; None if it is none."""
    if isinstance(given, type):
        return _attributes_of_class(given)
    if isinstance(given, types.ModuleType):
        return _public(vars(given), and_settings_only=True)
    if isinstance(given, _NO_CONFIGURATIONS) or _shape(given) is not None:
        return None
    fields = _fields(given)
    if fields is not None:
        return fields
    if isinstance(given, (collections.abc.Sequence, collections.abc.Set, collections.deque)):
        pairs = list(islice(iter(given), _MOST_IN_ONE + 1))
        return pairs if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs) else None
    return _attributes(given)
