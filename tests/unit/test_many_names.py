"""Work grows with the numbers of a run, however many names they have; kinds of columns agree."""

from __future__ import annotations

import json
import math
import sys
from array import array
from typing import TYPE_CHECKING, Any

import pytest

from runicorn import exporting, reading
from runicorn.exporting.selection import Selection
from runicorn.reading.decoding import Rows
from runicorn.reading.part import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path


def written(directory: Path, lines: Iterable[dict[str, Any]]) -> str:
    """A finished run with these lines of numbers."""
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text(json.dumps({"created_at": 1.0}))
    (directory / "status.json").write_text(json.dumps({"status": "finished", "started_at": 1.0, "ended_at": 2.0}))
    with (directory / "events.jsonl").open("w") as file:
        for step, data in enumerate(lines):
            event = {"ts": 1.0, "type": "metrics", "data": {"global_step": step, "time": 1.0 + step, **data}}
            file.write(json.dumps(event) + "\n")
    return str(directory)


def calls_in(work: Callable[[], object]) -> int:
    """How many calls Python makes, those of generators and of C included."""
    count = 0

    def note(_frame: object, event: str, _what: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


SHAPES: dict[str, Callable[[int], list[dict[str, float]]]] = {
    "one step": lambda names: [{f"n/{k}": k * 0.5 for k in range(names)}],
    "some steps": lambda names: [{f"n/{k}": k * 0.5 for k in range(names)}] * 3,
    "names that appear late": lambda names: [{f"n/{k}": 1.5 for k in range(names * part // 4)} for part in range(1, 5)],
    "a call for some of the names each": lambda names: [
        {f"n/{k}": 0.5 for k in range(first, first + 10)} for first in range(0, names, 10)
    ],
}
WORK: dict[str, Callable[[str, Path], object]] = {
    "table": lambda run_dir, _: reading.load(run_dir).table(),
    "each": lambda run_dir, _: [(run := reading.load(run_dir)), [run[name].value for name in run.metrics]],
    "csv": lambda run_dir, to: exporting.export(reading.load(run_dir), Selection(), "csv", str(to / "o"), force=True),
    "jsonl": lambda run_dir, to: exporting.export(
        reading.load(run_dir), Selection(), "jsonl", str(to / "o"), force=True
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("work", WORK)
def test_twice_the_names_are_twice_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str, work: str
) -> None:
    """Four times as many names need four times as many calls, give or take, and not sixteen times."""
    monkeypatch.setenv("RUNICORN_CACHE_DIR", "")
    few, many = 200, 800
    runs = {names: written(tmp_path / "runs" / f"r{names}", SHAPES[shape](names)) for names in (few, many)}
    WORK[work](runs[few], tmp_path)  # what is imported once
    calls = {names: calls_in(lambda names=names: WORK[work](runs[names], tmp_path)) for names in (few, many)}
    assert calls[many] < 6 * calls[few], calls


def test_a_metric_is_looked_up_and_not_searched_for() -> None:
    """A part knows of each name which groups have it, so that no other group is looked at."""
    part = Part(0)
    for number in range(3):
        rows = Rows(
            [number],
            array("q", [number]),
            array("d", [1.0]),
            (None, None, None),
            (f"n{number}", "shared"),
            [[1.5], [2.5]],
        )
        part._add_rows(rows)
    assert {name: len(columns) for name, columns in part.columns_by_name.items()} == {
        "n0": 1,
        "n1": 1,
        "n2": 1,
        "shared": 3,
    }
    assert all(
        group.names[number] == name for name, columns in part.columns_by_name.items() for group, number in columns
    )


def test_many_names_of_a_part_in_the_cache_are_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each column of a kept part has its own values, text and integers among them."""
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(tmp_path / "cache"))

    def value(step: int, name: int) -> float | str | int:
        return (step + name / 7, f"{step} of {name}", step * 10_000 + name)[name % 3]

    run_dir = written(tmp_path / "runs" / "r", ({f"n/{k}": value(step, k) for k in range(999)} for step in range(60)))
    first = reading.load(run_dir)
    assert len(first.metrics) == 999
    assert list((tmp_path / "cache").rglob("*.part"))
    again = reading.load(run_dir)
    for name in (0, 1, 2, 500, 501, 502, 998):
        wanted = [value(step, name) for step in range(60)]
        assert list(again[f"n/{name}"].value) == wanted == list(first[f"n/{name}"].value)


FLOAT, INT, NULLABLE = ("float64", "Float64", "double"), ("int64", "Int64", "int64"), ("Int64", "Int64", "int64")
TEXT = ("object", "String", "string")


@pytest.mark.parametrize(
    ("values", "kinds"),
    [
        ([0, 0.5, 0.7], FLOAT),
        ([0.5, 1, None, 2], FLOAT),
        ([0.5, 2**53 + 1], FLOAT),
        ([0.5, 10**400], TEXT),
        ([1, 10**30], FLOAT),
        ([None, 1, 10**30], FLOAT),
        ([0.5, None, 1.5], FLOAT),
        ([1, 2, 3], INT),
        ([1, None, 3], NULLABLE),
        ([2**63 - 1, -(2**63)], INT),
        ([True, False, None], ("boolean", "Boolean", "bool")),
        ([True, False], ("boolean", "Boolean", "bool")),
        (["a", None], TEXT),
        ([1, "a"], TEXT),
        ([0.5, True], TEXT),
        ([1, True], TEXT),
    ],
    ids=str,
)
def test_the_three_libraries_take_a_column_for_the_same(
    tmp_path: Path, values: list[Any], kinds: tuple[str, ...]
) -> None:
    """Numbers of both kinds are floats everywhere; only text or truth beside other kinds are objects, or text."""
    run = reading.load(written(tmp_path / "runs" / "r", [{"a": value, "beside": 1.5} for value in values]))
    frame = run.to_pandas()["a"]
    assert (str(frame.dtype), str(run.to_polars()["a"].dtype), str(run.to_arrow().schema.field("a").type)) == kinds
    if kinds is FLOAT:
        frame.interpolate()
        wanted = [_as_float(value) for value in values]
        assert [None if math.isnan(value) else value for value in frame] == wanted
        assert run.to_polars()["a"].to_list() == run.to_arrow()["a"].to_pylist() == wanted


def _as_float(value: float | None) -> float | None:
    return None if value is None else float(value)
