"""NVIDIA's GPUs, through NVML: each number is asked for by itself, so if one fails, the others are still there."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pynvml as nvml

from runicorn.sampling.nvidia_links import Activity, NvLinks
from runicorn.sampling.visible_gpus import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    _Found = dict[str, float | nvml.NVMLError]

_NEVER = (
    nvml.NVML_ERROR_NOT_SUPPORTED,
    nvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    nvml.NVML_ERROR_INVALID_ARGUMENT,
    nvml.NVML_ERROR_NO_PERMISSION,
)


class NvidiaGpu:
    """One GPU, or one MIG instance of it.

    Args:
        name: that its numbers get.
        handle: of NVML.
        is_mig: whether it is an instance.
    """

    def __init__(self, name: str, handle: Any, *, is_mig: bool = False) -> None:
        self.name = name
        self.handle = handle
        self._told: set[str] = set()
        self._asks: dict[str, Callable[[Any], _Found]] = dict(_ASKED)
        if not is_mig:
            self._asks["NVLink"] = NvLinks().read
            self._asks["SM activity"] = Activity().read

    def sample(self, told: list[str]) -> dict[str, float]:
        """Its numbers.

        Args:
            told: gets a sentence, once each, on what the GPU does not offer, and on what has failed.
        """
        numbers: dict[str, float] = {}
        for what, ask in self._asks.items():
            try:
                found = ask(self.handle)
            except nvml.NVMLError as error:
                self._tell_once(what, error, told)
                continue
            for name, value in found.items():
                if isinstance(value, nvml.NVMLError):
                    self._tell_once(name, value, told)
                elif math.isfinite(value):
                    numbers[f"{self.name}/{name}"] = value
        return numbers

    def _tell_once(self, what: str, error: nvml.NVMLError, told: list[str]) -> None:
        does = "does" if error.value in _NEVER else "did"
        text = f"{self.name} {does} not give: {what} ({error})"
        if text not in self._told:
            self._told.add(text)
            told.append(text)

    def memories_of(self, pids: set[int]) -> list[int | None]:
        """The memory of each of these processes that uses this GPU; None for one whose memory the driver does not tell.

        Args:
            pids: the processes of the training.
        """
        try:
            running = _running_processes(self.handle)
        except nvml.NVMLError:
            return []
        return [each.usedGpuMemory for each in running if each.pid in pids]


class NvidiaGpus:
    """Those of the training: which ``CUDA_VISIBLE_DEVICES`` names, or that a process of it uses.

    Args:
        visible: that variable; None if it is not set.
        sees_processes: whether process ids that the driver tells mean the same here. If they do not, and the variable
            is not set, all GPUs that can be seen are the training's: those of its container.

    Attributes:
        count: how many there are on this host.

    Raises:
        NVMLError: there is no driver, or it cannot be asked.
    """

    def __init__(self, visible: str | None, *, sees_processes: bool) -> None:
        nvml.nvmlInit()
        self._told: list[str] = []
        self.count = nvml.nvmlDeviceGetCount()
        self._all: dict[str, NvidiaGpu] = {}
        self._by_uuid: dict[str, NvidiaGpu] = {}
        for index in range(self.count):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                gpu = self._all[str(index)] = NvidiaGpu(f"gpu{index}", handle)
                self._by_uuid[str(nvml.nvmlDeviceGetUUID(handle))] = gpu
            except nvml.NVMLError as error:  # one that has fallen off its bus
                self._told.append(f"gpu{index} is not sampled: {error}")
        wanted = listed(visible)
        self._mine = list(dict.fromkeys(gpu for word in wanted or () for gpu in self._named(word)))
        if wanted is None and (not sees_processes or self.count == 1):
            self._mine = list(self._all.values())

    def _named(self, word: str) -> Iterator[NvidiaGpu]:
        if word in self._all:
            yield self._all[word]
        elif word.startswith("GPU-"):  # the beginning of a UUID will do
            yield from [gpu for uuid, gpu in self._by_uuid.items() if uuid.startswith(word)][:1]
        elif word.startswith("MIG-"):
            try:
                handle = nvml.nvmlDeviceGetHandleByUUID(word)
                above = nvml.nvmlDeviceGetIndex(nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle))
                yield NvidiaGpu(f"gpu{above}.mig{nvml.nvmlDeviceGetGpuInstanceId(handle)}", handle, is_mig=True)
            except nvml.NVMLError as error:
                self._told.append(f"{word} is not sampled: {error}")

    def sample(self, pids: set[int]) -> dict[str, float]:
        """Their numbers.

        Args:
            pids: the processes of the training.
        """
        numbers: dict[str, float] = {}
        for gpu in [*self._mine, *(each for each in self._all.values() if each not in self._mine)]:
            memories = gpu.memories_of(pids)
            if not memories and gpu not in self._mine:
                continue
            numbers.update(gpu.sample(self._told))
            known = [each for each in memories if each is not None]
            if known and len(known) == len(memories):
                numbers[f"{gpu.name}/tree_memory_bytes"] = sum(known)
        return numbers

    def take_told(self) -> list[str]:
        """What is to be told since the last call."""
        told, self._told = self._told, []
        return told


def _newest(*names: str) -> Callable[..., Any]:
    """Call the first of these functions that the driver has: newer drivers replace old functions, and remove them."""

    def call(*arguments: Any) -> Any:
        for name in names:
            try:
                return getattr(nvml, name)(*arguments)
            except AttributeError:  # an older nvidia-ml-py
                continue
            except nvml.NVMLError as error:
                if error.value != nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                    raise
        raise nvml.NVMLError(nvml.NVML_ERROR_FUNCTION_NOT_FOUND)

    return call


_running_processes = _newest("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2")
_temperature = _newest("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
_throttle_reasons = _newest("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")


def _utilization(handle: Any) -> _Found:
    found = nvml.nvmlDeviceGetUtilizationRates(handle)
    return {"utilization_percent": found.gpu, "memory_utilization_percent": found.memory}


def _memory(handle: Any) -> _Found:
    found = nvml.nvmlDeviceGetMemoryInfo(handle)
    return {"memory_bytes": found.used, "memory_total_bytes": found.total}


def _ecc(handle: Any) -> _Found:
    kind, since = nvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, nvml.NVML_VOLATILE_ECC
    return {"ecc_errors": nvml.nvmlDeviceGetTotalEccErrors(handle, kind, since)}


def _pcie_bytes_per_s(handle: Any, counter: int) -> float:
    return float(1024 * nvml.nvmlDeviceGetPcieThroughput(handle, counter))  # the driver counts for 20 ms


_ASKED: dict[str, Callable[[Any], _Found]] = {
    "utilisation": _utilization,
    "memory": _memory,
    "temperature": lambda gpu: {"temperature_c": _temperature(gpu, nvml.NVML_TEMPERATURE_GPU)},
    "power": lambda gpu: {"power_w": nvml.nvmlDeviceGetPowerUsage(gpu) / 1000},
    "power limit": lambda gpu: {"power_limit_w": nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000},
    "SM clock": lambda gpu: {"sm_clock_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM)},
    "memory clock": lambda gpu: {"memory_clock_mhz": nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM)},
    "throttle reasons": lambda gpu: {"throttle_reasons": _throttle_reasons(gpu)},
    "ECC errors": _ecc,
    "PCIe, sent": lambda gpu: {"pcie_sent_bytes_per_s": _pcie_bytes_per_s(gpu, nvml.NVML_PCIE_UTIL_TX_BYTES)},
    "PCIe, received": lambda gpu: {"pcie_received_bytes_per_s": _pcie_bytes_per_s(gpu, nvml.NVML_PCIE_UTIL_RX_BYTES)},
}
