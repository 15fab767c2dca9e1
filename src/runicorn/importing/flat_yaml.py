"""The one level of YAML that mlflow writes: a name, a colon and a plain or quoted text on each line."""

from __future__ import annotations

import re
from typing import Any

_LINE = re.compile(r"([A-Za-z_][\w.\-]*):(?: (.*))?")
_WORDS: dict[str, Any] = {"": None, "null": None, "~": None, "true": True, "false": False, "[]": [], "{}": {}}
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SIGNS = dict(zip("ntr0abefvN_LP", "\n\t\r\0\a\b\x1b\f\v\x85\xa0\u2028\u2029", strict=True))


def read(text: str) -> dict[str, Any]:
    """The members of a mapping; what is nested, or has a tag, is not read as such and stays text."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            name = match[1]
            found[name] = match[2] or ""
        elif name and line[:1] in {" ", ""}:
            found[name] = _joined(found[name], line.strip())
    return {name: _value(given.strip()) for name, given in found.items()}


def _joined(before: str, line: str) -> str:
    """A long text goes on in the next line; an empty line in it is a newline."""
    if before.startswith('"') and before.endswith("\\"):
        return before[:-1] + line.removeprefix("\\")
    if not line:
        return before + "\n"
    return f"{before}{line}" if before.endswith("\n") else f"{before} {line}"


def _value(given: str) -> Any:
    if given in _WORDS:
        return _WORDS[given]
    if len(given) >= 2 and given[0] == given[-1] == "'":
        return given[1:-1].replace("''", "'")
    if len(given) >= 2 and given[0] == given[-1] == '"':
        return _ESCAPE.sub(_sign, given[1:-1])
    if re.fullmatch(r"[+-]?\d{1,18}", given):
        return int(given)
    return given


def _sign(match: re.Match[str]) -> str:
    text = match[1]
    if text[0] in "xuU" and len(text) > 1:
        number = int(text[1:], 16)
        return chr(number) if number <= 0x10FFFF else match[0]
    return _SIGNS.get(text, text)
