"""Shared memory and the temp directory: what a run may use of them, and what runs have left there."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.commands import render
from runicorn.doctor import probe
from runicorn.doctor.finding import BROKEN, NOTE, OK, Finding
from runicorn.host import locks
from runicorn.queue import spool, spool_address
from runicorn.settings import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.settings import Settings

_OVERFLOW = spool.OVERFLOW_SUFFIX
_ADVICE = (
    "The next `runicorn recover` removes it if a process died while it made this directory. If there is "
    "anything else in it, it stays: check what that is, and move or remove it."
)


def diagnose(settings: Settings) -> Iterator[Finding]:
    """Both tiers of a spool, and the budgets that a run would get if it were opened now."""
    memory, temp = spool.shm_dir(settings), spool.temp_dir()
    if memory is None:
        named = settings.shm_dir
        yield Finding(
            "shared_memory",
            BROKEN if named else NOTE,
            f"{named or '/dev/shm'} cannot be used: records wait in {temp} instead, which may be on a disk",  # noqa: S108 - a name
            "Set RUNICORN_SHM_DIR to a directory in memory that you can write to." if named else None,
            {"directory": None},
        )
    else:
        yield _check_directory("shared_memory", memory, settings, in_memory=True)
    yield _check_directory("temp_directory", temp, settings, in_memory=False)


def _check_directory(name: str, directory: str, settings: Settings, *, in_memory: bool) -> Finding:
    try:
        usage = shutil.disk_usage(directory)
        probe.write_and_rename(directory)
    except (OSError, probe.ProbeError) as error:
        advice = "Make it writable, or set TMPDIR or RUNICORN_SHM_DIR to a directory that you can write to."
        return Finding(name, BROKEN, str(error), advice, {"directory": directory})
    budget = spool.budget_bytes(directory, settings, in_memory=in_memory)
    details = {
        "directory": directory,
        "size_bytes": usage.total,
        "free_bytes": usage.free,
        "budget_bytes": budget,
    }
    text = (
        f"{directory}: {render.size(usage.free)} of {render.size(usage.total)} are free; "
        f"a run may use {render.size(budget)}"
    )
    if min(budget, usage.free) < MIB:
        return Finding(
            name,
            BROKEN,
            f"{text}; that is too little",
            "Free some space there. Leftovers of runs are listed below.",
            details,
        )
    return Finding(name, OK, text, None, details)


def leftovers(settings: Settings) -> Iterator[Finding]:
    """The spools that there are: those of live runs, and those of dead processes."""
    for path in (*spool.find(settings), *spool.find_half_made(settings)):
        held = _held(path)
        details: dict[str, Any] = {"spool": path, "size_bytes": _size_bytes(path) + _size_bytes(path + _OVERFLOW)}
        try:
            address = spool_address.read_address(path)
        except ValueError:
            text = f"the address in {path} is damaged, so nobody knows which run its records belong to"
            yield Finding(
                "leftover", BROKEN, text, "Keep the directory as long as you need its records. Then remove it.", details
            )
            continue
        except OSError:
            if os.path.isdir(path):
                yield Finding(
                    "leftover",
                    OK if held else NOTE,
                    f"{path} belongs to no run: the run is not made yet, or is gone",
                    None if held else _ADVICE,
                    {**details, "live": held},
                )
            continue
        details |= {"run": address.run_id, "run_dir": address.run_dir, "storage": address.storage, "live": held}
        said = f"{render.size(details['size_bytes'])} of run {address.run_id} in {address.storage}: {path}"
        if held:
            yield Finding("leftover", OK, f"live run: {said}", None, details)
        else:
            yield Finding(
                "leftover",
                BROKEN,
                f"left by dead processes: {said}",
                "Store the records with: runicorn recover",
                details,
            )
    yield from _without_spool(settings)


def _without_spool(settings: Settings) -> Iterator[Finding]:
    """Overflow directories whose spool has gone."""
    spools = {os.path.basename(path) for path in spool.find(settings)}
    for path in spool.find_overflows(settings):
        if os.path.basename(path).removesuffix(_OVERFLOW) not in spools and not _held(path):
            size_bytes = _size_bytes(path)
            yield Finding(
                "leftover",
                NOTE,
                f"{render.size(size_bytes)} in {path}: the spool that it belongs to is gone",
                "Remove it if no live run was started with another RUNICORN_SHM_DIR.",
                {"spool": path, "size_bytes": size_bytes, "live": False},
            )


def _held(directory: str) -> bool:
    with suppress(OSError):
        names = [name for name in os.listdir(directory) if name.endswith(spool.LOCK_SUFFIX)]
        return any(locks.is_held(os.path.join(directory, name)) for name in names)
    return False


def _size_bytes(directory: str) -> int:
    total = 0
    with suppress(OSError):
        for entry in os.scandir(directory):
            with suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
