"""joblib with loky: workers that outlive the call that started them, and functions that are pickled by value."""

from __future__ import annotations

import json

import pytest
from support import events, status

from runicorn.host.identity import hostname

pytestmark = pytest.mark.timeout(240)

PROGRAM = """
import json, os, sys, time
from joblib import Parallel, delayed
import runicorn as rn


def given(run, task):
    begun = time.monotonic()
    for n in range(100):
        run.log(task=task, n=n)
    return os.getpid(), task, begun


def held(task):
    return given(run, task)


class Model:
    def __init__(self, run):
        self.run = run

    def fit(self, task):
        return given(self.run, task)


run = rn.init(storage=sys.argv[1])
WORK = {
    "argument": lambda task: delayed(given)(run, task),
    "global": lambda task: delayed(held)(task),
    "attribute": lambda task: delayed(Model(run).fit)(task),
}
told = []
with Parallel(n_jobs=3, backend="loky") as parallel:
    for call in range(2):
        told += parallel(WORK[sys.argv[2]](task) for task in range(6 * call, 6 * call + 6))
        given(run, f"owner {call}")
run.finish()
print(json.dumps({"run_dir": str(run.run_dir), "told": told}))
"""


@pytest.mark.parametrize("way", ["argument", "global", "attribute"])
def test_tasks_of_joblib_log_into_the_run(run_engine, tmp_path, way):
    """As an argument, a global or an attribute, from an unguarded script: every record once, in its worker's order."""
    ended = run_engine("joblib", PROGRAM, way)
    result = json.loads(ended.stdout)
    expected = {None: [[f"owner {call}", n] for call in range(2) for n in range(100)]}
    for pid, task, _ in sorted(result["told"], key=lambda told: told[2]):
        expected.setdefault(f"{hostname()}-{pid}", []).extend([task, n] for n in range(100))
    run_dir = tmp_path / result["run_dir"]
    found = {}
    for line in events(run_dir):
        found.setdefault(line.get("producer"), []).append([line["data"]["task"], line["data"]["n"]])
    assert found == expected
    assert status(run_dir)["status"] == "finished"
    assert "[run " not in ended.stderr, ended.stderr
