"""Images of real torch and real matplotlib: the pixels in the file, and what the call leaves of their sources."""

import pytest

pytestmark = pytest.mark.timeout(240)

HEAD = """
import io
import numpy as np
from PIL import Image
from runicorn.validation.images import picture_of
from runicorn.writer.imaging import file_bytes


def decoded(image, format="png"):
    picture = picture_of(image, format)
    content = file_bytes(picture.mode, picture.width, picture.height, picture.data, picture.extension, 95)
    return np.asarray(Image.open(io.BytesIO(content)))


def same(found, expected):
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert np.array_equal(found, expected)


def refused(image):
    try:
        picture_of(image, "png")
    except ValueError as error:
        return str(error)
    raise AssertionError(image)
"""

TENSORS = (
    HEAD
    + """
import torch

torch.manual_seed(20261123)
devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
bytes_of = torch.randint(0, 256, (4, 6, 5), dtype=torch.uint8)
"""
)

FIGURES = (
    HEAD
    + """
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt


def drawn(dpi=50, **more):
    figure, axes = plt.subplots(figsize=(3, 2), dpi=dpi, **more)
    axes.plot([0, 1, 4, 9])
    axes.set_title("loss")
    return figure


def saved(figure, **more):
    content = io.BytesIO()
    figure.savefig(content, format="png", **more)
    return np.asarray(Image.open(content))
"""
)

LAYOUTS = """
for device in devices:
    for channels in (1, 3, 4):
        tensor = bytes_of[:channels].to(device)
        expected = np.squeeze(tensor.permute(1, 2, 0).cpu().numpy())
        same(decoded(tensor), expected)
        same(decoded(tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)), expected)
        same(decoded(tensor.flip(2)), expected[:, ::-1])
    same(decoded(bytes_of[0].to(device)), bytes_of[0].numpy())
    same(decoded(bytes_of[0].to(device).T), bytes_of[0].numpy().T)
    last = torch.randint(0, 256, (8, 6, 3), dtype=torch.uint8)
    same(decoded(last.to(device)), last.numpy())
    both = torch.randint(0, 256, (3, 6, 4), dtype=torch.uint8)
    same(decoded(both.to(device)), both.permute(1, 2, 0).numpy())
    for shape in ((2, 3, 8, 8), (1, 3, 8, 8), (7,), (), (2, 5, 6)):
        assert f"shape {shape} is not the shape of an image" in refused(torch.zeros(shape, device=device)), shape
    assert "empty" in refused(torch.zeros((3, 0, 4), device=device))
"""

TYPES = """
exact = (torch.arange(256) / 255).reshape(16, 16)
for device in devices:
    for dtype in (torch.float16, torch.float32, torch.float64):
        found = decoded(exact.to(device, dtype))
        same(found, np.arange(256, dtype=np.uint8).reshape(16, 16))
    for dtype in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2):
        tensor = torch.rand(3, 16, 16).to(dtype).to(device)
        expected = np.floor(tensor.cpu().float().numpy() * np.float32(255) + np.float32(0.5)).astype(np.uint8)
        same(decoded(tensor), np.moveaxis(expected, 0, -1))
    whole = torch.arange(256).reshape(16, 16)
    same(decoded(whole.to(device, torch.bfloat16)), whole.byte().numpy())
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        tensor = torch.randint(0, 128, (3, 16, 16), dtype=dtype)
        same(decoded(tensor.to(device)), np.moveaxis(tensor.byte().numpy(), 0, -1))
    mask = torch.rand(16, 16) > 0.5
    same(decoded(mask.to(device)), mask.byte().numpy() * 255)
    learned = torch.nn.Parameter(exact.to(device))
    same(decoded(learned), np.arange(256, dtype=np.uint8).reshape(16, 16))
    same(decoded(learned * 1.0), np.arange(256, dtype=np.uint8).reshape(16, 16))
    assert learned.requires_grad and learned.grad is None
    same(decoded(torch.complex(exact, -exact).conj().imag.to(device)), np.arange(256, dtype=np.uint8).reshape(16, 16))
"""

REFUSALS = """
for device in devices:
    assert "from -1.0 to 1.0;" in refused(torch.tensor([[-1.0, 1.0]], device=device, dtype=torch.bfloat16))
    assert "from 0 to 256;" in refused(torch.tensor([[0, 256]], device=device))
    assert "1 of 2 values" in refused(torch.tensor([[float("nan"), 1.0]], device=device, dtype=torch.bfloat16))
    assert "of type complex64" in refused(torch.zeros((2, 2), dtype=torch.complex64, device=device))
assert "raised " in refused(torch.zeros((2, 2), device="meta"))
assert "raised " in refused(torch.zeros((2, 2)).to_sparse())
assert "is not the shape of an image" in refused(torch.zeros((2, 2, 2)))
assert "more than" in refused(torch.zeros((1, 1), dtype=torch.uint8).expand(2**14 + 1, 2**14))
assert "more than" in refused(torch.zeros((2**14 + 1, 2**14), device="meta"))
"""

COPIES = """
for device in devices:
    for tensor in (bytes_of[:3].clone().to(device), torch.rand(8, 8).to(device), torch.rand(8, 8).to(device) > 0.5):
        picture = picture_of(tensor, "png")
        before = bytes(picture.data)
        original = tensor.clone()
        assert torch.equal(tensor, original)
        tensor.zero_()
        assert bytes(picture.data) == before and any(before)
        picture = picture_of(original, "png")
        assert bytes(picture.data) == before
"""


def test_tensors(run_engine):
    """Tensors of every layout, type and device at hand are stored exactly or refused; later writes change nothing."""
    run_engine("torch", TENSORS + LAYOUTS + TYPES + REFUSALS + COPIES)


PIXELS = """
for dpi, size in ((50, (100, 150)), (100, (200, 300)), (73, (146, 219))):
    figure = drawn(dpi)
    found = decoded(figure)
    assert found.shape == (*size, 4), found.shape
    same(found, saved(figure, dpi="figure"))
    assert found[..., 3].min() == 255 and (found[..., :3] != 255).any()
figure = drawn()
figure.patch.set_facecolor((1, 0, 0, 0.5))
same(decoded(figure), saved(figure, dpi="figure"))
assert abs(decoded(figure, "jpg")[0, 0].astype(int) - [255, 127, 127]).max() <= 3
"""

SETTINGS = """
figure = drawn()
for settings in (
    {"savefig.dpi": 300}, {"savefig.bbox": "tight"}, {"savefig.transparent": True}, {"savefig.facecolor": "green"},
    {"savefig.format": "pdf"},
):
    with matplotlib.rc_context(settings):
        same(decoded(figure), saved(figure, dpi="figure"))
with matplotlib.rc_context({"savefig.dpi": 300}):
    assert decoded(figure).shape == (100, 150, 4)
with matplotlib.rc_context({"savefig.bbox": "tight"}):
    assert decoded(figure).shape != (100, 150, 4)
same(decoded(drawn(layout="constrained")), saved(drawn(layout="constrained"), dpi="figure"))
"""

UNCHANGED = """
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

closed = drawn()
plt.close(closed)
bare = Figure(figsize=(3, 2), dpi=50)
bare.subplots().plot([1, 2])
pdf, svg = drawn(), drawn()
FigureCanvasPdf(pdf)
FigureCanvasSVG(svg)
for figure in (drawn(), closed, bare, pdf, svg):
    for stale in (True, False):
        figure.stale = stale
        canvas, callbacks, open_figures = figure.canvas, figure.canvas.callbacks, plt.get_fignums()
        size = list(figure.bbox.size)
        found = decoded(figure)
        assert found.shape == (100, 150, 4)
        assert figure.canvas is canvas and canvas.figure is figure and figure.canvas.callbacks is callbacks
        assert figure.dpi == 50 and list(figure.get_size_inches()) == [3, 2] and list(figure.bbox.size) == size
        assert plt.get_fignums() == open_figures
        same(decoded(figure), found)
        if stale:
            figure.axes[0].set_title("another")
            assert figure.stale and (decoded(figure) != found).any()
"""

GROWN = """
figure = drawn()
picture = picture_of(figure, "png")
before = bytes(picture.data)
figure.axes[0].plot([9, 4, 1, 0])
assert picture.data == before
assert picture_of(figure, "png").data != before
plt.close(figure)
assert picture_of(figure, "png").data != before
"""

FIGURE_REFUSALS = """
figure = drawn()
figure.axes[0].set_title("$\\\\frac{$")
assert "reading the pixels of a Figure raised" in refused(figure)
try:
    picture_of(figure.axes[0], "png")
except TypeError as error:
    assert "is not an image" in str(error)
wide = plt.figure(figsize=(170, 1), dpi=100)
try:
    picture_of(wide, "webp")
except ValueError as error:
    assert "17000 x 100 pixels, and webp allows at most 16383" in str(error), error
else:
    raise AssertionError
"""


def test_figures(run_engine):
    """Figures are what ``savefig()`` makes of them at their own dpi; canvas, size and later drawing stay theirs."""
    bodies = (PIXELS, SETTINGS, UNCHANGED, GROWN, FIGURE_REFUSALS)
    run_engine("matplotlib", FIGURES + "".join(f"{body}plt.close('all')\n" for body in bodies))
