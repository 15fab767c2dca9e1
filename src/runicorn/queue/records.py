"""The protocol: every kind of record that travels from a training process to the writer.

A record is a tagged ``msgspec.Struct`` in MessagePack; the union of them is all that the queue carries.
MessagePack and not JSON, because it is exact (NaN, infinities, 64 bit integers) and cheap to make.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

Scalar: TypeAlias = float | int | bool | str | None


class Metrics(msgspec.Struct, array_like=True, tag="m", gc=False):
    """One ``log()``: wall clock in epoch seconds, step, values by name, stage."""

    time: float
    step: int
    data: dict[str, Scalar]
    stage: str | None = None


class PartialMetrics(msgspec.Struct, array_like=True, tag="g"):
    """One ``log()`` with values that a device has not computed yet.

    They are None in ``data``; those named in ``pending`` follow under ``number``, those in ``missing`` never do.
    """

    time: float
    step: int
    data: dict[str, Scalar]
    stage: str | None
    number: int
    pending: list[str]
    missing: list[str]


class LateValues(msgspec.Struct, array_like=True, tag="n"):
    """The pending values of an earlier record of this process; one that is not there could not be had."""

    number: int
    step: int
    values: dict[str, Scalar]


class Hello(msgspec.Struct, array_like=True, tag="h"):
    """First record of each segment: who writes it.

    ``producer`` is ``<host>-<pid>``; ``not_owner`` is false for the run's owner alone.
    """

    producer: str
    not_owner: bool
    rank: int | None = None

    @property
    def is_owner(self) -> bool:
        """Whether the run's owner writes it."""
        return not self.not_owner


class Text(msgspec.Struct, array_like=True, tag="t"):
    """One ``log_text()``; ``raw`` lines bring their own prefix (the logging handler's)."""

    time: float
    text: str
    raw: bool = False


class Summary(msgspec.Struct, array_like=True, tag="s"):
    """One ``summary()``: JSON-able values to merge."""

    time: float
    update: dict[str, Any]


class Config(msgspec.Struct, array_like=True, tag="c"):
    """One ``log_config()``: top-level keys of ``config`` in ``assets.json`` to replace, or to add to if ``merge``."""

    time: float
    update: dict[str, Any]
    merge: bool = False


class Primary(msgspec.Struct, array_like=True, tag="p"):
    """One ``set_primary_metric()``."""

    name: str
    mode: str
    time: float = 0.0


class Printed(msgspec.Struct, array_like=True, tag="o", gc=False):
    """One ``write()`` to a captured stream: 1 is stdout, 2 is stderr.

    ``mode`` is that of the terminal model, by its number in ``CONSOLE_MODES``; ``thread`` tells who has written.
    """

    time: float
    stream: int
    mode: int
    thread: int
    text: str


class Dropped(msgspec.Struct, array_like=True, tag="l"):
    """What of this process was not taken since the last such record.

    ``records`` for which there was no room in the spool's budgets, and what was ``refused`` for what it is.
    """

    records: int
    refused: int = 0


class End(msgspec.Struct, array_like=True, tag="e"):
    """The owner's last record: how the run ended, wall clock in epoch seconds.

    ``lingering``: the interpreter ended without ``finish()``; processes that joined may log on. ``provisional``: its
    exit code, which is not known before it has ended, says more.
    """

    time: float
    status: str
    reason: str | None = None
    lingering: bool = False
    provisional: bool = False


CONSOLE_MODES = ("smart", "all", "none")

encode = msgspec.msgpack.Encoder().encode
