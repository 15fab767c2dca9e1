"""Runs read back: from the plain files alone, live or finished, wherever they were written.

::

    from runicorn import reading

    for info in reading.runs(path="cv", status="finished"):
        print(info.id, info.best_metric_value)
    run = reading.load("baseline")
    loss = run["loss"]
    print(loss.step, loss.value)

Nothing is written to a run, and no server, database or lock is needed. Numbers are kept as columns in a cache that
may be removed at any moment.
"""

from runicorn.reading.column import Column
from runicorn.reading.info import RunInfo
from runicorn.reading.listing import find, runs
from runicorn.reading.loaded import LoadedRun, LoggedImage, load
from runicorn.reading.plain_files import Problem
from runicorn.reading.table import Table

__all__ = ["Column", "LoadedRun", "LoggedImage", "Problem", "RunInfo", "Table", "find", "load", "runs"]
