"""Python's ``logging``: a handler for ``dictConfig()`` and ``fileConfig()`` that needs no run when it is made."""

from __future__ import annotations

import logging

from runicorn.capture.logging_handler import RunHandler
from runicorn.session.active_runs import get_active_run


class ActiveRunHandler(RunHandler):
    """Writes into ``logs.txt`` of the run that is active at the time of the call; does nothing if there is none.

    So it may stay attached for as long as the program lives: it follows from run to run. In ``dictConfig()``::

        "handlers": {"run": {"class": "runicorn.integrations.logging.ActiveRunHandler", "level": "INFO"}}

    Args:
        level: the lowest level it takes.
        fmt: format of a line; None = ``HH:MM:SS | LEVEL | logger | message``, or the ``formatter`` of ``dictConfig()``.
    """

    def __init__(self, level: int | str = logging.NOTSET, fmt: str | None = None) -> None:
        super().__init__(_log_line, level, fmt)


def _log_line(text: str, created_s: float) -> None:
    run = get_active_run()
    if run is not None:
        run._log_line(text, created_s)  # noqa: SLF001 - ours
