"""A device whose work is done when a test says so: an ``Accelerator`` as torch and JAX have one."""

from __future__ import annotations

from collections import deque
from typing import Any

from runicorn import devices

SLOTS = 8


class DeviceError(Exception):
    """What a library raises when its device has failed."""


class Scalar:
    """A number that the device has not computed yet."""

    def __init__(self, number: Any, stream: str = "main") -> None:
        self.number = number
        self.stream = stream


class SlowDevice:
    """Values arrive when ``arrived(n)`` lets the ``n`` oldest transfers of a stream arrive.

    Attributes:
        waited: how often somebody has waited for it.
        scalar: the type of its values.
        failing: whether every call of the library raises.
    """

    def __init__(self) -> None:
        self.on_the_way: dict[str, deque[SlowTransfer]] = {}
        self.used = 0
        self.waited = 0
        self.failing = False
        # A type of its own: what takes the values of a type is looked up once per process.
        self.scalar = type("Scalar", (Scalar,), {})
        devices.register(self.scalar, self)

    def number_or_pending(self, value: Scalar) -> Any:
        """Never at hand; a capture cannot be asked."""
        if value.stream == "capturing":
            raise TypeError("its stream is being captured into a CUDA graph: log it after the graph's replay()")
        return devices.OnDevice(value, self)

    def start(self, values: list[Scalar]) -> SlowTransfer | None:
        """Take the numbers as they are now."""
        if self.failing:
            raise DeviceError
        if self.used + len(values) > SLOTS:
            return None
        self.used += len(values)
        transfer = SlowTransfer(self, values[0].stream, [value.number for value in values])
        self.on_the_way.setdefault(transfer.stream, deque()).append(transfer)
        return transfer

    def arrived(self, count: int = SLOTS, stream: str = "main") -> None:
        """Let the oldest transfers of a stream arrive."""
        for transfer in list(self.on_the_way.get(stream, ()))[:count]:
            transfer.wait()
        self.waited = 0


class SlowTransfer:
    """Numbers of one call."""

    def __init__(self, device: SlowDevice, stream: str, numbers: list[Any]) -> None:
        self.stream = stream
        self._device = device
        self._numbers = numbers
        self._room = len(numbers)
        self._is_there = False

    def has_arrived(self) -> bool:
        """Whether a test has let it arrive."""
        if self._device.failing:
            raise DeviceError
        return self._is_there

    def values(self) -> list[Any]:
        """The numbers; their room is given back once."""
        if self._device.failing:
            raise DeviceError
        assert self._is_there
        self._device.used -= self._room
        self._room = 0
        return self._numbers

    def wait(self) -> None:
        """Let it arrive."""
        self._device.waited += 1
        self._is_there = True
        self._device.on_the_way[self.stream].remove(self)
