"""Images whose values do not fill their scale, and images that lie on their side."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageOps
from support import warnings_in

from runicorn.validation.images import picture_of

ORIENTATION = 0x0112


def pixels(image):
    """What is stored of an image."""
    picture = picture_of(image, "png")
    channels = {"L": (), "RGB": (3,), "RGBA": (4,)}[picture.mode]
    return np.frombuffer(picture.data, np.uint8).reshape(picture.height, picture.width, *channels)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("highest", [1.02, 1.5, 1.99])
def test_floats_a_little_above_1_are_of_the_scale_0_to_1(dtype, highest):
    """What is above 1 is cut, for arrays and for images of Pillow's mode F alike."""
    array = np.array([[0.0, 0.2, 0.5, 0.9, highest]], dtype)
    assert pixels(array).tolist() == [[0, 51, 128, 230, 255]] or dtype == "f2"
    assert pixels(array)[0, -1] == 255
    assert pixels(array)[0, 1] in {51, 52}
    assert pixels(Image.fromarray(array.astype("f4")))[0, -1] == 255


COLOUR = np.zeros((40, 50, 4), np.uint8)
COLOUR[..., 3] = 255
COLOUR[3, 4, 1] = 7
SPECK = np.zeros((400, 500), np.uint8)
SPECK[17, 31] = 200
DARK = {
    "mask of 0 and 1": np.array([[0, 1], [1, 0]]),
    "mask of uint8": np.eye(300, dtype=np.uint8),
    "mask of Pillow": Image.fromarray(np.eye(30, dtype=np.uint8)),
    "classes": np.arange(21).reshape(3, 7),
    "floats of a tenth": np.array([[0.0, 0.05]]),
    "floats above 2": np.array([[0.0, 5.0]]),
    "colours with alpha": COLOUR,
    "one class among zeros": np.pad(np.ones((1, 1), np.uint8), 400),
}
BRIGHT = {
    "bools": np.array([[True, False]]),
    "black": np.zeros((5, 5), np.uint8),
    "of one value": np.full((5, 5), 7, np.uint8),
    "black and opaque": np.dstack([np.zeros((5, 5, 3), np.uint8), np.full((5, 5), 255, np.uint8)]),
    "floats": np.array([[0.2, 0.5], [0.9, 1.02]]),
    "bytes": np.array([[0, 255]]),
    "a bright speck on black": SPECK,
    "mode 1": Image.new("1", (3, 3), 1),
}


@pytest.mark.parametrize("name", DARK)
def test_an_image_that_looks_black_is_told_once(open_run, caplog, name):
    """It is stored as it is, and the warning says how large its values are and what to write."""
    run = open_run()
    paths = [run.log_image("m", DARK[name]) for _ in range(3)]
    run.finish()
    (message,) = warnings_in(caplog)
    assert "of 255" in message
    assert "'m'" in message
    assert all((run.run_dir / path).stat().st_size for path in paths)


@pytest.mark.parametrize("name", BRIGHT)
def test_another_image_is_not_told(open_run, caplog, name):
    """Bright ones, those with one bright point, and those that are black altogether."""
    run = open_run()
    assert run.log_image("m", BRIGHT[name])
    run.finish()
    assert warnings_in(caplog) == []


def photo(orientation, extension="jpeg"):
    """A file of 4 x 2 pixels that was taken in that orientation."""
    image = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(2, 4, 3) * 10)
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    file = io.BytesIO()
    image.save(file, extension, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("extension", ["jpeg", "png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_an_image_of_pillow_is_turned_upright(orientation, extension):
    """The pixels are those that Pillow's own ``exif_transpose()`` gives, whatever the orientation says."""
    content = photo(orientation, extension)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert np.array_equal(pixels(Image.open(io.BytesIO(content))), expected)


def test_an_image_that_was_turned_already_is_not_turned_again():
    """What ``exif_transpose()`` gives is stored as it is."""
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(photo(6))))
    assert turned.size == (2, 4)
    assert np.array_equal(pixels(turned), np.asarray(turned))


def test_an_image_is_left_as_it_was():
    """The program's own image keeps its size and its orientation."""
    image = Image.open(io.BytesIO(photo(6)))
    assert pixels(image).shape == (4, 2, 3)
    assert (image.size, image.getexif()[ORIENTATION]) == ((4, 2), 6)


def test_a_file_keeps_its_bytes_and_its_orientation(tmp_path):
    """A file is stored as it is: what shows it turns it."""
    content = photo(6)
    (tmp_path / "photo.jpg").write_bytes(content)
    assert picture_of(tmp_path / "photo.jpg", "png").data == content
    assert picture_of(content, "png").data == content


def test_a_damaged_exif_is_passed_over():
    """The pixels of an image whose EXIF is rubbish are stored."""
    image = Image.open(io.BytesIO(photo(1)))
    image.load()
    image.info["exif"] = b"Exif\0\0II*\0\xff\xff\xff\xffrubbish"
    image._exif = None
    assert pixels(image).shape == (2, 4, 3)
