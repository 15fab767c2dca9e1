"""Curves against brute force: whatever was logged, in whatever order, resumed, torn, growing, from levels or raw."""

from __future__ import annotations

import json
import math
import random
from array import array

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runicorn.reading import curves, events, levels
from runicorn.reading.cache import Cache
from runicorn.reading.curves import Query, curve, round_width
from runicorn.reading.events import EventsFile
from runicorn.reading.levels import LevelStore
from runicorn.reading.stretches import collect

WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def line(step, time_s, values, **marks):
    """A line as the writer has it: what is not finite is null, and named beside."""
    data, nonfinite = {}, {}
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            data[name] = None
            nonfinite[name] = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        else:
            data[name] = value
    marks = {**marks, **({"nonfinite": nonfinite} if nonfinite else {})}
    event = {"ts": time_s, "type": "metrics", "data": {**data, "global_step": step, "time": time_s}, **marks}
    return json.dumps(event).encode() + b"\n"


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.integers(-(2**70), 2**70),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.booleans(),
    st.none(),
)
steps = st.one_of(st.integers(0, 60), st.integers(-(2**62), 2**62))
records = st.lists(
    st.tuples(
        steps,
        st.floats(0, 100) | st.sampled_from([1.5, 2.0, 1e9]),
        st.fixed_dictionaries({}, optional={"loss": numbers, "lr": numbers}),
        st.sampled_from([None, "train", "val"]),
    ),
    max_size=60,
)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks of 4 values, parts of 2 KiB, and levels from the first value on: so that short files have many of each."""
    monkeypatch.setattr(levels, "BLOCK", 4)
    monkeypatch.setattr(levels, "_LOOK", 8)
    monkeypatch.setattr(levels, "_LEAST_KEPT", 8)
    monkeypatch.setattr(curves, "_RAW", 0)
    monkeypatch.setattr(events, "_PART_BYTES", 2048)
    monkeypatch.setattr(events, "_LEAST_KEPT_BYTES", 1024)


def as_number(value):
    """What a curve takes of a value."""
    if not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def logged(sessions, name, x, stage=None):
    """Each value as x, order, number; and how many there are, are no numbers, and were superseded."""
    first = []
    rows = []
    for session, recorded in enumerate(sessions):
        having = [(step, t, values, where) for step, t, values, where in recorded if name in values]
        first.append(having[0][0] if having else math.inf)
        rows += [(session, *each) for each in having]
    kept, replaced, others = [], 0, 0
    for order, (session, step, time_s, values, where) in enumerate(rows):
        if stage is not None and where != stage:
            continue
        if step >= min(first[session + 1 :], default=math.inf):
            replaced += 1
            continue
        other = x.removeprefix("metric:")
        here = {"step": step, "time": time_s}.get(x, as_number(values.get(other)) if x.startswith("metric:") else None)
        number = as_number(values[name])
        if number is None or here is None or not (isinstance(here, int) or abs(here) < 1e300):
            others += 1
        else:
            kept.append((here, order, number))
    return sorted(kept), replaced, others


def brute(points, query, *, whole):
    """The curve by its definition, from the x that the answer has taken as width."""
    shown = [
        (x, y)
        for x, _, y in points
        if (query.start is None or x >= query.start) and (query.stop is None or x <= query.stop)
    ]
    if len(shown) <= 2 * query.buckets:
        return "points", shown

    def summary(width):
        found = {}
        for x, y in shown:
            number = x // width if whole else math.floor(x / width)
            while x < number * width:
                number -= 1
            while x >= (number + 1) * width:
                number += 1
            found.setdefault(number, []).append(y)
        return [
            (float(number * width), ys, [y for y in ys if math.isfinite(y)]) for number, ys in sorted(found.items())
        ]

    return "buckets", summary


def check(made, points, query, *, whole):
    """Compare an answer with the definition."""
    kind, expected = brute(points, query, whole=whole)
    assert made.kind == kind
    if kind == "points":
        assert [*made.arrays["x"]] == [float(x) for x, _ in expected]
        assert repr([*made.arrays["y"]]) == repr([y for _, y in expected])
        return
    width = round(made.width) if whole else made.width
    found = expected(width)
    assert [*made.arrays["x"]] == [x for x, _, _ in found]
    assert [*made.arrays["count"]] == [len(ys) for _, ys, _ in found]
    assert repr([*made.arrays["last"]]) == repr([ys[-1] for _, ys, _ in found])
    assert repr([*made.arrays["min"]]) == repr([min(kept, default=math.nan) for _, _, kept in found])
    assert repr([*made.arrays["max"]]) == repr([max(kept, default=math.nan) for _, _, kept in found])
    for mean, (_, _, kept) in zip(made.arrays["mean"], found, strict=True):
        if not kept:
            assert math.isnan(mean)
        elif max(map(abs, kept)) < 1e300:
            # A sum of values of either sign is as exact as the largest of them.
            assert mean == pytest.approx(math.fsum(kept) / len(kept), rel=1e-9, abs=1e-9 * max(map(abs, kept)))
        assert not kept or min(kept) <= mean <= max(kept)
    assert made.nan == sum(math.isnan(y) for _, ys, _ in found for y in ys)
    assert made.inf == sum(math.isinf(y) for _, ys, _ in found for y in ys)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sessions=st.lists(records, min_size=1, max_size=3),
    x=st.sampled_from(["step", "time", "metric:lr"]),
    stage=st.sampled_from([None, "val"]),
    buckets=st.integers(1, 12),
    bounds=st.tuples(st.none() | st.integers(-10, 70), st.none() | st.integers(-10, 70)),
    torn=st.booleans(),
    seed=st.integers(0, 999),
)
def test_curve_is_what_was_logged(tmp_path_factory, sessions, x, stage, buckets, bounds, torn, seed):
    """Of any lines, in any sessions, read in any steps, a curve has what its definition says: from levels, and raw."""
    run_dir = tmp_path_factory.mktemp("run")
    path, cache = run_dir / "events.jsonl", Cache(str(run_dir / "cache"))
    file, store, draw = EventsFile(str(run_dir), path.name, cache), LevelStore(), random.Random(seed)
    edges = []
    for number, recorded in enumerate(sessions):
        content = path.read_bytes() if number else b""
        edges += [len(content)] if number else []
        file.edges = edges
        for step, time_s, values, where in recorded:
            staged = json.loads(line(step, time_s, {**values, "_": 0}))
            staged["data"].update({} if where is None else {"stage": where})
            content += json.dumps(staged).encode() + b"\n"
            if draw.random() < 0.2:
                path.write_bytes(content + (b'{"type": "met' if draw.random() < 0.3 else b""))
                file.read(draw.choice([None, 300, 5000]))
                collect([file], "loss", store)
        path.write_bytes(content)
    if torn:
        path.write_bytes(path.read_bytes() + b'{"ts": 1.0, "type": "metr')
    for _ in range(10_000):
        if not file.read(700):
            break
    is_wanted = None if stage is None else (lambda origin: origin[0] == stage)
    query = Query(start=bounds[0], stop=bounds[1], buckets=buckets)
    points, replaced, others = logged(sessions, "loss", x, stage)
    again = EventsFile(str(run_dir), path.name, cache, edges)
    again.read()
    for each, held in ((file, store), (again, LevelStore())):
        found = collect([each], "loss", held, x=x, is_wanted=is_wanted)
        assert (found.replaced, found.others, found.total) == (replaced, others, len(points) + others)
        check(curve(found, query), points, query, whole=x == "step")
    old = collect([file], "loss", store, x="step", superseded=True, is_wanted=is_wanted)
    assert old.total == replaced


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**63), 2**63 - 1), max_size=70),
    st.data(),
)
def test_levels_are_what_the_values_come_to(values, data):
    """Between any two places, levels that grew in any steps come to what the values do."""
    column = array("d", map(float, values))
    made, grown = levels.Levels(), 0
    while grown < len(column):
        grown = data.draw(st.integers(grown + 1, len(column)))
        made.grow(column[:grown])
    start = data.draw(st.integers(0, len(column)))
    stop = data.draw(st.integers(start, len(column)))
    got, kept = made.of(column, start, stop), [value for value in column[start:stop] if math.isfinite(value)]
    assert (got.low, got.high) == (min(kept, default=math.inf), max(kept, default=-math.inf))
    assert (got.finite, got.nan) == (len(kept), sum(map(math.isnan, column[start:stop])))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, math.nan]), max_size=60), st.data())
def test_falls_are_where_values_do_not_rise(values, data):
    """Between two falls values rise, however they came, and NaN stands alone."""
    column, falls, seen = array("d", values), levels.Falls(), 0
    while seen < len(column):
        seen = data.draw(st.integers(seen + 1, len(column)))
        falls.look(column[:seen])
    expected = [at for at in range(1, len(column)) if not column[at] >= column[at - 1]]
    assert list(falls.places) == expected


@pytest.mark.parametrize("span", [1e-9, 0.3, 1.0, 7, 999, 1000, 1001, 10**7, 2.0**62])
@pytest.mark.parametrize("buckets", [1, 10, 1000, 4000])
def test_width_is_the_least_round_one(span, buckets):
    """A width is 1, 2 or 5 times a power of ten, and the least of them that fits."""
    for whole in (True, False):
        width = round_width(span, buckets, whole=whole)
        assert float(f"{width:.3e}") == pytest.approx(width)
        assert f"{width:e}"[0] in "125"
        assert set(f"{width:e}"[1:8]) <= set(".0")
        assert span / width <= buckets * (1 + 1e-12)
        assert (whole and width == 1) or span / (width / 2.5) > buckets * (1 - 1e-12)


def test_bounds_stay_while_a_curve_grows(tmp_path):
    """With the width of an earlier answer the buckets that were whole stay as they were."""
    path = tmp_path / "events.jsonl"
    file, store = EventsFile(str(tmp_path), path.name, Cache(None)), LevelStore()
    content = b"".join(line(step, step / 10, {"loss": math.sin(step)}) for step in range(1, 1001))
    path.write_bytes(content)
    file.read()
    before = curve(collect([file], "loss", store), Query(buckets=50))
    path.write_bytes(content + b"".join(line(step, step / 10, {"loss": 1.0}) for step in range(1001, 1301)))
    file.read()
    after = curve(collect([file], "loss", store), Query(buckets=50, width=before.width))
    assert after.width == before.width
    whole = len(before.arrays["x"]) - 1
    assert all(before.arrays[name][:whole] == after.arrays[name][:whole] for name in before.arrays)


def test_smoothing_does_not_depend_on_how_densely_was_logged():
    """A line that is logged ten times as densely is smoothed to the same."""
    sparse, dense = [float(x) for x in range(0, 1000, 10)], [float(x) for x in range(1000)]
    ys = lambda xs: [0.0 if x < 500 else 1.0 for x in xs]  # noqa: E731
    one, _ = curves.smoothed(sparse, ys(sparse), 0.9, 1.0)
    other, _ = curves.smoothed(dense, ys(dense), 0.9, 1.0)
    assert one[-1] == pytest.approx(other[990], abs=0.01)
    assert one[60] == pytest.approx(other[600], abs=0.35)


def test_zoom_does_not_change_what_smoothing_shows(tmp_path):
    """A curve that is smoothed and zoomed in to goes on where what is left of it has come to."""
    path = tmp_path / "events.jsonl"
    file = EventsFile(str(tmp_path), path.name, Cache(None))
    path.write_bytes(b"".join(line(step, 1.0, {"loss": float(step < 100)}) for step in range(400)))
    file.read()
    found = collect([file], "loss", LevelStore())
    whole = curve(found, Query(smooth=0.999, buckets=1000))
    part = curve(found, Query(smooth=0.999, buckets=1000, start=200))
    assert [*part.arrays["smooth"]] == pytest.approx([*whole.arrays["smooth"]][200:])
