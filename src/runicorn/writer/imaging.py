"""From an image's pixels to the bytes of its file; Pillow is imported with the first one."""

from __future__ import annotations

import importlib
import io
from typing import Any

from runicorn.storage.wording import counted

# Of zlib's levels the first that looks for a longer match: between 40 and 80 % of the time of Pillow's own choice, 6,
# on photographs, plots and noise, and files of at most 4 % more; heat maps a third larger (bench/images.py).
PNG_LEVEL = 4

_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_FORMAT_OF = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}


def file_bytes(
    mode: str, width: int, height: int, data: bytes | bytearray | memoryview, extension: str, quality: int
) -> bytes:
    """The image file.

    ``mode``, ``width``, ``height`` and ``data`` are those of a ``Picture``; ``quality`` is 1 to 100, for JPEG and
    WEBP. JPEG has no alpha: what is transparent becomes white.

    Raises:
        ValueError: it cannot be encoded: Pillow is missing or was built without the format, or the size is not that
            of the pixels.
    """
    if not mode:
        return bytes(data)
    file_format = _FORMAT_OF.get(extension)
    if file_format is None or mode not in _CHANNELS:
        raise ValueError(f"images of mode {mode!r} are not encoded as {extension!r}")
    if len(data) != width * height * _CHANNELS[mode]:  # Pillow does not mind a surplus
        raise ValueError(f"{width} x {height} pixels of mode {mode} are not {counted(len(data), 'byte')}")
    options = {"compress_level": PNG_LEVEL} if file_format == "PNG" else {"quality": quality}
    encoded = io.BytesIO()
    try:
        pillow: Any = importlib.import_module("PIL.Image")
        # bytes, because older ones of Pillow read nothing else
        image = pillow.frombuffer(mode, (width, height), bytes(data), "raw", mode, 0, 1)
        if file_format == "JPEG" and mode == "RGBA":
            white = pillow.new("RGB", image.size, "white")
            white.paste(image, mask=image)
            image = white
        image.save(encoded, file_format, **options)
    except Exception as error:
        raise ValueError(
            f"Pillow could not encode {width} x {height} pixels of mode {mode} as {file_format} ({error!r})"
        ) from error
    return encoded.getvalue()
