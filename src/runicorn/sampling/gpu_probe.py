"""The GPUs of a training, read by a child process: a driver that hangs costs samples, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class GpuProbe:
    """Asks the child."""

    def sample(self, pids: Collection[int]) -> dict[str, float]:  # noqa: ARG002
        """The numbers of the GPUs that are ours."""
        return {}

    def close(self) -> None:
        """End the child."""


def find(root: str) -> GpuProbe | None:  # noqa: ARG001
    """A probe, if there is a driver; None if there is none."""
    return None
