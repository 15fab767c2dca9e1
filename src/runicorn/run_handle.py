"""What every verb of a run needs: its connection, and where it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.refusals import explained, guarded
from runicorn.storage import paths, run_files

if TYPE_CHECKING:
    from pathlib import Path

    from runicorn.session.session import Session


class RunHandle:
    """A run without its verbs."""

    @explained
    def __init__(
        self,
        session: Session,
        *,
        alias: str | None,
        workspace_root: str,
        global_step: int,
    ) -> None:
        self.id = session.address.run_id
        self.path = session.address.path
        self.alias = alias
        self.global_step = global_step
        self._workspace_root = workspace_root
        self._session = session
        self._refusals = session.refusals
        self._queue = session.queue
        self._ending: dict[str, tuple[str, str | None]] = {}

    @property
    def is_finished(self) -> bool:
        """Whether the run takes no more records, from this process or from any."""
        return bool(self._ending) or bool(self._queue.closed[0])

    @property
    def run_dir(self) -> Path:
        """The run's directory."""
        from pathlib import Path

        return Path(self._session.address.run_dir)

    @property
    def media_dir(self) -> Path:
        """The directory of the run's images."""
        return self.run_dir / run_files.MEDIA

    @property
    def storage_root(self) -> Path:
        """The root of the storage that holds the run."""
        from pathlib import Path

        return Path(self._session.address.storage)

    @property
    def runs_dir(self) -> Path:
        """The directory ``runs`` of that storage."""
        return self.storage_root / paths.RUNS

    @property
    def workspace_root(self) -> Path:
        """The project's directory."""
        from pathlib import Path

        return Path(self._workspace_root)

    def _directory_to_read(self) -> str:
        """Where ``load()`` finds it."""
        return os.path.abspath(self.run_dir)

    @guarded
    def _await_devices(self, timeout_s: float, *, last: bool = True) -> None:
        """Before an end: what is on its way from a device is waited for, but not for ever."""
        self._session.await_devices(timeout_s, last=last)
