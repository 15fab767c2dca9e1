"""When the owner of a run starts another writer."""

from __future__ import annotations

import time
from itertools import pairwise
from types import SimpleNamespace

import msgspec
import pytest

from runicorn.queue import spool
from runicorn.queue.control_page import ControlPage
from runicorn.refusals import Refusals
from runicorn.session import writer_monitor, writer_process
from runicorn.session.writer_monitor import WriterMonitor
from runicorn.settings import Settings

RESTART_AFTER_S = 5.0


@pytest.fixture
def address(tmp_path):
    """Of a new spool without a writer."""
    made, lock = spool.create(
        run_id="r",
        run_dir=str(tmp_path),
        storage=str(tmp_path),
        path="p",
        host="host",
        opened_at=time.time(),
        settings=msgspec.structs.replace(Settings.from_environment(), writer_restart_after_s=RESTART_AFTER_S),
    )
    yield made
    lock.release()
    spool.remove(made.spool)


@pytest.mark.detached_writer
def test_a_writer_that_is_slow_to_start_is_given_twice_the_time_before(address, monkeypatch):
    """Each start of another writer comes twice as long after the one before, up to five minutes."""
    clock = {"now_s": 0}
    started_at_s = []
    monkeypatch.setattr(writer_monitor, "time", SimpleNamespace(monotonic=lambda: clock["now_s"]))
    monkeypatch.setattr(writer_process, "launch", lambda _spool: started_at_s.append(clock["now_s"]))
    control = ControlPage.open(f"{address.spool}/control")
    watch = WriterMonitor(address, control, Refusals("r", strict=False), lambda: None)
    watch.start()
    for clock["now_s"] in range(1, 1300):
        watch.check()
    watch.close()
    control.close()
    waited_s = [after - before for before, after in pairwise(started_at_s)]
    assert waited_s == [5, 10, 20, 40, 80, 160, 300, 300, 300]
