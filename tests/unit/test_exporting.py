"""Runs that are written for other programs: what comes back, and that nothing half-written has a name."""

import csv
import json
import math
import os
import struct
import sys
import tracemalloc
from array import array
from importlib.util import find_spec
from pathlib import Path

import pytest

from runicorn import exporting
from runicorn.cli import main
from runicorn.exporting import csv_rows, json_lines, parquet, progress, selection
from runicorn.reading import Table

HUGE = 10**30
TINY = 5e-324
STEPS = 20


def make(storage, run_id, lines, *, name="events.jsonl"):
    """A finished run, written by hand: each line is its data, and maybe what stands beside that."""
    run_dir = Path(storage, "runs", "cv", run_id)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "meta.json").write_text(json.dumps({"id": run_id, "path": "cv", "alias": f"alias-{run_id}"}))
    (run_dir / "status.json").write_text(json.dumps({"status": "finished", "started_at": 1.0, "ended_at": 2.0}))
    with (run_dir / name).open("w") as file:
        for data, beside in lines:
            event = {"ts": data["time"], "type": "metrics", "data": data, **beside}
            file.write(json.dumps(event) + "\n")
    return run_dir


def at(step, beside=None, **metrics):
    return {**metrics, "global_step": step, "time": 1000.5 + step}, beside or {}


def lines():
    """Floats of every kind, integers that no float holds, gaps, text, truth, and one step that comes twice."""
    found = [at(step, loss=1 / (step + 1), count=2**60 + step, stage="warm-up") for step in range(STEPS)]
    found += [at(STEPS, {"nonfinite": {"loss": "NaN", "gain": "-Infinity"}}, loss=None, gain=None)]
    found += [at(STEPS + 1, loss=TINY, gain=0.1, flag=True), at(STEPS + 2, note='é, "quoted"\nnext', gain=3)]
    return [*found, at(STEPS + 2, loss=-0.0), at(STEPS + 2, loss=2.5)]


def same(read, expected):
    """Bit for bit; None where there is no value."""
    assert len(read) == len(expected)
    for got, wanted in zip(read, expected, strict=True):
        if isinstance(wanted, float):
            assert struct.pack("d", got) == struct.pack("d", wanted) or (math.isnan(got) and math.isnan(wanted))
        else:
            assert (got, type(got)) == (wanted, type(wanted))


def cells_of(path):
    """The rows of a CSV file, by name, as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


LOSS = [*(1 / (step + 1) for step in range(STEPS)), math.nan, TINY, 2.5]
GAIN = [*[None] * STEPS, -math.inf, 0.1, 3]


@pytest.fixture
def export(storage, tmp_path, capsys):
    """Call the command; the path that was written, and the exit status with what was said."""

    def call(*arguments, to="out.csv", status=0):
        target = tmp_path / to
        got = main(["export", *map(str, arguments), "-o", str(target), "--storage", str(storage)])
        said = capsys.readouterr()
        assert got == status, said
        return target, said

    return call


def test_csv_has_every_value_for_pandas_and_for_python(storage, export):
    """Floats come back bit for bit, NaN and the infinities as such, integers with all digits, text as it was."""
    pd = pytest.importorskip("pandas")
    make(storage, "a", lines())

    path, _ = export("a")

    frame = pd.read_csv(path, converters={"loss": float})  # pandas 2 by itself is wrong in the last bit
    assert list(frame.columns) == ["step", "time", "stage", "count", "flag", "gain", "loss", "note"]
    same(frame["loss"].tolist(), LOSS)
    same(frame["gain"].tolist()[STEPS:], [-math.inf, 0.1, 3.0])
    rows = cells_of(path)
    assert [int(row["count"]) for row in rows[:STEPS]] == [2**60 + step for step in range(STEPS)]
    assert (rows[STEPS]["loss"], rows[STEPS + 1]["flag"], rows[STEPS + 2]["note"]) == (
        *("nan", "True"),
        'é, "quoted"\nnext',
    )
    assert rows[STEPS + 1]["count"] == ""


def test_json_lines_mark_what_json_has_no_word_for(storage, export):
    """Each line is valid JSON with every column; NaN is null and named beside, huge integers are exact."""
    make(storage, "a", [*lines(), at(STEPS + 3, count=HUGE)])

    path, _ = export("a", to="out.jsonl")

    rows = [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]
    assert {len(set(row) - {"nonfinite"}) for row in rows} == {8}
    assert rows[STEPS]["loss"] is None
    assert rows[STEPS]["nonfinite"] == {"loss": "NaN", "gain": "-Infinity"}
    assert [row for row in rows if "nonfinite" in row] == [rows[STEPS]]
    same([row["loss"] for row in rows[STEPS + 1 :]], [TINY, 2.5, None])
    assert (rows[0]["count"], rows[-1]["count"], rows[0]["stage"]) == (2**60, HUGE, "warm-up")


@pytest.mark.parametrize("library", ["pyarrow", "polars"])
def test_parquet_has_every_value_and_tells_what_it_rounds(storage, export, monkeypatch, library):
    """Written by either library: floats and 64 bit integers exact, NaN no gap; mixed columns are told of."""
    pl, pq = pytest.importorskip("polars"), pytest.importorskip("pyarrow.parquet")
    if library == "polars":
        monkeypatch.setattr(parquet, "find_spec", lambda name: None if name == "pyarrow" else name)
    make(storage, "a", [*lines(), at(STEPS + 3, gain=2**60 + 1, big=HUGE, mixed=True), at(STEPS + 4, mixed="x", big=1)])

    path, said = export("a", to="out.parquet")

    assert {"pyarrow": "arrow", "polars": "Polars"}[library] in pq.read_metadata(path).created_by
    for table in (pq.read_table(path).to_pydict(), pl.read_parquet(path).to_dict(as_series=False)):
        same(table["loss"], [*LOSS, None, None])
        same(table["gain"], [*GAIN[:-1], 3.0, float(2**60), None])
        same(table["count"][:STEPS], [2**60 + step for step in range(STEPS)])
        same(table["mixed"][-2:], ["true", "x"])
        same(table["big"][-2:], [1e30, 1.0])
    assert "'gain': integers rounded to floats: 1" in said.err
    assert "'mixed': all values are written as text, because it has bool and str" in said.err
    assert "'big': integers rounded" in said.err
    assert "'count'" not in said.err


def test_a_format_without_its_library_names_what_to_install(storage, export, monkeypatch):
    """Neither pyarrow nor polars, no tensorboardX: an error that names the extra, and nothing is written."""
    make(storage, "a", lines())
    monkeypatch.setattr(parquet, "find_spec", lambda _: None)
    monkeypatch.setitem(sys.modules, "tensorboardX.event_file_writer", None)
    monkeypatch.setitem(sys.modules, "tensorboardX", None)

    for target in ("out.parquet", "board"):
        form = ("--format", "tensorboard") if target == "board" else ()
        path, said = export("a", *form, to=target, status=1)
        assert "pip install 'runicorn[export]'" in said.err
        assert list(path.parent.glob("*out*")) + list(path.parent.glob("*board*")) == []


def test_rows_are_steps_or_lines_of_one_rank_or_of_all(storage, export):
    """By step later values win; by line each log() is a row; other ranks have rows with their rank and file."""
    make(storage, "a", [at(1, loss=1.0), at(1, loss=2.0), at(2, loss=3.0)])
    make(storage, "a", [at(1, {"rank": 2}, loss=9.0)], name="events.rank2.jsonl")

    read = {}
    for name, options in {"steps": [], "lines": ["--lines"], "all": ["--ranks", "all"]}.items():
        path, said = export("a", *options, to=f"{name}.csv")
        read[name] = [list(row.values())[2:] for row in cells_of(path)]
        assert ("add --ranks all" in said.err) == (name != "all")

    assert read == {
        "steps": [["2.0"], ["3.0"]],
        "lines": [["1.0"], ["2.0"], ["3.0"]],
        "all": [["", "events.jsonl", "2.0"], ["2", "events.rank2.jsonl", "9.0"], ["", "events.jsonl", "3.0"]],
    }


def test_metrics_are_chosen_by_name_and_a_missing_one_stops_all(storage, export, tmp_path):
    """A list with commas, also of a name that has one; of a run without the metric nothing is written."""
    make(storage, "a", [at(1, **{"loss": 1.0, "x,y": 2.0, "acc": 3.0})])
    make(storage, "b", [at(1, acc=1.0)])

    path, _ = export("a", "--metrics", "x,y", "--metrics", "acc,loss")
    assert path.read_text().splitlines()[0] == "step,time,x,y,acc,loss".replace("x,y", '"x,y"')

    _, said = export("b", "a", "--metrics", "loss", "--format", "csv", to="both", status=1)
    assert "run b has no metric 'loss'" in said.err
    assert not (tmp_path / "both").exists()


def test_several_runs_are_files_named_by_id(storage, export):
    """A directory has one file a run; a directory that is there takes a single one too; no run is written twice."""
    make(storage, "a", [at(1, loss=1.0)])
    make(storage, "b", [at(1, loss=2.0)])

    path, said = export("a", "alias-b", "--format", "jsonl", "--json", to="both")
    assert sorted(os.listdir(path)) == ["a.jsonl", "b.jsonl"]
    told = json.loads(said.out)
    assert told[1] == {
        "run": "b",
        "format": "jsonl",
        "path": str(path / "b.jsonl"),
        "rows": 1,
        "metrics": ["loss"],
        "notes": [],
    }
    export("b", "--format", "csv", to="both")
    assert (path / "b.csv").is_file()
    _, said = export("a", "alias-a", "--format", "csv", to="twice", status=2)
    assert "run a is named more than once" in said.err


def test_what_is_there_is_left_alone_unless_forced(storage, export, tmp_path):
    """A file is kept, and --force replaces it; what would be in a directory that is not there is refused."""
    make(storage, "a", [at(1, loss=1.0)])
    path = tmp_path / "out.csv"
    path.write_text("precious")

    _, said = export("a", status=1)
    assert "exists already" in said.err
    assert path.read_text() == "precious"
    export("a", "--force")

    assert path.read_text().startswith("step,")
    _, said = export("a", "--format", "csv", to="absent/out.csv", status=1)
    assert "is not a directory" in said.err


def test_a_file_that_came_meanwhile_is_not_replaced(storage, export, monkeypatch, tmp_path):
    """Who has made the file while it was written keeps it, and nothing else is left."""
    make(storage, "a", [at(1, loss=1.0)])
    write = csv_rows.write

    def write_late(*arguments):
        (tmp_path / "out.csv").write_text("theirs")
        return write(*arguments)

    monkeypatch.setattr(csv_rows, "write", write_late)
    before = set(os.listdir(tmp_path))
    export("a", status=1)

    assert (tmp_path / "out.csv").read_text() == "theirs"
    assert set(os.listdir(tmp_path)) - before == {"out.csv"}


@pytest.mark.parametrize("trouble", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_interrupted_export_leaves_nothing(storage, export, monkeypatch, tmp_path, trouble):
    """After Ctrl-C, or on a full disk, there is no file: neither under its name nor under another."""
    make(storage, "a", lines())
    before = set(os.listdir(tmp_path))

    def stop(*_):
        raise trouble

    monkeypatch.setattr(progress.Progress, "advance", stop)
    for form in ("csv", "jsonl", "parquet") if find_spec("pyarrow") else ("csv", "jsonl"):
        export("a", to=f"out.{form}", status=130 if isinstance(trouble, KeyboardInterrupt) else 1)

    assert set(os.listdir(tmp_path)) - before <= {"cache"}


@pytest.mark.parametrize("module", [csv_rows, json_lines])
def test_text_of_the_rows_is_never_all_in_memory(monkeypatch, module):
    """Writing four times as many rows takes no more memory."""

    class Counting:
        total = 0
        closed = False

        def write(self, data):
            self.total += len(data)
            return len(data)

        def flush(self):
            pass

        def writable(self):
            return True

        def readable(self):
            return False

        seekable = readable

    def peak_bytes(pieces):
        count = pieces * selection.PIECE_ROWS
        columns = {"step": array("q", range(count)), "time": array("d", range(count)), "a": array("d", [0.1]) * count}
        file = Counting()
        tracemalloc.start()
        try:
            module.write(Table(columns), file, lambda _: None)
            assert file.total > 15 * count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    monkeypatch.setattr(selection, "PIECE_ROWS", 1000)
    few, many = peak_bytes(3), peak_bytes(12)
    assert many < 1.2 * few, f"{few=} {many=}"


def test_names_that_a_format_needs_itself_are_refused(storage, export):
    """A metric called as a column of the format is no silent loss."""
    make(storage, "a", [at(1, nonfinite=1.0, rank=2.0, loss=3.0)])

    _, said = export("a", to="out.jsonl", status=2)
    assert "'nonfinite'" in said.err
    _, said = export("a", "--ranks", "all", status=2)
    assert "'rank'" in said.err
    export("a", "--ranks", "all", "--metrics", "loss")
    export("a", to="plain.csv")
    _, said = export("a", to="out.xyz", status=2)
    assert "--format" in said.err


def test_lines_that_cannot_be_read_are_told_of(storage, export):
    """An export of a damaged file says that something is missing."""
    run_dir = make(storage, "a", [at(1, loss=1.0)])
    with (run_dir / "events.jsonl").open("a") as file:
        file.write("{broken\n")

    _, said = export("a")

    assert "1 place of the run's files could not be read" in said.err


def test_run_without_numbers_is_an_empty_table(storage, export):
    """No events file: the names of the columns, and no row."""
    (make(storage, "a", []) / "events.jsonl").unlink()

    pl = pytest.importorskip("polars")
    for form in ("csv", "jsonl", "parquet"):
        path, said = export("a", to=f"out.{form}")
        assert "0 rows of 0 metrics" in said.out
    assert pl.read_parquet(path).columns == ["step", "time"]


@pytest.mark.parametrize("has_rich", [True, False])
def test_progress_is_shown_on_a_terminal_alone(monkeypatch, capsys, has_rich):
    """After a second, on stderr; by rich or without it; never where nobody looks."""
    monkeypatch.setattr(progress, "_SHOWN_AFTER_S", 0.0)
    monkeypatch.setattr(progress, "_EVERY_S", 0.0)
    if has_rich:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)
    with progress.Progress("a.csv", 10) as hidden:
        hidden.advance(5)
    assert capsys.readouterr() == ("", "")

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.Progress("a.csv", 10) as shown:
        shown.advance(5)
        shown.advance(5)
    said = capsys.readouterr()
    assert said.out == ""
    if not has_rich:
        assert said.err == "\ra.csv: 5 of 10\ra.csv: 10 of 10\n"
    else:
        assert "a.csv" in said.err


def test_formats_of_the_command_are_those_of_the_package():
    """A format that is added to the one is there in the other."""
    assert exporting.FORMATS == ("csv", "jsonl", "parquet", "tensorboard", "mlflow", "wandb")


def test_a_run_is_no_place_for_other_files(storage, export):
    """No target in a run's directory is taken, not even by force: its own records would be replaced."""
    run_dir = make(storage, "a", lines())
    before = (run_dir / "events.jsonl").read_bytes()
    _, said = export("a", "--force", to=str(run_dir / "events.jsonl"), status=1)
    assert "is the directory of a run" in said.err
    assert (run_dir / "events.jsonl").read_bytes() == before
    assert sorted(os.listdir(run_dir)) == ["events.jsonl", "meta.json", "status.json"]
