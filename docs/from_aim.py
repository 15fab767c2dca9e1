"""Writes the runs of an Aim repository as JSON lines, which ``runicorn import jsonl`` reads.

Aim brings its own index up to date by that, as ``aim up`` does; nothing else is changed.
Run it in the environment that has Aim: ``python from_aim.py PATH_OF_THE_REPOSITORY > aim.jsonl``, and then
``runicorn import jsonl aim.jsonl --run run --config-columns experiment,name,params``.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

import aim
from aim.sdk.index_manager import RepoIndexManager

SYSTEM = "__system__"


def name_of(metric: aim.Metric) -> str:
    """The metric's name, with its context in front: ``train/loss`` for the subset ``train``."""
    context = metric.context.to_dict()
    return "/".join([*(str(value) for _, value in sorted(context.items())), metric.name])


def samples(run: aim.Run) -> Iterator[dict[str, Any]]:
    """Aim's samples of the machine, in the order of time; ``gpu/0/gpu_temp`` is the temperature of GPU 0."""
    found = []
    for metric in run.metrics():
        if metric.name.startswith(SYSTEM):
            context = [f"{key}/{value}/" for key, value in sorted(metric.context.to_dict().items())]
            name = "".join(context) + metric.name.removeprefix(SYSTEM)
            _, (values, _, times) = metric.data.numpy()
            found += [(float(time_s), name, float(value)) for time_s, value in zip(times, values, strict=True)]
    for time_s, name, value in sorted(found):
        yield {"run": run.hash, "wall_time": time_s, SYSTEM: {name: value}}


def rows(repository: aim.Repo) -> Iterator[dict[str, Any]]:
    """A row for each point; the run and its settings stand in each of them."""
    index = RepoIndexManager.get_index_manager(repository)
    for run_hash in repository.list_all_runs():
        index.index(run_hash)  # a run that has just ended has no parameters before
        run = aim.Run(run_hash, repo=repository, read_only=True)
        about = {"run": run.hash, "name": run.name, "experiment": run.experiment}
        params = {key: value for key, value in run[...].items() if key != "__system_params"}
        yield {**about, "params": params, "step": 0, "wall_time": run.created_at.timestamp()}
        yield from samples(run)
        for metric in run.metrics():
            if metric.name.startswith(SYSTEM):
                continue
            steps, (values, epochs, times) = metric.data.numpy()
            for step, value, epoch, time_s in zip(steps, values, epochs, times, strict=True):
                row = {**about, "step": int(step), "wall_time": float(time_s), name_of(metric): float(value)}
                yield row if epoch != epoch else {**row, "epoch": float(epoch)}  # noqa: PLR0124 - NaN: it has none


if __name__ == "__main__":
    for row in rows(aim.Repo(sys.argv[1])):
        print(json.dumps(row, default=str))
