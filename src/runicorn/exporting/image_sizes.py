"""Width and height of an image file, by its first bytes."""

from __future__ import annotations

import struct

_PNG, _GIF, _JPEG = b"\x89PNG\r\n\x1a\n", b"GIF8", b"\xff\xd8"
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_ALONE = frozenset({0x01, *range(0xD0, 0xD8)})


def size_of(content: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, GIF or JPEG file; None if it is none."""
    try:
        if content.startswith(_PNG):
            width, height = struct.unpack_from(">II", content, 16)
        elif content.startswith(_GIF):
            width, height = struct.unpack_from("<HH", content, 6)
        elif content.startswith(_JPEG):
            return _of_jpeg(content)
        else:
            return None
    except (struct.error, IndexError):  # cut
        return None
    return width, height


def _of_jpeg(content: bytes) -> tuple[int, int] | None:
    """By the header of the frame, behind segments that say how long they are."""
    at = len(_JPEG)
    while content[at] == 0xFF:
        kind = content[at + 1]
        if kind in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        at += 2 if kind in _ALONE else 1 if kind == 0xFF else 2 + struct.unpack_from(">H", content, at + 2)[0]
    return None
