"""A run with every kind of value, written by hand, and the store that is made of it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from runicorn import exporting, load
from runicorn.exporting.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)
_LOSS = [1.5, math.nan, math.inf, -math.inf, 0.1, -0.0, 5e-324, 1 / 3]
POINTS: dict[str, list[tuple[int, int, float]]] = {
    "train/loss": [*((1000500 + 1000 * step, step, value) for step, value in enumerate(_LOSS)), (1008250, 3, 7.0)],
    "größe λ": [(1000500, 0, 1.0), (1001500, 1, 0.0)],
    "a_b": [(1000500, -1, 2.0)],
    "a_b_": [(1000500, -1, 3.0)],
    "loss_": [(1000500, 4, 9007199254740992.0)],
    "loss/deep": [(1000500, 4, 2.5)],
}
"""What is in the store, by name: milliseconds, step, value."""
_NAMES = {"a_b_": "a%b", "loss_": "loss"}
_WORDS = {math.inf: "Infinity", -math.inf: "-Infinity"}


def make_run(storage: Path, run_id: str = "20260101_000000_abcdef") -> Path:
    """Its directory."""
    run_dir = storage / "runs" / "cv" / "net" / run_id
    (run_dir / "media").mkdir(parents=True)
    (run_dir / "media" / "dot.png").write_bytes(PNG)
    meta = {"id": run_id, "path": "cv/net", "alias": "größe λ", "tags": ["plain", "team:a b"], "notes": "two\nlines"}
    status = {"status": "interrupted", "started_at": 1000.5, "ended_at": 2000.25}
    args = {"lr": 0.1, "net": {"depth": 3}, "word": "größe", "none": None}
    for name, content in {
        "meta": meta | {"created_at": 1000.5},
        "status": status,
        "summary": {"best": 1},
        "assets": {"config": {"args": args}},
    }.items():
        (run_dir / f"{name}.json").write_text(json.dumps(content))
    (run_dir / "logs.txt").write_text("printed\n")
    (run_dir / "system.jsonl").write_text('{"time": 1000.5, "host/cpu_percent": 50}\n')
    image = {"key": "a/dot", "path": "media/dot.png", "step": 4, "caption": "a dot"}
    lines = [_line(_NAMES.get(name, name), *point) for name, points in POINTS.items() for point in points]
    lines += [{"ts": 1004.5, "type": "image", "data": image}]
    lines += [{"ts": 1.0, "type": "metrics", "data": {"train/loss": "text", "global_step": 9, "time": 1.0}}]
    (run_dir / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run_dir


def _line(name: str, at_ms: int, step: int, value: float) -> dict[str, Any]:
    given: Any = 2**53 + 1 if name == "loss" else value
    line: dict[str, Any] = {"ts": at_ms / 1000, "type": "metrics"}
    if not math.isfinite(value):
        line["nonfinite"], given = {name: _WORDS.get(value, "NaN")}, None
    return {**line, "data": {name: given, "global_step": step, "time": at_ms / 1000}}


def export(run_dir: Path, target: Path) -> list[exporting.Exported]:
    """Make a store of one run."""
    return exporting.export_together([load(str(run_dir))], Selection(), exporting.MLFLOW, str(target))
