"""The names of files that a record gives: only such as a producing process makes.

A checksum says that a record is whole, not who has written it. A name that leads elsewhere would have a file written
or removed there, and one that no file can have would be tried for ever.
"""

from __future__ import annotations

import re
from typing import Any

from runicorn.queue import spool
from runicorn.queue.asset_records import Blob, Image
from runicorn.queue.control_page import TIERS
from runicorn.storage import run_files

_MOST_NAME_BYTES = 255
_BLOB_NAME = rf"{spool.BLOB_PREFIX}[0-9a-f]{{1,32}}"


def check(record: Any) -> None:
    """See whether the files that a record names are in the spool and in the run's directory for images.

    Raises:
        ValueError: they are not.
    """
    blob = getattr(record, "blob", None)
    if isinstance(blob, Blob) and not _is_of_a_spool(blob):
        raise ValueError(f"{blob.name[:100]!r} is no name of data in a spool")
    if isinstance(record, Image) and not _is_media(record.path):
        raise ValueError(f"{record.path[:100]!r} is no name of an image in the run's directory")


def _is_of_a_spool(blob: Blob) -> bool:
    return 0 <= blob.tier < TIERS and blob.size_bytes >= 0 and re.fullmatch(_BLOB_NAME, blob.name) is not None


def _is_media(path: str) -> bool:
    folder, _, name = path.partition("/")
    if folder != run_files.MEDIA or name in {"", ".", ".."} or any(char in name for char in "/\\\0"):
        return False
    return len(name.encode("utf-8", "surrogatepass")) <= _MOST_NAME_BYTES
