"""Storages for the browser's tests, written as the files that they are."""

from __future__ import annotations

import json
import math
import random
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BEGUN = 1_790_000_000.0
RECORDS = 1_000_000
SPIKE_AT = 612_345
SPIKE = 50.0


def write_run(
    storage: Path,
    run_id: str,
    lines: Iterable[dict[str, Any]] | Iterable[str] = (),
    *,
    path: str = "",
    status: str = "finished",
    log: str | bytes = "",
    config: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
    reason: str | None = None,
    **meta: Any,
) -> Path:
    """Write a run's files; a line is the numbers of a step, with ``step`` and perhaps ``stage``."""
    run_dir = storage / "runs" / path / run_id
    run_dir.mkdir(parents=True)
    told = {"id": run_id, "path": path, "created_at": BEGUN, "hostname": socket.gethostname(), "pid": 1, **meta}
    ended = {} if status == "running" else {"ended_at": BEGUN + 60}
    _write(run_dir / "meta.json", told)
    _write(run_dir / "status.json", {"status": status, "started_at": BEGUN, **ended, "exit_reason": reason})
    _write(run_dir / "assets.json", {"config": {"args": config or {}}})
    if summary:
        _write(run_dir / "summary.json", summary)
    if log:
        (run_dir / "logs.txt").write_bytes(log if isinstance(log, bytes) else log.encode())
    with (run_dir / "events.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(line if isinstance(line, str) else event(**line) for line in lines)
    return run_dir


def write_ranks(run_dir: Path, of_ranks: Iterable[Iterable[dict[str, Any]]]) -> None:
    """Write a file with the numbers of each rank of a run; lines are as those of ``write_run()``."""
    for rank, lines in enumerate(of_ranks):
        marked = [json.dumps({**json.loads(event(**line)), "rank": rank}) + "\n" for line in lines]
        (run_dir / (f"events.rank{rank}.jsonl" if rank else "events.jsonl")).write_text("".join(marked))


def event(step: int, stage: str | None = None, **data: Any) -> str:
    """A line of ``events.jsonl``."""
    at = BEGUN + step * 0.01
    odd = {name: value for name, value in data.items() if isinstance(value, float) and not math.isfinite(value)}
    words = {name: _word(value) for name, value in odd.items()}
    numbers = {name: None if name in odd else value for name, value in data.items()}
    named = {} if stage is None else {"stage": stage}
    line = {"ts": at, "type": "metrics", "data": {**numbers, "global_step": step, "time": at, **named}}
    return json.dumps(line | ({"nonfinite": words} if words else {})) + "\n"


def million_records() -> Iterable[str]:
    """Losses below 1.1 with one of 50.0 among them, and a validation every 25,000 steps: quick to write."""
    draw = random.Random(3).random
    for step in range(1, RECORDS + 1):
        loss = SPIKE if step == SPIKE_AT else 0.1 + draw()
        at = BEGUN + step * 0.01
        val = f'"val_loss": {1 + step / 1e6}, ' if step % 25_000 == 0 else ""
        data = f'{{"loss": {loss}, {val}"global_step": {step}, "time": {at}}}'
        yield f'{{"ts": {at}, "type": "metrics", "data": {data}}}\n'


def few_runs(storage: Path, count: int = 30) -> None:
    """Runs of several paths, statuses and lengths, as a storage of a few days has them."""
    draw = random.Random(5)
    statuses = ["finished", "finished", "failed", "interrupted"]
    for number in range(count):
        length = draw.randrange(20, 60)
        curve = [
            {"step": step, "loss": 1 / step + draw.random() / 50, "val/acc": 1 - 1 / step} for step in range(1, length)
        ]
        status = statuses[number % 4]
        write_run(
            storage,
            f"20260101_{number:06}_{number:06x}",
            curve,
            path=["cv/resnet", "cv/vit", "nlp"][number % 3],
            status=status,
            reason="ValueError: loss is nan" if status == "failed" else None,
            alias=f"trial {number}" if number % 2 else None,
            tags=["sweep"] if number % 3 == 0 else [],
            config={"lr": 10.0 ** -(1 + number % 4), "batch": 32},
            summary={
                "best_metric_name": "loss",
                "best_metric_value": (number * 7 % count) / 100,
                "best_metric_step": 9,
                "best_metric_mode": "min",
            },
            log="".join(f"[2026-01-01 00:00:{line % 60:02}] line {line} of run {number}\n" for line in range(200)),
        )


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")
