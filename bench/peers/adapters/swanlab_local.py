"""SwanLab in local mode; the files that its dashboard shows are read: lines of JSON for each metric."""

import json
import pathlib

import swanlab


def start(directory):
    swanlab.init(project="bench", mode="local", log_dir=directory)
    return swanlab.log, swanlab.finish


def read_back(directory):
    folders = [folder for folder in pathlib.Path(directory).glob("run-*/logs/*") if folder.is_dir()]
    steps = [{json.loads(line)["index"] for line in whole_lines(folder)} for folder in folders]
    return len(set.intersection(*steps)) if len(steps) == 4 else 0


def whole_lines(folder):
    for path in folder.glob("*.log"):
        with path.open(encoding="utf-8") as file:
            yield from (line for line in file if line.endswith("\n"))
