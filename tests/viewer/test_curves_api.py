"""What ``POST curves`` answers: axes, ranges, stages, ranks, groups, what was superseded, and many at once."""

from __future__ import annotations

import json
import math
import statistics

import pytest
from lines_of_events import event

KEY = "20260101_120000_abcdef"


def curves(client, **body):
    answer = client.post("/api/v1/curves?format=json", json={"runs": [KEY], "metrics": ["loss"], **body})
    assert answer.status_code == 200, answer.content
    return answer.json()["curves"]


def marked(step, rank=None, stage=None, **values):
    line = json.loads(event(step, time_s=1000.0 + step / 10, **values))
    if rank is not None:
        line["rank"] = rank
    if stage is not None:
        line["data"]["stage"] = stage
    return json.dumps(line) + "\n"


@pytest.fixture
def distributed(make_run, open_viewer):
    """A run of three ranks, whose values are 10, 20 and 30 more than the step, in two stages."""
    lines = [marked(step, 0, "warm" if step < 5 else "hot", loss=10.0 + step, lr=step * 2.0) for step in range(1, 11)]
    run_dir = make_run(lines=lines)
    for rank in (1, 2):
        more = "".join(marked(step, rank, loss=10.0 * (rank + 1) + step) for step in range(1, 11))
        (run_dir / f"events.rank{rank}.jsonl").write_text(more)
    return open_viewer()


def test_axes(distributed):
    """Steps, seconds since the run began, epoch seconds, steps since the first, and another metric of the same line."""
    for x, expected in (
        ("step", [float(step) for step in range(1, 11)]),
        ("time", [step / 10 for step in range(1, 11)]),
        ("wall", [1000.0 + step / 10 for step in range(1, 11)]),
        ("relative_step", [float(step) for step in range(10)]),
        ("metric:lr", [step * 2.0 for step in range(1, 11)]),
    ):
        (curve,) = curves(distributed, x=x)
        assert curve["data"]["x"] == pytest.approx(expected)
        assert curve["data"]["y"] == [10.0 + step for step in range(1, 11)]


def test_ranges_and_stages(distributed):
    """From and to are included; a stage has its values alone."""
    (curve,) = curves(distributed, **{"from": 3, "to": 5})
    assert curve["data"]["x"] == [3.0, 4.0, 5.0]
    assert (curve["first_x"], curve["last_x"], curve["total"], curve["in_range"]) == (1.0, 10.0, 10, 3)
    (curve,) = curves(distributed, stage="hot")
    assert curve["data"]["x"] == [float(step) for step in range(5, 11)]
    head = distributed.get(f"/api/v1/runs/{KEY}").json()
    assert head["stages"] == [{"stage": "warm", "from": 1, "to": 4}, {"stage": "hot", "from": 5, "to": 10}]
    assert head["ranks"] == [0, 1, 2]


def test_ranks(distributed):
    """By default rank 0; one by number; each; all of them in one curve; and the slowest of each step."""
    assert [curve["data"]["y"][0] for curve in curves(distributed)] == [11.0]
    assert [curve["data"]["y"][0] for curve in curves(distributed, rank=2)] == [31.0]
    each = curves(distributed, rank="each")
    assert [(curve["rank"], curve["data"]["y"][0]) for curve in each] == [(0, 11.0), (1, 21.0), (2, 31.0)]
    (band,) = curves(distributed, rank="minmax", buckets=5, width=1)
    assert (band["data"]["min"][0], band["data"]["max"][0], band["data"]["mean"][0]) == (11.0, 31.0, 21.0)
    (slowest,) = curves(distributed, rank="slowest")
    assert slowest["data"]["y"] == [30.0 + step for step in range(1, 11)]
    assert curves(distributed, rank=7)[0]["total"] == 0


@pytest.mark.parametrize("rank", ["mean", "minmax"])
@pytest.mark.parametrize("x", ["step", "time"])
def test_ranks_as_one_curve(distributed, rank, x):
    """However few values there are, each place has one point: the mean of all ranks between their bounds."""
    (band,) = curves(distributed, rank=rank, x=x)
    data = band["data"]
    assert len(set(data["x"])) == len(data["x"])
    assert data["mean"] == pytest.approx([(low + high) / 2 for low, high in zip(data["min"], data["max"], strict=True)])
    assert sum(data["count"]) == 30
    assert all(high - low >= 20 for low, high in zip(data["min"], data["max"], strict=True))
    (part,) = curves(distributed, rank=rank, **{"from": 3, "to": 5})
    assert (part["data"]["x"], part["data"]["mean"]) == ([3.0, 4.0, 5.0], [23.0, 24.0, 25.0])


def test_groups(open_viewer, make_run):
    """One curve over all members that have the metric: mean, deviation, bounds and how many, on one grid."""
    for number in range(4):
        make_run(
            f"run{number}",
            lines=[event(step, **{"loss" if number < 3 else "x": float(number)}) for step in range(1, 5)],
        )
    body = {"runs": [], "groups": [{"name": "all", "runs": ["run0", "run1", "run2", "run3", "nowhere"]}]}
    (curve,) = curves(open_viewer(), **body)
    assert (curve["group"], curve["members"], curve["n"]) == ("all", 3, 4)
    assert curve["data"]["mean"] == 4 * [1.0]
    assert curve["data"]["std"] == 4 * [1.0]
    assert (curve["data"]["min"], curve["data"]["max"], curve["data"]["members"]) == (4 * [0.0], 4 * [2.0], 4 * [3.0])


def test_groups_by_hand(open_viewer, make_run):
    """A curve over 100 seeds is what adding them up by hand gives, also zoomed and smoothed."""
    seeds = [[math.sin(step / 9) + seed * step / 1000 for step in range(400)] for seed in range(100)]
    keys = [f"seed{number}" for number in range(100)]
    for key, values in zip(keys, seeds, strict=True):
        make_run(key, lines=[event(step, loss=value) for step, value in enumerate(values)])
    client = open_viewer()
    for more in ({}, {"from": 100, "to": 150}, {"smooth": 0.9}):
        (curve,) = curves(client, runs=[], groups=[{"name": "g", "runs": keys}], buckets=1000, **more)
        start, stop = more.get("from", 0), more.get("to", 399) + 1
        assert curve["data"]["x"] == [float(step) for step in range(start, stop)]
        columns = [[values[step] for values in seeds] for step in range(start, stop)]
        assert curve["data"]["mean"] == pytest.approx([statistics.fmean(each) for each in columns])
        assert curve["data"]["std"] == pytest.approx([statistics.stdev(each) for each in columns])
        assert (curve["data"]["min"], curve["data"]["max"]) == (list(map(min, columns)), list(map(max, columns)))
        assert (curve["members"], curve["in_range"]) == (100, 100 * (stop - start))
    each = curves(client, runs=keys, smooth=0.9)
    smooth = [statistics.fmean(values) for values in zip(*(one["data"]["smooth"] for one in each), strict=True)]
    assert curve["data"]["smooth"] == pytest.approx(smooth)


def test_members_that_were_logged_at_other_steps_meet(open_viewer, make_run):
    """Where one seed has a value every 10 steps, and another every 10 steps between, each bucket has both."""
    make_run("a", lines=[event(step, loss=1.0) for step in range(0, 1000, 10)])
    make_run("b", lines=[event(step, loss=3.0) for step in range(5, 1000, 10)])
    (curve,) = curves(open_viewer(), runs=[], groups=[{"name": "g", "runs": ["a", "b"]}])
    assert set(curve["data"]["members"]) == {2.0}
    assert set(curve["data"]["mean"]) == {2.0}


def test_a_range_behind_the_end_of_a_member_has_the_others_alone(open_viewer, make_run):
    """A run that ended early has nothing there; if no run has, the curve is empty."""
    for key, count in (("a", 10), ("b", 100)):
        make_run(run_id=key, lines=[event(step, loss=float(step)) for step in range(count)])
    client = open_viewer()
    group = {"runs": [], "groups": [{"name": "g", "runs": ["a", "b"]}]}
    (curve,) = curves(client, **group, **{"from": 50, "to": 60})
    assert set(curve["data"]["members"]) == {1.0}
    assert (curve["low"], curve["high"], curve["in_range"]) == (50.0, 60.0, 11)
    (empty,) = curves(client, **group, **{"from": 200, "to": 300})
    assert (empty["n"], empty["in_range"], empty["total"], empty["last_value"]) == (0, 0, 110, None)


@pytest.mark.parametrize("more", [{"width": 5}, {"rank": "mean"}, {"rank": "minmax"}])
def test_buckets_of_a_range_without_values_are_none(distributed, more):
    """The answer is an empty curve, which says how many values there are elsewhere."""
    (curve,) = curves(distributed, **{"from": 50, "to": 60}, **more)
    assert (curve["kind"], curve["n"], curve["in_range"], curve["low"]) == ("buckets", 0, 0, None)
    assert curve["total"] > 0


def test_a_group_without_the_metric_says_so(open_viewer, make_run):
    """As do groups of runs that are not there, and empty ones."""
    make_run("a")
    for runs in (["a"], ["nowhere"], []):
        (curve,) = curves(open_viewer(), runs=[], metrics=["x"], groups=[{"name": "g", "runs": runs}])
        assert (curve["group"], curve["error"]) == ("g", "no such metric in any run of the group")


def test_a_spike_is_there_at_every_zoom(open_viewer, make_run):
    """One value of 50.0 among 20,000 below 1.1: whatever range holds it, and whatever the width, it is shown."""
    make_run(lines=[event(step, loss=50.0 if step == 7777 else 1.0 + step % 10 / 100) for step in range(20_000)])
    client = open_viewer()
    for reach in (20_000, 3000, 500, 20, 1):
        for buckets in (1, 37, 1000):
            (curve,) = curves(client, buckets=buckets, **{"from": 7777 - reach, "to": 7777 + reach})
            shown = curve["data"]["y" if curve["kind"] == "points" else "max"]
            assert max(shown) == curve["high"] == 50.0
            at = shown.index(50.0)
            assert curve["data"]["x"][at] <= 7777 < curve["data"]["x"][at] + curve["width"]


def test_a_rare_metric_shows_all_of_its_points(open_viewer, make_run):
    """40 values among 20,000 records: all 40."""
    lines = [event(step, loss=1.0, **({"val": float(step)} if step % 500 == 0 else {})) for step in range(20_000)]
    make_run(lines=lines)
    (curve,) = curves(open_viewer(), metrics=["val"])
    assert curve["data"]["y"] == [float(step) for step in range(0, 20_000, 500)]


def test_what_is_not_finite_is_counted(open_viewer, make_run):
    """NaN and infinities are in the points, and counted; text is no point; a log axis says what it cannot show."""
    lines = [
        event(1, loss=1.0),
        event(2, loss=None).replace('{"ts"', '{"nonfinite": {"loss": "NaN"}, "ts"'),
        event(3, loss=None).replace('{"ts"', '{"nonfinite": {"loss": "-Infinity"}, "ts"'),
        event(4, loss="text"),
        event(5, loss=-1.0),
        event(6, loss=0),
    ]
    make_run(lines=lines)
    (curve,) = curves(open_viewer(), log=True)
    assert curve["data"]["y"] == [1.0, "NaN", "-Infinity", -1.0, 0.0]
    assert (curve["nan"], curve["inf"], curve["others"], curve["total"], curve["log_hidden"]) == (1, 1, 1, 6, 2)
    assert (curve["low"], curve["high"], curve["last_value"]) == (-1.0, 1.0, 0.0)


def test_the_old_branch_of_a_resumed_run(open_viewer, make_run):
    """It is a curve of its own, if it is asked for, and counted if not."""
    first = "".join(event(step, loss=1.0) for step in range(1, 51))
    second = "".join(event(step, loss=2.0) for step in range(41, 61))
    meta = {"resumed": [{"time": 1.0, "hostname": "a", "events": {"events.jsonl": len(first)}}]}
    make_run(lines=[first, second], meta=meta)
    client = open_viewer()
    (curve,) = curves(client)
    assert (curve["total"], curve["replaced"], set(curve["data"]["y"][40:])) == (60, 10, {2.0})
    now, old = curves(client, superseded=True)
    assert (now["superseded"], old["superseded"]) == (False, True)
    assert (old["data"]["x"], set(old["data"]["y"])) == ([float(step) for step in range(41, 51)], {1.0})
    assert client.get(f"/api/v1/runs/{KEY}").json()["resumed"] == [{"time": 1.0, "host": "a", "continued": False}]


def test_growth_by_the_documented_rule(open_viewer, make_run):
    """From the last bucket on with the same width: that bucket anew and the rest are what a whole answer has."""
    run_dir = make_run(lines=[event(step, loss=math.sin(step)) for step in range(5000)])
    client = open_viewer()
    (before,) = curves(client, buckets=100)
    with (run_dir / "events.jsonl").open("a") as file:
        file.writelines(event(step, loss=2.0) for step in range(5000, 5555))
    (more,) = curves(client, buckets=1, width=before["width"], **{"from": before["data"]["x"][-1]})
    (whole,) = curves(client, buckets=100, width=before["width"])
    assert more["version"] == whole["version"] != before["version"]
    joined = {name: values[:-1] + more["data"][name] for name, values in before["data"].items()}
    assert joined == whole["data"]


def test_many_metrics(open_viewer, make_run):
    """5,000 in one run: all are listed, a search and an expression find theirs, and pages of them join."""
    make_run(lines=[event(step, **{f"g{number % 50}/m{number}": 1.0 for number in range(5000)}) for step in range(3)])
    client = open_viewer()

    def listed(**given):
        return client.get(f"/api/v1/runs/{KEY}/metrics", params=given).json()

    assert listed(limit=10_000)["total"] == 5000
    assert listed(q="M77", limit=10_000)["matching"] == 11
    assert listed(q=r"^g1/m\d1$", regex=1)["metrics"] == ["g1/m51"]
    found, answer = [], listed(limit=700)
    while answer["next"] is not None:
        found += answer["metrics"]
        answer = listed(limit=700, after=answer["next"])
    assert found + answer["metrics"] == listed(limit=10_000)["metrics"]
