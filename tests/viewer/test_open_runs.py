"""A run is read a bounded piece at a time, and in the end all of it; others get the lock between."""

from __future__ import annotations

import os
import shutil
import threading

import pytest
from lines_of_events import event
from support import wait_until

from runicorn import reading
from runicorn.reading import events
from runicorn.reading.cache import Cache
from runicorn.reading.curves import Query, curve
from runicorn.reading.stretches import collect
from runicorn.viewer import open_runs
from runicorn.viewer.open_runs import OpenRun, OpenRuns

KEY = "20260101_120000_abcdef"


def values_of(run):
    made = curve(collect(run.files.values(), "loss", run.store), Query(buckets=4000))
    return made.total, list(made.arrays["x"])


@pytest.mark.parametrize("most_bytes", [1, 50, 1000, 10_000, 10**9])
def test_all_of_it_is_read_in_the_end(make_run, most_bytes):
    """Whatever is read at once: how much was read rises, is below all until the end, and then everything is there."""
    run_dir = make_run(lines=[event(step, loss=1.0) for step in range(500)])
    (run_dir / "events.rank1.jsonl").write_text("".join(event(step, loss=2.0) for step in range(500, 700)))
    run = OpenRun(str(run_dir), Cache(None))
    shares = []
    for _ in range(10_000):
        has_more = run.read_on(most_bytes)
        shares.append(run.indexed)
        if not has_more:
            break
    assert shares == sorted(shares)
    assert [share == 1.0 for share in shares] == [*(len(shares) - 1) * [False], True]
    assert values_of(run) == (700, [float(step) for step in range(700)])
    with (run_dir / "events.jsonl").open("a") as file:
        file.write(event(700, loss=3.0))
    assert any(not run.read_on(most_bytes) for _ in range(10_000))
    assert values_of(run)[0] == 701
    assert run.indexed == 1.0


def test_a_large_run_is_read_in_the_background(make_run, storage, monkeypatch):
    """The first look gets a part of it, the thread reads the rest, and who wants the lock meanwhile gets it."""
    make_run(lines=[event(step, loss=1.0) for step in range(5000)])
    monkeypatch.setattr(open_runs, "_AT_ONCE_BYTES", 4000)
    monkeypatch.setattr(OpenRun.read_on, "__defaults__", (4000,))
    runs = OpenRuns(Cache(None))
    info = reading.find(KEY, storage)
    run = runs.read(info)
    with run.reading():
        assert run.indexed < 1.0
        first = values_of(run)[0]
    assert 0 < first < 5000
    wait_until(lambda: run.indexed == 1.0)
    with run.reading():
        assert values_of(run)[0] == 5000
    runs.close()
    wait_until(lambda: all(thread.name != "runicorn-viewer-reader" for thread in threading.enumerate()))


def test_a_long_file_is_kept_once(tmp_path, make_run, monkeypatch):
    """A file that is read piece by piece is kept when a part of it is whole, or all is read, and not as each grows."""
    monkeypatch.setattr(events, "_PART_BYTES", 20_000)
    monkeypatch.setattr(events, "_LEAST_KEPT_BYTES", 1000)
    kept = []
    write = Cache.write
    monkeypatch.setattr(
        Cache, "write", lambda cache, pieces, *names: kept.append(names[-1]) or write(cache, pieces, *names)
    )
    run = OpenRun(str(make_run(lines=[event(step, loss=1.0) for step in range(1000)])), Cache(str(tmp_path / "cache")))
    for _ in range(1000):
        if not run.read_on(2000):
            break
    (file,) = run.files.values()
    assert len(file.headers) > 3
    assert kept == [f"{header.start}-{header.end}.part" for header in file.headers]


@pytest.mark.parametrize("axis", ["step", "time"])
def test_metrics_of_the_same_lines_share_where_they_fall(tmp_path, make_run, axis):
    """Where steps or times fall is found once for all metrics that were logged together, and only of the axis shown."""
    lines = [event(step, time_s=1000.0 + step, **dict.fromkeys("abcde", 1.0)) for step in range(20_000)]
    cache = Cache(str(tmp_path / "cache"))
    run = OpenRun(str(make_run(lines=lines)), cache)
    while run.read_on():
        continue
    again = OpenRun(run.run_dir, cache)
    while again.read_on():
        continue
    for name in "abcde":
        made = curve(collect(again.files.values(), name, again.store, x=axis), Query())
        assert made.total == 20_000
    assert len(list((tmp_path / "cache").rglob("*.levels"))) == len(again.files["events.jsonl"].headers)


def test_a_file_that_is_written_anew_in_place_is_read_anew(make_run):
    """Of the same size, with other numbers in it: those are shown, and none of the old ones."""
    run_dir = make_run(lines=[event(step, loss=1.0) for step in range(500)])
    run = OpenRun(str(run_dir), Cache(None))
    assert not run.read_on()
    path = run_dir / "events.jsonl"
    before = path.stat()
    with path.open("r+") as file:
        file.writelines(event(step, loss=2.0) for step in range(500))
    assert path.stat().st_size == before.st_size
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert not run.read_on()
    made = curve(collect(run.files.values(), "loss", run.store), Query(buckets=4000))
    assert (made.total, made.low, made.high) == (500, 2.0, 2.0)


@pytest.mark.parametrize("is_cleaned", [False, True])
def test_a_run_that_has_ended_is_in_the_cache_alone(tmp_path, make_run, monkeypatch, is_cleaned):
    """Nothing of it stays in memory; its curves, its names and what comes after all are as if it did."""
    monkeypatch.setattr(events, "_PART_BYTES", 20_000)
    monkeypatch.setattr(events, "_LEAST_KEPT_BYTES", 1000)
    run_dir = make_run(lines=[event(step, loss=1.0) for step in range(490)])
    run = OpenRun(str(run_dir), Cache(str(tmp_path / "cache")))
    for count in (490, 491, 900):
        if is_cleaned:
            shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        while run.read_on(3000):
            continue
        (file,) = run.files.values()
        assert is_cleaned or file._in_memory == {}  # what was cleaned up is read again, and stays
        assert (values_of(run)[0], run.names()) == (count, ["loss", "system/steps_per_second"])
        if count < 900:
            with (run_dir / "events.jsonl").open("a") as appended:
                appended.writelines(event(step, loss=1.0) for step in range(count, 491 if count == 490 else 900))
    live = OpenRun(str(run_dir), Cache(str(tmp_path / "cache")))
    live.is_live = True
    while live.read_on():
        continue
    with (run_dir / "events.jsonl").open("a") as appended:
        appended.write(event(900, loss=1.0))
    assert not live.read_on()
    assert values_of(live) == (901, [float(step) for step in range(901)])
