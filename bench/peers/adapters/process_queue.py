"""The standard library's ``multiprocessing.Queue``, and a process that writes a JSON line for each record."""

import json
import multiprocessing
import os
import time


def write(queue, path):
    with open(path, "w", encoding="utf-8") as file:
        for record in iter(queue.get, None):
            file.write(json.dumps(record) + "\n")
            if queue.empty():
                file.flush()


def start(directory):
    queue = multiprocessing.Queue()
    path = os.path.join(directory, "metrics.jsonl")
    # A daemon, as people make it: it goes with an interpreter that ends without close().
    consumer = multiprocessing.Process(target=write, args=(queue, path), daemon=True)
    consumer.start()
    step = 0

    def log(data):
        nonlocal step
        step += 1
        queue.put((time.time(), step, data))

    def finish():
        queue.put(None)
        consumer.join()

    return log, finish


def read_back(directory):
    with open(os.path.join(directory, "metrics.jsonl"), encoding="utf-8") as file:
        return sum(line.endswith("\n") and len(json.loads(line)[2]) > 1 for line in file)
