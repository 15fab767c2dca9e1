"""Who is measured: each tracker's adapter, what its environment needs, and its own switches against the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

OURS, NOTHING, FLOOR = "ours", "(a call that does nothing)", "JSON line, buffered file"
PURE, BEFORE = "ours, without its accelerator", "ours, the other checkout"


@dataclass(frozen=True)
class Tracker:
    """One row.

    Args:
        name: in the tables.
        adapter: the module in ``adapters``.
        requirements: what ``pip`` installs into an environment of its own; none = the interpreter that runs this.
        switches: environment variables that keep it local and quiet.
        because: what explains a figure that is better than ours, where there is one.
    """

    name: str
    adapter: str
    requirements: tuple[str, ...] = ()
    switches: dict[str, str] = field(default_factory=dict)
    because: str = ""


MLFLOW = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
WANDB = {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false", "DO_NOT_TRACK": "1"}
NO_HELPER = "no process beside: the training process does all the work, and pays for it"
WRITTEN_BY_THEN = "its helper has written it by then; we wait until the disk is synced and our writer is gone"

TRACKERS = (
    Tracker(OURS, "ours"),
    Tracker(PURE, "ours", switches={"RUNICORN_ACCELERATOR": "0"}),
    Tracker(NOTHING, "nothing"),
    Tracker(
        FLOOR,
        "json_lines",
        because="lines wait in the process's own memory: no checksum, no copy that outlives it, nobody to start",
    ),
    Tracker(
        "logging to a file", "logging_file", because="a call writes its line itself: nobody to start or to wait for"
    ),
    Tracker(
        "multiprocessing.Queue",
        "process_queue",
        because="a call only appends to a list; a thread of the training process encodes and sends it later, and what"
        " it has not sent dies with it",
    ),
    Tracker("runicorn 0.7.2", "published", ("runicorn==0.7.2",), because=NO_HELPER),
    Tracker("wandb, offline", "wandb_offline", ("wandb",), WANDB, because=WRITTEN_BY_THEN),
    Tracker("mlflow, SQLite", "mlflow_sqlite", ("mlflow",), MLFLOW, because=NO_HELPER),
    Tracker("mlflow, SQLite, asynchronous", "mlflow_async", ("mlflow",), MLFLOW, because=NO_HELPER),
    Tracker("tensorboardX", "tensorboardx", ("tensorboardX",), because=NO_HELPER),
    Tracker(
        "trackio", "trackio_local", ("trackio",), {"TRACKIO_DIR": "trackio", "HF_HUB_OFFLINE": "1"}, because=NO_HELPER
    ),
    Tracker("aim", "aim_local", ("aim",), because=NO_HELPER),
    Tracker("swanlab, local", "swanlab_local", ("swanlab[dashboard]",), {"SWANLAB_MODE": "local"}, because=NO_HELPER),
    Tracker(
        "neptune-scale, offline",
        "neptune_offline",
        ("neptune-scale",),
        {"NEPTUNE_MODE": "offline"},
        because=f"{NO_HELPER}; records are binary",
    ),
    Tracker(
        "dvclive",
        "dvclive_local",
        ("dvclive",),
        {"DVC_NO_ANALYTICS": "1", "DVCLIVE_OPEN": "false"},
        because=f"{NO_HELPER}; a line holds a step and a value, and no time",
    ),
)


def of_checkout(directory: str) -> Tracker:
    """This package as it is in another checkout."""
    return Tracker(BEFORE, "ours", switches={"PYTHONPATH": str(Path(directory).resolve() / "src")})
