"""Take the pictures of docs/images/viewer-*.png: ``python bench/viewer_pictures.py``; needs Playwright and Chromium.

The runs are made up, by a seed, in ``/tmp/runs``, which must not exist before, and is removed afterwards.
"""

from __future__ import annotations

import io
import json
import math
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

STORAGE = Path("/tmp/runs")
IMAGES = Path(__file__).parents[1] / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu"]
SIZE = {"width": 1280, "height": 800}
PATHS = ("vision/vit-b", "language/gpt-small", "vision/resnet50", "language/gpt-medium", "speech/ctc")
RATES = (3e-4, 1e-3, 1e-4, 3e-3, 3e-5)
FIRST_COMPARED = 500
LEVEL = 17
"""Colours are multiples of it, white too: the picture has half the bytes, and an eye sees no difference."""
SETTLED_MS = 5000


def records(rate: float, seed: int, steps: int, begun: float, every: int) -> Iterator[dict[str, Any]]:
    """The metrics of a training: the rate decides how far it comes, the seed about the noise."""
    draw = random.Random(seed)
    pace = 4 + 2.5 * math.log10(rate / 3e-5)
    spike_at = draw.uniform(0.2, 0.9) * steps
    floor = 0.42 + 0.3 * abs(math.log10(rate / 1e-3))
    for step in range(1, steps + 1, every):
        progress = step / steps
        loss = floor + 5 * math.exp(-pace * progress)
        warm = min(1.0, progress * 12)
        data: dict[str, Any] = {
            "train/loss": loss * (1 + 0.09 * draw.gauss(0, 1)) + (4 if abs(step - spike_at) <= every / 2 else 0),
            "train/acc": 1 - loss / 6.5 + 0.012 * draw.gauss(0, 1),
            "grad_norm": abs(draw.gauss(0.9, 0.25)) + 6 * math.exp(-16 * progress),
            "lr": rate * warm * (0.05 + 0.475 * (1 + math.cos(math.pi * progress))),
            "tokens_per_s": 41_000 + 500 * draw.gauss(0, 1) - (7000 if draw.random() < 0.003 else 0),
        }
        if (step // every) % 30 == 0:
            data["val/loss"] = loss + 0.05 + 0.006 * draw.gauss(0, 1)
            data["val/acc"] = 0.94 - loss / 6 + 0.003 * draw.gauss(0, 1)
        yield {
            "ts": begun + step * 0.1,
            "type": "metrics",
            "data": {**data, "global_step": step, "time": begun + step * 0.1},
        }


def write_run(number: int, path: str, rate: float, seed: int, age_h: float, **told: Any) -> str:
    """Write the files of a run that has ended."""
    begun = time.time() - age_h * 3600
    run_id = f"{time.strftime('%Y%m%d_%H%M%S', time.localtime(begun))}_{number * 99_991 % 2**24:06x}"
    run_dir = STORAGE / "runs" / path / run_id
    run_dir.mkdir(parents=True)
    steps = 16_000 if number >= FIRST_COMPARED else 9000 + 1700 * (number * 7 % 11)
    lines = list(records(rate, seed + number, steps, begun, 5))
    metric, mode, choose = ("val/loss", "min", min) if path.startswith("language") else ("val/acc", "max", max)
    values = {line["data"]["global_step"]: line["data"][metric] for line in lines if metric in line["data"]}
    best = choose(values, key=lambda step: values[step])
    status = told.pop("status", "finished")
    files = {
        "meta.json": {"id": run_id, "path": path, "created_at": begun, "hostname": "node7", "pid": 4711, **told},
        "status.json": {
            "status": status,
            "started_at": begun,
            "ended_at": begun + steps * 0.1,
            "exit_reason": "ValueError: loss is nan" if status == "failed" else None,
        },
        "summary.json": {
            "best_metric_name": metric,
            "best_metric_value": values[best],
            "best_metric_step": best,
            "best_metric_mode": mode,
        },
        "assets.json": {"config": {"args": {"lr": rate, "seed": seed, "batch": 256}}},
    }
    for name, content in files.items():
        (run_dir / name).write_text(json.dumps(content), encoding="utf-8")
    (run_dir / "events.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return run_id


def write_storage() -> list[str]:
    """Some sixty runs of some days; the ids of the five that are compared."""
    compared = [
        write_run(FIRST_COMPARED + at, "vision/vit-b", rate, at, 2 + at, alias=f"lr {rate:g}", tags=["sweep"])
        for at, rate in enumerate(RATES)
    ]
    for number in range(56):
        status = "failed" if number % 9 == 4 else "interrupted" if number % 23 == 7 else "finished"
        tags = ["baseline"] if number % 5 == 2 else []
        alias = f"seed {number}" if number % 3 else None
        write_run(
            number,
            PATHS[number % 5],
            RATES[number % 4],
            number,
            8 + 2.3 * number,
            status=status,
            tags=tags,
            alias=alias,
        )
    return compared


def take(page: Page, name: str) -> None:
    """Save what the page shows."""
    page.wait_for_timeout(SETTLED_MS)
    file = IMAGES / f"viewer-{name}.png"
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.point(lambda part: round(part / LEVEL) * LEVEL).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


def take_all(link: str, compared: list[str]) -> None:
    """Open the pages, and take a picture of each."""
    root, token = link.split("#t=")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport=SIZE)
        page.goto(f"{root}#t={token}")
        take(page, "runs")
        page.goto(f"{root}run/{compared[1]}#t={token}")
        page.locator(".card .plot").nth(1).hover()
        take(page, "run")
        page.goto(f"{root}compare?runs={','.join(compared)}&order=best&pin=val%2Floss#t={token}")
        take(page, "compare")
        browser.close()


def main() -> None:
    """Write runs, show them, take the pictures, and leave nothing else."""
    STORAGE.mkdir()
    links = STORAGE / ".viewers"
    links.mkdir(mode=0o700)
    viewer = None
    try:
        compared = write_storage()
        viewer = subprocess.Popen(
            [sys.executable, "-m", "runicorn", "viewer", "--storage", str(STORAGE), "--port", "0", "--no-open"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"RUNICORN_VIEWER_DIR": str(links), "RUNICORN_HOSTNAME": "node7"},
        )
        assert viewer.stdout
        take_all(viewer.stdout.readline().strip(), compared)
    finally:
        if viewer:
            viewer.terminate()
            viewer.wait()
        shutil.rmtree(STORAGE)


if __name__ == "__main__":
    main()
