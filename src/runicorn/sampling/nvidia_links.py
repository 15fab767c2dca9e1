"""What NVML counts, and tells as the difference of two samples: NVLink's bytes, and how active the SMs were."""

from __future__ import annotations

import time
from typing import Any

import pynvml as nvml

_ALL_LINKS = 0xFFFFFFFF
_KIB = 1024
_LEAST_BETWEEN_S = 0.1
"""The monitors are refreshed this often. Between two samples that are closer, they give 0."""
_LINKS = {
    "nvlink_sent_bytes_per_s": nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_TX,
    "nvlink_received_bytes_per_s": nvml.NVML_FI_DEV_NVLINK_THROUGHPUT_DATA_RX,
}
_ACTIVITY = {
    "sm_activity_percent": nvml.NVML_GPM_METRIC_SM_UTIL,
    "sm_occupancy_percent": nvml.NVML_GPM_METRIC_SM_OCCUPANCY,
    "tensor_activity_percent": nvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
}


class NvLinks:
    """Bytes a second over all links of a GPU."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[float, int]] = {}

    def read(self, handle: Any) -> dict[str, float | nvml.NVMLError]:
        """The rates since the last call, or the error of a direction; empty at the first call.

        Raises:
            NVMLError: the driver cannot be asked.
        """
        values = nvml.nvmlDeviceGetFieldValues(handle, [(field, _ALL_LINKS) for field in _LINKS.values()])
        now = time.monotonic()
        found: dict[str, float | nvml.NVMLError] = {}
        for name, value in zip(_LINKS, values, strict=True):
            if value.nvmlReturn != nvml.NVML_SUCCESS:
                found[name] = nvml.NVMLError(value.nvmlReturn)
                continue
            counted = value.value.ullVal
            before = self._before.get(name)
            self._before[name] = now, counted
            if before is not None and counted >= before[1]:  # a counter may start again from 0
                found[name] = round(_KIB * (counted - before[1]) / max(1e-3, now - before[0]), 2)
        return found


class Activity:
    """How active the SMs were, from the performance monitors of newer chips."""

    def __init__(self) -> None:
        self._before: Any = None
        self._at = 0.0

    def read(self, handle: Any) -> dict[str, float | nvml.NVMLError]:
        """Activity since the last call, or the error of a number; empty at the first call, and just after a call.

        Raises:
            NVMLError: the chip has no such monitors, or they cannot be asked.
        """
        if self._before is not None and time.monotonic() - self._at <= _LEAST_BETWEEN_S:
            return {}
        if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        sample = nvml.nvmlGpmSampleAlloc()
        try:
            nvml.nvmlGpmSampleGet(handle, sample)
        except nvml.NVMLError:
            nvml.nvmlGpmSampleFree(sample)
            raise
        before, self._before = self._before, sample
        self._at = time.monotonic()
        if before is None:
            return {}
        try:
            return self._between(before, sample)
        finally:
            nvml.nvmlGpmSampleFree(before)

    @staticmethod
    def _between(before: Any, sample: Any) -> dict[str, float | nvml.NVMLError]:
        asked = nvml.c_nvmlGpmMetricsGet_t()
        asked.version = nvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics, asked.sample1, asked.sample2 = len(_ACTIVITY), before, sample
        for number, metric in enumerate(_ACTIVITY.values()):
            asked.metrics[number].metricId = metric
        nvml.nvmlGpmMetricsGet(asked)
        told = zip(_ACTIVITY, asked.metrics, strict=False)
        return {
            name: round(each.value, 2) if each.nvmlReturn == nvml.NVML_SUCCESS else nvml.NVMLError(each.nvmlReturn)
            for name, each in told
        }
