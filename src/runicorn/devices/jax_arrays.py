"""Scalars of JAX: its arrays are computed asynchronously on every device, and never change, so they are just kept."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from runicorn.devices import MOST_ON_THE_WAY, OnDevice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.queue.records import Scalar


class JaxArrays:
    """Keeps arrays until they are computed; each holds its buffer on the device so long."""

    def __init__(self) -> None:
        # One token each: append() and pop() are atomic, and several threads may log.
        self._kept: deque[None] = deque()

    def number_or_pending(self, value: Any) -> Any:
        """The number of an array that is computed; an ``OnDevice`` for one that is not yet.

        Raises:
            Exception: it has several elements, or it is traced by ``jax.jit`` and has no value.
        """
        if value.size != 1 or value.is_ready():
            return value.item()
        return OnDevice(value, self)

    def start(self, values: Sequence[Any]) -> JaxTransfer | None:
        """Have the arrays copied to the host when they are computed; None where too many are kept already."""
        if len(self._kept) + len(values) > MOST_ON_THE_WAY:
            return None
        for value in values:
            value.copy_to_host_async()
        self._kept.extend([None] * len(values))
        return JaxTransfer(self, list(values))

    def forget(self, count: int) -> None:
        """Some have arrived."""
        for _ in range(count):
            self._kept.pop()


class JaxTransfer:
    """Arrays of one call that are not computed yet.

    Attributes:
        stream: the same for all; one that is late holds up those behind it.
    """

    stream = "jax"

    def __init__(self, keeper: JaxArrays, arrays: list[Any]) -> None:
        self._keeper = keeper
        self._arrays = arrays
        self._kept = len(arrays)

    def has_arrived(self) -> bool:
        """Whether all are computed; of one that was donated there is nothing to wait for."""
        try:
            return all(array.is_ready() for array in self._arrays)
        except RuntimeError:
            return True

    def values(self) -> list[Scalar]:
        """The numbers.

        Raises:
            RuntimeError: an array was donated, so its memory belongs to another one now.
        """
        kept, self._kept = self._kept, 0
        self._keeper.forget(kept)
        return [array.item() for array in self._arrays]

    def wait(self) -> None:
        """Wait until they are computed."""
        for array in self._arrays:
            array.block_until_ready()
