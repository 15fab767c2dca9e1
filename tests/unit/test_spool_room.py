"""What a spool takes of shared memory, and what it leaves to others."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from runicorn.queue import spool
from runicorn.queue.control_page import ControlPage
from runicorn.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30


@pytest.fixture
def free_bytes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How much the file systems of spools have free, as the test says."""
    free = {"bytes": 8 * GIB}
    monkeypatch.setattr(spool, "_free_bytes", lambda _directory: free["bytes"])
    return free


@pytest.fixture
def address(tmp_path: Path, free_bytes: dict[str, int]) -> Iterator[spool.Address]:
    """Of a new spool, made while 8 GiB were free, with a budget that is never reached."""
    assert free_bytes["bytes"] == 8 * GIB
    settings = msgspec.structs.replace(Settings.from_environment(), spool_max_bytes=64 * GIB, overflow_max_bytes=GIB)
    made, lock = spool.create(
        run_id="r",
        run_dir=str(tmp_path),
        storage=str(tmp_path),
        path="p",
        host="host",
        opened_at=time.time(),
        settings=settings,
    )
    yield made
    lock.release()
    spool.remove(made.spool)


@pytest.mark.parametrize(("free", "floor"), [(2 * GIB, GIB // 2), (4 * GIB, GIB), (400 * GIB, GIB)])
def test_the_floor_is_a_quarter_of_what_is_free_and_at_most_a_gibibyte(tmp_path, free_bytes, free, floor):
    """A new spool notes how much of shared memory it leaves free."""
    free_bytes["bytes"] = free
    made, lock = spool.create(
        run_id="r",
        run_dir=str(tmp_path),
        storage=str(tmp_path),
        path="p",
        host="host",
        opened_at=time.time(),
        settings=Settings.from_environment(),
    )
    lock.release()
    spool.remove(made.spool)
    assert made.floor_bytes == floor


def test_no_segment_is_made_that_would_leave_less_than_the_floor(address, free_bytes):
    """The neighbours in shared memory keep the floor; the second place, on disk, has none."""
    control = ControlPage.open(f"{address.spool}/control")
    room_at = {}
    for free_bytes["bytes"] in (GIB + MIB, GIB + MIB - 1, MIB, MIB - 1):
        room_at[free_bytes["bytes"]] = [
            spool.room_for(address, control, place, MIB) for place in (spool.PRIMARY, 1 - spool.PRIMARY)
        ]
    control.close()
    assert room_at == {
        GIB + MIB: [True, True],
        GIB + MIB - 1: [False, True],
        MIB: [False, True],
        MIB - 1: [False, False],
    }
