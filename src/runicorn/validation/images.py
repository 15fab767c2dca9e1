"""The image gate: what may be an image, as the bytes that the writer encodes or stores; and the name of its file.

Images are told by duck typing and by what the program has imported already: neither numpy nor torch, matplotlib
or Pillow is imported for an image of another kind.

- An image file, as bytes or a path, is stored as it is, with the orientation in its EXIF, by which viewers turn it.
- Pillow: turned upright by the EXIF orientation, which the pixels alone would lose. By mode: ``1`` and ``L`` are grey;
  ``I;16`` is 16 bit grey and loses its lower byte; ``I`` is taken as it is from 0 to 255, as 16 bit from 0 to 65535,
  else refused; ``F`` follows the rule of floats; with transparency of any kind (an alpha channel, a palette's, a
  transparent colour) it is RGBA; all other modes are RGB by Pillow's ``convert()``.
- Arrays and tensors: one, three or four channels are grey, RGB and RGBA. bool is 0 and 255, integers are 0 to 255,
  floats are 0 to 1, or 0 to 255 if the largest is 2 or more; what is above 1 on the first scale is cut; halves are
  rounded up.
- matplotlib's figures: what ``savefig()`` gives at the figure's own dpi.
"""

from __future__ import annotations

import importlib.util
import io
import math
import operator
import os
import re
import stat
import sys
from array import array
from typing import Any, NamedTuple

from runicorn.errors import WrongTypeError, WrongValueError
from runicorn.storage.wording import counted
from runicorn.validation.image_scale import (
    RefusedImageError,
    factor_of_floats,
    integers_out_of_range,
    not_finite,
)
from runicorn.validation.metrics import shown

MOST_PIXELS = 2**28
MOST_FILE_BYTES = 256 * 1024 * 1024

_MOST_PIXELS_A_SIDE = {"jpg": 65_500, "jpeg": 65_500, "webp": 16_383}  # libjpeg's limit is not the format's 65535
_FORMATS = ("png", "jpg", "jpeg", "webp")
_MODE_OF_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}
_MOST_NAME_BYTES = 80

_MAGIC = re.compile(
    rb"(?P<png>\x89PNG\r\n\x1a\n)"
    rb"|(?P<jpg>\xff\xd8\xff)"
    rb"|(?P<webp>RIFF.{4}WEBP)"
    rb"|(?P<gif>GIF8[79]a)"
    rb"|(?P<bmp>BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0)"  # "BM" alone begins many a text
    rb"|(?P<tiff>II[*+]\0|MM\0[*+])",
    re.DOTALL,
)
_NOT_IN_A_NAME = re.compile(r"[^\w.\-]")


class Picture(NamedTuple):
    """An image on its way to the writer.

    Attributes:
        mode: ``L``, ``RGB`` or ``RGBA``, eight bits a channel; empty where ``data`` is an image file.
        width: in pixels; 0 for an image file.
        height: in pixels; 0 for an image file.
        data: the pixels row by row without gaps, or the file's bytes. They may still be the program's own memory: who
            asks for the picture copies it before the program goes on.
        extension: of the file to be, without a dot.
    """

    mode: str
    width: int
    height: int
    data: bytes | memoryview
    extension: str


def picture_of(image: Any, format: str) -> Picture:  # noqa: A002 - as users of log_image() write it
    """An image as it is now.

    ``format`` is png, jpg, jpeg or webp; it is ignored if the image is a file already.

    Raises:
        TypeError: no image.
        ValueError: one that cannot be stored, or whose own methods raise.
    """
    try:
        picture = _picture_of(image, format)
    except RefusedImageError as error:
        what, write = error.args
        raise WrongValueError(f"log_image(): {what}. The image was not stored. {write}.") from None
    except Exception as error:
        raise WrongValueError(
            f"log_image(): reading the pixels of a {type(image).__name__} raised {shown(error)}. The image was not "
            "stored. Write what gives its pixels, for example numpy.asarray(image)."
        ) from error
    if picture is None:
        raise WrongTypeError(
            f"log_image(): {shown(image)} is of type {type(image).__name__} and is not an image. Nothing was stored. "
            "Write a Pillow image, an array, a tensor, a matplotlib figure, the path of an image file, or its bytes."
        )
    return picture


def clean_quality(quality: Any) -> int:
    """The quality of JPEG and WEBP, 1 to 100.

    Raises:
        TypeError: no whole number.
        ValueError: another one.
    """
    try:
        number = operator.index(quality)
    except Exception:  # noqa: BLE001 - whatever a value's own methods raise
        raise WrongTypeError(
            f"log_image(): quality={shown(quality)} is of type {type(quality).__name__}. The image was not stored. "
            "Write a whole number from 1 to 100."
        ) from None
    if not 1 <= number <= 100:
        raise WrongValueError(
            f"log_image(): quality={shown(quality)}. The image was not stored. Write a whole number from 1 to 100."
        )
    return number


def media_name(key: str, extension: str, time_s: float, mark: str = "") -> str:
    """Where an image that was logged at that time (epoch seconds) lies in the run's directory.

    Six hex digits, random ones if no ``mark`` is given, tell images of one key and millisecond apart. Of the key
    remain letters, digits and marks of every script, ``-``, ``_``, and ``.`` where it does not lead; the rest becomes
    ``_``. At most 80 bytes of UTF-8.
    """
    name = "".join(map(_name_part, key[:_MOST_NAME_BYTES]))
    if name.startswith("."):
        name = "_" + name[1:]
    name = name.encode("utf-8")[:_MOST_NAME_BYTES].decode("utf-8", "ignore") or "image"
    return f"media/{round(time_s * 1000)}_{mark or os.urandom(3).hex()}_{name}.{extension}"


def _name_part(character: str) -> str:
    if not _NOT_IN_A_NAME.match(character):
        return character
    from unicodedata import category  # only for what is rare in a key

    return character if category(character).startswith("M") else "_"  # accents and vowel signs


def _picture_of(image: Any, wanted: str) -> Picture | None:
    if isinstance(image, (bytes, bytearray, memoryview)):
        return _of_file(bytes(image), f"the {type(image).__name__}")
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return _of_file(_read(path), shown(path))
    if isinstance(image, _loaded("PIL.Image", "Image")):
        return _of_pillow(image, _extension(wanted))
    if isinstance(image, _loaded("torch", "Tensor")):
        return _of_tensor(image, _extension(wanted))
    if isinstance(image, _loaded("matplotlib.figure", "Figure")):
        return _of_figure(image, _extension(wanted))
    if hasattr(image, "__array__") or hasattr(image, "__array_interface__"):
        return _of_array(image, _extension(wanted), channels_lead=False)
    return None


def _loaded(module: str, name: str) -> Any:
    """A type of a module, for ``isinstance()``; nothing is an instance where the module is not imported."""
    return getattr(sys.modules.get(module), name, ())


def _extension(wanted: Any) -> str:
    """The extension of a file that is to be encoded."""
    extension = wanted.lower().removeprefix(".") if isinstance(wanted, str) else ""
    if extension not in _FORMATS:
        raise RefusedImageError(f"format is {shown(wanted)}", f"Write one of {', '.join(map(repr, _FORMATS))}")
    if importlib.util.find_spec("PIL") is None:
        raise RefusedImageError(
            "Pillow, which encodes images, is not installed",
            'Install it with: pip install "runicorn[images]". The bytes of an image file are stored without it',
        )
    return extension


def _check_size(width: int, height: int, extension: str) -> None:
    what = f"the image is {width} x {height} pixels"
    if not width or not height:
        raise RefusedImageError(f"{what}: it is empty", "Log one that has pixels")
    if width * height > MOST_PIXELS:
        raise RefusedImageError(f"{what}, more than {MOST_PIXELS}", "Log a smaller one, for example image[::2, ::2]")
    most = _MOST_PIXELS_A_SIDE.get(extension)
    if most is not None and max(width, height) > most:
        raise RefusedImageError(f"{what}, and {extension} allows at most {most} a side", 'Write format="png"')


def _read(path: str | bytes) -> bytes:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):  # a pipe would be waited for
            raise RefusedImageError(f"{shown(path)} is not a file", "Write the path of an image file")
        if found.st_size > MOST_FILE_BYTES:
            raise _too_large(shown(path), found.st_size)
        with open(path, "rb") as file:
            return file.read(MOST_FILE_BYTES + 1)
    except OSError as error:
        raise RefusedImageError(
            f"{shown(path)} could not be read ({error.strerror})", "Write the path of an image file, or the image"
        ) from None


def _too_large(what: str, size_bytes: int) -> RefusedImageError:
    return RefusedImageError(f"{what} holds {size_bytes} bytes, more than {MOST_FILE_BYTES}", "Log a smaller image")


def _of_file(data: bytes, what: str) -> Picture:
    if len(data) > MOST_FILE_BYTES:
        raise _too_large(what, len(data))
    magic = _MAGIC.match(data)
    if magic is None:
        raise RefusedImageError(
            f"{what} holds {counted(len(data), 'byte')}, beginning with {data[:12]!r}: no PNG, JPEG, WEBP, "
            "GIF, BMP or TIFF file",
            "Write an image file's path or bytes; where they are pixels, an array of the image's shape",
        )
    return Picture("", 0, 0, data, str(magic.lastgroup))


def _of_pillow(image: Any, extension: str) -> Picture:
    image.load()  # mode and size of some files are known by then only
    image = _upright(image)
    mode, (width, height) = image.mode, image.size
    _check_size(width, height, extension)
    if mode == "F":
        image = _grey_of_floats(image)
    elif mode.startswith("I"):
        image = _grey_of_integers(image)
    elif mode == "La":
        image = image.convert("LA").convert("RGBA")  # Pillow has no direct way
    elif _is_transparent(image):
        image = image if mode == "RGBA" else image.convert("RGBA")
    elif mode == "1":
        image = image.convert("L")
    elif mode not in {"L", "RGB"}:
        image = image.convert("RGB")
    # Pillow has RGB as four bytes a pixel in memory: getting those out is 0.3 ms a megapixel faster than packing
    # them, and handing one more byte a pixel to the writer costs more than that.
    return Picture(image.mode, width, height, image.tobytes(), extension)


_TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ORIENTATION = 0x0112


def _upright(image: Any) -> Any:
    """The image as its file is shown; as it is if its EXIF says nothing, or cannot be read."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # noqa: BLE001 - what a damaged EXIF makes Pillow raise
        return image
    return image if turn is None else image.transpose(getattr(sys.modules["PIL.Image"].Transpose, turn))


def _is_transparent(image: Any) -> bool:
    if image.mode in {"RGBA", "LA", "PA", "RGBa"} or "transparency" in image.info:
        return True
    return image.mode == "P" and str(image.palette.mode).endswith("A")


def _grey_of_integers(image: Any) -> Any:
    if image.mode != "I":
        return image.convert("I").point(_upper_byte).convert("L")
    low, high = image.getextrema()
    if low < 0 or high > 0xFFFF:
        raise integers_out_of_range(low, high)
    return (image if high <= 0xFF else image.point(_upper_byte)).convert("L")


def _upper_byte(value: Any) -> Any:
    """Pillow's way to tell it a factor; Pillow cuts what is behind the point."""
    return value * (1 / 256)


def _grey_of_floats(image: Any) -> Any:
    values = array("f", image.tobytes())
    if not math.isfinite(sum(values)):
        raise not_finite(sum(not math.isfinite(value) for value in values), len(values))
    factor = factor_of_floats(*image.getextrema())
    return image.point(lambda value: value * factor + 0.5).convert("L")


def _of_tensor(tensor: Any, extension: str) -> Picture:
    height, width, _channels, _lead = _layout(tensor.shape, channels_lead=True)
    _check_size(width, height, extension)  # before all of it comes from another device
    here = tensor.cpu()
    if here.is_floating_point() and here.element_size() < 4:
        here = here.float()  # numpy has neither bfloat16 nor eight bit floats
    return _of_array(here.numpy(force=True), extension, channels_lead=True)


def _of_figure(figure: Any, extension: str) -> Picture:
    raster = _Raster()
    figure.savefig(raster, format="rgba", dpi="figure")
    height, width, _ = raster.shape
    _check_size(width, height, extension)
    return Picture("RGBA", width, height, raster.getvalue(), extension)


class _Raster(io.BytesIO):
    """What a figure is rendered into: the pixels come in one piece, which knows its shape.

    Only the renderer knows it: ``savefig.bbox`` may have cut the figure.
    """

    shape: tuple[int, ...] = ()

    def write(self, data: Any) -> int:
        self.shape = memoryview(data).shape or ()
        return super().write(data)


def _of_array(given: Any, extension: str, *, channels_lead: bool) -> Picture:
    """The pixels of what numpy can make an array of.

    ``channels_lead``: (3, 8, 3) is an image of 8 x 3 pixels and not one of 3 x 8.
    """
    numpy: Any = importlib.import_module("numpy")
    pixels = numpy.asarray(given)
    height, width, channels, lead = _layout(pixels.shape, channels_lead=channels_lead)
    _check_size(width, height, extension)
    eight_bits = _eight_bits(pixels, numpy)
    if lead:
        moved = numpy.empty((height, width, channels), numpy.uint8)
        for channel in range(channels):  # four times as fast as a transposed copy
            moved[..., channel] = eight_bits[channel]
        eight_bits = moved
    data = memoryview(eight_bits).cast("B") if eight_bits.flags.c_contiguous else eight_bits.tobytes()
    return Picture(_MODE_OF_CHANNELS[channels], width, height, data, extension)


def _layout(shape: tuple[int, ...], *, channels_lead: bool) -> tuple[int, int, int, bool]:
    """Height, width, channels, and whether the channels are the first axis; where both could be, the caller says."""
    if len(shape) == 2:
        return shape[0], shape[1], 1, False
    if len(shape) == 3:
        may_lead, may_follow = shape[0] in _MODE_OF_CHANNELS, shape[2] in _MODE_OF_CHANNELS
        if may_lead and (channels_lead or not may_follow):
            return shape[1], shape[2], shape[0], True
        if may_follow:
            return shape[0], shape[1], shape[2], False
    raise RefusedImageError(
        f"shape {tuple(shape)} is not the shape of an image",
        "Write one image of height x width, or with 1, 3 or 4 channels as the first or last axis; of a batch, image[0]",
    )


def _eight_bits(pixels: Any, numpy: Any) -> Any:
    """The same array where it is of eight bits already."""
    if pixels.dtype == numpy.uint8:
        return pixels
    kind = pixels.dtype.kind
    if kind == "b":
        return pixels.view(numpy.uint8) * numpy.uint8(255)
    if kind in "iu":
        low, high = int(pixels.min()), int(pixels.max())
        if low < 0 or high > 255:
            raise integers_out_of_range(low, high)
        return pixels.astype(numpy.uint8)
    if kind == "f":
        if pixels.dtype.itemsize < 4:
            pixels = pixels.astype(numpy.float32)  # numpy computes with halves in software
        low, high = pixels.min(), pixels.max()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise not_finite(pixels.size - int(numpy.count_nonzero(numpy.isfinite(pixels))), pixels.size)
        scaled = pixels * pixels.dtype.type(factor_of_floats(low, high))
        if low < 0 or scaled.max() > 255:
            numpy.clip(scaled, 0, 255, out=scaled)
        scaled += pixels.dtype.type(0.5)
        return scaled.astype(numpy.uint8)
    raise RefusedImageError(f"the values of the image are of type {pixels.dtype}", 'Write image.astype("uint8")')
