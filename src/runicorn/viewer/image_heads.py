"""What the first bytes of an image file tell: its kind, and how many pixels it has. Nothing is decoded."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_BYTES = 64 * 1024
_DEEPEST_BYTES = 4 * 1024 * 1024
"""A JPEG may have a colour profile and a preview before its size."""

_SVG = re.compile(rb"<svg[\s>]")
_BMP_HEADS = {bytes([size]) for size in (12, 16, 40, 52, 56, 64, 108, 124)}
_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


class ImageKind(NamedTuple):
    """What an image file is.

    Attributes:
        name: for people, such as ``PNG``.
        media_type: that a browser takes it as; None if browsers do not show it.
        ending: of a file of that kind.
        width: in pixels; None if it was not found.
        height: in pixels; None if it was not found.
    """

    name: str
    media_type: str | None
    ending: str
    width: int | None = None
    height: int | None = None


def kind_of(head: bytes, more: Callable[[int], bytes] | None = None) -> ImageKind | None:
    """What a file is, by its first bytes; None if it is no image.

    Args:
        head: its first 64 KiB.
        more: reads so many bytes from its beginning, if those are not enough; None = there are no more.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ImageKind("PNG", "image/png", "png", *_unpacked(">II", head, 16))
    if head.startswith(b"\xff\xd8\xff"):
        found = _jpeg_size(head)
        if found == (None, None) and more is not None and len(head) >= HEAD_BYTES:
            found = _jpeg_size(more(_DEEPEST_BYTES))
        return ImageKind("JPEG", "image/jpeg", "jpg", *found)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return ImageKind("WebP", "image/webp", "webp", *_webp_size(head))
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ImageKind("GIF", "image/gif", "gif", *_unpacked("<HH", head, 6))
    if head.startswith(b"BM") and head[14:18] in {
        bytes([size, 0, 0, 0]) for size in (12, 16, 40, 52, 56, 64, 108, 124)
    }:
        width, height = _unpacked("<ii" if head[14] > 12 else "<HH", head, 18)
        return ImageKind("BMP", "image/bmp", "bmp", width, None if height is None else abs(height))
    if head[4:12] in {b"ftypavif", b"ftypavis"}:
        return ImageKind("AVIF", "image/avif", "avif")
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return ImageKind("TIFF", None, "tiff")
    return _svg(head[:8192].removeprefix(b"\xef\xbb\xbf").lstrip())


def _svg(text: bytes) -> ImageKind | None:
    if not text.startswith((b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")) or not _SVG.search(text):
        return None
    if b"<html" in text.lower():
        return None
    return ImageKind("SVG", "image/svg+xml", "svg", _svg_side(text, b"width"), _svg_side(text, b"height"))


def _svg_side(text: bytes, name: bytes) -> int | None:
    begin = _SVG.search(text)
    tag = text[begin.start() : begin.start() + 4096].partition(b">")[0] if begin else b""
    found = re.search(rb"\s" + name + rb"=[\"']([0-9]{1,6})(?:\.[0-9]{1,6})?(?:px)?[\"']", tag)
    return int(found[1]) if found else None


def _unpacked(form: str, content: bytes, at: int) -> tuple[int | None, int | None]:
    try:
        first, second = struct.unpack_from(form, content, at)
    except struct.error:
        return None, None
    return first, second


def _jpeg_size(content: bytes) -> tuple[int | None, int | None]:
    """Width and height, from the first frame's header; each marker says how far the next one is."""
    at = 2
    while at + 9 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF or marker in _JPEG_ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _JPEG_FRAMES:
            height, width = _unpacked(">HH", content, at + 5)
            return width, height
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None, None


def _webp_size(head: bytes) -> tuple[int | None, int | None]:
    if len(head) < 30:
        return None, None
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = _unpacked("<HH", head, 26)
    return (None, None) if width is None or height is None else (width & 0x3FFF, height & 0x3FFF)
