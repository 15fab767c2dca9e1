"""Check the options of an import that name columns of tables, before anything is read."""

from __future__ import annotations

from typing import Any

from runicorn.errors import WrongValueError

_ONE_COLUMN = ("step", "time", "run")
_KNOWN = (*_ONE_COLUMN, "names", "config")


def check(options: dict[str, Any]) -> None:
    """Refuse options that contradict each other, or name nothing.

    Raises:
        ValueError: an option is wrong; the message names it.
    """
    unknown = sorted(set(options) - set(_KNOWN))
    if unknown:
        raise _refused(f"{unknown[0]!r} is no option for tables", f"Write one of {', '.join(_KNOWN)}")
    names = dict(options.get("names") or {})
    columns = [(role, options[role]) for role in _ONE_COLUMN if options.get(role) is not None]
    columns += [("names", column) for column in names] + [("config", each) for each in options.get("config") or ()]
    if "" in names.values() or any(column == "" for _, column in columns):
        raise _refused("The name of a column or a metric is empty", "Write a name, or leave the option out")
    roles: dict[str, str] = {}
    for role, column in columns:
        other = roles.setdefault(column, role)
        if other != role or list(columns).count((role, column)) > 1:
            raise _refused(f"The column {column!r} is named twice: for {other} and for {role}", "Name it once")
    targets = list(names.values())
    twice = next((name for name in targets if targets.count(name) > 1), None)
    if twice is not None:
        raise _refused(f"Two columns would be the metric {twice!r}", "Give each column its own metric")


def are_given(options: dict[str, Any]) -> bool:
    """Whether an option has a value."""
    return any(value not in (None, [], (), {}) for value in options.values())


def refuse_for(form: str, source: str) -> WrongValueError:
    """The error for options of tables if a source has no columns."""
    return _refused(
        f"{source} has the format {form}, which has no columns",
        "Leave out the options for tables (step, time, run, map, config-columns)",
    )


def _refused(what: str, advice: str) -> WrongValueError:
    return WrongValueError(f"{what}. Nothing was imported. {advice}.")
