"""The standard library's ``logging``, into a file."""

import logging
import os


def start(directory):
    logger = logging.getLogger("training")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    handler = logging.FileHandler(os.path.join(directory, "training.log"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    step = 0

    def log(data):
        nonlocal step
        step += 1
        logger.info("step %d: %s", step, data)

    return log, handler.close


def read_back(directory):
    with open(os.path.join(directory, "training.log"), encoding="utf-8") as file:
        return sum(line.endswith("}\n") for line in file)
