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
"""What an item has before its JSON text: its length, the head, and the length of that text, both below 128.

The head is the fields with the keys. A newline stands in no string of JSON, so that no value looks like the next item.
"""
_BEHIND_ITEMS = b"\x12"
_TYPE, _TYPE_IN_JSON = "/_type", b'/_type"'
_decode = msgspec.json.decode


class KeysAndText(NamedTuple):
    """One item that was read field by field; the head is None if the pattern does not find such an item."""

    keys: list[str]
    text: bytes
    head: bytes | None


class HistoryRows:
    """Reads rows: one with new keys field by field, the others by the pattern, which is twice as fast."""

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
        """The row as JSON; nothing if the pattern does not fit, or a head is new."""
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
    """What a summary or a configuration holds, from the records that change it one after the other.

    There are two changes for each row, and the last value of a key counts: its text alone is kept until it is needed.
    """

    def __init__(self) -> None:
        self._value: dict[str, Any] = {}
        self._texts: dict[bytes, bytes] = {}
        self._heads: dict[tuple[str, ...], bytes] = {}
        self._above: set[tuple[str, ...]] = set()
        self._known: dict[bytes, bytes] = {}

    @property
    def value(self) -> dict[str, Any]:
        """What it holds now."""
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
        """Change it if the pattern fits, and all heads are known."""
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
        """The head that the text of these keys waits under; None if it may not wait.

        wandb writes one key in two ways. A text may wait unless another one is that of a member of it: then the order
        in which they are set makes a difference.
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
    """The value of a JSON text; what is none stays text."""
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
    """Put a picture together again, which the row may have as one member for each of its fields."""
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
