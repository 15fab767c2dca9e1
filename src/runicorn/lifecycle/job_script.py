"""What a job script decides by variables about the runs of ``runicorn run`` and of adapters, without touching code."""

from __future__ import annotations

import os

VARIABLES = {"path": "RUNICORN_PATH", "alias": "RUNICORN_ALIAS", "group": "RUNICORN_GROUP"}


def decides(field: str) -> str | None:
    """What the variable of ``path``, ``alias`` or ``group`` says; None if it is not set, or is blank."""
    return os.environ.get(VARIABLES[field], "").strip() or None
