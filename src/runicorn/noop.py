"""``NoOpRun``: what ``init()`` returns while tracking is switched off.

It has every public attribute and method of ``Run``, validates nothing, starts nothing, writes nothing.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType


class NoOpRun:
    """A run that is none. ``id`` is ``"disabled"``, directories are None."""

    id = "disabled"
    global_step = 0
    run_dir: Path | None = None
    media_dir: Path | None = None
    storage_root: Path | None = None
    runs_dir: Path | None = None

    def __init__(self, path: Any = None, alias: Any = None, workspace_root: Any = None) -> None:
        self.path = "default" if path is None else path
        self.alias = alias
        self.is_finished = False
        self._workspace_root = workspace_root

    @property
    def workspace_root(self) -> Path:
        """The project's directory."""
        from pathlib import Path

        return Path(self._workspace_root or os.getcwd())

    def log(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        step: int | None = None,
        stage: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Do nothing."""

    def log_text(self, text: str) -> None:
        """Do nothing."""

    def summary(self, update: Mapping[str, Any]) -> None:
        """Do nothing."""

    def set_primary_metric(self, metric_name: str, mode: str = "max") -> None:
        """Do nothing."""

    def log_config(self, *, args: Any = None, extra: Mapping[str, Any] | None = None, config_files: Any = None) -> None:
        """Do nothing."""

    def get_logging_handler(self, level: int | str = 20, fmt: str | None = None) -> logging.Handler:
        """A handler that does nothing."""
        import logging

        return logging.NullHandler(level)

    def finish(self, status: str = "finished") -> None:
        """Only become finished."""
        self.is_finished = True

    def __enter__(self) -> NoOpRun:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.is_finished = True

    def __repr__(self) -> str:
        return f"<runicorn.NoOpRun path={self.path!r}>"
