"""The rest of ``environment.json``: packages, git, GPUs, the machine. It may take seconds, so it is the writer's.

Looking must not act: what git says is in ``writer/git.py``.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from runicorn.validation import secrets
from runicorn.writer import command_output, git

if TYPE_CHECKING:
    from collections.abc import Callable

_PACKAGES = 10_000
_GPU_FIELDS = "index,name,memory.total,memory.free,utilization.gpu,temperature.gpu,uuid,driver_version"


def environment(facts: dict[str, Any], workspace_root: str) -> dict[str, Any]:
    """The content of ``environment.json``.

    A part that cannot be found out is null; where that is an error and not just so, ``errors`` says why.

    Args:
        facts: what the process that trains has said, ``runicorn.capture.environment.here()``.
        workspace_root: directory of the workspace.
    """
    errors: list[str] = []

    def part(name: str, ask: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return ask(*arguments)
        except Exception as error:  # noqa: BLE001 - one part's failure is not the others'
            errors.append(f"{name}: {type(error).__name__}: {error}")
            return None

    known = {name: value for name, value in facts.items() if name not in {"sys_path", "prefix"}}
    gpus = part("gpu_info", _gpus, errors)
    cuda = {"version": None, "driver": None, **(known.pop("cuda", None) or {})}
    if gpus:
        cuda["driver"] = gpus[0]["driver_version"]
    found = {
        "python_version": known.pop("python_version", None),
        "platform": known.pop("platform", None),
        "platform_details": known.pop("platform_details", {}),
        "pip_packages": part("pip_packages", _packages, facts.get("sys_path", [])),
        "conda_packages": part("conda_packages", _conda_packages, facts.get("prefix", "")),
        "conda_env": known.pop("conda_env", None),
        "git_info": part("git_info", git.info, workspace_root, errors),
        "env_variables": known.pop("env_variables", {}),
        "gpu_info": gpus,
        "cuda": cuda,
        "cpu": part("cpu", _cpu),
        "memory_bytes": part("memory_bytes", _memory_bytes),
        "disk": part("disk", _disk, workspace_root),
        **known,
    }
    if errors:
        found["errors"] = errors
    return found


def _packages(sys_path: list[str]) -> list[str]:
    """``name==version`` as ``pip freeze`` has it; ``name @ address`` for what was not installed from an index."""
    from importlib import metadata

    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=sys_path):
        try:
            name = distribution.metadata["Name"]
            version = distribution.version
            address = _address(distribution.read_text("direct_url.json"))
        except Exception:  # noqa: BLE001, S112 - a broken one is as if it were not installed, for pip as well
            continue
        if name and len(found) < _PACKAGES:
            # The first on the path is the one that an import finds.
            found.setdefault(name.lower().replace("_", "-"), f"{name} @ {address}" if address else f"{name}=={version}")
    return sorted(found.values(), key=str.lower)


def _address(direct_url: str | None) -> str:
    if not direct_url:
        return ""
    import msgspec

    told = msgspec.json.decode(direct_url.encode(), type=dict[str, Any])
    address = str(told.get("url", ""))
    version_control = told.get("vcs_info")
    if address and isinstance(version_control, dict):
        address = f"{version_control.get('vcs')}+{address}@{version_control.get('commit_id')}"
    return secrets.mask_url(address)


def _conda_packages(prefix: str) -> list[str] | None:
    """``name=version=build`` as ``conda list --export`` has it; None where no conda has installed anything."""
    at = os.path.join(prefix, "conda-meta")
    if not prefix or not os.path.isdir(at):
        return None
    names = [name.removesuffix(".json") for name in os.listdir(at) if name.endswith(".json")]
    return sorted("=".join(name.rsplit("-", 2)) for name in names if name.count("-") > 1)


def _gpus(errors: list[str]) -> list[dict[str, Any]] | None:
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    arguments = [command, f"--query-gpu={_GPU_FIELDS}", "--format=csv,noheader,nounits"]
    said = command_output.output(arguments, time.monotonic() + command_output.CALL_S)
    if said.status != 0:
        errors.append(f"gpu_info: nvidia-smi ended with {said.status}: {said.text[:200]}")
        return None
    return [
        _gpu([field.strip() for field in line.split(",")]) for line in said.text.splitlines() if line.count(",") == 7
    ]


def _gpu(fields: list[str]) -> dict[str, Any]:
    return {
        "index": _number(fields[0], int),
        "name": fields[1],
        "memory_total_mb": _number(fields[2], float),
        "memory_free_mb": _number(fields[3], float),
        "utilization_percent": _number(fields[4], float),
        "temperature_c": _number(fields[5], float),
        "uuid": fields[6],
        "driver_version": fields[7],
    }


def _number(text: str, kind: Callable[[str], float]) -> float | None:
    try:
        return kind(text)
    except ValueError:  # "[N/A]"
        return None


def _cpu() -> dict[str, Any]:
    import psutil

    return {"model": _cpu_model(), "count": os.cpu_count(), "physical": psutil.cpu_count(logical=False)}


def _cpu_model() -> str | None:
    if sys.platform == "win32":
        return os.environ.get("PROCESSOR_IDENTIFIER")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() in {"model name", "Model", "cpu model"}:
                    return value.strip()
    except OSError:
        pass
    return None


def _memory_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().total)


def _disk(workspace_root: str) -> dict[str, int]:
    usage = shutil.disk_usage(workspace_root)
    return {"total_bytes": usage.total, "free_bytes": usage.free}
