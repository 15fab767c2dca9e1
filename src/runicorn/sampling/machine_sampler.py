"""One sample of the machine: the training's processes, the host, the cgroup, the GPUs."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from runicorn.sampling.gpu_probe import GpuProbe

TIME, INTERVAL = "time", "interval_s"


class MachineSampler:
    """Reads the machine, one group of numbers after the other; a group that fails is left out, and told once.

    Args:
        owner: process id of the training's main process.
        storage: a directory on the run's disk.
        root: below which the kernel's files are.
        shm: the directory in shared memory.
        gpus: reads the GPUs; None = there are none.
        tell: takes what is wrong, in words, once for each group.
    """

    def __init__(
        self,
        owner: int,
        storage: str,
        *,
        root: str,
        shm: str,
        gpus: GpuProbe | None,
        tell: Callable[[str], None],
    ) -> None:
        self._gpus = gpus
        self._tell = tell
        self._told: set[str] = set()
        self._read_at: float | None = None
        proc = os.path.join(root, "proc")
        directories = {"storage": storage}
        with suppress(OSError):
            workdir = os.readlink(f"{proc}/{owner}/cwd")
            if os.stat(workdir).st_dev != os.stat(storage).st_dev:
                directories["workdir"] = workdir
        self._tree: Any
        self._groups: list[tuple[str, Callable[[], dict[str, float]]]] = []
        if sys.platform == "linux":
            from runicorn.sampling.cgroup import CgroupUse
            from runicorn.sampling.host_load import HostLoad
            from runicorn.sampling.process_tree import ProcessTree

            self._tree = ProcessTree(proc, os.getpid())
            cgroup = CgroupUse(root, str(owner) if os.path.exists(f"{proc}/{owner}/cgroup") else "self")
            self._groups += [("host", HostLoad(root, directories, shm).sample), ("cgroup", cgroup.sample)]
        else:
            from runicorn.sampling.elsewhere import PortableHost, PortableTree

            self._tree = PortableTree(os.getpid())
            self._groups.append(("host", PortableHost(directories).sample))

    def sample(self, roots: Collection[int]) -> dict[str, float]:
        """The numbers of this moment, by name; ``time`` and the seconds since the last sample first.

        Args:
            roots: the processes that log.
        """
        now = time.monotonic()
        found: dict[str, float] = {TIME: round(time.time(), 3)}
        if self._read_at is not None:
            found[INTERVAL] = round(now - self._read_at, 3)
        self._read_at = now
        groups = [("tree", lambda: self._tree.sample(roots)), *self._groups]
        for name, read in groups:
            found.update({f"{name}/{each}": value for each, value in self._group(name, read).items()})
        if self._gpus is not None:
            found.update(self._group("gpu", lambda: self._gpus.sample(self._tree.pids)))  # type: ignore[union-attr]
        return found

    def _group(self, name: str, read: Callable[[], dict[str, float]]) -> dict[str, float]:
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - a kernel that tells something else costs these numbers alone
            if name not in self._told:
                self._told.add(name)
                self._tell(f"the machine is not sampled ({name}): {type(error).__name__}: {error}")
            return {}

    def close(self) -> None:
        """End what it has started."""
        if self._gpus is not None:
            self._gpus.close()
