"""``NoOpRun``: what ``init()`` returns while tracking is switched off.

It has every public attribute and method of ``Run``, validates nothing, starts nothing, writes nothing. Its directories
are there for what the program writes into them by itself.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from runicorn.errors import RunNotFoundError
from runicorn.validation.foreign_verbs import explain_foreign_verbs

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from runicorn.run_handle import RunHandle


@explain_foreign_verbs
class NoOpRun:
    """Stands in for a run and stores nothing. ``id`` is ``"disabled"``.

    Its directories lie in the temp directory and are made when one is asked for. At exit they are removed if they are
    empty; else one line on stderr says where they are.
    """

    id = "disabled"
    global_step = 0
    _root: str | None = None

    def __init__(self, path: Any = None, alias: Any = None, workspace_root: Any = None) -> None:
        self.path = "default" if path is None else path
        self.alias = alias
        self.is_finished = False
        self._workspace_root = workspace_root

    @property
    def storage_root(self) -> Path:
        """A directory in the temp directory."""
        from pathlib import Path

        if self._root is None:
            from runicorn.storage import scratch

            # setdefault is atomic: all threads are told one.
            return Path(vars(self).setdefault("_root", scratch.make("runs", self.id, "media")))
        return Path(self._root)

    @property
    def runs_dir(self) -> Path:
        """The folder ``runs`` in ``storage_root``."""
        return self.storage_root / "runs"

    @property
    def run_dir(self) -> Path:
        """A directory that can be written to."""
        return self.runs_dir / self.id

    @property
    def media_dir(self) -> Path:
        """The folder ``media`` in ``run_dir``."""
        return self.run_dir / "media"

    @property
    def workspace_root(self) -> Path:
        """The project's directory."""
        from pathlib import Path

        return Path(self._workspace_root or os.getcwd())

    def log(
        self,
        /,
        data: Mapping[str, Any] | None = None,
        *more: Any,
        step: int | None = None,
        stage: str | None = None,
        wall_time: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Do nothing."""

    def log_text(self, text: str) -> None:
        """Do nothing."""

    def summary(self, update: Mapping[str, Any]) -> None:
        """Do nothing."""

    def set_primary_metric(self, metric_name: str, mode: str = "max") -> None:
        """Do nothing."""

    def log_config(
        self,
        given: Mapping[str, Any] | None = None,
        /,
        *,
        args: Any = None,
        extra: Any = None,
        config_files: Any = None,
        merge: bool = False,
    ) -> None:
        """Do nothing."""

    def log_image(
        self,
        key: str,
        image: Any,
        step: int | None = None,
        caption: str | None = None,
        format: str = "png",  # noqa: A002 - the API's name
        quality: int = 90,
    ) -> str:
        """Do nothing; there is no path."""
        return ""

    def log_dataset(
        self,
        name: str,
        root_or_uri: Any,
        *,
        context: str = "train",
        save: bool = False,
        description: str | None = None,
        force_save: bool = False,
        max_archive_bytes: int = 5 * 1024**3,
        max_archive_files: int = 2_000_000,
    ) -> None:
        """Do nothing."""

    def log_pretrained(
        self,
        name: str,
        *,
        path_or_uri: Any = None,
        save: bool = False,
        source_type: str = "unknown",
        description: str | None = None,
        force_save: bool = False,
        max_archive_bytes: int = 5 * 1024**3,
        max_archive_files: int = 2_000_000,
    ) -> None:
        """Do nothing."""

    def scan_outputs_once(
        self,
        *,
        output_dirs: Sequence[Any],
        patterns: Sequence[str] | None = None,
        stable_required: int = 2,
        min_age_sec: float = 1.0,
        mode: str = "rolling",
        log_snapshot_interval_sec: float = 60.0,
        state_gc_after_sec: float = 604800,
    ) -> dict[str, Any]:
        """Do nothing; nothing was scanned."""
        return {"run_id": self.id, "scanned": 0, "archived": 0, "changed": 0, "archived_entries": []}

    def watch_outputs(
        self,
        *,
        output_dirs: Sequence[Any],
        interval_sec: float = 10.0,
        patterns: Sequence[str] | None = None,
        stable_required: int = 2,
        min_age_sec: float = 1.0,
        mode: str = "rolling",
        log_snapshot_interval_sec: float = 60.0,
        state_gc_after_sec: float = 604800,
    ) -> None:
        """Do nothing."""

    def stop_outputs_watch(self) -> None:
        """Do nothing."""

    def get_logging_handler(self, level: int | str = 20, fmt: str | None = None) -> logging.Handler:
        """A handler that does nothing."""
        import logging

        return logging.NullHandler(level)

    def flush(self, timeout_s: float | None = None) -> bool:
        """Do nothing; nothing is left to be stored."""
        return True

    def set_labels(
        self,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        group: str | None = None,
        parent: str | RunHandle | None = None,
    ) -> None:
        """Do nothing."""

    def finish(self, status: str = "finished", reason: str | None = None) -> None:
        """Only become finished."""
        self.is_finished = True

    def _directory_to_read(self) -> str:
        raise RunNotFoundError("Tracking is switched off: this run stores nothing, so there is nothing to load.")

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
