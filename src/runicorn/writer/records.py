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


class Hello(msgspec.Struct, array_like=True, tag="h"):
    """First record of each segment: who writes it.

    ``producer`` is ``<host>-<pid>``; ``joined`` is false for the run's owner alone.
    """

    producer: str
    joined: bool
    rank: int | None = None


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
    """One ``log_config()``: top-level keys of ``config`` in ``assets.json`` to replace."""

    time: float
    update: dict[str, Any]


class Primary(msgspec.Struct, array_like=True, tag="p"):
    """One ``set_primary_metric()``."""

    name: str
    mode: str
    time: float = 0.0


class Lost(msgspec.Struct, array_like=True, tag="l"):
    """Records of this process that were refused since the last such record: the spool's budgets were used up."""

    records: int


class End(msgspec.Struct, array_like=True, tag="e"):
    """The owner's last record: how the run ended, wall clock in epoch seconds.

    ``lingering``: the interpreter ended without ``finish()``; processes that joined may log on.
    """

    time: float
    status: str
    reason: str | None = None
    lingering: bool = False


Record: TypeAlias = Metrics | Hello | Text | Summary | Config | Primary | Lost | End

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Record).decode
