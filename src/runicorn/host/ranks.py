"""What a launcher's environment says of this process: its rank, and which job it belongs to.

Sources: torchrun sets ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``, ``GROUP_RANK``, ``MASTER_ADDR``,
``TORCHELASTIC_RUN_ID`` and ``TORCHELASTIC_RESTART_COUNT``, and accelerate does it through torchrun; DeepSpeed's
launcher has ``LOCAL_SIZE`` and ``CROSS_RANK`` for two of them; srun sets ``SLURM_*``, Open MPI ``OMPI_COMM_WORLD_*``,
other MPIs ``PMI_*`` and ``MPI_LOCAL*``. Lightning's rank 0 starts the other ranks itself, maybe after ``init()``, by
running its script again with ``LOCAL_RANK``, ``NODE_RANK``, ``WORLD_SIZE`` and ``MASTER_ADDR``.
"""

from __future__ import annotations

import os
import sys

import msgspec

from runicorn.errors import SettingError
from runicorn.host.identity import hostname, process_start

MODE = "RUNICORN_RANK_MODE"
JOB = "RUNICORN_JOB_ID"

_RANK = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_SIZE = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL_RANK = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")
_LOCAL_SIZE = ("LOCAL_WORLD_SIZE", "LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_NODE = ("GROUP_RANK", "CROSS_RANK", "NODE_RANK")
_LAUNCHER = "launcher-"
_LOOPBACK = ("localhost", "127.", "::1")


class RankInfo(msgspec.Struct, frozen=True):
    """What this process is in a distributed job.

    Attributes:
        rank: its number, 0 to world size - 1; rank 0 owns the run.
        on_main_host: whether it is on the host of rank 0.
        job: what tells this job from every other one; None where the environment does not.
        attempt: how often an elastic launcher has started the ranks anew.
        started_by: process id of rank 0, where that has started this rank by running its own script again.
    """

    rank: int
    on_main_host: bool
    job: str | None
    attempt: int
    started_by: int | None = None

    @property
    def by_launcher(self) -> bool:
        """Whether the job is known by its launcher, the parent of its ranks, and so not to their children."""
        return self.job is not None and self.job.startswith(_LAUNCHER)


def is_main_imported_again() -> bool:
    """Whether multiprocessing is importing the parent's main script into this process, to find what it was sent.

    That is how ``spawn`` and ``forkserver`` begin; CPython marks the process with ``_inheriting`` while they do.
    """
    process = sys.modules.get("multiprocessing.process")
    return process is not None and bool(getattr(process.current_process(), "_inheriting", False))


def rank_info() -> RankInfo | None:
    """This process as a rank of the job whose ranks share a run; None for a process that has runs of its own.

    Raises:
        ValueError: ``RUNICORN_RANK_MODE`` is none of its values.
    """
    mode = os.environ.get(MODE, "").strip().lower()
    if mode not in {"", "joined", "separate"}:
        raise SettingError(f'{MODE}={mode!r} is neither "joined" nor "separate". Write one of them, or unset it.')
    rank, size = _number(_without_batch(_RANK)), _number(_without_batch(_SIZE))
    script_again = rank is None and _number(("NODE_RANK",)) == 0
    if script_again:
        rank = _number(("LOCAL_RANK",))
    # Without MASTER_ADDR nothing says that the processes work together: srun starts independent trials as well.
    together = mode == "joined" or (mode == "" and bool(os.environ.get("MASTER_ADDR")))
    if not together or rank is None or size is None or size < 2:
        return None
    if script_again:
        launcher = os.getppid() if rank else os.getpid()
        return RankInfo(rank, True, _given_job() or launched_by(launcher), 0, launcher if rank else None)
    attempt = _number(("TORCHELASTIC_RESTART_COUNT",)) or 0
    return RankInfo(rank, _is_with_rank_0(rank), _given_job() or _job(size), attempt)


def _without_batch(names: tuple[str, ...]) -> tuple[str, ...]:
    """Without SLURM's variables where srun has not set them: a batch script has them too, and is no task of a step."""
    if os.environ.get("SLURM_STEP_ID") or os.environ.get("SLURM_STEPID"):
        return names
    return tuple(name for name in names if not name.startswith("SLURM_"))


def _is_with_rank_0(rank: int) -> bool:
    """Whether rank 0 is on this host."""
    master = os.environ.get("MASTER_ADDR", "").lower()
    if master and (master.startswith(_LOOPBACK) or _short(master) == _short(hostname().lower())):
        return True
    node = _number(_NODE)
    if node is None and _number(("SLURM_PROCID",)) == rank:
        node = _number(("SLURM_NODEID",))
    if node is not None:
        return node == 0
    # Launchers number the ranks of a host one after the other.
    return rank == (_number(_LOCAL_RANK) or 0)


def _short(host: str) -> str:
    return host if host.replace(".", "").isdecimal() else host.partition(".")[0]


def _given_job() -> str | None:
    return f"job-{os.environ[JOB]}" if os.environ.get(JOB) else None


def _job(size: int) -> str | None:
    if _number(_LOCAL_SIZE) == size:
        return launched_by(os.getppid())
    if os.environ.get("SLURM_JOB_ID"):
        return f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_STEP_ID', '')}"
    run_id = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    # torchrun's default is the same for two unrelated jobs.
    return f"torchelastic-{run_id}" if run_id not in {"", "none"} else None


def launched_by(launcher: int) -> str:
    """What tells the job of a launcher on this host from every other one."""
    return f"{_LAUNCHER}{hostname()}-{launcher}-{process_start(launcher)}"


def _number(names: tuple[str, ...]) -> int | None:
    for name in names:
        text = os.environ.get(name, "")
        if text.isdecimal():
            return int(text)
    return None
