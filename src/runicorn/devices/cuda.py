"""Scalars of torch on a CUDA device, or on one of ROCm, which calls itself CUDA.

The copy goes into pinned memory (only there it is asynchronous) on the stream that is current at the call, so it has
the value that the tensor has there and then: an update in place that is queued later comes later. An event behind it
tells when it is done.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from runicorn.devices import MOST_ON_THE_WAY, OnDevice

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from runicorn.queue.records import Scalar

_SLOT_BYTES = 8
_DTYPES = ("float32", "float16", "bfloat16", "float64", "bool", "int64", "int32", "int16", "int8", "uint8")
"""What fits into a slot and is a number there; others are asked for their item()."""


class Cuda:
    """The ring of pinned slots of this process.

    Args:
        torch: the module, which the program has loaded.
        api: ``torch.cuda``, or something that has its streams and events.
        slots: how many values may be on their way at once.
    """

    def __init__(self, torch: Any, api: Any, slots: int = MOST_ON_THE_WAY) -> None:
        self._torch = torch
        self._api = api
        self._slots = slots
        self._dtypes = {getattr(torch, name) for name in _DTYPES}
        self._memory: Any = None
        self._views: dict[Any, Any] = {}
        # deque: its append() and popleft() are atomic, and several threads may log.
        self._free = deque(range(slots))

    def number_or_pending(self, value: Any) -> Any:
        """The number of a tensor on another device, such as the CPU; an ``OnDevice`` for one on this.

        Raises:
            TypeError: the stream is being captured, so there is no value before the graph is replayed.
            Exception: it has several elements.
        """
        if not value.is_cuda:
            return value.item()
        if self._api.is_current_stream_capturing():  # before item(), which would spoil the capture
            raise TypeError("its stream is being captured into a CUDA graph: log it after the graph's replay()")
        if value.numel() != 1 or value.dtype not in self._dtypes or value.layout is not self._torch.strided:
            return value.item()
        return OnDevice(value, self)

    def start(self, values: Sequence[Any]) -> CudaTransfer | None:
        """Queue the copies of some tensors; None where too few slots are free."""
        slots = self._take(len(values))
        if slots is None:
            return None
        if self._memory is None:
            self._open()
        targets: list[Any] = []
        streams: dict[Any, Any] = {}
        try:
            for slot, value in zip(slots, values, strict=True):
                self._queue_copy(value, slot, targets, streams)
        except Exception:
            self._give_back(slots[len(targets) + 1 :])  # those before may be written at any time
            raise
        return CudaTransfer(
            # The default stream has one number on all devices.
            tuple((str(device), stream.cuda_stream) for device, stream in streams.items()),
            [stream.record_event() for stream in streams.values()],
            targets,
            lambda: self._give_back(slots),
            self._api,
        )

    def _queue_copy(self, value: Any, slot: int, targets: list[Any], streams: dict[Any, Any]) -> None:
        stream = self._api.current_stream(value.device)
        target = self._view(value)[slot * (_SLOT_BYTES // value.element_size())]
        # detach() first: no graph is kept alive. A queued copy reads the tensor's memory when its turn has come, so the
        # allocator must know, where that memory belongs to another stream.
        source = value.detach()
        target.copy_(source.reshape(()), non_blocking=True)
        source.record_stream(stream)
        targets.append(target)
        streams[value.device] = stream

    def _take(self, count: int) -> list[int] | None:
        slots: list[int] = []
        try:
            while len(slots) < count:
                slots.append(self._free.popleft())
        except IndexError:
            self._free.extend(slots)
            return None
        return slots

    def _give_back(self, slots: list[int]) -> None:
        while slots:  # each once, whoever else does so at the same time
            with suppress(IndexError):
                self._free.append(slots.pop())

    def _open(self) -> None:
        torch = self._torch
        # Made in inference mode it could not be written outside; and the program may have set another default device.
        with torch.inference_mode(False):
            pinned = torch.cuda.is_available()
            self._memory = torch.empty(
                self._slots * _SLOT_BYTES, dtype=torch.uint8, device="cpu", pin_memory=pinned, requires_grad=False
            )

    def _view(self, value: Any) -> Any:
        view = self._views.get(value.dtype)
        if view is None:
            with self._torch.inference_mode(False):
                view = self._views[value.dtype] = self._memory.view(value.dtype)
        return view


class CudaTransfer:
    """Tensors of one call on their way into slots.

    Attributes:
        stream: the streams that they were queued on.
    """

    def __init__(self, stream: Hashable, events: list[Any], targets: list[Any], give_back: Any, api: Any) -> None:
        self.stream = stream
        self._events = events
        self._targets = targets
        self._give_back = give_back
        self._api = api
        self._values: list[Scalar] = []

    def has_arrived(self) -> bool:
        """Whether all events have passed; while a graph is captured none is asked, which would end the capture."""
        return not self._api.is_current_stream_capturing() and all(event.query() for event in self._events)

    def values(self) -> list[Scalar]:
        """The numbers; the slots are free again."""
        # Kept: a signal handler may ask again in the middle of this, when the slots hold other values.
        self._values = self._values or [target.item() for target in self._targets]
        self._give_back()
        return self._values

    def wait(self) -> None:
        """Wait for the events."""
        for event in self._events:
            event.synchronize()
