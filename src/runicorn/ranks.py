"""What a launcher's environment says of this process: its rank, and which job it belongs to.

Sources: torchrun sets ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``, ``MASTER_ADDR``,
``TORCHELASTIC_RUN_ID`` and ``TORCHELASTIC_RESTART_COUNT``, and so do accelerate and DeepSpeed; srun sets ``SLURM_*``,
Open MPI ``OMPI_COMM_WORLD_*``, other MPIs ``PMI_*``.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from runicorn.host import hostname, process_start

MODE = "RUNICORN_RANK_MODE"
JOB = "RUNICORN_JOB_ID"

_RANK = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_SIZE = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL_RANK = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")


class Place(NamedTuple):
    """This process's place in a distributed job.

    Attributes:
        rank: its number, 0 to world size - 1; rank 0 owns the run.
        main: whether it is on the host of rank 0.
        job: what tells this job from every other one; None where the environment does not.
        attempt: how often an elastic launcher has started the ranks anew.
    """

    rank: int
    main: bool
    job: str | None
    attempt: int


def place() -> Place | None:
    """The place in the job whose ranks share a run; None for a process that has runs of its own.

    Raises:
        ValueError: ``RUNICORN_RANK_MODE`` is none of its values.
    """
    mode = os.environ.get(MODE, "").strip().lower()
    if mode not in {"", "joined", "separate"}:
        raise ValueError(f'{MODE}={mode!r} is neither "joined" nor "separate". Write one of them, or unset it.')
    # Without MASTER_ADDR nothing says that the processes work together: srun starts independent trials as well.
    launched = all(os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
    rank, size = _number(_RANK), _number(_SIZE)
    if mode == "separate" or (mode == "" and not launched) or rank is None or size is None or size < 2:
        return None
    return Place(
        rank=rank,
        # Launchers number the ranks of a host one after the other.
        main=rank == (_number(_LOCAL_RANK) or 0),
        job=_job(size),
        attempt=_number(("TORCHELASTIC_RESTART_COUNT",)) or 0,
    )


def _job(size: int) -> str | None:
    if os.environ.get(JOB):
        return f"job-{os.environ[JOB]}"
    if _number(("LOCAL_WORLD_SIZE",)) == size:
        launcher = os.getppid()
        return f"launcher-{hostname()}-{launcher}-{process_start(launcher)}"
    if os.environ.get("SLURM_JOB_ID"):
        return f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_STEP_ID', '')}"
    run_id = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    # torchrun's default is the same for two unrelated jobs.
    return f"torchelastic-{run_id}" if run_id not in {"", "none"} else None


def _number(names: tuple[str, ...]) -> int | None:
    for name in names:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return int(text)
    return None
