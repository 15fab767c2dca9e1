"""The part of YAML that trackers write: mappings and lists in block style, with plain and quoted texts.

No anchors, no tags, no keys of several lines, no types but those of JSON: what else is there stays text. So nothing can
be made to run or to grow.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from runicorn.importing.source_runs import UnreadableSourceError

_KEY = re.compile(
    r"""('(?:[^']|'')*'|"(?:[^"\\]|\\.)*"|[^\s'"\[\]{}#|>][^:#]*?|[^\s'"\[\]{}#|>]\S*?)\s*:(?:\s+(.*))?"""
)
_WORDS: dict[str, Any] = {"": None, "null": None, "~": None, "true": True, "false": False, "[]": [], "{}": {}}
_WORDS |= {".nan": math.nan, ".inf": math.inf, "-.inf": -math.inf}
_INTEGER, _FLOAT = re.compile(r"[+-]?\d{1,400}"), re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SIGNS = dict(zip("ntr0abefvN_LP", "\n\t\r\0\a\b\x1b\f\v\x85\xa0\u2028\u2029", strict=True))
_DEEPEST = 50
_BLOCK = re.compile(r"[|>][+-]?\d?")


class _Line(NamedTuple):
    indent: int
    text: str


def read(text: str) -> Any:
    """The content: dicts, lists and values; an empty dict if there is none.

    Raises:
        UnreadableSourceError: it is nested too deeply.
    """
    lines = [_Line(len(line) - len(line.lstrip(" ")), line.strip()) for line in text.splitlines()]
    start = next((at for at, line in enumerate(lines) if _counts(line)), len(lines))
    return _Reader(lines).block(start, 0)[0] if start < len(lines) else {}


def _counts(line: _Line) -> bool:
    return bool(line.text) and not line.text.startswith("#") and line.text not in {"---", "...", "%"}


class _Reader:
    """Reads blocks, each from a line on; returns what it is, and the line behind it."""

    def __init__(self, lines: list[_Line]) -> None:
        self._lines = lines
        self._following = [len(lines)] * (len(lines) + 1)  # of each line the next one that counts, itself included
        for at in reversed(range(len(lines))):
            self._following[at] = at if _counts(lines[at]) else self._following[at + 1]

    def block(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > _DEEPEST:
            raise UnreadableSourceError("YAML that is nested too deeply is not read")
        first = self._lines[at]
        if first.text == "-" or first.text.startswith("- "):
            return self._list(at, first.indent, depth)
        if _KEY.fullmatch(first.text):
            return self._mapping(at, first.indent, depth)
        return self._scalar(first.text, at + 1, first.indent - 1)

    def _list(self, at: int, indent: int, depth: int) -> tuple[list[Any], int]:
        found = []
        while (at := self._next(at)) < len(self._lines):
            line = self._lines[at]
            if line.indent != indent or not (line.text == "-" or line.text.startswith("- ")):
                break
            rest = line.text[1:].lstrip()
            if rest:  # as if it stood in a line of its own
                self._lines[at] = _Line(indent + len(line.text) - len(rest), rest)
                value, at = self.block(at, depth + 1)
            else:
                value, at = self._below(at + 1, indent, depth)
            found.append(value)
        return found, at

    def _mapping(self, at: int, indent: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while (at := self._next(at)) < len(self._lines):
            line = self._lines[at]
            match = _KEY.fullmatch(line.text) if line.indent == indent else None
            if match is None:
                break
            key, rest = str(_plain(match[1], typed=False)), (match[2] or "").strip()
            if not rest or rest.startswith("#"):
                found[key], at = self._below(at + 1, indent, depth)
            elif _BLOCK.fullmatch(rest):
                found[key], at = self._text(rest, at + 1, indent)
            else:
                found[key], at = self._scalar(rest, at + 1, indent)
        return found, at

    def _below(self, at: int, indent: int, depth: int) -> tuple[Any, int]:
        """What belongs to a key or a dash with nothing behind it."""
        after = self._next(at)
        if after < len(self._lines):
            line = self._lines[after]
            is_list = line.indent == indent and (line.text == "-" or line.text.startswith("- "))
            if line.indent > indent or (is_list and not self._lines[at - 1].text.startswith("-")):
                return self.block(after, depth + 1)
        return None, at

    def _scalar(self, text: str, at: int, indent: int) -> tuple[Any, int]:
        """A text that may go on in deeper lines; an empty line in it is a newline."""
        while at < len(self._lines) and (self._lines[at].indent > indent or not self._lines[at].text):
            line = self._lines[at].text
            at += 1
            if not line:
                if self._next(at) < len(self._lines) and self._lines[self._next(at)].indent > indent:
                    text += "\n"
            elif text.startswith('"') and text.endswith("\\"):
                text = text[:-1] + line.removeprefix("\\")
            else:
                text += line if text.endswith("\n") else f" {line}"
        return _plain(text), at

    def _text(self, mark: str, at: int, indent: int) -> tuple[str, int]:
        """A text in lines of its own, with their ends as they are, or folded."""
        begin = at
        while at < len(self._lines) and (self._lines[at].indent > indent or not self._lines[at].text):
            at += 1
        lines = self._lines[begin:at]
        least = min((line.indent for line in lines if line.text), default=0)
        kept = [" " * max(0, line.indent - least) + line.text for line in lines]
        joined = ("\n" if mark[0] == "|" else " ").join(kept).rstrip("\n ")
        return joined if "-" in mark else joined + "\n", at

    def _next(self, at: int) -> int:
        return self._following[at]


def _plain(given: str, *, typed: bool = True) -> Any:
    if len(given) >= 2 and given[0] == given[-1] == "'":
        return given[1:-1].replace("''", "'")
    if len(given) >= 2 and given[0] == given[-1] == '"':
        return _ESCAPE.sub(_sign, given[1:-1])
    if not typed:
        return given
    given = given.partition(" #")[0].rstrip()
    if given in _WORDS:
        return _WORDS[given]
    if _INTEGER.fullmatch(given):
        return int(given)
    if _FLOAT.fullmatch(given):
        return float(given)
    return _flow(given) if given[:1] in {"[", "{"} else given


def _flow(given: str) -> Any:
    """A list or a mapping in one line, if it is JSON as well; else its text."""
    import json

    try:
        return json.loads(given)
    except (ValueError, RecursionError):
        return given


def _sign(match: re.Match[str]) -> str:
    text = match[1]
    if text[0] in "xuU" and len(text) > 1:
        number = int(text[1:], 16)
        return chr(number) if number <= 0x10FFFF else match[0]
    return _SIGNS.get(text, text)
