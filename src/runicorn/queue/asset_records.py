"""The records of what is not a number or a text: images, code, environment, datasets, outputs."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec


class Blob(msgspec.Struct, array_like=True):
    """Bytes too many for a segment, in a file of their own beside it: its tier of the spool, name and length."""

    tier: int
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


class InputAsset(msgspec.Struct, array_like=True, tag="d"):
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
    """Where outputs are searched, and when one is ready; fields as the arguments of ``watch_outputs()``."""

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


class LastScan(msgspec.Struct, array_like=True, tag="y"):
    """The last scan of a watch that ends; made by the writer."""

    scanning: Scanning


Chore: TypeAlias = Environment | Code | InputAsset | Outputs | LastScan
"""What takes the writer longer than a batch may: it is done beside the batches."""
