"""Which scale the values of an image are of, and what is told of values that do not fit it."""

from __future__ import annotations

from typing import Any

OVERSHOOT = 1 / 255
"""Of a value that is meant to be 1, or 0, after interpolation or in a short float type."""
_ABOVE_ONE = 2.0
"""Floats below this are of the scale 0 to 1: nobody has an image of 0 to 255 whose largest value is 1.5."""
_DARK = 26
"""A tenth of the scale: an image whose largest value is below it looks black."""
_SAMPLES = 1000


class RefusedImageError(Exception):
    """What is wrong with the image, and what to write instead."""


def factor_of_floats(low: Any, high: Any) -> int:
    """What to multiply floats with, so that they run to 255."""
    if low < -OVERSHOOT or high > 255:
        raise RefusedImageError(
            f"the values of the image run from {float(low)} to {float(high)}; floats are 0 to 1, or 0 to 255",
            f"Write image.clip(0, {1 if high < _ABOVE_ONE else 255}), or (image - image.min()) / (image.max() - "
            "image.min())",
        )
    return 255 if high < _ABOVE_ONE else 1


def not_finite(count: int, of: int) -> RefusedImageError:
    """The refusal of NaN and infinities."""
    return RefusedImageError(
        f"{count} of {of} values of the image are NaN or infinite", "Write numpy.nan_to_num(image)"
    )


def integers_out_of_range(low: int, high: int) -> RefusedImageError:
    """The refusal of integers that are not 0 to 255."""
    return RefusedImageError(
        f"the values of the image run from {low} to {high}; integers are 0 to 255",
        "Write image.clip(0, 255), or image // 257 where it has 16 bits",
    )


def remark(mode: str, data: bytes | memoryview) -> str:
    """What to tell of an image that is nearly black; empty if it is not, or if it is of one value.

    Args:
        mode: ``L``, ``RGB`` or ``RGBA``; empty for an image file, of which nothing is told.
        data: its pixels, eight bits a channel.
    """
    if not mode:
        return ""
    channels = [data[channel::4] for channel in range(3)] if mode == "RGBA" else [data]
    # A few pixels decide for nearly all images; all are read only if those are dark.
    if any(max(each[:: len(each) // _SAMPLES + 1], default=0) >= _DARK for each in channels):
        return ""
    found = set[int]()
    for each in channels:
        found |= _values(bytes(each))
    if len(found) < 2 or max(found) >= _DARK:
        return ""
    return (
        f"the largest value of the image is {max(found)} of 255, so it looks black. Integers are 0 to 255; floats are "
        "0 to 1, or 0 to 255 if the largest is 2 or more. The image was stored. If the image has another scale, write "
        "mask * 255, or image / image.max()"
    )


def _values(data: bytes) -> set[int]:
    bright = data.translate(None, bytes(range(_DARK)))
    return {255} if bright else set(data)
