"""What runs have in common and what not: names in rows, runs in columns."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from runicorn.reading import flat
from runicorn.viewer.answers import exact_integer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MISSING = object()
MOST_CELLS = 1_000_000
_LONGEST_TEXT = 2000
_PACKAGE = re.compile(r"(?:-e\s+\S*?#egg=)?([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:===?|@|=|$)\s*(.*)")
_LISTS = ("pip_packages", "conda_packages")

Rows = dict[str, list[Any]]


def side_by_side(contents: Sequence[Mapping[str, Any]], *, only_differing: bool = False) -> dict[str, Any]:
    """A table of the values of each name, one a run; null where a run has none.

    Where there would be more cells than are shown, names that differ come first; how many are left out is told.

    Args:
        contents: of each run, by name.
        only_differing: whether names whose values are equal are counted alone.
    """
    names = list(dict.fromkeys(name for content in contents for name in content))
    rows: Rows = {name: [content.get(name, MISSING) for content in contents] for name in names}
    differs = {name: _differ(values) for name, values in rows.items()}
    equal = sum(1 for name in names if not differs[name])
    most = max(1, MOST_CELLS // max(1, len(contents)))
    kept = [name for name in names if differs[name] or not only_differing]
    if len(kept) > most:
        kept = sorted(sorted(kept, key=lambda name: not differs[name])[:most], key=names.index)
    return {
        "names": kept,
        "values": [[cell(value) for value in rows[name]] for name in kept],
        "differs": [differs[name] for name in kept],
        "equal": equal,
        "left_out": len(names) - len(kept) - (equal if only_differing else 0),
    }


def _differ(values: list[Any]) -> bool:
    first = values[0]
    if first is MISSING:
        return any(value is not MISSING for value in values)
    return any(value is MISSING or not flat.same(first, value) for value in values[1:])


def cell(value: Any) -> Any:
    """A value as a page shows it: a number, true or false, a text; null if there is none."""
    if value is MISSING:
        return None
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        exact = exact_integer(value)
        return _cut(exact) if isinstance(exact, str) else exact
    if isinstance(value, str):
        return _cut(value)
    try:
        return _cut(json.dumps(value, ensure_ascii=False))
    except (ValueError, RecursionError):
        return f"({type(value).__name__})"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def environment_of(found: dict[str, Any]) -> dict[str, Any]:
    """What is told of an environment but for its packages; what stands in lists of objects by number."""
    plain = {name: _numbered(value) for name, value in found.items() if name not in _LISTS}
    return flat.flat(plain)


def _numbered(value: Any) -> Any:
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return {str(number): each for number, each in enumerate(value)}
    return value


def packages_of(found: dict[str, Any]) -> dict[str, Any]:
    """The version, or the address, of each package of an environment; of conda's the name says so."""
    packages: dict[str, Any] = {}
    for kind in _LISTS:
        listed = found.get(kind)
        for entry in listed if isinstance(listed, list) else ():
            if isinstance(entry, str):
                name, version = _package(entry)
                packages[f"{name} (conda)" if kind == "conda_packages" else name] = version
    return dict(sorted(packages.items()))


def _package(entry: str) -> tuple[str, str]:
    parsed = _PACKAGE.match(entry)
    if parsed is None:
        return entry, ""
    name = re.sub(r"[-_.]+", "-", parsed[1]).lower()
    return name, parsed[2] or (entry if entry.startswith("-e") else "")
