"""A JSON line for each call, into a buffered file."""

import json
import os
import time


def start(directory):
    file = open(os.path.join(directory, "metrics.jsonl"), "w", encoding="utf-8")  # noqa: SIM115
    step = 0

    def log(data):
        nonlocal step
        step += 1
        file.write(json.dumps({"time": time.time(), "step": step, **data}) + "\n")

    return log, file.close


def read_back(directory):
    with open(os.path.join(directory, "metrics.jsonl"), encoding="utf-8") as file:
        return sum(line.endswith("\n") and len(json.loads(line)) > 2 for line in file)
