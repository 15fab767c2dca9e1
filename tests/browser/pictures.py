"""Images for the browser's tests, made by hand: a storage needs neither Pillow nor a writer to have some."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

from storages import BEGUN

if TYPE_CHECKING:
    from pathlib import Path


def png(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    """A PNG of one colour, a little darker towards its end."""
    rows = b"".join(
        b"\0" + bytes(part * (2 * height - row) // (2 * height) for part in colour) * width for row in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def add_image(run_dir: Path, key: str, step: int | None, content: bytes | None, name: str = "", **told: Any) -> str:
    """Append an image to a run: its file, if it has content, and its line; the path that is stored."""
    media = run_dir / "media"
    media.mkdir(exist_ok=True)
    name = name or f"{len(list(media.iterdir()))}_{abs(hash((key, step))) % 10**6:06}.png"
    if content is not None:
        (media / name).write_bytes(content)
    path = told.pop("path", f"media/{name}")
    marks = {"rank": told.pop("rank")} if "rank" in told else {}
    data = {"key": key, "path": path, "step": step, "caption": told.pop("caption", None), **told}
    line = {"ts": BEGUN + (step or 0), "type": "image", "data": data, **marks}
    with (run_dir / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return path
