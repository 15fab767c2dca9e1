"""Aim, with a repository in a local directory. Its reader sees a run once the repository has been indexed again."""

import itertools
import os
import subprocess
import sys

import aim


def start(directory):
    run = aim.Run(repo=directory)
    steps = itertools.count()

    def log(data):
        run.track(data, step=next(steps))

    return log, run.close


def read_back(directory):
    command = os.path.join(os.path.dirname(sys.executable), "aim")
    subprocess.run([command, "storage", "--repo", directory, "reindex", "--yes"], check=True, capture_output=True)
    # A process that has the index open does not see the new one.
    counted = subprocess.run([sys.executable, __file__, directory], check=True, capture_output=True, text=True)
    return int(counted.stdout)


def count(directory):
    repo = aim.Repo.from_path(directory)
    (run_hash,) = repo.list_all_runs()
    run = aim.Run(run_hash, repo=repo, read_only=True)
    own = [metric for metric in run.metrics() if not metric.name.startswith("__system__")]
    steps = [set(metric.values.sparse_numpy()[0].tolist()) for metric in own]
    return len(set.intersection(*steps)) if steps else 0


if __name__ == "__main__":
    print(count(sys.argv[1]))
