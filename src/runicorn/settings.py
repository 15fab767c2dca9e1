"""Every number that matters, with its unit in its name.

Each field can be set by an environment variable: ``tick_s`` by ``RUNICORN_TICK_S``. The values are read
once per run, by the process that opens it, and travel with the run's address to everybody who joins.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

import msgspec

from runicorn.errors import SettingError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
_Numbers = TypeVar("_Numbers", bound=msgspec.Struct)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Numbers of one run. Two are equal if all their numbers are; ``repr()`` is the call that makes one.

    Attributes:
        tick_s: how often the writer reads new records while there are some.
        idle_tick_s: longest pause between two scans if no records come.
        segment_bytes: size of a process's first segment, and of each one after a segment that took over a second
            to fill.
        segment_max_bytes: largest segment; segments grow fourfold while each is full within a second.
        spool_max_bytes: budget of the spool in shared memory; 0 = the smallest of 1 GiB, a quarter of the memory free
            there when the run is opened, and a quarter of the memory that the process's cgroups still allow.
        overflow_max_bytes: budget of the spool in the temp directory; 0 = a tenth of what is free there. If the temp
            directory is in memory, the limits above hold too.
        batch_bytes: how much the writer reads from the spool before it writes.
        fsync_interval_s: how often the writer makes the run's files durable.
        summary_interval_s: how often ``summary.json`` gets the best metric while the run is live.
        look_interval_s: how often ``log()`` compares the writer's heartbeat with the one that it saw before.
        writer_restart_after_s: how long the heartbeat may stand still before ``log()`` checks whether the writer lives.
        finish_timeout_s: how long ``finish()`` waits until everything is stored; 0 = for ever.
        exit_wait_s: how long the interpreter's exit waits for that if ``finish()`` was not called.
        retry_max_s: longest pause between two tries to store if storing fails.
        archive_wait_s: how long a run that has ended waits for an archive that cannot be written.
        database_wait_s: how long the writer retries the row in ``runicorn.db`` after the run has ended.
        device_wait: True = ``log()`` waits if too many values are on their way from a device; False = it stores null.
        device_finish_wait_s: how long ``finish()`` waits for values that are still on a device.
        system_interval_s: how often the writer reads what the machine does, into ``system.jsonl``; 0 = never.
        system_root: directory below which the kernel's files are; for tests.
        strict: True = a refused value raises an exception; False = it warns.
        shm_dir: directory in shared memory for the spool; empty = ``/dev/shm`` if there is one.
    """

    tick_s: float = 0.02
    idle_tick_s: float = 0.25
    segment_bytes: int = 256 * KIB
    segment_max_bytes: int = 4 * MIB
    spool_max_bytes: int = 0
    overflow_max_bytes: int = 0
    batch_bytes: int = 2 * MIB
    fsync_interval_s: float = 5.0
    summary_interval_s: float = 5.0
    look_interval_s: float = 0.5
    writer_restart_after_s: float = 1.5
    finish_timeout_s: float = 600.0
    exit_wait_s: float = 30.0
    retry_max_s: float = 1.0
    archive_wait_s: float = 10.0
    database_wait_s: float = 15.0
    device_wait: bool = False
    device_finish_wait_s: float = 10.0
    system_interval_s: float = 10.0
    system_root: str = "/"
    strict: bool = False
    shm_dir: str = ""

    @classmethod
    def from_environment(cls) -> Settings:
        """Read every ``RUNICORN_<FIELD>`` that is set.

        Raises:
            ValueError: a variable's text is not of its field's type; names the variable.
        """
        return from_environment(cls, "RUNICORN_")


def from_environment(kind: type[_Numbers], prefix: str) -> _Numbers:
    """Make a struct of numbers, with the value of every ``<prefix><FIELD>`` that is set.

    Args:
        kind: the struct; each of its fields has a default.
        prefix: what the names of its variables begin with.

    Raises:
        ValueError: a variable's text is not of its field's type; names the variable.
    """
    variables = {name: f"{prefix}{name.upper()}" for name in kind.__struct_fields__}
    texts = {name: os.environ.get(variable, "").strip() for name, variable in variables.items()}
    if not any(texts.values()):  # the usual case: the fields' types are not needed, which take init() long to find
        return kind()
    given: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        text, variable = texts[field.name], variables[field.name]
        if not text:
            continue
        try:
            given[field.name] = _parse(text, field.type)
        except ValueError as error:
            raise SettingError(
                f"{variable}={text!r} is not of type {field.type.__name__}. "
                f"Write for example {variable}={field.default}, or unset it."
            ) from error
    return kind(**given)


def _parse(text: str, kind: type) -> bool | int | float | str:
    if kind is bool:
        lowered = text.lower()
        if lowered in {"1", "true", "yes", "y", "on"}:
            return True
        if lowered in {"0", "false", "no", "n", "off"}:
            return False
        raise ValueError(text)
    if kind is str:
        return os.path.abspath(os.path.expanduser(text))  # the writer has another working directory
    value: int | float = int(text) if kind is int else float(text)
    if not 0 <= value < float("inf"):
        raise ValueError(text)
    return value
