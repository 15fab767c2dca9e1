"""What a run's machine did, in a few lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from runicorn.commands import render
from runicorn.reading import plain_text

if TYPE_CHECKING:
    from runicorn.reading import LoadedRun

_SHARES = {
    "cpu": "CPU (100 % = one core)",
    "children_cpu": "CPU of child processes",
    "host_cpu": "CPU of the host",
    "host_memory": "memory of the host",
    "cgroup_memory": "memory of the cgroup",
}


def print_machine(loaded: LoadedRun) -> None:
    """Print means and peaks, and what is plain of them."""
    found = loaded.system.insight()
    fields = {label: _share(found, name) for name, label in _SHARES.items()}
    fields["memory of its processes"] = _peak(found, "memory_peak_bytes")
    fields["the same, shared memory counted once"] = _peak(found, "memory_shared_once_peak_bytes")
    gpus = found.get("gpus")
    for name, gpu in gpus.items() if isinstance(gpus, dict) else ():
        if isinstance(gpu, dict):
            parts = [_share(gpu, "utilization"), _peak(gpu, "memory_peak_bytes")]
            fields[plain_text.plain(str(name))] = "; ".join(part for part in parts if part)
    fields["steps per second"] = _pace(loaded)
    fields = {label: value for label, value in fields.items() if value}
    if fields:
        print("\nmachine")
        render.fields(fields, indent=2)
    for sentence in loaded.system.sentences():
        print(f"  {sentence}")


def _share(found: dict[str, Any], name: str) -> str:
    mean, peak = found.get(f"{name}_mean_percent"), found.get(f"{name}_peak_percent")
    if not isinstance(mean, (int, float)) or not isinstance(peak, (int, float)):
        return ""
    return f"{mean:.1f} % on average, {peak:.1f} % at most"


def _peak(found: dict[str, Any], name: str) -> str:
    peak = found.get(name)
    return f"{render.size(int(peak))} at most" if isinstance(peak, (int, float)) and math.isfinite(peak) else ""


def _pace(loaded: LoadedRun) -> str:
    values: Any = loaded.steps_per_second().value
    return f"{math.fsum(values) / len(values):.3g} on average, {values[-1]:.3g} at last" if len(values) else ""
