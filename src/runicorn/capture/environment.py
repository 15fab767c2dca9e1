"""What only this process can say of the environment that it runs in; the writer finds out the rest.

Nothing here starts a process, imports a library of the program's or reads files: it is part of ``init()``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from runicorn.host import identity, ranks
from runicorn.storage.escaping import escape
from runicorn.validation import secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARIABLES = frozenset(
    """
    CUDA_VISIBLE_DEVICES CUDA_HOME CUDNN_VERSION NCCL_VERSION PYTORCH_VERSION TF_VERSION KERAS_BACKEND
    JAX_PLATFORM_NAME OMP_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS PYTHONPATH LD_LIBRARY_PATH DYLD_LIBRARY_PATH
    PATH VIRTUAL_ENV CONDA_DEFAULT_ENV CONDA_PREFIX RUNICORN_DIR WANDB_MODE MLFLOW_TRACKING_URI
    RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK NODE_RANK LOCAL_SIZE CROSS_RANK MASTER_ADDR MASTER_PORT
    HF_HOME HF_HUB_OFFLINE HF_DATASETS_CACHE TRANSFORMERS_CACHE TRANSFORMERS_OFFLINE TORCH_HOME XLA_FLAGS TF_XLA_FLAGS
    JAX_PLATFORMS JAX_ENABLE_X64 XLA_PYTHON_CLIENT_PREALLOCATE XLA_PYTHON_CLIENT_MEM_FRACTION NVIDIA_VISIBLE_DEVICES
    NVIDIA_DRIVER_CAPABILITIES CUDA_DEVICE_ORDER CUDA_LAUNCH_BLOCKING CUBLAS_WORKSPACE_CONFIG HIP_VISIBLE_DEVICES
    ROCR_VISIBLE_DEVICES ZE_AFFINITY_MASK PYTORCH_CUDA_ALLOC_CONF PYTORCH_ALLOC_CONF TORCH_CUDA_ARCH_LIST
    PYTHONHASHSEED PYTHONOPTIMIZE OPENBLAS_NUM_THREADS KMP_AFFINITY KMP_BLOCKTIME OMP_PROC_BIND OMP_PLACES
    TOKENIZERS_PARALLELISM TF_CPP_MIN_LOG_LEVEL TF_ENABLE_ONEDNN_OPTS TF_DETERMINISTIC_OPS LD_PRELOAD MALLOC_CONF
    KUBERNETES_NAMESPACE POD_NAME POD_NAMESPACE CONTAINER_IMAGE
    """.split()  # noqa: SIM905 - as a list it would be seventy lines
)
_FAMILIES = ("SLURM_", "OMPI_COMM_WORLD_", "OMPI_MCA_", "PMI_", "MPI_LOCAL", "TORCHELASTIC_", "ACCELERATE_", "NCCL_")
_LONGEST = 500
_MOST_ARGUMENTS = 1000
_LIBRARIES = ("torch", "jax", "jaxlib", "tensorflow", "keras", "numpy", "lightning", "transformers", "flax")
_IMPLEMENTATIONS = {"cpython": "CPython", "pypy": "PyPy", "graalpy": "GraalVM"}
_LAUNCHERS = (
    ("TORCHELASTIC_RUN_ID", "torchrun"),
    ("OMPI_COMM_WORLD_RANK", "mpirun"),
    ("CROSS_RANK", "deepspeed"),
    ("SLURM_STEP_ID", "srun"),
    ("PMI_RANK", "mpiexec"),
)


def here(workspace_root: str) -> dict[str, Any]:
    """The facts, as JSON and MessagePack can carry them, with secrets masked.

    Among them are two that only the writer needs: ``sys_path``, where it finds the packages, and ``prefix``.

    Args:
        workspace_root: directory of the workspace.
    """
    given = identity.platform_text()
    return {
        "python_version": sys.version,
        "platform": given,
        "platform_details": _platform_details(),
        "conda_env": _conda_environment(),
        "env_variables": dict(sorted(_variables())),
        "executable": escape(sys.executable or ""),
        "command": [_cut(escape(word)) for word in secrets.mask_arguments(_command()[:_MOST_ARGUMENTS])],
        "cwd": _working_directory(),
        "workspace_root": escape(workspace_root),
        "pid": os.getpid(),
        "launcher": next((name for variable, name in _LAUNCHERS if os.environ.get(variable)), None),
        "rank": _rank(),
        "libraries": dict(_libraries()),
        "cuda": {"version": _attribute("torch.version", "cuda"), "driver": None},
        "sys_path": _import_path(),
        "prefix": escape(os.environ.get("CONDA_PREFIX") or sys.prefix),
    }


def _platform_details() -> dict[str, str]:
    """As ``platform`` has it; on POSIX without that, as its ``processor()`` starts a process."""
    implementation = _IMPLEMENTATIONS.get(sys.implementation.name, sys.implementation.name)
    python = {
        "python_implementation": implementation,
        "python_compiler": sys.version.rpartition("[")[2].rstrip("]"),
    }
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        return {
            "system": "Windows",
            "node": identity.hostname(),
            "release": str(version.major),
            "version": f"{version.major}.{version.minor}.{version.build}",
            "machine": os.environ.get("PROCESSOR_ARCHITECTURE", ""),
            "processor": os.environ.get("PROCESSOR_IDENTIFIER", ""),
            **python,
        }
    system = os.uname()
    return {
        "system": system.sysname,
        "node": identity.hostname(),
        "release": system.release,
        "version": system.version,
        "machine": system.machine,
        "processor": system.machine,
        **python,
    }


def _conda_environment() -> str | None:
    name = os.environ.get("CONDA_DEFAULT_ENV") or os.path.basename(os.environ.get("CONDA_PREFIX", ""))
    return escape(name) if name else None


def _variables() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if value and (name in _VARIABLES or name.startswith(_FAMILIES)):
            yield name, _cut(escape(secrets.mask_variable(name, value)))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _command() -> list[str]:
    words = list(sys.orig_argv)
    # The program may have taken arguments out of sys.argv: what it was started with is what counts.
    return words or [str(word) for word in getattr(sys, "argv", [])]


def _working_directory() -> str | None:
    try:
        return escape(os.getcwd())
    except OSError:  # somebody has removed it
        return None


def _rank() -> int | None:
    rank_info = ranks.rank_info()
    return None if rank_info is None else rank_info.rank


def _libraries() -> Iterator[tuple[str, str]]:
    for name in _LIBRARIES:
        version = _attribute(name, "__version__")
        if version is not None:
            yield name, version


def _attribute(module: str, name: str) -> str | None:
    """A text of a module that is loaded already; past its ``__getattr__``, which may import."""
    value = getattr(sys.modules.get(module), "__dict__", {}).get(name)
    return escape(str.__str__(value)) if isinstance(value, str) else None


def _import_path() -> list[str]:
    at = _working_directory() or os.sep
    found = [os.path.join(at, entry) for entry in sys.path if isinstance(entry, str)]
    return [escape(entry) for entry in dict.fromkeys(found)]
