"""A ``logging.Handler`` whose lines go into the run's ``logs.txt``."""

from __future__ import annotations

import logging
import weakref
from typing import TYPE_CHECKING

from runicorn.refusals import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_FORMAT = "%(asctime)s | %(levelname)s | %(name)s | %(message)s"


_handlers: weakref.WeakSet[RunHandler] = weakref.WeakSet()


class RunHandler(logging.Handler):
    """Hands each record's text and time to a run; never raises into it. ``finish()`` takes it off its loggers."""

    def __init__(self, log_line: Callable[[str, float], None], level: int | str, fmt: str | None) -> None:
        super().__init__(level)
        self._log_line = log_line
        _handlers.add(self)
        self.setFormatter(logging.Formatter(fmt or DEFAULT_FORMAT, datefmt=None if fmt else "%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; the library's own are left out, for they would come back."""
        if record.name == LOGGER or record.name.startswith(f"{LOGGER}."):
            return
        try:
            self._log_line(self.format(record), record.created)
        except Exception:  # noqa: BLE001 - a handler never raises into the program
            self.handleError(record)


def detach(run: object) -> None:
    """Take the handlers of a run that has ended off every logger.

    Args:
        run: whose ``_log_line()`` they were made with.
    """
    ended = [each for each in list(_handlers) if getattr(each._log_line, "__self__", None) is run]  # noqa: SLF001
    if not ended:
        return
    known = list(logging.Logger.manager.loggerDict.values())
    for logger in (logging.root, *(each for each in known if isinstance(each, logging.Logger))):
        for handler in ended:
            logger.removeHandler(handler)
