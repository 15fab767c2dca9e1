"""The items of wandb's records: keys with JSON text, of which rows, summaries and configurations consist."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

import msgspec

from runicorn.importing.protobuf_wire import WireError, fields

_KEY, _NESTED_KEY, _VALUE = 1, 2, 16
_ITEM, _REMOVED = 1, 2
_BEFORE_TEXT = re.compile(rb"\n.([\n\x12][^\x82]*(?:\x82(?!\x01)[^\x82]*)*)\x82\x01[\x00-\x7f]", re.DOTALL)
"""The bytes of an item before its JSON text: the item's length, the head, and the text's length, both below 128.

The head is the fields with the keys. JSON escapes a newline in a string, so no value looks like the next item.
"""
_BEHIND_ITEMS = b"\x12"
_TYPE, _TYPE_IN_JSON = "/_type", b'/_type"'
_decode = msgspec.json.decode


class KeysAndText(NamedTuple):
    """One item that was read field by field; the head is None if the pattern cannot find such an item."""

    keys: list[str]
    text: bytes
    head: bytes | None


class HistoryRows:
    """Reads rows. A row with new keys is read field by field, other rows by the pattern, which is twice as fast."""

    def __init__(self) -> None:
        self._names: dict[bytes, bytes] = {}

    def read(self, data: bytes) -> dict[str, Any]:
        """The values of a ``HistoryRecord`` by their names, which are the keys with slashes between them.

        Raises:
            WireError: it is damaged.
        """
        text = self._by_pattern(data)
        row = _object(text) if text else None
        if row is None:
            text = self._by_fields(data)
            row = _object(text)
        if row is None:
            raise WireError("a value is no JSON")
        return _regrouped(row) if _TYPE_IN_JSON in text else row

    def _by_pattern(self, data: bytes) -> bytes:
        """The row as JSON; empty if the pattern does not fit, or a head is new."""
        parts = _BEFORE_TEXT.split(data)
        last = parts[-1]
        parts[-1] = text = last.partition(_BEHIND_ITEMS)[0]
        if parts[0] or not last or data[-len(last) - 1] != len(text):
            return b""
        try:
            parts[1::2] = map(self._names.__getitem__, parts[1::2])
        except KeyError:
            return b""
        return b"{" + b"".join(parts)[1:] + b"}"

    def _by_fields(self, data: bytes) -> bytes:
        """The row as JSON."""
        members = []
        for field in fields(data):
            if field.number == _ITEM:
                keys, text, head = item_of(field.data)
                name = json.dumps("/".join(keys)).encode() + b":"
                if head is not None:
                    self._names[head] = b"," + name
                if text:
                    members.append(name + text)
        return b"{" + b",".join(members) + b"}"


class Content:
    """A summary or a configuration, made from the records that change it one after the other.

    wandb writes two changes for each row, and only the last value of a key counts. So its text is kept, and is decoded
    when ``value`` is asked for.
    """

    def __init__(self) -> None:
        self._value: dict[str, Any] = {}
        self._texts: dict[bytes, bytes] = {}
        self._heads: dict[tuple[str, ...], bytes] = {}
        self._above: set[tuple[str, ...]] = set()
        self._known: dict[bytes, bytes] = {}

    @property
    def value(self) -> dict[str, Any]:
        """The content after all changes so far."""
        for head, text in self._texts.items():
            _change(self._value, item_of(head).keys, text)
        self._texts.clear()
        return self._value

    def change(self, data: bytes) -> None:
        """Set and remove the members that a ``ConfigRecord`` or a ``SummaryRecord`` names."""
        if self._change_by_pattern(data):
            return
        for field in fields(data):
            if field.number in {_ITEM, _REMOVED}:
                keys, text, head = item_of(field.data)
                first_head = self._first_head(tuple(keys), head) if field.number == _ITEM and head else None
                if first_head is not None:
                    self._texts[first_head] = text
                elif keys:
                    _change(self.value, keys, None if field.number == _REMOVED else text)

    def _change_by_pattern(self, data: bytes) -> bool:
        """Apply a change if the pattern fits and all heads are known; whether it did."""
        parts = _BEFORE_TEXT.split(data)
        last = parts[-1]
        if parts[0] or not last or data[-len(last) - 1] != len(last):
            return False
        try:
            heads = [*map(self._known.__getitem__, parts[1::2])]
        except KeyError:
            return False
        self._texts.update(zip(heads, parts[2::2], strict=True))
        return True

    def _first_head(self, keys: tuple[str, ...], head: bytes) -> bytes | None:
        """The head under which the text of these keys is kept; None if it must be applied at once.

        wandb writes one key in two ways, so it may have two heads. If one of two keys is a member of the other one,
        the order of their changes matters, so the later one is not kept.
        """
        above = {keys[:count] for count in range(1, len(keys))}
        if keys not in self._heads:
            if not keys or keys in self._above or not above.isdisjoint(self._heads):
                return None
            self._heads[keys] = head
            self._above |= above
        self._known[head] = self._heads[keys]
        return self._known[head]


def item_of(data: bytes) -> KeysAndText:
    """Read an item field by field."""
    keys, nested, text, number = list[str](), list[str](), b"", 0
    for field in fields(data):
        number = field.number
        if number == _KEY:
            keys = [field.text]
        elif number == _NESTED_KEY:
            nested.append(field.text)
        elif number == _VALUE:
            text = field.data
    head = data[: -len(text) - 3]
    is_usual = number == _VALUE and len(text) < 128 and data == head + b"\x82\x01" + bytes([len(text)]) + text
    return KeysAndText(keys or nested, text, head if is_usual else None)


def json_of(text: bytes) -> Any:
    """The value of a JSON text; the text itself if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "backslashreplace")


def _object(text: bytes) -> dict[str, Any] | None:
    try:
        row = _decode(text)
    except msgspec.DecodeError:  # bare NaN and Infinity
        try:
            row = json.loads(text)
        except ValueError:
            return None
    return row if type(row) is dict else None


def _regrouped(row: dict[str, Any]) -> dict[str, Any]:
    """Make one value of each picture, because a row may have its fields as separate members."""
    for name in [name for name in row if name.endswith(_TYPE)]:
        above = name[: -len(_TYPE) + 1]
        whole = {key[len(above) :]: row.pop(key) for key in [*row] if key.startswith(above)}
        row[above[:-1]] = whole
    return row


def _change(into: dict[str, Any], keys: list[str], text: bytes | None) -> None:
    """Set a nested member to a value; remove it if there is no text."""
    for key in keys[:-1]:
        below = into.get(key)
        if not isinstance(below, dict):
            below = into[key] = {}
        into = below
    if text is None:
        into.pop(keys[-1], None)
    else:
        into[keys[-1]] = json_of(text)
