"""Samples of the machine, read back: by the reader and by the commands."""

import json
import math
from pathlib import Path

import pytest

from runicorn import reading
from runicorn.cli import main
from runicorn.reading.cache import Cache
from runicorn.reading.system_metrics import SystemMetrics

BEGAN = 1_790_000_000.0


def event(step, when, **data):
    return json.dumps({"ts": when, "type": "metrics", "data": {**data, "global_step": step, "time": when}}) + "\n"


def sample(n, **numbers):
    return json.dumps({"time": BEGAN + 10 * n, "interval_s": 10.0, **numbers}) + "\n"


@pytest.fixture
def make(storage):
    """Write a run with samples; more files by their name."""

    def make_one(samples=(), events=(), **files):
        run_dir = Path(storage, "runs", "cv", "one")
        run_dir.mkdir(parents=True)
        (run_dir / "meta.json").write_text(json.dumps({"id": "one", "path": "cv", "created_at": BEGAN}))
        (run_dir / "status.json").write_text(json.dumps({"status": "finished", "started_at": BEGAN}))
        (run_dir / "system.jsonl").write_text("".join(samples))
        (run_dir / "events.jsonl").write_text("".join(events))
        for name, content in files.items():
            (run_dir / name.replace("__", ".")).write_text(content)
        return reading.load(run_dir)

    return make_one


def test_columns_by_time_and_a_table(make):
    """A name that a sample lacks is a gap in the table, and missing in the column."""
    run = make([sample(0, **{"tree/cpu": 1.5}), sample(1, **{"tree/cpu": 2, "gpu0/x": 7})])
    assert list(run.system["tree/cpu"].time) == [BEGAN, BEGAN + 10]
    assert list(run.system["tree/cpu"].value) == [1.5, 2]
    assert list(run.system["gpu0/x"].time) == [BEGAN + 10]
    table = run.system.table(["tree/cpu", "gpu0/x"])
    assert list(table["step"]) == [0, 1]
    assert list(table["gpu0/x"]) == [None, 7]
    assert "tree/cpu" in run.system
    assert run.metrics == []
    with pytest.raises(KeyError, match="not among the samples"):
        run.system["loss"]


def test_other_hosts_are_named_before_what_they_did(make):
    """Each has its file."""
    run = make([sample(0, **{"tree/cpu": 1})], system__node_2__jsonl=sample(0, **{"tree/cpu": 5}))
    assert [name for name in run.system.names if name.endswith("cpu")] == ["node_2/tree/cpu", "tree/cpu"]
    assert list(run.system["node_2/tree/cpu"].value) == [5]


def test_lines_that_are_no_samples_take_no_others_with_them(make):
    """Torn, nested, text, without a time, with infinities: what is a number is read."""
    lines = [
        '{"time": 12\n', "[1]\n", '{"cpu": 1}\n', '{"time": "x", "cpu": 1}\n', '{"time": 1e400, "cpu": 1}\n', "\n",
        '{"time": 5, "cpu": 2, "text": "x", "nested": {"a": 1}, "flag": true, "none": null}\n', '{"time": 6, "cpu": 3',
    ]  # fmt: skip
    run = make(lines)
    assert run.system.names == ["cpu"]
    assert list(run.system["cpu"].value) == [2]


def test_a_run_without_samples_has_an_empty_system(make, storage):
    """As those of other programs have."""
    run = make()
    (Path(storage) / "runs/cv/one/system.jsonl").unlink()
    assert (len(run.system), run.system.insight(), run.system.sentences()) == (0, {}, [])


def test_samples_that_come_are_read_on_and_from_the_cache(make, storage):
    """What is in the cache is what is in the file."""
    run = make([sample(n, cpu=n * 0.5) for n in range(30_000)])
    whole = list(run.system["cpu"].value)
    with (Path(storage) / "runs/cv/one/system.jsonl").open("a") as file:
        file.write(sample(30_000, cpu=-1.0))
    again = SystemMetrics(run.info.run_dir, Cache.of_user(), {})
    assert list(again["cpu"].value) == [*whole, -1.0]


def test_insight_of_a_live_run_is_that_of_its_samples(make):
    """Once the run has ended it is that of the summary."""
    samples = [sample(n, **{"tree/cpu_percent": 50.0 + n, "host/cores": 4}) for n in range(4)]
    found = make(samples).system.insight()
    assert (found["cpu_mean_percent"], found["cpu_peak_percent"], found["cores"]) == (51.5, 53.0, 4)


def test_steps_a_second_follow_from_the_times_of_the_records(make):
    """Ten a second, then twenty; validation on its own steps does not count, nor does a jump back."""
    events = [event(n, BEGAN + n / 10, loss=1.0) for n in range(1, 101)]
    events += [event(100 + n, BEGAN + 10 + n / 20, loss=1.0) for n in range(1, 201)]
    events += [event(n, BEGAN + 10 * n, val=1.0) for n in (1, 2)]
    column = make(events=events).steps_per_second()
    assert list(column.value[:8]) == pytest.approx([10.0] * 8)
    assert list(column.value[-8:]) == pytest.approx([20.0] * 8)
    assert all(map(math.isfinite, column.value))


def test_a_resume_from_an_earlier_step_is_no_pace(make):
    """Nor is the pause before it."""
    events = [event(n, BEGAN + n, loss=1.0) for n in range(1, 51)]
    events += [event(n, BEGAN + 5000 + n, loss=1.0) for n in range(40, 91)]
    values = make(events=events).steps_per_second().value
    assert len(values) > 5
    assert list(values) == pytest.approx([1.0] * len(values))


def test_commands_show_plot_follow_and_export_it(make, storage, capsys, tmp_path):
    """Each by its name, with or without ``system/``."""
    samples = [sample(n, **{"tree/cpu_percent": 50.0 + n, "tree/rss_bytes": 4e9, "host/cores": 4}) for n in range(20)]
    make(samples, [event(n, BEGAN + n, loss=1.0) for n in range(1, 100)])

    def told(*arguments):
        assert main([*arguments, "--storage", str(storage)]) == 0
        return capsys.readouterr().out

    assert "59.5 % on average, 69.0 % at most" in told("show", "one")
    shown = json.loads(told("show", "one", "--json"))
    assert shown["machine"]["samples"] == 20
    for name in ("system/tree/cpu_percent", "tree/cpu_percent"):
        plotted = json.loads(told("plot", "one", name, "--json"))["series"][0]
        assert (plotted["x"], plotted["y"]) == ([10.0 * n for n in range(20)], [50.0 + n for n in range(20)])
    assert "time since the run began" in told("plot", "one", "steps_per_second", "--height", "4")
    assert "machine" not in told("tail", "one")
    assert told("tail", "one", "--system").splitlines()[-1].startswith("machine tree/cpu_percent=69")
    told("export", "one", "--system", "-o", str(tmp_path / "one.csv"), "--metrics", "tree/cpu_percent")
    assert (tmp_path / "one.csv").read_text().splitlines()[:2] == ["step,time,tree/cpu_percent", f"0,{BEGAN},50.0"]
