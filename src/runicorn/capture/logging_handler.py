"""A ``logging.Handler`` whose lines go into the run's ``logs.txt``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from runicorn.refusals import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"


class RunHandler(logging.Handler):
    """Hands each record's text and time to a run; never raises into the program, and is silent after ``finish()``."""

    def __init__(self, log_line: Callable[[str, float], None], level: int | str, fmt: str | None) -> None:
        super().__init__(level)
        self._log_line = log_line
        self.setFormatter(logging.Formatter(fmt or DEFAULT_FORMAT, datefmt=None if fmt else "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; the library's own are left out, for they would come back."""
        if record.name == LOGGER or record.name.startswith(f"{LOGGER}."):
            return
        try:
            self._log_line(self.format(record), record.created)
        except Exception:  # noqa: BLE001 - a handler never raises into the program
            self.handleError(record)
