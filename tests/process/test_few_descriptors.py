"""A limit of descriptors, which the writer inherits, that leaves it hardly more than its own files need."""

import pytest
from support import events, status
from support.trainers import Trainer, assert_exactly_once, counted

from runicorn.settings import MIB

SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
run = rn.init()
opened(run)
"""
ONE_PROCESS = """
log_flat_out(run, 3000)
run.finish()
"""
CHILDREN = """
children = []
for child in range(6):
    children.append(os.fork())
    if not children[-1]:
        for i in range(100):
            run.log(child=child, n=i)
        os._exit(0)
log_flat_out(run, 3000)
for pid in children:
    os.waitpid(pid, 0)
run.finish()
"""


@pytest.mark.parametrize("limit", [15, 16, 20, 24])
def test_the_writer_goes_from_segment_to_segment(tmp_path, limit):
    """A writer that can hold one segment beside its own files stores all of them, one after the other."""
    trainer = Trainer(tmp_path, SCRIPT.format(limit=limit) + ONE_PROCESS, RUNICORN_FINISH_TIMEOUT_S="20")
    _, errors = trainer.end()
    assert (trainer.process.returncode, errors) == (0, "")
    assert_exactly_once(trainer)
    assert status(trainer.run_dir)["status"] == "finished"


def test_more_processes_than_descriptors(tmp_path):
    """Segments of processes for which no descriptor is left are stored when others have ended."""
    spool = {"RUNICORN_SPOOL_MAX_BYTES": str(16 * MIB), "RUNICORN_FINISH_TIMEOUT_S": "60"}
    trainer = Trainer(tmp_path, SCRIPT.format(limit=18) + CHILDREN, **spool)
    _, errors = trainer.end()
    assert (trainer.process.returncode, errors) == (0, "")
    assert counted(trainer.run_dir) == list(range(1, 3001))
    assert sum("child" in event["data"] for event in events(trainer.run_dir)) == 600
    assert status(trainer.run_dir)["status"] == "finished"
