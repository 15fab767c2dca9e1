"""The System tab: samples of the machine, and steps a second, by the curves API."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lines_of_events import event

from runicorn.importing import import_runs

KEY = "20260101_120000_abcdef"


def sample(n, **numbers):
    return json.dumps({"time": 1000.0 + 10 * n, "interval_s": 10.0, **numbers}) + "\n"


@pytest.fixture
def client(make_run, open_viewer):
    """A run with samples of two hosts, and an idle GPU."""
    run_dir = make_run(lines=[event(step, time_s=1000.0 + step / 10, loss=1.0) for step in range(1, 101)])
    numbers = [sample(n, **{"tree/cpu_percent": 50.0 + n}) for n in range(5)]
    (run_dir / "system.jsonl").write_text("".join(numbers))
    (run_dir / "system.node2.jsonl").write_text(sample(0, **{"tree/cpu_percent": 7}))
    machine = {"sampled_s": 100.0, "gpus": {"gpu0": {"idle_percent": 61.0}}}
    (run_dir / "summary.json").write_text(json.dumps({"runicorn": {"machine": machine}}))
    return open_viewer()


def curve(client, metric, **body):
    answer = client.post("/api/v1/curves?format=json", json={"runs": [KEY], "metrics": [metric], **body})
    (found,) = answer.json()["curves"]
    return found


def test_samples_are_curves_over_the_time(client):
    """Those of another host have its name."""
    found = curve(client, "system/tree/cpu_percent", x="time")
    assert found["data"]["x"] == [0.0, 10.0, 20.0, 30.0, 40.0]
    assert found["data"]["y"] == [50.0, 51.0, 52.0, 53.0, 54.0]
    assert curve(client, "system/node2/tree/cpu_percent", x="wall")["data"]["y"] == [7.0]


def test_they_are_listed_apart_from_metrics(client):
    """The tab asks with its prefix, the charts without."""
    names = client.get(f"/api/v1/runs/{KEY}/metrics?prefix=system/&figures=1").json()["metrics"]
    assert {each["name"] for each in names} >= {"system/tree/cpu_percent", "system/steps_per_second"}
    assert client.get(f"/api/v1/runs/{KEY}/metrics").json()["metrics"] == ["loss"]
    head = client.get(f"/api/v1/runs/{KEY}").json()
    assert head["metrics"] == 1
    assert head["machine"] == ["GPU 0 was idle 61 % of the time."]


def test_steps_a_second_are_a_curve(client):
    """Ten records a second are, over either axis."""
    by_time, by_step = (curve(client, "system/steps_per_second", x=x) for x in ("time", "step"))
    assert by_time["data"]["y"] == by_step["data"]["y"]
    assert len(by_time["data"]["y"]) > 5
    assert by_time["data"]["y"] == pytest.approx([10.0] * len(by_time["data"]["y"]))
    assert curve(client, "system/nothing", x="time")["error"] == "no such metric"


def test_samples_that_come_change_the_version(client, storage):
    """So an open page asks again."""
    before = curve(client, "system/tree/cpu_percent", x="time")
    (path,) = storage.rglob("system.jsonl")
    with path.open("a") as file:
        file.write(sample(5, **{"tree/cpu_percent": 99.0}))
    after = curve(client, "system/tree/cpu_percent", x="time")
    assert after["data"]["y"][-1] == 99.0
    assert after["version"] != before["version"]


def test_samples_of_an_imported_run_are_curves(storage, open_viewer):
    """Those that wandb has taken, by the times that it has given them."""
    source = next((Path(__file__).parents[1] / "importing" / "samples" / "wandb").glob("*machine1"))
    (run,) = import_runs("wandb", [str(source)], storage=str(storage))
    client = open_viewer()
    names = client.get(f"/api/v1/runs/{run.run}/metrics?prefix=system/").json()["metrics"]
    assert {"system/host/memory_percent", "system/proc.memory.rssMB"} <= set(names)
    body = {"runs": [run.run], "metrics": ["system/host/memory_percent"], "x": "time"}
    (found,) = client.post("/api/v1/curves?format=json", json=body).json()["curves"]
    assert len(found["data"]["y"]) == run.samples == 5
