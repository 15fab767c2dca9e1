"""Neptune Scale in offline mode. Its own reader is the cloud's, so the operations that it keeps for that are read."""

import contextlib
import itertools
import pathlib
import sqlite3

from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import UpdateRunSnapshot
from neptune_scale import Run


def start(directory):
    run = Run(project="bench/peers", mode="offline", log_directory=directory)
    steps = itertools.count()

    def log(data):
        run.log_metrics(data, step=next(steps))

    return log, run.close


def read_back(directory):
    (path,) = pathlib.Path(directory).glob("*/run_operations.sqlite3")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT operation FROM run_operations WHERE operation_type = 0").fetchall()
    return sum(len(UpdateRunSnapshot.FromString(row[0]).append) == 4 for row in rows)
