"""Bytes too many for a segment: in the spool, in a file of their own, told of by a record.

The file is whole before the record that names it is pushed, so it needs no checksum, and one copy is all that it
costs. It counts in the spool's budget as a segment does, and goes when the batch of its record is stored. The last
large one stays as a spare: most of what a fresh file costs is its pages, and the next image needs as many
(``bench/images.py``).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.queue import spool, spool_address
from runicorn.queue.asset_records import Blob
from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.storage import modes, removal

if TYPE_CHECKING:
    from runicorn.queue.control_page import ControlPage

SPARE = f"{spool.BLOB_PREFIX}spare"
LEAST_SPARE_BYTES = 64 * 1024

_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


class Blobs:
    """Those of one spool.

    Args:
        address: of the spool.
        control: its page, where they are accounted for.
    """

    def __init__(self, address: spool_address.Address, control: ControlPage) -> None:
        self._address = address
        self._control = control
        self._directories = (address.spool, address.overflow)

    def put(self, data: bytes | bytearray | memoryview) -> Blob:
        """Write bytes in the first tier of the spool that takes them.

        Raises:
            ClosedError: the run has ended.
            SpoolFullError: neither tier takes them; says why.
        """
        size_bytes = memoryview(data).nbytes
        random = os.urandom(8)
        name = f"{spool.BLOB_PREFIX}{random.hex()}"
        reasons = []
        for tier, directory in enumerate(self._directories):
            if self._control.closed[0]:
                raise ClosedError
            try:
                if not spool.room_for(self._address, self._control, tier, size_bytes):
                    reasons.append(f"{directory}: the budget is used up")
                    continue
                if tier == spool.OVERFLOW:
                    spool.open_overflow(self._address)
                made_bytes = _write(os.path.join(directory, name), data, self._spare(tier))
            except OSError as error:
                reasons.append(f"{directory}: {error.strerror or error}")
                continue
            if tier == spool.OVERFLOW and self._control.done:
                # The run has ended meanwhile and its spool was removed: it must not come back.
                spool.remove(self._address.overflow)
                raise ClosedError
            self._control.add_made(tier, int.from_bytes(random[:2], "little"), made_bytes)
            return Blob(tier, name, size_bytes)
        raise SpoolFullError("; ".join(reasons))

    def read(self, blob: Blob) -> bytes | None:
        """The bytes; None where somebody has removed them."""
        try:
            fd = os.open(self._path(blob), os.O_RDONLY | _FLAGS)
        except FileNotFoundError:
            return None
        with os.fdopen(fd, "rb") as file:  # it may be longer: it was a spare
            data = file.read(blob.size_bytes)
        return data if len(data) == blob.size_bytes else None

    def keep_or_remove(self, blob: Blob) -> None:
        """Keep it as the spare, where there is none; by the writer alone, so that there never are two."""
        spare = self._spare(blob.tier)
        if blob.size_bytes >= LEAST_SPARE_BYTES and not os.path.exists(spare):
            try:
                removal.rename_in_spool(self._path(blob), spare)
            except OSError:  # somebody has removed it
                return
        else:
            self.remove(blob)

    def remove(self, blob: Blob) -> None:
        """Give its room back."""
        path = self._path(blob)
        try:
            size_bytes = os.stat(path).st_size
        except OSError:
            return
        if not removal.remove_from_spool(path):
            return
        self._control.add_dropped(blob.tier, size_bytes)

    def _spare(self, tier: int) -> str:
        return os.path.join(self._directories[tier], SPARE)

    def _path(self, blob: Blob) -> str:
        return os.path.join(self._directories[blob.tier], os.path.basename(blob.name))


def _write(path: str, data: bytes | bytearray | memoryview, spare: str) -> int:
    """Write a file, over the spare where there is one; by how many bytes the spool has become larger."""
    view = memoryview(data).cast("B")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS
    if view.nbytes >= LEAST_SPARE_BYTES:
        try:
            removal.rename_in_spool(spare, path)
            flags = os.O_WRONLY | _FLAGS
        except OSError:  # none, or another producer was faster
            pass
    fd = modes.open_file(path, flags, 0o600)
    before_bytes = os.fstat(fd).st_size
    try:
        while view:
            view = view[os.write(fd, view) :]
        return os.fstat(fd).st_size - before_bytes
    except BaseException:
        removal.remove_from_spool(path)
        raise
    finally:
        os.close(fd)
