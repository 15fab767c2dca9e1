"""Tables of a run as frames of the real pandas, polars and Arrow."""

import json
import math

import pandas as pd
import pytest

from runicorn import reading


@pytest.fixture
def run_dir(tmp_path):
    directory = tmp_path / "storage" / "runs" / "cv" / "20261122_205431_0263c3"
    directory.mkdir(parents=True)
    (directory / "status.json").write_text('{"status": "finished"}')
    return directory


def line(step, **values):
    return json.dumps({"ts": 1.5 + step, "type": "metrics", "data": {**values, "global_step": step, "time": 1.5}})


def write(run_dir, *lines):
    (run_dir / "events.jsonl").write_text("".join(f"{each}\n" for each in lines))


def test_table_becomes_a_frame_of_pandas(run_dir):
    """Floats are floats, integers with gaps keep all their digits, text is text."""
    big = 2**62 + 1
    write(run_dir, line(1, f=1.5, i=big, t="x"), line(2, f=None, b=True), line(3, i=3))

    frame = reading.load(run_dir).to_pandas()

    assert list(frame.columns) == ["step", "time", "b", "f", "i", "t"]
    assert frame["i"].tolist() == [big, pd.NA, 3]
    assert frame["f"].dtype == "float64"
    assert frame["f"].isna().tolist() == [False, True, True]
    assert frame["t"].tolist() == ["x", None, None]


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_table_becomes_a_frame_of_another_library(run_dir, library):
    """Numbers, text and gaps arrive in polars and Arrow; numbers among text are text."""
    write(run_dir, line(1, f=1.5, i=2**62 + 1, t="x"), line(2, f=math.nan, b=True, t=5), line(3, i=3))
    run = reading.load(run_dir)

    found = run.to_polars().to_dict(as_series=False) if library == "polars" else run.to_arrow().to_pydict()

    assert found["step"] == [1, 2, 3]
    assert found["i"] == [2**62 + 1, None, 3]
    assert repr(found["f"]) == "[1.5, nan, None]"
    assert found["t"] == ["x", "5", None]
    assert found["b"] == [None, True, None]


@pytest.mark.parametrize("library", ["polars", "arrow"])
def test_integer_beyond_all_floats_is_text_in_a_frame(run_dir, library):
    """Of a column in which a float cannot hold a value, the cells are text with all digits."""
    write(run_dir, line(1, n=10**400), line(2, n=0.5))
    frame = getattr(reading.load(run_dir), f"to_{library}")()
    cells = frame["n"].to_list() if library == "polars" else frame["n"].to_pylist()
    assert cells == [str(10**400), "0.5"]
