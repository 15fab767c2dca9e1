"""Unit tests have no writer process, unless they say so: what a run has sent is stored by ``finish()``, in process."""

from __future__ import annotations

import pytest

from runicorn import run
from runicorn.queue.accelerator import push_metrics
from runicorn.session import writer_process
from runicorn.session.writer_monitor import WriterMonitor


@pytest.fixture(autouse=True)
def writer_in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``finish()`` be the writer, as in a program that cannot start one; it starts at once and is deterministic.

    A test that is marked ``detached_writer`` needs the real one: records that are stored while the run is open.
    """
    if request.node.get_closest_marker("detached_writer") is None:
        monkeypatch.setattr(writer_process, "can_launch", lambda: False)
        monkeypatch.setattr(WriterMonitor, "start", _digest_later)


def _digest_later(monitor: WriterMonitor) -> None:
    """Stand in for ``start()``: without the warning that a real program gets."""
    monitor.in_process = True


@pytest.fixture(params=["Python", "C"] if push_metrics else ["Python"])
def each_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``log()`` go through the call of C, if this installation has it, and through Python alone."""
    monkeypatch.setattr(run, "push_metrics", push_metrics if request.param == "C" else None)
