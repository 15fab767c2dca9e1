"""Where an export may go: files of its own and standard output; and what of it a spreadsheet may run."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from runicorn import exporting, reading
from runicorn.cli import main
from runicorn.exporting import csv_rows
from runicorn.exporting.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run of two lines."""
    return written(tmp_path / "store" / "runs" / "f" / "r", [{"loss": 1.5}, {"loss": 2.5}])


def written(directory: Path, lines: list[dict[str, Any]]) -> Path:
    """A finished run with these lines of numbers."""
    directory.mkdir(parents=True)
    (directory / "status.json").write_text('{"status": "finished", "started_at": 1.0, "ended_at": 2.0}')
    with (directory / "events.jsonl").open("w") as file:
        for step, data in enumerate(lines):
            event = {"ts": 1.0, "type": "metrics", "data": {"global_step": step, "time": 1.0, **data}}
            file.write(json.dumps(event) + "\n")
    return directory


def export(run_dir: Path, *arguments: object) -> int:
    """Call the command."""
    return main(["export", str(run_dir), *map(str, arguments)])


def command(run_dir: Path, *arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """Call the command as a process."""
    argv = [sys.executable, "-m", "runicorn", "export", str(run_dir), *map(str, arguments)]
    return subprocess.run(argv, timeout=60, check=False, **{"capture_output": True, **options})


def _bind(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{directory}/{path.name}")  # a socket's name may not be long
    finally:
        os.close(directory)


THERE: dict[str, Callable[[Path], object]] = {
    "a link to a file": lambda path: (path.with_name("real").write_text("old"), path.symlink_to("real")),
    "a link to a directory": lambda path: (path.with_name("real").mkdir(), path.symlink_to("real")),
    "a link to nothing": lambda path: path.symlink_to("real"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a device": lambda path: path.symlink_to("/dev/null"),
    "a FIFO": os.mkfifo,
    "a directory": os.mkdir,
}
if os.path.isdir("/proc/self/fd"):
    THERE["a socket"] = _bind


@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("form", ["csv", "tensorboard"])
def test_what_is_no_regular_file_is_never_replaced(
    run_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], there: str, form: str
) -> None:
    """A link, a FIFO, a device, a socket or a directory stays what it is, and --force is not advised."""
    target = tmp_path / "out"
    THERE[there](target)
    before = (target.lstat().st_ino, target.lstat().st_mode)
    arguments = ("--format", form, "--force", "-o", target)
    if form == "csv" and there in {"a directory", "a link to a directory"}:
        assert export(run_dir, *arguments) == 0
        assert (target / "r.csv").is_file()
    elif form == "csv" or there != "a directory":
        assert export(run_dir, *arguments) == 1
        assert "--force" not in capsys.readouterr().err
        if there == "a link to a file":
            assert (tmp_path / "real").read_text() == "old"
        assert (target.lstat().st_ino, target.lstat().st_mode) == before


def test_a_link_that_comes_meanwhile_is_not_replaced(run_dir: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Also what comes while the rows are written is left alone."""
    target = tmp_path / "out.csv"
    write = csv_rows.write

    def write_late(*arguments: Any) -> list[str]:
        target.symlink_to("real")
        return write(*arguments)

    monkeypatch.setattr(csv_rows, "write", write_late)
    assert export(run_dir, "--force", "-o", target) == 1
    assert target.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["out.csv", "store"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_device_of_standard_output_is_refused_and_the_dash_is_named(run_dir: Path, force: list[str]) -> None:
    """Whatever standard output is, the name in /dev stays what it is."""
    before = os.lstat("/dev/stdout")
    done = command(run_dir, *force, "--format", "csv", "-o", "/dev/stdout")
    assert done.returncode == 1
    assert b"-o -" in done.stderr
    assert b"--force" not in done.stderr
    assert os.lstat("/dev/stdout").st_ino == before.st_ino


INSIDE = {
    "a file of the run": "runs/f/r/events.jsonl",
    "a new file in the run": "runs/f/r/out.csv",
    "a file deep in the run": "runs/f/r/media/deep/out.csv",
    "the run": "runs/f/r",
    "among the runs": "runs/out.csv",
    "the archive": "archive/blobs/out.csv",
    "the runs that are being imported": ".importing/out.csv",
    "the database": "runicorn.db",
}


@pytest.mark.parametrize("where", INSIDE)
@pytest.mark.parametrize("by_link", [False, True])
def test_runs_and_the_storage_are_never_written_to(run_dir: Path, tmp_path: Path, where: str, by_link: bool) -> None:
    """Nothing of a storage is replaced, and nothing is put among it, also through a link to a directory of it."""
    store = tmp_path / "store"
    (run_dir / "media" / "deep").mkdir(parents=True)
    (store / "archive" / "blobs").mkdir(parents=True)
    (store / ".importing").mkdir()
    (store / "runicorn.db").write_text("rows")
    (tmp_path / "link").symlink_to(store)
    before = {path: path.is_file() and path.read_bytes() for path in store.rglob("*")}
    target = tmp_path / ("link" if by_link else "store") / INSIDE[where]
    for form in "csv", "tensorboard":
        assert export(run_dir, "--force", "--format", form, "-o", target) == 1
    assert {path: path.is_file() and path.read_bytes() for path in store.rglob("*")} == before


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_dash_is_standard_output(run_dir: Path, tmp_path: Path, form: str) -> None:
    """What is piped is what the file would have, and nothing else; what is said goes to stderr."""
    assert export(run_dir, "--format", form, "-o", tmp_path / "out") == 0
    done = command(run_dir, "--format", form, "-o", "-", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == (tmp_path / "out").read_bytes()
    assert b"standard output: 2 rows of 1 metric" in done.stderr
    assert sorted(os.listdir(tmp_path)) == ["out", "store"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_reader_that_is_gone_is_no_error(tmp_path: Path, form: str) -> None:
    """``runicorn export ... -o - | head`` ends without a word."""
    run_dir = written(tmp_path / "store" / "runs" / "r", [{"loss": step / 3} for step in range(20_000)])
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    try:
        done = command(
            run_dir, "--format", form, "-o", "-", capture_output=False, stdout=writing_end, stderr=subprocess.PIPE
        )
    finally:
        os.close(writing_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    "arguments",
    [["--format", "tensorboard"], ["--format", "csv", "--json"], [], ["--format", "jsonl", "--quote-formulas"]],
    ids=str,
)
def test_what_cannot_be_standard_output_is_misuse(
    run_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """A directory, two documents at once, or no format are refused before anything is written."""
    assert export(run_dir, *arguments, "-o", "-") == 2
    assert capsys.readouterr().out == ""


def test_a_format_of_bytes_is_not_written_to_a_terminal(
    run_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet goes to a pipe or a file."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert export(run_dir, "--format", "parquet", "-o", "-") == 2
    assert "pipe it" in capsys.readouterr().err


RISKY = [FORMULA, "+1+2", "-2+3", "@SUM(A1)", "\tx", "  =1+1", "\r=1"]
HARMLESS = ["-1.5", "+3", "a=b", "", "'=1", "-inf", "-1e5"]


def test_formulas_are_kept_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file has what was logged, and a remark counts what a spreadsheet may run; numbers are not counted."""
    run_dir = written(tmp_path / "store" / "runs" / "r", [{FORMULA: -1.0, "note": text} for text in RISKY + HARMLESS])
    assert export(run_dir, "-o", tmp_path / "o.csv") == 0
    rows = _rows(tmp_path / "o.csv")
    assert rows[0] == ["step", "time", FORMULA, "note"]
    assert [row[3] for row in rows[1:]] == RISKY + HARMLESS
    assert "begin with = + - @ or a tab: 8. " in (said := capsys.readouterr().err)
    assert "--quote-formulas" in said
    assert export(run_dir, "--quote-formulas", "--force", "-o", tmp_path / "o.csv") == 0
    rows = _rows(tmp_path / "o.csv")
    assert rows[0] == ["step", "time", f"'{FORMULA}", "note"]
    assert [row[3] for row in rows[1:]] == [*(f"'{text}" for text in RISKY), *HARMLESS]
    assert {row[2] for row in rows[1:]} == {"-1.0"}


def test_a_file_without_formulas_has_no_remark(run_dir: Path, tmp_path: Path) -> None:
    """Numbers below zero are no formulas."""
    done = exporting.export(reading.load(str(run_dir)), Selection(), "csv", str(tmp_path / "o.csv"))
    assert done.notes == []


def _rows(path: Path) -> list[list[str]]:
    return list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))


@pytest.mark.parametrize("text", ["a\rb", "\r", "a\r\nb", "\n", 'a"b\r"', ","])
def test_text_with_line_ends_comes_back(tmp_path: Path, text: str) -> None:
    """A cell and a name with any end of a line in it are in quotes, so that rows stay rows."""
    run_dir = written(tmp_path / "store" / "runs" / "r", [{f"n{text}": 1, "note": text}, {"note": "plain"}])
    assert export(run_dir, "-o", tmp_path / "o.csv") == 0
    names, first, second = _rows(tmp_path / "o.csv")
    assert set(names[2:]) == {f"n{text}", "note"}
    assert (text in first, "plain" in second) == (True, True)
    assert b"\n" in (tmp_path / "o.csv").read_bytes()[-1:]


@pytest.mark.parametrize("form", sorted(exporting.DIRECTORIES))
@pytest.mark.parametrize("name", ["out/", "out//", "./out/.", "two\nlines"])
def test_a_directory_may_be_named_by_any_path(
    run_dir: Path, tmp_path: Path, form: str, name: str, monkeypatch: Any
) -> None:
    """Also by one with a slash or a dot at its end, and with a newline in it; nothing else is left beside it."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / os.path.normpath(name)
    if name.endswith("."):
        out.mkdir()
    assert export(run_dir, "--format", form, "-o", name, *["--force"] * out.exists()) == 0
    assert list(out.iterdir())
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([out.name, "store"])


def test_a_link_to_a_directory_is_not_followed_for_a_slash_at_its_end(run_dir: Path, tmp_path: Path) -> None:
    """It is left alone, and so is what it names."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert export(run_dir, "--format", "wandb", "--force", "-o", f"{tmp_path}/link/") == 1
    assert (tmp_path / "link").is_symlink()
    assert list((tmp_path / "real").iterdir()) == []


def test_a_file_is_not_named_by_a_slash_at_its_end(run_dir: Path, tmp_path: Path, capsys: Any) -> None:
    """It is refused before anything is written."""
    assert export(run_dir, "--format", "csv", "-o", f"{tmp_path}/out.csv/") == 1
    assert "Name a file" in capsys.readouterr().err
    assert [each.name for each in tmp_path.iterdir()] == ["store"]
