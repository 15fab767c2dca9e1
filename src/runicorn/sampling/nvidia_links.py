"""What NVML counts, and tells as the difference of two samples: NVLink's bytes, and how active the SMs were."""

from __future__ import annotations

import time
from typing import Any

import pynvml as nvml

_ALL_LINKS = 0xFFFFFFFF
_KIB = 1024
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
        self._counted: dict[str, int] = {}
        self._at = 0.0

    def read(self, handle: Any) -> dict[str, float]:
        """Since the last call; empty at the first.

        Raises:
            NVMLError: it has no links.
        """
        values = nvml.nvmlDeviceGetFieldValues(handle, [(field, _ALL_LINKS) for field in _LINKS.values()])
        for value in values:
            if value.nvmlReturn != nvml.NVML_SUCCESS:
                raise nvml.NVMLError(value.nvmlReturn)
        counted = {name: value.value.ullVal for name, value in zip(_LINKS, values, strict=True)}
        before, self._counted = self._counted, counted
        now, begun = time.monotonic(), self._at
        self._at = now
        if not before:
            return {}
        return {name: round(_KIB * (counted[name] - before[name]) / max(1e-3, now - begun), 2) for name in counted}


class Activity:
    """How active the SMs were, from the performance monitors of newer chips."""

    def __init__(self) -> None:
        self._before: Any = None

    def read(self, handle: Any) -> dict[str, float]:
        """Since the last call; empty at the first.

        Raises:
            NVMLError: the chip has no such monitors.
        """
        if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            raise nvml.NVMLError(nvml.NVML_ERROR_NOT_SUPPORTED)
        sample = nvml.nvmlGpmSampleAlloc()
        try:
            nvml.nvmlGpmSampleGet(handle, sample)
        except nvml.NVMLError:
            nvml.nvmlGpmSampleFree(sample)
            raise
        before, self._before = self._before, sample
        if before is None:
            return {}
        try:
            return self._between(before, sample)
        finally:
            nvml.nvmlGpmSampleFree(before)

    @staticmethod
    def _between(before: Any, sample: Any) -> dict[str, float]:
        asked = nvml.c_nvmlGpmMetricsGet_t()
        asked.version = nvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics, asked.sample1, asked.sample2 = len(_ACTIVITY), before, sample
        for number, metric in enumerate(_ACTIVITY.values()):
            asked.metrics[number].metricId = metric
        nvml.nvmlGpmMetricsGet(asked)
        told = zip(_ACTIVITY, asked.metrics, strict=False)
        return {name: round(each.value, 2) for name, each in told if each.nvmlReturn == nvml.NVML_SUCCESS}
