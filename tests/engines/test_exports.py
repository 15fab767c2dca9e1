"""Exports, read by the programs that they are for: TensorBoard's own event reader, and DuckDB beside polars."""

import json
import math
import os
import struct
from pathlib import Path

import pytest

from runicorn.cli import main
from runicorn.exporting import progress


def need(*libraries):
    """Fail where a library is missing, and say what to install."""
    for library in libraries:
        try:
            __import__(library)
        except ImportError:
            pytest.fail(f"{library} is not installed. Install it with: pip install -e '.[cli,export]' --group engines")


def make(storage, lines, name="events.jsonl"):
    run_dir = Path(storage, "runs", "cv", "a")
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "meta.json").write_text(json.dumps({"id": "a", "path": "cv", "alias": None}))
    (run_dir / "status.json").write_text(json.dumps({"status": "finished", "started_at": 1.0, "ended_at": 2.0}))
    with (run_dir / name).open("w") as file:
        for number, (data, beside) in enumerate(lines):
            told = {**data, "time": 1.7e9 + number / 7}
            file.write(json.dumps({"ts": told["time"], "type": "metrics", "data": told, **beside}) + "\n")
    return run_dir


def lines():
    """Values that 32 bit cannot hold, none and both infinities, integers, a step that comes twice, backwards, twice."""
    found = [({"loss": 1 / (3 + step), "global_step": step}, {}) for step in range(200)]
    found += [({"loss": None, "global_step": 300}, {"nonfinite": {"loss": word}}) for word in ("NaN", "-Infinity")]
    found += [({"loss": 5e-324, "global_step": -3}, {}), ({"loss": 1.7976931348623157e308, "global_step": 2**62}, {})]
    found += [({"größe/count": 2**53, "flag": True, "global_step": 7}, {}), ({"note": "x", "global_step": 8}, {})]
    return [*found, ({"größe/count": 2**53 + 1, "global_step": 8}, {})]


def bits(value):
    return "nan" if math.isnan(value) else struct.pack("d", value)


def points_in(directory):
    """Every point of an event file by tag, as TensorBoard's own reader gives it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    reader = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    reader.Reload()
    return {
        tag: [(each.step, each.wall_time, bits(make_ndarray(each.tensor_proto).item())) for each in reader.Tensors(tag)]
        for tag in reader.Tags()["tensors"]
        if reader.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def export(storage, tmp_path, *arguments, to="board", status=0):
    target = tmp_path / to
    assert main(["export", "a", "-o", str(target), "--storage", str(storage), *arguments]) == status
    return target


def logged(rows, name):
    """What was logged, by step, and within a step in the order of the calls."""
    points = [
        (data["global_step"], 1.7e9 + number / 7, bits(float(beside.get("nonfinite", {}).get(name, data[name]))))
        for number, (data, beside) in enumerate(rows)
        if name in data
    ]
    return sorted(points, key=lambda point: point[0])


def test_tensorboard_reads_every_point_as_it_was_logged(storage, tmp_path, capsys):
    """Step, wall time and all 64 bit of each value, of each rank in a directory of its own; what cannot be is told."""
    need("tensorboard", "tensorboardX")
    rows, others = lines(), [({"loss": 0.1 * step, "global_step": step}, {"rank": 3}) for step in range(50)]
    make(storage, rows)
    run_dir = make(storage, others, "events.rank3.jsonl")
    make(storage, [({"loss": 1.0, "global_step": 1}, {})], "events...jsonl")

    board = export(storage, tmp_path, "--format", "tensorboard", "--lines", "--ranks", "all")

    main_points = points_in(board / "main")
    assert main_points["loss"] == logged(rows, "loss")
    assert main_points["größe/count"] == [
        *logged(rows, "größe/count")[:1],
        (8, logged(rows, "größe/count")[1][1], bits(2.0**53)),
    ]
    assert main_points["flag"] == [(7, logged(rows, "flag")[0][1], bits(1.0))]
    assert points_in(board / "rank3") == {"loss": logged(others, "loss")}
    assert sorted(os.listdir(board)) == ["host-.", "main", "rank3"]
    said = capsys.readouterr().err
    assert "'größe/count': integers rounded to floats: 1" in said
    assert "'note'" not in said
    assert {path.name for path in run_dir.parent.iterdir()} == {"a"}

    by_step = points_in(export(storage, tmp_path, "--format", "tensorboard", to="by-step") / "main")
    assert by_step["loss"] == [point for point in logged(rows, "loss") if point[2] != "nan"]


def test_tensorboard_reads_texts_and_images_on_their_own_pages(storage, tmp_path):
    """A value that is text, and an image with its size, as its own plugins want them."""
    need("tensorboard", "tensorboardX")
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    picture = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 5, 2)
    run_dir = make(storage, [({"note": "größe", "loss": 0.5, "global_step": 3}, {})])
    (run_dir / "media").mkdir(exist_ok=True)
    (run_dir / "media" / "dot.png").write_bytes(picture)
    data = {"key": "dot", "path": "media/dot.png", "step": 4, "caption": None}
    with (run_dir / "events.jsonl").open("a") as file:
        file.write(json.dumps({"ts": 1.7e9, "type": "image", "data": data}) + "\n")

    board = export(storage, tmp_path, "--format", "tensorboard")

    reader = EventAccumulator(str(board / "main"), {"tensors": 0})
    reader.Reload()
    found = {
        tag: (reader.SummaryMetadata(tag).plugin_data.plugin_name, list(reader.Tensors(tag)[0].tensor_proto.string_val))
        for tag in ("note/text_summary", "dot")
    }
    assert found == {"note/text_summary": ("text", ["größe".encode()]), "dot": ("images", [b"5", b"2", picture])}


def test_tensorboard_directory_is_whole_or_not_there(storage, tmp_path, monkeypatch, capsys):
    """Ctrl-C leaves none; one that is there is kept, and only one of event files goes by --force."""
    need("tensorboard", "tensorboardX")
    make(storage, lines())
    form = ("--format", "tensorboard")
    with monkeypatch.context() as patched:

        def stop(*_):
            raise KeyboardInterrupt

        patched.setattr(progress.Progress, "advance", stop)
        before = set(os.listdir(tmp_path))
        export(storage, tmp_path, *form, status=130)
        assert set(os.listdir(tmp_path)) - before <= {"cache"}

    board = export(storage, tmp_path, *form)
    export(storage, tmp_path, *form, status=1)
    export(storage, tmp_path, *form, "--metrics", "flag", "--force")
    assert set(points_in(board / "main")) == {"flag"}
    (board / "thesis.tex").write_text("precious")
    export(storage, tmp_path, *form, "--force", status=1)

    assert (board / "thesis.tex").read_text() == "precious"
    assert "files that are not TensorBoard event files" in capsys.readouterr().err
    assert [name for name in os.listdir(tmp_path) if name.startswith(".board")] == []


def test_duckdb_and_polars_read_parquet_alike(storage, tmp_path):
    """Both see the same types and values: 64 bit integers, NaN beside gaps, infinities, text, a column of nothing."""
    need("duckdb", "polars", "pyarrow")
    import duckdb
    import polars as pl

    rows = [*lines(), ({"empty": None, "count": 2**62 + 1, "global_step": 400}, {})]
    make(storage, rows)

    path = export(storage, tmp_path, "--metrics", "loss,flag,note,count,empty", to="a.parquet")

    query = f"select step, loss, flag, note, count, empty from '{path}' order by step"
    by_duckdb = duckdb.sql(query).fetchall()
    by_polars = pl.read_parquet(path).select("step", "loss", "flag", "note", "count", "empty").rows()
    assert [repr(row) for row in by_duckdb] == [repr(row) for row in by_polars]
    cells = {row[0]: row[1:] for row in by_duckdb}
    assert cells[-3] == (5e-324, None, None, None, None)
    assert cells[300] == (-math.inf, None, None, None, None)
    assert cells[400] == (None, None, None, 2**62 + 1, None)
    assert cells[7][:2] == (1 / 10, True)
    assert cells[8][2] == "x"
