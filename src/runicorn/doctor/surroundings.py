"""What the environment says: settings, the switch, the launcher; and which versions are installed."""

from __future__ import annotations

import difflib
import os
from importlib import metadata
from typing import TYPE_CHECKING, Any

import msgspec

from runicorn import switch
from runicorn.doctor.finding import BROKEN, NOTE, OK, Finding
from runicorn.host import identity, ranks
from runicorn.lifecycle import job_script
from runicorn.queue.accelerator import is_switched_off, push_metrics
from runicorn.session import supervised
from runicorn.settings import Settings
from runicorn.validation.secrets import mask_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX, _ON = "RUNICORN_", "RUNICORN_ON"
_OTHERS = frozenset(
    f"{_PREFIX}{name}"
    for name in (
        "ON",
        "ACCELERATOR",
        "DIR",
        "HOSTNAME",
        "RANK_MODE",
        "JOB_ID",
        "CACHE_DIR",
        "CACHE_MAX_BYTES",
    )
) | {*job_script.VARIABLES.values(), supervised.VARIABLE}
_OF_THE_VIEWER = ("RUNICORN_REMOTE_", "RUNICORN_CORS_", "RUNICORN_SSH_", "RUNICORN_FRONTEND", "RUNICORN_DESKTOP")
_OF_THE_VIEWER_TOO = frozenset({"RUNICORN_DISABLE_MODERN_STORAGE", "RUNICORN_IDLE_TIMEOUT", "RUNICORN_LOG_FILE"})
_NEEDED = ("msgspec", "psutil", "pathspec")
_USED_WHERE_THERE = ("rich", "plotille", "Pillow", "numpy", "pandas", "polars", "pyarrow", "tensorboardX")
_BUILD = "A call costs twice as much. Install a C compiler, then install runicorn again."
_SWITCH_ON = "A call costs twice as much. Remove RUNICORN_ACCELERATOR from the environment."


def settings() -> tuple[Settings, list[Finding]]:
    """The settings in force, or the defaults where they are wrong; and what is to be told of the variables."""
    try:
        found, told = Settings.from_environment(), list[Finding]()
    except ValueError as error:
        advice = "init() opens no run until this is fixed."
        found, told = Settings(), [Finding("settings", BROKEN, str(error), advice)]
    changed = {
        field.name: getattr(found, field.name)
        for field in msgspec.structs.fields(Settings)
        if getattr(found, field.name) != field.default
    }
    fields = {f"{_PREFIX}{field.name.upper()}" for field in msgspec.structs.fields(Settings)}
    variables = {name: _shown(name, value, fields) for name, value in os.environ.items() if name.startswith(_PREFIX)}
    said = ", ".join(f"{name}={value}" for name, value in sorted(variables.items()))
    details = {"variables": variables, "changed": changed}
    told.append(Finding("variables", OK, said or "no RUNICORN_ variable is set", None, details))
    for variable in sorted(variables):
        if not _is_known(variable, fields):
            near = difflib.get_close_matches(variable, [*fields, *_OTHERS], 1)
            meant = f"Did you mean {near[0]}?" if near else None
            told.append(
                Finding(
                    "variables", NOTE, f"{variable} is not a setting of this version", meant, {"variable": variable}
                )
            )
    return found, told


def _is_known(name: str, fields: set[str]) -> bool:
    return name in fields | _OTHERS | _OF_THE_VIEWER_TOO or name.startswith(_OF_THE_VIEWER)


def _shown(name: str, value: str, fields: set[str]) -> str:
    """A value that can be no secret, for it is one of ours; of others only that there is one."""
    return mask_variable(name, value) if name in fields | _OTHERS else "(set)"


def tracking() -> Iterator[Finding]:
    """Whether ``init()`` opens real runs in this environment."""
    given = os.environ.get(_ON, "")
    if not switch.is_enabled():
        yield Finding(
            "tracking",
            NOTE,
            f"tracking is switched off by {_ON}={given}: init() opens no runs",
            f"Unset {_ON} to record runs.",
            {"enabled": False},
        )
    else:
        yield Finding("tracking", OK, "tracking is switched on", None, {"enabled": True})


def launcher() -> Iterator[Finding]:
    """Whether this process would be a rank of a job."""
    try:
        rank_info = ranks.rank_info()
    except ValueError as error:
        yield Finding("launcher", BROKEN, str(error), f"Set {ranks.MODE} to joined or separate, or unset it.")
        return
    if rank_info is None:
        yield Finding("launcher", OK, "not part of a distributed job", None, {"rank": None})
        return
    world = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS")
    details: dict[str, Any] = {
        "rank": rank_info.rank,
        "world_size": world,
        "with_rank_0": rank_info.on_main_host,
        "job": rank_info.job,
    }
    said = f"this process is rank {rank_info.rank} of {world or 'several'}"
    if rank_info.job is None:
        yield Finding(
            "launcher",
            NOTE,
            f"{said} of a job without an id: each rank gets a run of its own",
            f"Set {ranks.JOB} to a value that all ranks of this job share and no other job has.",
            details,
        )
    else:
        yield Finding("launcher", OK, f"{said}; all ranks share one run, of the job {rank_info.job}", None, details)


def versions() -> Iterator[Finding]:
    """Ours, Python's, and those of libraries."""
    found = {name: _version(name) for name in ("runicorn", *_NEEDED, *_USED_WHERE_THERE)}
    details = {
        "python": identity.python_text(),
        "platform": identity.platform_text(),
        "host": identity.hostname(),
        **found,
    }
    said = ", ".join(f"{what} {version}" for what, version in details.items() if version)
    missing = [name for name in _NEEDED if found[name] is None]
    yield Finding(
        "versions",
        BROKEN if missing else OK,
        said + (f"; not installed: {', '.join(missing)}" if missing else ""),
        "Install runicorn again: pip install --force-reinstall runicorn" if missing else None,
        details,
    )


def accelerator() -> Iterator[Finding]:
    """Whether ``log()`` is one call of C."""
    is_there = push_metrics is not None
    if is_there:
        text, advice = "log() is one call of C", None
    elif is_switched_off:
        text, advice = "log() runs in Python: RUNICORN_ACCELERATOR switches its accelerator off", _SWITCH_ON
    else:
        text, advice = "log() runs in Python: its accelerator was not built", _BUILD
    yield Finding("accelerator", OK, text, advice, {"accelerator": is_there})


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
