"""What processes that are gone have left in memory: spools that wait for a writer."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.session import adopt
from runicorn.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def leftovers(storages: Sequence[str], keys: Mapping[str, str]) -> list[dict[str, Any]]:
    """The spools of these storages whose processes are gone.

    Args:
        storages: their roots.
        keys: of runs by their directories.
    """
    settings = Settings.from_environment()
    found = {}
    for storage in storages:
        for address in adopt.orphans(settings, storage):
            found[address.spool] = {
                "run": address.run_id,
                "key": keys.get(address.run_dir),
                "spool": os.path.basename(address.spool),
                "bytes": _bytes_in(address.spool),
            }
    return list(found.values())


def _bytes_in(directory: str) -> int:
    total = 0
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
