"""The verbs of a run that write to its files while it goes on: ``flush()`` and ``set_labels()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn.run_handle import RunHandle
from runicorn.storage import run_files
from runicorn.validation import arguments

if TYPE_CHECKING:
    from collections.abc import Sequence


class KeepingVerbs(RunHandle):
    """What ``Run`` has to keep what was logged, and to be found again."""

    _own_tags: Sequence[str] = ()

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what this process has logged is on disk, readable and durable; the run goes on.

        Archives of code, datasets and outputs, and the best metric in ``summary.json``, may come later.

        Args:
            timeout_s: how long to wait; 0 = for ever; None = as long as ``finish()`` would.

        Returns:
            Whether it is on disk; of a run that has ended, whether that was stored.

        Raises:
            TypeError, ValueError: ``timeout_s`` is no number of seconds.
        """
        if timeout_s is not None:
            timeout_s = arguments.timeout_s(timeout_s, "flush()")
        if self.is_finished:
            return self._session.control.done
        timeout_s = self._session.address.settings.finish_timeout_s if timeout_s is None else timeout_s
        self._await_devices(timeout_s, last=False)
        if not self._session.flush(timeout_s):
            return False
        try:
            run_files.sync_files(self._session.address.run_dir)
        except OSError:  # moved, or the storage is failing
            return False
        return True

    def set_labels(
        self,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        group: str | None = None,
        parent: str | RunHandle | None = None,
    ) -> None:
        """Write labels into ``meta.json``; what is not given stays as it is.

        Args:
            tags: take the place of those that this handle has set before; tags of others stay.
            notes: free text.
            group: what the run belongs to, such as a sweep.
            parent: the run, or id of the run, that has started this one.

        Trouble in storing warns.

        Raises:
            TypeError, ValueError: one of them is no label; nothing was changed.
        """
        from runicorn.managing import labels

        wanted = labels.checked(tags, notes, group, getattr(parent, "id", parent), self.id)
        if self.is_finished:
            self._session.refuse_after_end("set_labels()")
            return
        address = self._session.address
        try:
            labels.merge(address.run_dir, address.storage, address.settings, wanted, self._own_tags)
        except (OSError, ValueError) as error:
            self._refusals.warn("labels", f"set_labels(): {run_files.META} was not changed: {error}")
            return
        self._own_tags = wanted.get("tags", self._own_tags)
