"""Scalars that an accelerator has not computed yet: taken by ``log()`` without waiting for it.

Asking a tensor for its value makes the program wait until the device has done all that was queued before. So
``log()`` only queues a copy into the host's memory, behind the work that makes the value, and pushes its record with
a pending value; when the copy has been made, which later calls notice, the value follows as a record of its own.

No library is imported here that the program has not loaded itself.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence
    from typing import Protocol

    from runicorn.queue.records import Scalar

    class Transfer(Protocol):
        """Values of one call that are on their way to the host."""

        @property
        def stream(self) -> Hashable:
            """What they were queued on; transfers of one stream arrive in the order in which they left."""

        def has_arrived(self) -> bool:
            """Whether all of them are there; asks the device, and does not wait for it."""

        def values(self) -> list[Scalar]:
            """The values, once they have arrived; the same when it is called again."""

        def wait(self) -> None:
            """Wait until they have arrived."""

    class Accelerator(Protocol):
        """What one library's device scalars are taken with."""

        def number_or_pending(self, value: Any) -> Any:
            """The number that a value carries, where that is at hand; else an ``OnDevice``.

            Raises:
                Exception: it carries no single number, or none can be had where it is.
            """

        def start(self, values: Sequence[Any]) -> Transfer | None:
            """Queue the copies of some values; None where too many are on their way already."""


MOST_ON_THE_WAY = 1024
"""Values of one library that may be on their way at once, in this process."""


class OnDevice(NamedTuple):
    """A scalar whose value is not known yet, and who fetches it."""

    value: Any
    accelerator: Accelerator


_accelerators: dict[type, Accelerator] = {}


def register(kind: type, accelerator: Accelerator) -> None:
    """Have values of a type taken by an accelerator; before the first such value is logged.

    Args:
        kind: the type itself, without its subclasses.
        accelerator: who takes them.
    """
    _accelerators[kind] = accelerator


def accelerator_of(kind: type) -> Accelerator | None:
    """Who takes scalars of a type from a device; None where they are numbers as any other.

    Args:
        kind: the type of a metric's value.
    """
    if kind not in _accelerators:
        torch = sys.modules.get("torch")
        # Not their subclasses: those may be spread over several devices, or hold no values at all.
        if torch is not None and kind is getattr(torch, "Tensor", None):
            from runicorn.devices.cuda import Cuda

            cuda = Cuda(torch, torch.cuda)
            register(kind, cuda)
            register(torch.nn.Parameter, cuda)
        elif "jax" in sys.modules and hasattr(kind, "copy_to_host_async") and hasattr(kind, "is_ready"):
            from runicorn.devices.jax_arrays import JaxArrays

            register(kind, JaxArrays())
    return _accelerators.get(kind)
