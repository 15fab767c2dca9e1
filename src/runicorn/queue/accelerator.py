"""The usual ``log()`` in one call of C, if this installation has it; ``run.py`` does the same in Python.

The installation compiles it if there is a compiler. A call in a training loop then costs less, as
``bench/cold_call.py`` measures; nothing else changes. ``RUNICORN_ACCELERATOR=0`` switches it off.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = 0x9016D8F4
"""``zlib.crc32()`` of ``_accelerator.c``: a library that an older or newer checkout has left here is not taken."""

push_metrics: Callable[..., bool | None] | None = None
"""See ``_accelerator.pyi``; None = this installation has none, or it is switched off."""
is_switched_off = os.environ.get("RUNICORN_ACCELERATOR", "").strip().lower() in {"0", "false", "no", "n", "off"}
"""Whether the user wants ``log()`` in Python."""

if not is_switched_off:
    try:
        from runicorn.queue import _accelerator
    except (ImportError, SystemError):  # no compiler was there, or it was built for another machine, or is damaged
        pass
    else:
        if getattr(_accelerator, "source", int)() == SOURCE:
            push_metrics = _accelerator.push_metrics
