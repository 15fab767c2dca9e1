"""Files of a run with holes, endless lines and zeros are read in bounded memory, and what is left out is told."""

from __future__ import annotations

import json
import os
import tracemalloc
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest

from runicorn import reading
from runicorn.commands.following import FollowedFile
from runicorn.reading import holes, long_lines
from runicorn.reading.long_lines import LineReader

if TYPE_CHECKING:
    from pathlib import Path

HOLE_BYTES = 1 << 42
"""Of which reading every byte would take an hour."""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A finished run with one line of numbers, and one of text."""
    directory = tmp_path / "store" / "runs" / "p" / "bad"
    directory.mkdir(parents=True)
    (directory / "meta.json").write_text('{"created_at": 1.0}')
    (directory / "status.json").write_text('{"status": "finished", "started_at": 1.0, "ended_at": 2.0}')
    (directory / "events.jsonl").write_bytes(event(1))
    (directory / "logs.txt").write_bytes(b"first\n")
    return directory


def event(step: int) -> bytes:
    """A line of numbers."""
    data = {"global_step": step, "time": 1.0, "loss": step / 2}
    return json.dumps({"ts": 1.0, "type": "metrics", "data": data}).encode() + b"\n"


def with_hole(path: Path, behind: bytes) -> None:
    """Leave a hole behind what a file has, and write on behind that."""
    if not holes_are_known(path):
        pytest.fail(f"{path.parent} is on a file system that does not tell holes: set TMPDIR to another one.")
    with path.open("r+b") as file:
        file.seek(HOLE_BYTES)
        file.write(behind or b"\0")


def holes_are_known(beside: Path) -> bool:
    """Whether the file system tells where the holes of a file are."""
    probe = beside.with_name("probe")
    with probe.open("w+b") as file:
        file.truncate(1 << 30)
        found = holes.next_data(file.fileno(), 0, 1 << 30)
    probe.unlink()
    return found == 1 << 30


@pytest.mark.parametrize("behind", [b"", b"\n" + event(2)], ids=["at the end", "in the middle"])
def test_a_hole_in_an_events_file_is_one_problem(run_dir: Path, behind: bytes) -> None:
    """What is before and behind a hole of terabytes is read, and the hole is told once."""
    with_hole(run_dir / "events.jsonl", behind)
    run = reading.load(str(run_dir))
    assert list(run["loss"].step) == ([1, 2] if behind else [1])
    assert run.problem_count == 1
    assert "never written" in run.problems[0].reason


@pytest.mark.parametrize("last", [None, 1, 5])
def test_a_hole_in_the_text_is_passed_over(run_dir: Path, last: int | None) -> None:
    """The lines before and behind a hole are there, and the hole is a remark in its line."""
    with_hole(run_dir / "logs.txt", b"end\nlast\n")
    lines = list(reading.load(str(run_dir)).text(last))
    assert lines[-1] == "last"
    if last != 1:
        assert lines[0] == "first"
        assert lines[1].endswith(" bytes of zeros are left out] end")
    followed = list(FollowedFile(str(run_dir), "logs.txt", last).new_lines())
    assert [line.decode() for line in followed] == lines


def test_a_line_of_any_length_takes_bounded_memory(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a line beyond the bound the beginning is kept, and how much more there was."""
    monkeypatch.setattr("runicorn.reading.text.LONGEST_TEXT_BYTES", 1_000_000)
    with (run_dir / "logs.txt").open("ab") as file:
        for _ in range(50):
            file.write(b"x" * 1_000_000)
        file.write(b"\nlast\n")
    tracemalloc.start()
    try:
        lines = list(reading.load(str(run_dir)).text(2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert lines == ["x" * 1_000_000 + " [49,000,000 more bytes of this line are left out]", "last"]
    assert peak < 10_000_000


def test_lines_are_read_on_however_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the blocks are, a line in pieces is one line; few zeros are kept and many are a remark."""
    content = b"\0" * 3 + b"a\n" + b"\0" * 40 + b"b\n\n" + b"c" * 30 + b"\0" * 9 + b"d\nrest"
    (tmp_path / "f").write_bytes(content)
    wanted = [
        b"\0\0\0a",
        b"[40 bytes of zeros are left out] b",
        b"",
        b"c" * 20 + b" [20 more bytes of this line are left out]",
    ]
    for block_bytes in (1, 2, 7, 1000):
        monkeypatch.setattr(long_lines, "_BLOCK_BYTES", block_bytes)
        reader = LineReader(20)
        found: list[bytes] = []
        with (tmp_path / "f").open("rb") as file:
            for stop in islice(range(0, len(content) + 5, 5), 100):
                found += reader.lines(file, min(stop, len(content)))
        assert (found, reader.rest()) == (wanted, b"rest")


BAD: dict[str, Any] = {
    "a hole": lambda path: (path.touch(), os.truncate(path, HOLE_BYTES)),
    "a FIFO": os.mkfifo,
    "a directory": os.mkdir,
    "a link to zeros": lambda path: path.symlink_to("/dev/zero"),
    "zeros": lambda path: path.write_bytes(b"\0" * 1_000_000),
    "depth": lambda path: path.write_bytes(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "depth in a line": lambda path: path.write_bytes(
        b'{"type":"metrics","data":' + b"[" * 20_000 + b"]" * 20_000 + b"}\n"
    ),
    "a long number": lambda path: path.write_bytes(b'{"a":' + b"9" * 100_000 + b"}\n"),
}
FILES = ("meta.json", "status.json", "summary.json", "assets.json", "environment.json", "events.jsonl", "logs.txt")


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", FILES)
def test_one_bad_file_costs_what_is_in_it(run_dir: Path, name: str, bad: str) -> None:
    """Whatever is under the name of a file: the storage is listed, the rest is read, and the run says what it lacks."""
    good = run_dir.with_name("good")
    good.mkdir()
    (good / "status.json").write_text('{"status": "finished"}')
    (run_dir / name).unlink(missing_ok=True)
    BAD[bad](run_dir / name)
    assert {info.id for info in reading.runs(run_dir.parents[2])} == {"bad", "good"}
    run = reading.load(str(run_dir))
    lines = list(run.text(20))
    assert list(run.metrics) == ([] if name == "events.jsonl" else ["loss"])
    assert lines == ["first"] or name == "logs.txt"
    assert {problem.file for problem in run.problems} == {name} - {"logs.txt"}
