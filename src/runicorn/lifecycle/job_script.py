"""What a job script decides by variables about the runs of ``runicorn run`` and of adapters, without touching code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runicorn.errors import SettingError
from runicorn.storage import paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLES = {"path": "RUNICORN_PATH", "alias": "RUNICORN_ALIAS", "group": "RUNICORN_GROUP"}


def decides(field: str) -> str | None:
    """What the variable of ``path``, ``alias`` or ``group`` says; None if it is not set, or is blank."""
    return os.environ.get(VARIABLES[field], "").strip() or None


def named(suggested: Mapping[str, str | None], fields: Iterable[str] = ("path", "alias")) -> dict[str, Any]:
    """Arguments of ``init()``: what a framework suggests, or what the job script decides in its place.

    Args:
        suggested: by argument; None = nothing.
        fields: what the job script may decide.

    Raises:
        ValueError: its path is no path; names the variable.
    """
    decided = {field: decides(field) for field in fields}
    try:
        paths.normalise_path(decided.get("path"))
    except ValueError as error:
        raise SettingError(f"{VARIABLES['path']}: {error}") from error
    both = [*suggested.items(), *decided.items()]
    return {field: value for field, value in both if value is not None}
