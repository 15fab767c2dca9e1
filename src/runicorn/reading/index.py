"""What is known of the runs of a storage from the last time: an unchanged run is not read again."""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING

import msgspec

from runicorn.reading.directories import Stamp, run_locations
from runicorn.reading.info import RunInfo, newest_step, read_info
from runicorn.storage import statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runicorn.reading.cache import Cache

_FOLDER = "index-1"
_SETTLED_S = 2.0


class _Known(msgspec.Struct, array_like=True):
    """A run as it was read, and the stamps that its files had."""

    stamps: tuple[Stamp, Stamp, Stamp]
    info: RunInfo


class Index:
    """The runs of one storage.

    Args:
        storage: the storage root.
        cache: where it is kept.
    """

    def __init__(self, storage: str, cache: Cache) -> None:
        self._storage = storage
        self._cache = cache
        digest = hashlib.sha256(os.fsencode(os.path.realpath(storage) + "\n" + storage)).hexdigest()[:32]
        self._name = f"{digest}.msgpack"

    def infos(self, *, recycled: bool) -> Iterator[RunInfo]:
        """Every run, as its files are now; the status is that of the file."""
        known = self._read()
        kept: dict[str, _Known] = {}
        changed = False
        settled_before = (time.time() - _SETTLED_S) * 1e9
        for location in run_locations(self._storage, recycled=recycled):
            each = known.pop(location.run_dir, None)
            if each is None or each.stamps != location.stamps:
                each = _Known(location.stamps, read_info(location.run_dir, self._storage, location.path))
                # A file may change again within the clock tick of its stamp: what is that new is read again next time.
                fresh = max(stamp[1] for stamp in location.stamps if stamp) > settled_before
                changed = changed or not fresh
                if not fresh:
                    kept[location.run_dir] = each
            else:
                kept[location.run_dir] = each
            yield _with_step_so_far(each.info)
        if not recycled:  # those were not searched
            kept.update({run_dir: each for run_dir, each in known.items() if os.path.exists(run_dir)})
        if changed or len(known) > len(kept):
            self._write(kept)

    def _read(self) -> dict[str, _Known]:
        content = self._cache.read(_FOLDER, self._name)
        if content is None:
            return {}
        try:
            return _decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):  # of another program, or damaged
            return {}

    def _write(self, kept: dict[str, _Known]) -> None:
        try:
            content = msgspec.msgpack.encode(kept)
        except (OverflowError, UnicodeEncodeError):  # a summary with an integer beyond 64 bit, or with half a character
            content = msgspec.msgpack.encode({run_dir: each for run_dir, each in kept.items() if _can_be_kept(each)})
        self._cache.write([content], _FOLDER, self._name)


def _with_step_so_far(info: RunInfo) -> RunInfo:
    if info.status != statuses.RUNNING:
        return info
    newest = newest_step(info.run_dir)
    return info if newest is None or newest == info.last_step else msgspec.structs.replace(info, last_step=newest)


def _can_be_kept(known: _Known) -> bool:
    try:
        msgspec.msgpack.encode(known)
    except (OverflowError, UnicodeEncodeError):
        return False
    return True


_decode = msgspec.msgpack.Decoder(dict[str, _Known]).decode
