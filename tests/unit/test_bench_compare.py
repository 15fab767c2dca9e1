"""The regression check of a release judges what a benchmark says of us, and not what it says of the machine."""

import json
import pathlib
import sys

import pytest

BENCH = pathlib.Path(__file__).parents[2] / "bench"


@pytest.fixture
def compare(monkeypatch, capsys):
    """The command, as a function of two paths and more arguments: its status and what it printed."""
    monkeypatch.syspath_prepend(BENCH)
    import compare as module

    def run(*arguments):
        status = module.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    yield run
    sys.modules.pop("compare")


def switched_off(folder, *, ours_us, bare_us, **changed):
    return result(folder, "switched_off", {"run.log(data)": {"ours_us": ours_us, "bare_us": bare_us}}, **changed)


def result(folder, name, figures, *, quick=False):
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"benchmark": name, "quick": quick, "figures": figures}), encoding="utf-8")
    return path


def latency(folder, *, p50_us, p99_us):
    floor = {"p50_us": 0.25, "p99_us": 0.5}
    row = {"payload": "four", "section": "flat out", "ours": {"p50_us": p50_us, "p99_us": p99_us}, "floor": floor}
    return result(folder, "log_latency", {"rows": [{**row, "segments": {}}, {**row, "payload": "other"}]})


def test_a_machine_that_is_twice_as_slow_is_no_regression(tmp_path, compare):
    """A figure and its floor that both doubled have not changed."""
    old = switched_off(tmp_path / "old", ours_us=0.2, bare_us=0.1)
    new = switched_off(tmp_path / "new", ours_us=0.4, bare_us=0.2)

    status, said = compare(old, new)

    assert status == 0
    assert "1.00" in said


@pytest.mark.parametrize(("threshold", "status"), [("1.25", 1), ("2.5", 0)])
def test_a_figure_that_moved_away_from_its_floor_is_one(tmp_path, compare, threshold, status):
    """Twice as far from the floor as before is too much, unless so much is allowed."""
    old = switched_off(tmp_path / "old", ours_us=0.2, bare_us=0.1)
    new = switched_off(tmp_path / "new", ours_us=0.4, bare_us=0.1)

    found, said = compare(old, new, "--threshold", threshold)

    assert found == status
    assert ("WORSE" in said) == bool(status)


def test_a_tail_is_shown_and_not_judged(tmp_path, compare):
    """A p99 that is ten times higher is in the table, and ends nothing; rows of other ways to push are left out."""
    old = latency(tmp_path / "old", p50_us=1.0, p99_us=2.0)
    new = latency(tmp_path / "new", p50_us=1.0, p99_us=20.0)

    status, said = compare(old, new)

    assert status == 0
    assert "10.00" in said
    assert "not judged" in said
    assert "other" not in said


def test_directories_are_compared_by_what_is_in_both(tmp_path, compare):
    """A benchmark that only one of them has is passed over, one without a floor is named, a worse one is found."""
    for name, p50_us in (("old", 1.0), ("new", 3.0)):
        latency(tmp_path / name, p50_us=p50_us, p99_us=2.0)
        result(tmp_path / name, "chaos", {"trials": 3})
    switched_off(tmp_path / "old", ours_us=0.2, bare_us=0.1)
    result(tmp_path / "new", "throughput", {})

    status, said = compare(tmp_path / "old", tmp_path / "new")

    assert status == 1
    assert "chaos measures nothing beside which" in said
    assert "run.log(data)" not in said


def test_what_cannot_be_compared_is_told_and_ends_with_2(tmp_path, compare):
    """Smoke runs, different benchmarks, files that are none, and a missing one are no regression and no success."""
    good = switched_off(tmp_path / "good", ours_us=0.2, bare_us=0.1)
    quick = switched_off(tmp_path / "quick", ours_us=0.2, bare_us=0.1, quick=True)
    other = latency(tmp_path / "other", p50_us=1.0, p99_us=2.0)
    empty = result(tmp_path / "empty", "log_latency", {})
    text = tmp_path / "text.json"
    text.write_text("[1]", encoding="utf-8")

    none = tmp_path / "none.json"
    wrong = [(good, quick), (good, other), (other, empty), (good, text), (good, none), (good, tmp_path)]
    told = [compare(*pair) for pair in wrong]

    assert [status for status, _ in told] == [2] * len(wrong)
    assert all("not compared: " in said for _, said in told)
