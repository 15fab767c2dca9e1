"""Replacing a final status by another one, once the exit code of the run's owner is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.queue import opening_lock
from runicorn.storage import run_files

if TYPE_CHECKING:
    from runicorn.queue import spool_address
    from runicorn.queue.records import End
    from runicorn.storage.run_directory import RunDir


def correct(
    files: RunDir, address: spool_address.Address, before: dict[str, Any], told: End, truth: End
) -> dict[str, Any] | None:
    """Write what the exit code says into ``status.json``, unless the run was resumed or changed meanwhile.

    Args:
        files: the run's directory.
        address: of the spool that the run had.
        before: ``status.json`` as it was written.
        told: the end that it was written by.
        truth: the end as it was.

    Returns:
        The new content; None if it was left as it is.
    """
    if (truth.status, truth.reason) == (told.status, told.reason):
        return None
    final = {name: value for name, value in before.items() if name != "exit_reason"} | {"status": truth.status}
    if truth.reason:
        final["exit_reason"] = truth.reason
    try:
        with opening_lock.hold(address.run_dir, address.settings):
            resumed = files.has(run_files.spool_pointer(address.host))
            if resumed or files.read(run_files.STATUS) != before:
                return None
            files.replace(run_files.STATUS, final)
    except (OSError, ValueError) as error:
        print(f"{run_files.STATUS} was not corrected: {error}", flush=True)  # noqa: T201 - to writer.log
        return None
    return final
