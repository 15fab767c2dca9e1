"""DVCLive outside of a DVC repository: a metric a call, then the step is closed."""

import os
import pathlib

from dvclive import Live


def start(directory):
    live = Live(os.path.join(directory, "dvclive"), save_dvc_exp=False, dvcyaml=None)

    def log(data):
        for name, value in data.items():
            live.log_metric(name, value)
        live.next_step()

    return log, live.end


def read_back(directory):
    files = list(pathlib.Path(directory).glob("dvclive/plots/metrics/**/*.tsv"))
    per_name = [file.read_text(encoding="utf-8").count("\n") - 1 for file in files]
    return min(per_name, default=0)
