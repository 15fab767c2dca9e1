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


class Holed(msgspec.Struct, array_like=True, tag="g"):
    """One ``log()`` with values that a device has not computed yet.

    They are None in ``data``; those named in ``holes`` follow under ``number``, those in ``lost`` never do.
    """

    time: float
    step: int
    data: dict[str, Scalar]
    stage: str | None
    number: int
    holes: list[str]
    lost: list[str]


class Landed(msgspec.Struct, array_like=True, tag="n"):
    """The values for the holes of an earlier record of this process; one that is missing could not be had."""

    number: int
    step: int
    values: dict[str, Scalar]


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


class Blob(msgspec.Struct, array_like=True):
    """Bytes too many for a segment, in a file of their own beside it: its place in the spool, name and length."""

    place: int
    name: str
    size_bytes: int


class Image(msgspec.Struct, array_like=True, tag="i"):
    """One ``log_image()``: pixels in a blob (``mode``, ``width``, ``height``), or a file as it is (``mode`` empty)."""

    time: float
    key: str
    path: str
    step: int | None
    caption: str | None
    extension: str
    quality: int
    mode: str
    width: int
    height: int
    blob: Blob


class Environment(msgspec.Struct, array_like=True, tag="v"):
    """``capture_env``: what only the training process knows; the writer finds out the rest.

    Here and below paths are bytes: a file system's names need not be text.
    """

    time: float
    workspace_root: bytes
    facts: dict[str, Any]


class Code(msgspec.Struct, array_like=True, tag="k"):
    """``snapshot_code``: the files to archive, by path and size, as MessagePack in a blob.

    ``left_out`` names the first of those that are secrets, or cannot be read; ``left_out_count`` says how many.
    """

    time: float
    workspace_root: bytes
    blob: Blob
    left_out: list[str]
    left_out_count: int


class Material(msgspec.Struct, array_like=True, tag="d"):
    """One ``log_dataset()`` or ``log_pretrained()``.

    ``section`` is that of ``assets.json``, ``entry`` what is known already; ``source`` the local file or directory
    to fingerprint, and to archive where ``save`` is true; empty where there is none.
    """

    time: float
    section: str
    entry: dict[str, Any]
    source: bytes
    save: bool


class Candidate(msgspec.Struct, array_like=True):
    """An output that is to be archived: what it was when it was found, and by which rule."""

    key: str
    path: bytes
    is_directory: bool
    is_log: bool
    size_bytes: int
    mtime: float


class Outputs(msgspec.Struct, array_like=True, tag="u"):
    """Outputs that a scan has found ready: a list of candidates, as MessagePack in a blob."""

    time: float
    mode: str
    blob: Blob


class Scanning(msgspec.Struct, array_like=True):
    """Where outputs are looked for, and when one is ready; fields as the arguments of ``watch_outputs()``."""

    directories: list[bytes]
    patterns: list[str]
    workspace_root: bytes
    mode: str
    stable_required: int
    min_age_s: float
    log_interval_s: float
    forget_after_s: float


class WatchOutputs(msgspec.Struct, array_like=True, tag="w"):
    """One ``watch_outputs()``; ``stop_outputs_watch()`` where ``scanning`` is None."""

    time: float
    interval_s: float
    scanning: Scanning | None


class LastLook(msgspec.Struct, array_like=True, tag="y"):
    """The last look of a watch that ends; made by the writer."""

    scanning: Scanning


class Lost(msgspec.Struct, array_like=True, tag="l"):
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


Chore: TypeAlias = Environment | Code | Material | Outputs | LastLook
"""What takes the writer longer than a batch may: it is done beside the batches."""

Record: TypeAlias = (
    Metrics
    | Holed
    | Landed
    | Hello
    | Text
    | Summary
    | Config
    | Primary
    | Lost
    | End
    | Printed
    | Image
    | WatchOutputs
    | Chore
)

CONSOLE_MODES = ("smart", "all", "none")

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder(Record).decode
