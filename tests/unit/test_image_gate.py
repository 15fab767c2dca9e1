"""Images, from what a program has to the file: pixels are compared after real Pillow has decoded it."""

import io
import os
import pathlib
import random
import re
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from runicorn.validation import images
from runicorn.validation.images import MOST_FILE_BYTES, Picture, clean_quality, media_name, picture_of
from runicorn.writer.imaging import file_bytes

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
CHANNELS = {"L": (), "RGB": (3,), "RGBA": (4,)}
PILLOW = ("1", "L", "P", "LA", "PA", "La", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "F")
ENCODED = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "gif": "GIF", "bmp": "BMP", "tiff": "TIFF"}


@pytest.fixture
def rng():
    """Random numbers that another ``CHAOS_SEED`` makes others."""
    print(f"CHAOS_SEED={SEED}")
    return np.random.default_rng(SEED)


def file_of(picture, quality=90):
    return file_bytes(picture.mode, picture.width, picture.height, picture.data, picture.extension, quality)


def decoded(picture, quality=90):
    """What real Pillow sees in the file that comes of it."""
    image = Image.open(io.BytesIO(file_of(picture, quality)))
    image.load()
    assert image.size == (picture.width, picture.height)
    return image


def png_pixels(image):
    """The pixels after the whole way through a PNG, which must be of the picture's mode."""
    picture = picture_of(image, "png")
    assert isinstance(picture, Picture)
    assert picture.extension == "png"
    found = decoded(picture)
    assert found.format == "PNG"
    assert found.mode == picture.mode
    return np.asarray(found)


def same(found, expected):
    expected = np.asarray(expected)
    assert found.dtype == expected.dtype == np.uint8
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


def random_image(rng, mode):
    """A Pillow image of the mode that is no multiple of anything wide."""
    grey = rng.integers(0, 256, (13, 17), np.uint8)
    if mode == "I":
        return Image.fromarray(rng.integers(0, 256, (13, 17)).astype(np.int32))
    if mode == "F":
        return Image.fromarray(grey.astype(np.float32))
    if mode in {"La", "RGBa", "PA"}:
        return random_image(rng, {"La": "LA", "RGBa": "RGBA", "PA": "P"}[mode]).convert(mode)
    if mode == "P":
        image = Image.frombytes("P", (17, 13), grey.tobytes())
        image.putpalette(rng.integers(0, 256, 768, np.uint8).tobytes())
        return image
    if mode == "1":
        return Image.fromarray(grey > 127)
    bands = len(Image.new(mode, (1, 1)).getbands())
    return Image.frombytes(mode, (17, 13), rng.integers(0, 256, 13 * 17 * bands, np.uint8).tobytes())


def refused(image, format="png", error=ValueError):  # noqa: A002 - as the API has it
    """The message; it says whose it is, what became of the image, and what to write."""
    with pytest.raises(error) as caught:
        picture_of(image, format)
    message = str(caught.value)
    assert isinstance(caught.value, error)
    assert message.startswith("log_image(): ")
    assert "The image was not stored. " in message or "Nothing was stored. " in message
    assert re.search(r"stored\. (Write|Log|Install) .*\S$", message)
    return message


# --- arrays -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["contiguous", "fortran", "strided", "mirrored", "read-only", "transposed"])
@pytest.mark.parametrize("mode", CHANNELS)
def test_uint8_arrays_arrive_bit_for_bit(rng, mode, layout):
    """An array of bytes is in the PNG bit for bit, however it lies in memory."""
    for _ in range(8):
        height, width = rng.integers(1, 70, 2)
        array = rng.integers(0, 256, (2 * height, 3 * width, *CHANNELS[mode]), np.uint8)
        if layout == "fortran":
            array = np.asfortranarray(array)
        elif layout == "strided":
            array = array[::2, 1::3]
        elif layout == "mirrored":
            array = array[::-1, ::-1]
        elif layout == "read-only":
            array.flags.writeable = False
        elif layout == "transposed":
            array = array.swapaxes(0, 1)
        assert picture_of(array, "png").mode == mode
        same(png_pixels(array), array)


def test_one_channel_is_grey(rng):
    """HxWx1 is the same as HxW."""
    array = rng.integers(0, 256, (5, 9, 1), np.uint8)
    same(png_pixels(array), array[..., 0])


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">i2", ">u4"])
def test_integers_are_taken_as_they_are(rng, dtype):
    """Integers of every size and byte order from 0 to 255 are the pixels."""
    most = 128 if dtype == "i1" else 256
    array = rng.integers(0, most, (11, 7, 3)).astype(dtype)
    array[0, 0], array[0, 1] = 0, most - 1
    same(png_pixels(array), array.astype(np.uint8))


@pytest.mark.parametrize(("low", "high"), [(-1, 255), (0, 256), (-128, 65535), (300, 300)])
def test_integers_out_of_range_are_refused(low, high):
    """One integer below 0 or above 255 refuses the image, and the message has both ends."""
    message = refused(np.array([[low, max(low, 7), high]], np.int32))
    assert f"from {low} to {high};" in message
    assert "image.clip(0, 255)" in message


def test_bools_are_black_and_white(rng):
    """False is 0 and True is 255, in one channel and in three."""
    for shape in ((6, 5), (6, 5, 3)):
        array = rng.integers(0, 2, shape).astype(bool)
        same(png_pixels(array), array.astype(np.uint8) * 255)
        same(png_pixels(array[::2, ::-1]), array[::2, ::-1].astype(np.uint8) * 255)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "longdouble"])
@pytest.mark.parametrize("lead", [False, True])
def test_floats_up_to_one_are_scaled(rng, dtype, lead):
    """Floats from 0 to 1 run to 255: every k/255 comes back as k, and what is between as the nearest."""
    exact = np.arange(256).reshape(16, 16)
    same(png_pixels((exact / 255).astype(dtype)), exact.astype(np.uint8))
    array = rng.random((9, 8, 3)).astype(dtype)
    array[0, 0, :2] = 0, 1
    expected = np.floor(array.astype("f8") * 255 + 0.5)
    found = png_pixels(array.transpose(2, 0, 1) if lead else array)
    assert np.abs(found - array.astype("f8") * 255).max() <= 0.501
    assert (found != expected).mean() < 0.01  # where a float of few bits is on the other side of a half
    assert found[0, 0, 0] == 0
    assert found[0, 0, 1] == 255


def test_one_is_white():
    """A largest value below 2 makes it an image from 0 to 1, another one from 0 to 255."""
    same(png_pixels(np.ones((2, 2))), np.full((2, 2), 255, np.uint8))
    same(png_pixels(np.array([[0.0, 1.0, 2.0]])), np.array([[0, 1, 2]], np.uint8))
    same(png_pixels(np.zeros((2, 2))), np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_floats_up_to_255_are_rounded(dtype):
    """Floats from 0 to 255 are rounded, halves upwards."""
    array = np.array([[0.0, 0.25, 0.5, 1.5, 2.5, 99.75, 254.5, 255.0]], dtype)
    same(png_pixels(array), np.array([[0, 0, 1, 2, 3, 100, 255, 255]], np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_overshoots_1_a_little_is_clipped(dtype):
    """Floats that interpolation has taken a little below 0 or above 1 are 0 and 1, not 0 and 1 of 255."""
    array = np.array([[-1e-3, 0.0, 0.5, 1.0, 1.0000001, 1.003]], dtype)
    same(png_pixels(array), np.array([[0, 0, 128, 255, 255, 255]], np.uint8))


@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (0.0, 256.0), (-1.0, 300.0), (-5e-3, 1.0)])
def test_floats_out_of_range_are_refused(low, high):
    """One float below 0 or above 255 refuses the image, and the message has both ends."""
    message = refused(np.array([[low, 0.25, high]]))
    assert f"from {low} to {high};" in message
    assert f"image.clip(0, {1 if high <= 1 else 255})" in message


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_values_that_are_no_numbers_are_refused(dtype):
    """NaN and the infinities refuse the image, and the message counts them."""
    array = np.full((4, 5, 3), 0.5, dtype)
    array[1, 1, 1] = np.inf
    assert "1 of 60 values" in refused(array)
    array[1, 2], array[0, 0, 0] = np.nan, -np.inf
    assert "5 of 60 values" in refused(array)


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "S3", "U3", "O", [("r", "u1"), ("g", "u1")]])
def test_other_types_of_values_are_refused(dtype):
    """Complex numbers, dates, strings, objects and records are no pixels."""
    array = np.zeros((2, 2), dtype)
    assert f"of type {array.dtype}" in refused(array)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_leading_channels_of_an_array(rng, channels):
    """The first axis of an array is the channels only where the last cannot be."""
    array = rng.integers(0, 256, (channels, 6, 5), np.uint8)
    same(png_pixels(array), np.squeeze(np.moveaxis(array, 0, -1)))
    for last in (3, 4):
        array = rng.integers(0, 256, (channels, 6, last), np.uint8)
        same(png_pixels(array), array)


@pytest.mark.parametrize("shape", [(), (7,), (2, 2, 2), (5, 6, 2), (2, 5, 6), (1, 3, 8, 8), (1, 1, 1, 1, 3)])
def test_other_shapes_are_refused(shape):
    """What has no shape of an image is refused with its shape."""
    assert f"shape {shape} is not the shape of an image" in refused(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (0, 5, 3), (3, 0, 5), (3, 5, 0), (4, 0, 0)])
def test_empty_images_are_refused(shape):
    """An image without a pixel is refused, of every type of values."""
    for dtype in (np.uint8, np.float32, np.bool_, np.int64):
        assert "it is empty" in refused(np.zeros(shape, dtype))


def test_too_many_pixels_are_refused():
    """More than 2**28 pixels are refused before anything is copied."""
    array = np.broadcast_to(np.uint8(0), (2**14 + 1, 2**14))
    tracemalloc.start()
    message = refused(array)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"{2**14} x {2**14 + 1} pixels, more than {2**28}" in message
    assert peak_bytes < 2**20


def test_an_array_is_copied_once(rng):
    """Of a contiguous array of bytes one copy is made and no more memory used."""
    array = rng.integers(0, 256, (512, 512, 3), np.uint8)
    picture_of(array, "png")
    tracemalloc.start()
    picture = picture_of(array, "png")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(picture.data) == array.nbytes
    assert peak_bytes < array.nbytes + 2**16


@pytest.mark.parametrize("dtype", ["i8", "bool", "f4"])
@pytest.mark.parametrize("shape", [(8, 9), (8, 9, 3), (3, 8, 9)])
def test_an_array_may_change_after_the_call(rng, dtype, shape):
    """What had to be converted is a copy; pixels that need no conversion are copied by the call that stores them."""
    array = rng.integers(0, 2, shape).astype(dtype)
    picture = picture_of(array, "png")
    before = bytes(picture.data)
    array[:] = 1 - array
    assert bytes(picture.data) == before
    assert bytes(picture_of(array, "png").data) != before


def test_an_array_is_left_as_it_is(rng):
    """The call writes nothing into the program's array."""
    for dtype in ("u1", "i4", "bool", "f2", "f4", "f8"):
        array = rng.integers(0, 2, (8, 9, 3)).astype(dtype)
        before = array.copy()
        picture_of(array, "png")
        assert np.array_equal(array, before)


def test_numpy_that_raises_on_everything():
    """A program that has numpy raise on every underflow logs floats all the same."""
    with np.errstate(all="raise"):
        for dtype in ("f2", "f4", "f8"):
            tiny = np.finfo(dtype).smallest_subnormal
            same(png_pixels(np.array([[tiny, 1.0]], dtype)), np.array([[0, 255]], np.uint8))
            assert "2 of 3 values" in refused(np.array([[np.nan, np.inf, 1.0]], dtype))


def test_anything_that_numpy_makes_an_array_of(rng):
    """Objects with ``__array__`` or with ``__array_interface__`` alone are arrays."""
    array = rng.integers(0, 256, (5, 6, 3), np.uint8)

    class Converted:
        def __array__(self, dtype=None, copy=None):
            return array

    class Described:
        __array_interface__ = array.__array_interface__

    same(png_pixels(Converted()), array)
    same(png_pixels(Described()), array)


# --- Pillow -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", PILLOW)
def test_every_mode_of_pillow(rng, mode):
    """Each mode arrives as Pillow's own ``convert()`` to grey, RGB or RGBA has it."""
    image = random_image(rng, mode)
    assert image.mode == mode
    target = {"1": "L", "L": "L", "I": "L", "F": "L"}.get(mode, "RGBA" if mode[-1] in "Aa" else "RGB")
    assert picture_of(image, "png").mode == target
    same(png_pixels(image), (image.convert("LA") if mode == "La" else image).convert(target))


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B"])
def test_sixteen_bits_are_scaled(rng, mode):
    """Of 16 bits the upper eight are kept, never a value cut off at 255."""
    values = rng.integers(0, 2**16, (13, 17)).astype(">u2" if mode == "I;16B" else "<u2")
    values[0, :4] = 0, 255, 256, 65535
    image = Image.frombytes(mode, (17, 13), values.tobytes())
    same(png_pixels(image), (values >> 8).astype(np.uint8))


def test_integers_of_pillow(rng):
    """Mode I is taken as it is up to 255, as 16 bits up to 65535, and is refused beyond."""
    values = rng.integers(0, 2**16, (13, 17)).astype(np.int32)
    values[0, :3] = 0, 65535, 256
    same(png_pixels(Image.fromarray(values)), (values >> 8).astype(np.uint8))
    same(png_pixels(Image.fromarray(values % 256)), (values % 256).astype(np.uint8))
    assert "from 0 to 65536;" in refused(Image.fromarray(np.array([[0, 65536]], np.int32)))
    assert "from -1 to 5;" in refused(Image.fromarray(np.array([[-1, 5]], np.int32)))


def test_floats_of_pillow_follow_the_rule_of_floats(rng):
    """Mode F is scaled from 0 to 1, rounded from 0 to 255, and refused as an array is."""
    values = rng.random((13, 17)).astype(np.float32)
    same(png_pixels(Image.fromarray(values)), png_pixels(values))
    same(png_pixels(Image.fromarray(values * 255)), png_pixels(values * 255))
    same(png_pixels(Image.fromarray(np.array([[0.5, 1.5, 2.5]], "f4"))), np.array([[1, 2, 3]], np.uint8))
    bad = values.copy()
    bad[2, 3], bad[4, 5] = np.nan, -np.inf
    assert "2 of 221 values" in refused(Image.fromarray(bad))
    assert "from -0.5 to 0.5;" in refused(Image.fromarray(np.array([[-0.5, 0.5]], "f4")))
    assert "from 0.0 to 256.0;" in refused(Image.fromarray(np.array([[0, 256]], "f4")))


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P"])
def test_transparent_colours_are_kept(rng, mode):
    """One transparent colour, or an alpha for each of a palette's, makes it RGBA."""
    image = random_image(rng, mode)
    image.info["transparency"] = {"1": 255, "L": 7, "RGB": image.getpixel((3, 3)), "P": bytes(range(256))}[mode]
    if mode == "L":
        image.putpixel((1, 1), 7)
    expected = np.asarray(image.convert("RGBA"))
    assert expected[..., 3].min() < 255
    same(png_pixels(image), expected)


def test_a_palette_with_alpha_is_kept():
    """A palette of RGBA colours makes it RGBA."""
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    colours = [[10, 20, 30, 255], [40, 50, 60, 128], [70, 80, 90, 0]]
    image.putpalette([value for colour in colours for value in colour], "RGBA")
    same(png_pixels(image), np.array([colours], np.uint8))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "F"])
def test_an_image_of_pillow_may_change_after_the_call(rng, mode):
    """What is drawn into a Pillow image afterwards is not in the picture, and the call changes nothing in it."""
    image = random_image(rng, mode) if mode != "I;16" else Image.fromarray(rng.integers(0, 999, (13, 17)).astype("u2"))
    original = image.copy()
    picture = picture_of(image, "png")
    assert image.mode == mode
    assert image.tobytes() == original.tobytes()
    before = bytes(picture.data)
    image.paste(0, (0, 0, 17, 13))
    assert bytes(picture.data) == before


def test_a_file_that_pillow_has_opened_and_not_read(rng, tmp_path):
    """An image that Pillow reads only now is read now; one whose file is cut off is refused with Pillow's reason."""
    array = rng.integers(0, 256, (64, 64, 3), np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(array).save(path)
    with Image.open(path) as image:
        same(png_pixels(image), array)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with Image.open(path) as image:
        message = refused(image)
    assert "a PngImageFile raised OSError(" in message


def test_a_later_frame_of_an_animation(rng, tmp_path):
    """Of an animation the frame that Pillow is at is stored."""
    frames = [Image.fromarray(rng.integers(0, 256, (16, 16), np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    for number, frame in enumerate(frames):
        with Image.open(tmp_path / "a.gif") as image:
            image.seek(number)
            same(png_pixels(image), frame.convert("RGB"))


class _KnownLate(Image.Image):
    """What Pillow's EPS files are: size and mode are those of a preview until the pixels are read."""

    def __init__(self, real):
        self.__dict__.update(Image.new("RGB", (1, 1)).__dict__)
        self.real = real

    def load(self):
        self.__dict__.update(self.real.__dict__)
        return super().load()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_size_and_mode_are_those_of_the_pixels(rng, mode):
    """An image whose size and mode change when its pixels are read is stored as what was read."""
    real = random_image(rng, mode)
    same(png_pixels(_KnownLate(real)), real.convert("RGB") if mode == "P" else real)


def test_an_empty_image_of_pillow_is_refused():
    """A Pillow image without a pixel is refused."""
    assert "0 x 4 pixels: it is empty" in refused(Image.new("RGB", (0, 4)))


# --- files as they are --------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", ENCODED)
@pytest.mark.parametrize("format", ["png", "jpg", "gif", "nonsense", None])
def test_files_are_stored_as_they_are(rng, tmp_path, extension, format):  # noqa: A002 - as the API has it
    """A file's bytes or path: unchanged, with the extension of what it is, whatever the format and the name say."""
    encoded = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (13, 17, 3), np.uint8)).save(encoded, ENCODED[extension])
    content = encoded.getvalue()
    path = tmp_path / "picture.txt"
    path.write_bytes(content)
    for given_image in (content, bytearray(content), memoryview(content), str(path), path, np.str_(path)):
        picture = picture_of(given_image, format)
        assert picture == Picture("", 0, 0, content, extension)
        assert file_of(picture) == content


def test_big_endian_and_big_tiffs_are_known():
    """TIFF begins in four ways, GIF in two."""
    for magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        assert picture_of(magic + b"...", "png").extension == "tiff"
    for magic in (b"GIF87a", b"GIF89a"):
        assert picture_of(magic + b"...", "png").extension == "gif"


def test_bytes_may_change_after_the_call():
    """What becomes of a bytearray, of a view's buffer or of the file at a path is not in the picture."""
    content = bytearray(b"\x89PNG\r\n\x1a\n" + bytes(50))
    pictures = [picture_of(content, "png"), picture_of(memoryview(content), "png")]
    content[:] = b"x" * len(content)
    assert all(picture.data == b"\x89PNG\r\n\x1a\n" + bytes(50) for picture in pictures)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89PNG",
        b"BM is how a text begins, and it is no bitmap",
        b"RIFF....WAVE",
        b"GIF88a",
        b"\0" * 300,
        b"<svg>",
    ],
)
def test_bytes_that_are_no_image_file_are_refused(content, tmp_path):
    """Bytes of another kind are refused with how many they are and how they begin, from a path with its name."""
    message = refused(content)
    assert f"the bytes holds {len(content)} bytes, beginning with {content[:12]!r}" in message
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    assert f"{str(path)!r} holds"[-12:] in refused(path)


def test_paths_without_a_file_are_refused(tmp_path):
    """What is not there, a directory, a pipe and what no path can be are refused with the name, and nobody waits."""
    missing = tmp_path / "gone.png"
    assert "could not be read (No such file or directory)" in refused(missing)
    assert "'no-such-image.png' could not be read" in refused("no-such-image.png")
    assert "is not a file" in refused(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file" in refused(str(tmp_path / "pipe"))
    assert "null" in refused("a\0b.png")
    assert "''" in refused("")


def test_files_of_more_than_256_mib_are_refused(tmp_path, monkeypatch):
    """One byte more than 256 MiB is refused, of a path before it is read; as many are stored."""
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(MOST_FILE_BYTES + 1)
    tracemalloc.start()
    message = refused(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"holds {2**28 + 1} bytes, more than {2**28}" in message
    assert peak_bytes < 2**20
    monkeypatch.setattr(images, "MOST_FILE_BYTES", 100)
    assert len(picture_of(b"GIF89a" + bytes(94), "png").data) == 100
    assert "holds 101 bytes, more than 100" in refused(b"GIF89a" + bytes(95))
    path.write_bytes(b"GIF89a" + bytes(94))
    assert len(picture_of(path, "png").data) == 100


# --- what is no image ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image", [None, 3, 0.5, [[0, 1], [2, 3]], {"image": 1}, object(), {1}, (1, 2), range(3), Ellipsis, Picture, io]
)
def test_what_is_no_image_is_refused(image):
    """Anything else is refused with what it is."""
    message = refused(image, error=TypeError)
    assert repr(image)[:60] in message
    assert f"is of type {type(image).__name__} and is not an image" in message


def test_numpy_scalars_are_refused():
    """A number that numpy calls an array of no axes is refused as such."""
    assert "shape () is not the shape of an image" in refused(np.float64(0.5))


class _RaisingArray:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("not today")


class _ArrayOfNothing:
    def __array__(self, dtype=None, copy=None):
        return "no array"


class _RaisingAttributes:
    def __getattr__(self, name):
        raise RuntimeError("no attributes")

    def __repr__(self):
        raise RuntimeError("no repr")


class _RaisingPath(os.PathLike):
    def __fspath__(self):
        raise RuntimeError("no path")


class _RaisingClass:
    @property
    def __class__(self):
        raise RuntimeError("no class")


class _RaisingText(_RaisingArray):
    def __array__(self, dtype=None, copy=None):
        raise _SilentError


class _SilentError(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class _RaisingPillow(Image.Image):
    def load(self):
        raise MemoryError("no memory")

    size = (2, 2)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (_RaisingArray, "RuntimeError('not today')"),
        (_ArrayOfNothing, "Error("),
        (_RaisingAttributes, "RuntimeError('no attributes')"),
        (_RaisingPath, "RuntimeError('no path')"),
        (_RaisingClass, "RuntimeError('no class')"),
        (_RaisingText, "<_SilentError>"),
        (_RaisingPillow, "MemoryError('no memory')"),
    ],
)
def test_what_an_image_raises_is_told(kind, reason):
    """Whatever an object's own methods raise comes as one message with the object's type and the reason."""
    message = refused(kind())
    assert f"reading the pixels of a {kind.__name__} raised " in message
    assert reason in message


def test_an_interruption_goes_through():
    """Ctrl-C in an image's own method is not an image that could not be read."""

    class Interrupted:
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        picture_of(Interrupted(), "png")


# --- formats ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["png", "PNG", ".png", ".PnG", "jpg", ".JPG", "jpeg", "JPEG", "webp", ".WebP"])
def test_formats_in_any_spelling(format):  # noqa: A002 - as the API has it
    """A format is known in any case and with a dot; the file has its extension and is of the kind."""
    picture = picture_of(np.zeros((4, 4, 3), np.uint8), format)
    assert picture.extension == format.lower().removeprefix(".")
    assert decoded(picture).format == ENCODED.get(picture.extension, "JPEG")


@pytest.mark.parametrize("format", ["", ".", "gif", "tiff", "..png", " png", "png ", "image/png", None, 3, b"png"])
def test_other_formats_are_refused(format):  # noqa: A002 - as the API has it
    """Any other format is refused with those that there are."""
    for image in (np.zeros((4, 4), np.uint8), Image.new("L", (4, 4))):
        message = refused(image, format)
        assert f"format is {format!r}" in message
        assert "'png', 'jpg', 'jpeg', 'webp'" in message


@pytest.mark.parametrize(("format", "most"), [("jpg", 65_500), ("jpeg", 65_500), ("webp", 16_383)])
@pytest.mark.parametrize("source", [np.asarray, Image.fromarray])
def test_the_longest_side_of_a_format(format, most, source):  # noqa: A002 - as the API has it
    """The longest side that a format has is encoded; one pixel more is refused in the call."""
    for shape in ((1, most), (most, 1)):
        assert decoded(picture_of(source(np.zeros(shape, np.uint8)), format)).size == shape[::-1]
    for shape in ((1, most + 1), (most + 1, 1)):
        message = refused(source(np.zeros(shape, np.uint8)), format)
        assert f"{shape[1]} x {shape[0]} pixels, and {format} allows at most {most}" in message
        assert 'format="png"' in message
        assert decoded(picture_of(source(np.zeros(shape, np.uint8)), "png")).size == shape[::-1]


def smooth(mode):
    """An image that a lossy format keeps nearly as it is."""
    ramp = np.linspace(0, 255, 64)
    bands = [np.add.outer(ramp, ramp) / 2, np.add.outer(ramp, ramp[::-1]) / 2, np.add.outer(ramp, 0 * ramp)]
    bands.append(np.add.outer(0 * ramp, ramp))
    count = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    return np.squeeze(np.stack(bands[:count], axis=-1)).round().astype(np.uint8)


@pytest.mark.parametrize("mode", CHANNELS)
def test_jpeg(mode):
    """JPEG keeps grey grey and colours nearly; what is transparent lies on white."""
    array = smooth(mode)
    found = decoded(picture_of(array, "jpg"), quality=95)
    assert found.mode == ("L" if mode == "L" else "RGB")
    expected = array.astype(float)
    if mode == "RGBA":
        alpha = expected[..., 3:] / 255
        expected = expected[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(np.asarray(found) - expected).mean() < 2
    assert np.abs(np.asarray(found) - expected).max() < 20


def test_transparent_black_is_white_in_jpeg():
    """A figure's transparent background, which is black without its alpha, is white as JPEG."""
    found = decoded(picture_of(np.zeros((8, 8, 4), np.uint8), "jpg"))
    assert np.asarray(found).min() == 255


@pytest.mark.parametrize("mode", CHANNELS)
def test_webp(mode):
    """WEBP keeps colours nearly and alpha; grey becomes RGB."""
    array = smooth(mode)
    found = decoded(picture_of(array, "webp"), quality=95)
    assert found.format == "WEBP"
    assert found.mode == ("RGBA" if mode == "RGBA" else "RGB")
    found = np.asarray(found).astype(float)
    if mode == "RGBA":
        assert np.abs(found[..., 3] - array[..., 3]).max() <= 2
        seen = array[..., 3] > 64
        assert np.abs(found[seen][:, :3] - array[seen][:, :3]).mean() < 4
    else:
        expected = array if mode == "RGB" else array[..., None]
        assert np.abs(found - expected).mean() < 4


@pytest.mark.parametrize("format", ["jpg", "webp"])
def test_quality(rng, format):  # noqa: A002 - as the API has it
    """A lower quality is a smaller and a worse file."""
    array = np.clip(smooth("RGB") + rng.normal(0, 20, (64, 64, 3)), 0, 255).astype(np.uint8)
    picture = picture_of(array, format)
    sizes = [len(file_of(picture, quality)) for quality in (1, 50, 90, 100)]
    errors = [np.abs(np.asarray(decoded(picture, quality)).astype(float) - array).mean() for quality in (1, 90)]
    assert sizes == sorted(set(sizes))
    assert errors[0] > errors[1]


@pytest.mark.parametrize("quality", [1, 100, 90, True, np.int64(5)])
def test_whole_numbers_are_a_quality(quality):
    """Whole numbers from 1 to 100 are a quality, and Python's own afterwards."""
    assert type(clean_quality(quality)) in {int, bool}
    assert clean_quality(quality) == quality


@pytest.mark.parametrize(
    ("quality", "error"),
    [(0, ValueError), (101, ValueError), (-1, ValueError), (90.0, TypeError), ("90", TypeError), (None, TypeError)],
)
def test_other_qualities_are_refused(quality, error):
    """Anything else is refused with what it is and what there is."""
    with pytest.raises(error, match=re.escape(f"quality={quality!r}")) as caught:
        clean_quality(quality)
    assert "The image was not stored. Write a whole number from 1 to 100." in str(caught.value)


# --- without the packages -----------------------------------------------------------------------------------


def test_pixels_without_pillow_are_refused(monkeypatch):
    """Where Pillow is missing, pixels are refused with how to install it, and image files are stored."""
    array = np.zeros((4, 4), np.uint8)
    picture = picture_of(array, "png")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert 'pip install "runicorn[images]"' in refused(array)
    assert picture_of(b"GIF89a...", "png").extension == "gif"
    monkeypatch.delitem(sys.modules, "PIL.Image")
    with pytest.raises(ValueError, match="could not encode"):
        file_of(picture)
    assert file_bytes("", 0, 0, b"GIF89a...", "gif", 90) == b"GIF89a..."


def test_nothing_is_imported_for_what_does_not_need_it(tmp_path):
    """Neither module imports numpy, torch, matplotlib or Pillow, nor does an image file, nor what is no image."""
    program = """
import sys
from runicorn.validation.images import media_name, picture_of
from runicorn.writer.imaging import file_bytes
assert file_bytes(*picture_of(b"GIF89a...", "png"), 90) == b"GIF89a..."
for image in (None, [1], "nowhere.png"):
    try:
        picture_of(image, "png")
    except (TypeError, ValueError):
        continue
    raise AssertionError(image)
media_name("a/b", "png", 1.0)
print(sorted({"numpy", "torch", "matplotlib", "PIL"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_pillow_images_need_no_numpy(tmp_path):
    """An image of Pillow's, also of floats, is read where numpy is not installed."""
    program = """
import sys
sys.modules["numpy"] = None
from PIL import Image
from runicorn.validation.images import picture_of
for mode in ("1", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"):
    picture = picture_of(Image.new(mode, (3, 2)), "png")
    assert len(picture.data) == 6 * len(picture.mode), mode
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, "")


# --- the writer's end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "width", "height", "size", "extension"),
    [
        ("RGB", 4, 4, 47, "png"),
        ("RGB", 4, 4, 49, "png"),
        ("L", 4, 4, 0, "jpg"),
        ("RGBA", 2, 2, 12, "webp"),
        ("CMYK", 2, 2, 16, "jpg"),
        ("L", 2, 2, 4, "gif"),
        ("L", 2, 2, 4, ""),
        ("L", 65_501, 1, 65_501, "jpg"),
        ("L", 16_384, 1, 16_384, "webp"),
    ],
)
def test_what_cannot_be_encoded(mode, width, height, size, extension):
    """Pixels too few or too many, other modes and formats, and sides too long are a ``ValueError``."""
    with pytest.raises(ValueError, match=r"."):
        file_bytes(mode, width, height, bytes(size), extension, 90)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_pixels_in_any_buffer_are_encoded(rng, kind):
    """The writer takes bytes, a bytearray and a view of them."""
    array = rng.integers(0, 256, (5, 7, 3), np.uint8)
    content = file_bytes("RGB", 7, 5, kind(array.tobytes()), "png", 90)
    assert type(content) is bytes
    same(np.asarray(Image.open(io.BytesIO(content))), array)
    assert file_bytes("", 0, 0, kind(content), "png", 90) == content


# --- names --------------------------------------------------------------------------------------------------

NAME = re.compile(r"media/(\d+)_([0-9a-f]{6})_(.+)\.png", re.DOTALL)


def name_of(key):
    return NAME.fullmatch(media_name(key, "png", 1.5))[3]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("val/sample 3", "val_sample_3"),
        ("a-b_c.d", "a-b_c.d"),
        ("", "image"),
        ("..", "_."),
        (".hidden", "_hidden"),
        ("../../etc/passwd", "_._.._etc_passwd"),
        ("C:\\x", "C__x"),
        ('<>:"|?*', "_______"),
        ("a\0b\nc\x7f", "a_b_c_"),
        ("\udc80x", "_x"),
        ("图像/样本", "图像_样本"),
        ("Größe ½", "Größe_½"),
        ("हिन्दी", "हिन्दी"),
        ("e\u0301", "e\u0301"),
        ("a😀b", "a_b"),
        ("a\u202eb\u200bc", "a_b_c"),
        ("٣", "٣"),
    ],
)
def test_names_of_files(key, name):
    """Letters, digits and marks of every script stay, everything else becomes an underscore."""
    assert name_of(key) == name


def test_names_are_cut_at_a_character():
    """80 bytes of UTF-8 stay, never half a character."""
    assert name_of("x" * 200) == "x" * 80
    assert name_of("ä" * 200) == "ä" * 40
    assert name_of("x" + "ä" * 200) == "x" + "ä" * 39
    assert name_of("图" * 200) == "图" * 26


@seed(SEED)
@settings(max_examples=300, deadline=None, database=None)
@given(st.text(st.characters(codec=None), max_size=120))
def test_any_string_is_a_name(key):
    """Any string gives a name that every file system takes, of at most 80 bytes."""
    name = name_of(key)
    assert 0 < len(name.encode("utf-8")) <= 80
    assert not name.startswith(".")
    assert not set(name) & set('/\\<>:"|?* \t\n\r')
    assert all(character.isprintable() for character in name)


def test_names_tell_the_time_and_differ():
    """A name begins with the milliseconds since the epoch; the same key at the same time has another one each time."""
    names = {media_name("loss", "jpg", 1_700_000_000.123) for _ in range(200)}
    assert len(names) > 190
    for name in names:
        assert re.fullmatch(r"media/1700000000123_[0-9a-f]{6}_loss\.jpg", name)


def test_random_images_of_every_kind(rng):
    """A thousand images of random shape, type and strides: each is what numpy alone computes of it."""
    chance = random.Random(SEED)
    for number in range(1000):
        height, width = chance.randint(1, 12), chance.choice([1, 2, 5, 6, 7, 8, 20])
        mode = chance.choice(list(CHANNELS))
        base = rng.integers(0, 256, (height, width, *CHANNELS[mode]), np.uint8)
        kind = chance.choice(["u1", "i2", "u8", "f4", "f8", "bool"])
        array, expected = base, base
        if kind == "bool":
            array = base > 127
            expected = array.astype(np.uint8) * 255
        elif kind[0] == "f":
            array = base.astype(kind)
            if chance.random() < 0.5:
                array = array / array.dtype.type(255)
            if array.max() <= 1:
                expected = (array * 255).round().astype(np.uint8)
        else:
            array = base.astype(kind)
        if chance.random() < 0.3 and array.ndim == 3 and width not in {1, 3, 4}:
            array = np.ascontiguousarray(np.moveaxis(array, -1, 0))
        if chance.random() < 0.3:
            array = np.asfortranarray(array)
        if chance.random() < 0.3:
            array = array[..., ::-1][..., ::-1] if array.ndim == 3 else np.repeat(array, 2, axis=1)[:, ::2]
        picture = picture_of(array, "png")
        assert (picture.mode, picture.width, picture.height) == (mode, width, height), number
        assert bytes(picture.data) == np.ascontiguousarray(expected).tobytes(), number


def test_paths_of_any_kind(tmp_path, monkeypatch):
    """A path relative to the working directory, and one of ``pathlib``'s pure ones, is read at the call."""
    (tmp_path / "a.gif").write_bytes(b"GIF89a...")
    monkeypatch.chdir(tmp_path)
    assert picture_of("a.gif", "png").data == b"GIF89a..."
    picture = picture_of(pathlib.PurePath("a.gif"), "png")
    (tmp_path / "a.gif").unlink()
    assert picture.data == b"GIF89a..."
