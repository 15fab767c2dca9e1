"""Device scalars of real libraries: torch's tensors through slots, under a device that a test stands in for; JAX."""

from __future__ import annotations

import gc
import weakref

import jax
import pytest
import torch
from support import logged, warnings_in

from runicorn import devices
from runicorn.devices.cuda import Cuda
from runicorn.devices.jax_arrays import JaxArrays


class Stream:
    """A stream as ``torch.cuda`` has it: events pass when a test says so."""

    def __init__(self, number=1):
        self.cuda_stream = number
        self.has_passed = False

    def record_event(self):
        """An event behind what was queued."""
        return self

    def query(self):
        """Whether it has passed."""
        return self.has_passed

    def synchronize(self):
        """Wait for it."""
        self.has_passed = True


class Api:
    """What is used of ``torch.cuda``."""

    def __init__(self):
        self.stream = Stream()
        self.is_capturing = False

    def current_stream(self, _device):
        """The one stream."""
        return self.stream

    def is_current_stream_capturing(self):
        """As a test says."""
        return self.is_capturing


class Tensor:
    """A real tensor that says that it is on a device; its value is copied, and never asked for."""

    is_cuda = True
    device = "cuda:0"

    def __init__(self, real):
        self.real = real
        self.recorded_on = []

    def __getattr__(self, name):
        return getattr(self.real, name)

    def item(self):
        """Makes the program wait."""
        raise AssertionError("item() was called")

    def detach(self):
        """Without its graph."""
        return Tensor(self.real.detach())

    def reshape(self, shape):
        """What torch's copy_() takes."""
        return self.real.reshape(shape)

    def record_stream(self, stream):
        """The allocator is told."""
        assert isinstance(stream, Stream)


@pytest.fixture
def api():
    """A device that has done nothing yet."""
    return Api()


@pytest.fixture
def cuda(api):
    """A ring of four slots."""
    return Cuda(torch, api, slots=4)


@pytest.mark.parametrize(
    ("dtype", "number"),
    [
        ("float32", 0.1),
        ("float64", 1e-320),
        ("float16", 0.1),
        ("bfloat16", 3.140625),
        ("int64", -(2**63)),
        ("int32", 7),
        ("int16", -7),
        ("int8", -128),
        ("uint8", 255),
        ("bool", True),
    ],
)
def test_value_of_each_type_is_exact(cuda, api, dtype, number):
    """A tensor of any type of numbers arrives as its own item() would be, and of the same Python type."""
    real = torch.tensor(number, dtype=getattr(torch, dtype))
    pending = cuda.number_or_pending(Tensor(real))
    assert isinstance(pending, devices.OnDevice)
    transfer = cuda.start([pending.value])
    assert not transfer.has_arrived()
    api.stream.has_passed = True
    assert transfer.has_arrived()
    (value,) = transfer.values()
    assert (type(value), value) == (type(real.item()), real.item())


def test_update_in_place_comes_too_late(cuda):
    """The copy is queued within the call: what happens to the tensor afterwards is not in it."""
    real = torch.tensor([[1.5]])
    transfer = cuda.start([Tensor(real)])
    real.zero_()
    assert transfer.values() == [1.5]


def test_full_ring_takes_nothing_until_slots_are_given_back(cuda):
    """Where too few slots are free none is taken; values that were read give theirs back."""
    first = cuda.start([Tensor(torch.tensor(float(n))) for n in range(3)])
    assert cuda.start([Tensor(torch.tensor(1.0))] * 2) is None
    second = cuda.start([Tensor(torch.tensor(3.0))])
    assert first.values() == [0.0, 1.0, 2.0]
    third = cuda.start([Tensor(torch.tensor(4.0))] * 3)
    assert (second.values(), third.values()) == ([3.0], [4.0] * 3)


def test_no_graph_is_kept_alive(cuda):
    """What a loss was computed from is free as soon as the program lets go of it."""
    weight = torch.ones(3, requires_grad=True)
    inner = weight * 2
    loss = inner.sum()
    kept = weakref.ref(inner)
    transfer = cuda.start([Tensor(loss)])
    del inner, loss
    gc.collect()
    assert kept() is None
    assert transfer.values() == [6.0]


def test_inference_mode_on_either_side(cuda):
    """The slots may be made and filled inside inference mode and outside, in any order."""
    with torch.inference_mode():
        inside = cuda.start([Tensor(torch.tensor(1.0))])
        made_inside = torch.tensor(2.0)
    outside = cuda.start([Tensor(made_inside), Tensor(torch.tensor(3.0, requires_grad=True))])
    with torch.inference_mode():
        assert inside.values() == [1.0]
    assert outside.values() == [2.0, 3.0]


def test_capture_is_refused_before_anything_is_asked(cuda, api):
    """While a CUDA graph is captured there is no value, and item() would spoil the capture."""
    api.is_capturing = True
    with pytest.raises(TypeError, match=r"replay\(\)"):
        cuda.number_or_pending(Tensor(torch.tensor(1.0)))


@pytest.mark.parametrize("value", [1 + 2j, [1.0, 2.0]])
def test_what_fits_no_slot_is_asked_for_its_item(cuda, value):
    """A complex number or several elements are refused as they are on the CPU."""
    with pytest.raises(AssertionError, match=r"item\(\) was called"):
        cuda.number_or_pending(Tensor(torch.tensor(value)))


def test_tensors_of_the_cpu_are_numbers_at_once(open_run):
    """Tensors, parameters and scalars that need a gradient are stored as they are, at once."""
    run = open_run()
    parameter = torch.nn.Parameter(torch.tensor([0.25]))
    run.log({"a": torch.tensor(0.5), "b": parameter, "c": (parameter * 3).sum(), "d": torch.tensor(7)})
    run.finish()
    assert logged(run) == [{"a": 0.5, "b": 0.25, "c": 0.75, "d": 7}]
    assert run._session.pending_values is None


# It says so itself, once: that it leaves a call of time.time() out of its graph.
@pytest.mark.filterwarnings("ignore:Dynamo does not know how to trace:UserWarning")
def test_log_within_a_compiled_function(open_run, caplog):
    """torch.compile breaks its graph at log(): the function computes the same, and each value is stored once."""
    run = open_run()

    def step(x):
        y = (x * 2).sum()
        run.log({"y": y})
        return y + 1

    compiled = torch.compile(step, backend="eager")
    assert [compiled(torch.full((3,), float(n))).item() for n in range(3)] == [1.0, 7.0, 13.0]
    run.finish()
    assert [line["y"] for line in logged(run)] == [0.0, 6.0, 12.0]
    assert not warnings_in(caplog)


def test_scalars_of_jax(open_run):
    """An array that JAX has not computed yet is pending at first, and its exact value in the end."""
    slow = jax.jit(lambda x: jax.lax.fori_loop(0, 50, lambda _, y: (y @ y) / 512, x).sum())
    ones = jax.numpy.ones((512, 512))
    expected = float(slow(ones))
    run = open_run()
    held = 0
    for _ in range(10):
        value = slow(ones)
        held += not value.is_ready()
        run.log({"x": value, "half": jax.numpy.bfloat16(0.5)})
    run.finish()
    assert logged(run) == [{"x": expected, "half": 0.5}] * 10
    assert not held or run._session.pending_values is not None


def test_jax_keeps_no_more_than_it_may(monkeypatch):
    """Arrays that are not computed are kept up to a bound, which those that were read leave again."""
    monkeypatch.setattr("runicorn.devices.jax_arrays.MOST_ON_THE_WAY", 2)
    arrays = JaxArrays()
    first = arrays.start([jax.numpy.float32(1.5), jax.numpy.int32(2)])
    assert arrays.start([jax.numpy.float32(3)]) is None
    first.wait()
    assert first.has_arrived()
    assert first.values() == [1.5, 2]
    assert arrays.start([jax.numpy.float32(3)]) is not None


def test_traced_array_has_no_value(open_run, caplog):
    """Within jax.jit an array has no value: it is refused, and the rest of the call is stored."""
    run = open_run()

    @jax.jit
    def step(x):
        run.log({"x": x, "y": 1})
        return x + 1

    step(jax.numpy.float32(1))
    run.finish()
    assert logged(run) == [{"y": 1}]
    assert "'x'" in warnings_in(caplog)[0]


def test_slot_of_a_failed_transfer_is_not_read(cuda, api, open_run):
    """When the library cannot say whether a copy is done, what is in its slot is another value: null is stored."""
    first = cuda.start([Tensor(torch.tensor(111.0))] * 4)
    api.stream.has_passed = True
    assert first.values() == [111.0] * 4

    class Failed(Stream):
        def query(self):
            raise RuntimeError("CUDA error")

    api.stream = Failed()
    devices.register(Tensor, cuda)
    run = open_run()
    run.log({"x": Tensor(torch.tensor(222.0))})
    run.log({"y": 1})
    run.finish()
    assert {"x": None} in logged(run)


def test_nothing_is_asked_while_a_graph_is_captured(cuda, api):
    """A query would end the capture: what is on its way is on its way until the capture has ended."""
    transfer = cuda.start([Tensor(torch.tensor(1.0))])
    api.stream.has_passed = api.is_capturing = True
    assert not transfer.has_arrived()
    api.is_capturing = False
    assert transfer.has_arrived()


def test_start_that_fails_gives_its_other_slots_back(cuda):
    """A value that cannot be copied costs its own slot at most."""

    class Broken(Tensor):
        def detach(self):
            raise RuntimeError("CUDA error")

    for _ in range(2):
        with pytest.raises(RuntimeError):
            cuda.start([Broken(torch.tensor(1.0)), *[Tensor(torch.tensor(2.0))] * 2])
    assert cuda.start([Tensor(torch.tensor(5.0))]).values() == [5.0]
