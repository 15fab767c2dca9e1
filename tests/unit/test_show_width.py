"""``runicorn show`` of a run with very long texts."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from runicorn.cli import main

if TYPE_CHECKING:
    from pathlib import Path

LONG = "x" * 20_000
WIDE = "界" * 5_000


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Texts of thousands of columns in every place that takes one."""
    found = tmp_path / "runs" / "cv" / "20260101_000000_abcdef"
    found.mkdir(parents=True)
    meta = {"id": found.name, "path": "cv", "alias": WIDE, "notes": LONG, "tags": [LONG, "b"], "group": WIDE}
    status = {"status": "failed", "started_at": 1.0, "ended_at": 2.0, "exit_reason": LONG}
    summary = {"said": LONG, "best_metric_name": "loss", "best_metric_value": LONG, "deep": {LONG: WIDE}}
    assets = {"config": {"args": {LONG: 1, LONG + "y": 2, "list": [LONG], "text": WIDE}}, "datasets": [{"name": LONG}]}
    for name, content in {"meta": meta, "status": status, "summary": summary, "assets": assets}.items():
        (found / f"{name}.json").write_text(json.dumps(content))
    lines = [{"ts": 1.0, "type": "metrics", "data": {"note": LONG, "wide": WIDE, "global_step": 1, "time": 1.0}}]
    (found / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


def columns_of(line: str) -> int:
    return sum(2 if sign == "界" else 1 for sign in line)


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_lines_are_not_wider_than_the_terminal(
    run_dir: Path, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but that of the directory, which people copy; dots stand for what is left out."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["show", str(run_dir)]) == 0
    lines = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()
    assert [line for line in lines if columns_of(line) > columns and str(run_dir) not in line] == []
    assert any(str(run_dir) in line for line in lines)
    assert sum("..." in line for line in lines) >= 8


def test_settings_are_whole_for_a_pipe_and_values_of_a_table_are_not(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command is read by programs there; a table of columns as wide as a text is read by nobody."""
    assert main(["show", str(run_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("notes") and LONG in line for line in lines)
    (row,) = [line for line in lines if line.startswith("note ")]
    assert len(row) < 150
