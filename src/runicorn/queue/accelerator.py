"""The usual ``log()`` in one call of C, if this installation has it; ``run.py`` does the same in Python.

It is built when the package is, if there is a compiler, and for no other reason than what a call costs in a training
loop: ``bench/cold_call.py`` measures both. ``RUNICORN_ACCELERATOR=0`` leaves it alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = 0x1428CA95
"""``zlib.crc32()`` of ``_accelerator.c``: a library that an older or newer checkout has left here is not taken."""

push_metrics: Callable[..., bool | None] | None = None
"""See ``_accelerator.pyi``; None = there is none."""

if os.environ.get("RUNICORN_ACCELERATOR", "").strip().lower() not in {"0", "false", "no", "n", "off"}:
    try:
        from runicorn.queue import _accelerator
    except (ImportError, SystemError):  # no compiler was there, or it was built for another machine, or is damaged
        pass
    else:
        if getattr(_accelerator, "source", int)() == SOURCE:
            push_metrics = _accelerator.push_metrics
