"""What a training script calls its configuration, as JSON can hold it.

Objects of omegaconf, pydantic, attrs, ml_collections, absl and argparse are known by what they can do; none of these
libraries is imported. Nothing here raises for what is in a configuration, reads an array of a device, or consumes an
iterator: what cannot be stored becomes text. Secrets are masked as in the environment.
"""

from __future__ import annotations

import enum
import functools
import math
import os
import types
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongTypeError
from runicorn.storage.escaping import escape
from runicorn.validation import secrets
from runicorn.validation.config_objects import (
    ADDRESS,
    MOST_IN_ONE,
    NOT_THERE,
    array_text,
    attributes_of,
    fields_of,
    fields_of_argument,
    has_text,
    is_at_hand,
    is_bag,
    items_of,
    plain_of,
    qualified_name,
    shape_of,
)
from runicorn.validation.metrics import HIGHEST_INT, LOWEST_INT, plain_elements
from runicorn.validation.secret_names import MASK, is_secret, strength

if TYPE_CHECKING:
    from collections.abc import Iterable

SECONDS = 2.0
"""How long one call may convert; from then on values are only named."""

_MOST_VALUES = 300_000
_MOST_CHARACTERS = 4_000_000
_LONGEST_TEXT = 20_000
_LONGEST_WHEN_FULL = 200
_LONGEST_KEY = 500
_DEEPEST = 40
_MOST_ELEMENTS = 64
_CUT = "<cut>"

_PLAIN_NUMBERS = frozenset({int, float, bool})


def config_dict(name: str, given: Any) -> dict[str, Any]:
    """An argument of ``log_config()`` as a dict that JSON can hold.

    Raises:
        TypeError: neither a mapping nor an object with attributes.
    """
    conversion = _Conversion()
    found = conversion.of_argument(given)
    if found is NOT_THERE:
        raise WrongTypeError(
            f"log_config(): {name} is of type {type(given).__name__}. Write a dict, or an object with fields such as "
            f'an argparse.Namespace, for example log_config({name}={{"lr": 0.1}}). Nothing was stored.'
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
        raise WrongTypeError(
            f"log_config(): config_files is of type {type(given).__name__}. Write a path, or a list of paths, "
            'for example config_files=["train.yaml"]. Nothing was stored.'
        ) from None


class _Conversion:
    """One conversion: what is being converted, and what is left of its budgets."""

    def __init__(self) -> None:
        self._until = monotonic() + SECONDS
        self._values_left = _MOST_VALUES
        self._characters_left = _MOST_CHARACTERS
        self._open: set[int] = set()
        self._known: dict[str, str] = {}

    def of_argument(self, given: Any) -> Any:
        """A whole argument; ``NOT_THERE`` if it is no configuration."""
        try:
            fields = fields_of_argument(given)
            if fields is None:
                return NOT_THERE
            self._open.add(id(given))
            return self._dict(fields, given)
        except Exception:  # noqa: BLE001 - whatever an object's own methods raise
            return type(given).__name__

    def of(self, value: Any, name: str = "", *, secret: bool = False) -> Any:
        """A value that stands under a name; ``secret`` if a name above says that all of it is."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return self._text(value, name, secret=secret)
        if kind in {int, float}:
            return MASK if is_secret(name, value) else _number(value)
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
            # The text of a container may be as long as all that is in it.
            is_container = issubclass(kind, (dict, list, tuple, set))
            return kind.__name__ if is_container else self._text_of(value, name, secret=secret)
        finally:
            self._open.discard(id(value))

    def _is_over(self) -> bool:
        if self._values_left > 0 and self._until and monotonic() > self._until:
            self._values_left = 0
        return self._values_left <= 0

    def _of_object(self, value: Any, name: str, *, secret: bool) -> Any:
        kind = type(value)
        plain = plain_of(value)
        if plain is not NOT_THERE:
            return self.of(plain, name, secret=secret)
        if isinstance(value, (type, types.GenericAlias)):  # list[int] is a type of Python 3.10 alone
            return qualified_name(value) or self._text_of(value, name, secret=secret)
        if isinstance(value, types.ModuleType):
            return value.__name__
        if isinstance(value, functools.partial):
            return self._partial(value)
        if hasattr(kind, "get_secret_value"):  # pydantic
            return MASK
        if (shape := shape_of(value)) is not None:
            return self._array(value, shape, name, secret=secret)
        if (fields := fields_of(value)) is not None:
            return self._dict(fields, value, name, secret=secret)
        if (items := items_of(value)) is not None:
            return self._list(items, value, name, secret=secret)
        if callable(value) and (named := qualified_name(value)):
            return named
        if hasattr(kind, "set") and hasattr(kind, "get") and hasattr(kind, "get_type"):  # a reference of ml_collections
            return self.of(value.get(), name, secret=secret)
        attributes = attributes_of(value) if is_bag(kind) else None
        if attributes or (attributes is not None and has_text(kind)):
            return self._dict(attributes, value, name, secret=secret)
        return self._text_of(value, name, secret=secret)

    def _dict(
        self, fields: Iterable[tuple[Any, Any]], whole: Any, name: str = "", *, secret: bool = False
    ) -> dict[str, Any]:
        secret = secret or strength(name) == "strong"
        found: dict[str, Any] = {}
        for number, (key, value) in enumerate(fields):
            if number >= MOST_IN_ONE or self._is_over():
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
        if type(whole) in {list, tuple} and not secret and len(whole) <= MOST_IN_ONE and _are_plain_numbers(whole):
            self._values_left -= len(whole)
            return list(whole)
        if type(whole) in {list, tuple} and _is_command(whole):
            items = secrets.mask_arguments(islice(whole, MOST_IN_ONE + 1))
        found: list[Any] = []
        for number, item in enumerate(items):
            if number >= MOST_IN_ONE or self._is_over():
                found.append(f"{_CUT} {_left(whole, number)}")
                break
            self._values_left -= 1
            found.append(self.of(item, name, secret=secret))
        return found

    def _array(self, value: Any, shape: tuple[int, ...], name: str, *, secret: bool) -> Any:
        told = array_text(value, shape)
        if math.prod(shape) > _MOST_ELEMENTS or not is_at_hand(value):
            return told
        try:
            dates = getattr(value.dtype, "kind", "") in {"m", "M"}
            content = value.astype(str).tolist() if dates else plain_elements(value)
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
            if not has_text(kind):
                return f"<{kind.__module__}.{kind.__qualname__} object>"
            text = str(value)
        except Exception:  # noqa: BLE001 - as above
            return kind.__name__
        return self._text(ADDRESS.sub("", text), name, secret=secret)

    def _text(self, text: str, name: str = "", *, secret: bool = False) -> str:
        if (secret and text) or is_secret(name, text):
            return MASK
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


def _is_command(values: list[Any] | tuple[Any, ...]) -> bool:
    """Whether it is a command line: options and their values, one after the other."""
    return (
        len(values) > 1
        and type(values[0]) is str
        and all(type(each) is str for each in values)
        and any(each.startswith("-") for each in values)
    )


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."


def _left(whole: Any, number: int) -> str:
    try:
        return f"{len(whole) - number:,} more"
    except Exception:  # noqa: BLE001 - it has no length
        return "more"


def _number(value: Any) -> Any:
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if LOWEST_INT <= value <= HIGHEST_INT:
        return value
    # As a float it would be another number: seeds have 128 bit.
    return str(value) if value.bit_length() <= 4096 else f"<int of {value.bit_length():,} bit>"


def _are_plain_numbers(values: Any) -> bool:
    if not _PLAIN_NUMBERS.issuperset(map(type, values)):
        return False
    return not values or (min(values) >= LOWEST_INT and max(values) <= HIGHEST_INT and all(map(math.isfinite, values)))
