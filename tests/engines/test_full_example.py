"""The documentation's example of a whole run, as it stands there: what it leaves, and what the published viewer shows.

The storage comes from the environment; nothing else is added.
"""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from PIL import Image
from published_viewer import installed_viewer, open_viewer
from support import content, events, settled, status, summary, text_of

pytestmark = pytest.mark.timeout(240)

LIST_TIMEOUT_S = 30
CONSOLE_LINE = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] (.*)")

EXAMPLE = """\
import math
import torch
import torch.nn as nn
import torch.optim as optim
from PIL import Image, ImageDraw
import runicorn as rn

run = rn.init(
    path="cv/resnet50/baseline",
    alias="seed-42",
    capture_console=True,
)

model = nn.Sequential(
    nn.Linear(128, 64),
    nn.ReLU(),
    nn.Linear(64, 10),
)
optimizer = optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

run.set_primary_metric("val_acc", mode="max")
run.log_config(extra={"optimizer": "adam", "lr": 1e-3, "epochs": 3})

latest_val_acc = 0.0

for epoch in range(1, 4):
    model.train()
    epoch_acc_sum = 0.0
    epoch_steps = 0
    dataloader = [
        (torch.randn(32, 128), torch.randint(0, 10, (32,)))
        for _ in range(5)
    ]

    for batch_idx, (inputs, targets) in enumerate(dataloader, start=1):
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()

        curve_step = (epoch - 1) * len(dataloader) + batch_idx
        simulated_train_loss = 1.6 * math.exp(-0.18 * curve_step) + 0.04 * torch.rand(1).item()
        batch_acc = min(0.95, 0.35 + 0.08 * math.log1p(curve_step) + 0.02 * torch.rand(1).item())
        epoch_acc_sum += batch_acc
        epoch_steps += 1

        print(f"train_loss: {simulated_train_loss:.4f}")
        run.log({
            "train_loss": simulated_train_loss,
            "train_acc": batch_acc,
            "val_acc": latest_val_acc,
        }, stage=f"epoch_{epoch}")

    train_acc = epoch_acc_sum / epoch_steps
    latest_val_acc = 0.70 + 0.05 * epoch

    preview = Image.new("RGB", (320, 160), "white")
    draw = ImageDraw.Draw(preview)
    draw.rounded_rectangle((10, 10, 310, 150), radius=12, outline="navy", width=3)
    draw.text((24, 28), f"Epoch {epoch}", fill="black")
    draw.text((24, 68), f"train_acc={train_acc:.3f}", fill="green")
    draw.text((24, 102), f"val_acc={latest_val_acc:.3f}", fill="purple")

    run.log_image(
        "epoch_preview",
        preview,
        caption=f"Metrics snapshot for epoch {epoch}",
    )

run.summary({
    "epochs": 3,
    "final_train_acc": train_acc,
    "final_val_acc": latest_val_acc,
    "final_note": "baseline complete",
})
run.finish()
"""

STEPS = list(range(1, 16))
STAGES = [f"epoch_{epoch}" for epoch in (1, 2, 3) for _ in range(5)]
VAL_ACC = [accuracy for accuracy in (0.0, 0.70 + 0.05 * 1, 0.70 + 0.05 * 2) for _ in range(5)]
IMAGE_STEPS = [5, 10, 15]
BEST = {"name": "val_acc", "value": 0.70 + 0.05 * 2, "step": 11, "mode": "max"}


@dataclass
class Example:
    """What the script has printed, and what it has left."""

    out: str
    errors: str
    run_dir: object

    @property
    def metrics(self):
        return [line["data"] for line in events(self.run_dir) if line["type"] == "metrics"]

    @property
    def images(self):
        return [line["data"] for line in events(self.run_dir) if line["type"] == "image"]

    @property
    def printed(self):
        return [f"train_loss: {data['train_loss']:.4f}" for data in self.metrics]

    @property
    def summary(self):
        """What it has to be, by the metrics."""
        accuracies = [data["train_acc"] for data in self.metrics[10:]]
        total = 0.0
        for accuracy in accuracies:
            total += accuracy
        return {
            "epochs": 3,
            "final_train_acc": total / len(accuracies),
            "final_val_acc": 0.70 + 0.05 * 3,
            "final_note": "baseline complete",
            **{f"best_metric_{name}": value for name, value in BEST.items()},
        }


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """Run the example to its good end."""
    storage = tmp_path_factory.mktemp("example") / "storage"
    script = storage.with_name("train.py")
    script.write_text(EXAMPLE, encoding="utf-8")
    kept = {name: text for name, text in os.environ.items() if not name.startswith("RUNICORN_")}
    ended = subprocess.run(
        [sys.executable, str(script)],
        cwd=script.parent,
        env={**kept, "RUNICORN_SHM_DIR": os.environ["RUNICORN_SHM_DIR"], "RUNICORN_DIR": str(storage)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    (run_dir,) = (storage / "runs" / "cv" / "resnet50" / "baseline").iterdir()
    return Example(ended.stdout, ended.stderr, run_dir)


def test_the_example_leaves_a_whole_run(example):
    """Every metric, stage, image, printed line, setting and conclusion of the example is in the run's directory."""
    metrics, images = example.metrics, example.images
    assert len(events(example.run_dir)) == len(metrics) + len(images)
    assert [data["global_step"] for data in metrics] == STEPS
    assert [data["stage"] for data in metrics] == STAGES
    assert [data["val_acc"] for data in metrics] == VAL_ACC
    for step, data in zip(STEPS, metrics, strict=True):
        assert set(data) == {"train_loss", "train_acc", "val_acc", "global_step", "time", "stage"}
        assert 0 <= data["train_loss"] - 1.6 * math.exp(-0.18 * step) <= 0.04
        assert 0 <= data["train_acc"] - 0.35 - 0.08 * math.log1p(step) <= 0.02

    assert [(data["key"], data["step"]) for data in images] == [("epoch_preview", step) for step in IMAGE_STEPS]
    assert [data["caption"] for data in images] == [f"Metrics snapshot for epoch {epoch}" for epoch in (1, 2, 3)]
    pictures = [Image.open(example.run_dir / data["path"]) for data in images]
    assert [(each.format, each.mode, each.size) for each in pictures] == [("PNG", "RGB", (320, 160))] * 3
    assert [each.getpixel((100, 10)) for each in pictures] == [(0, 0, 128)] * 3
    assert len({each.tobytes() for each in pictures}) == 3

    assert len(set(example.printed)) > 1
    assert example.out == "".join(f"{line}\n" for line in example.printed)
    lines = [CONSOLE_LINE.fullmatch(line) for line in text_of(example.run_dir).splitlines()]
    assert [line and line[1] for line in lines] == example.printed
    assert "[run " not in example.errors

    config = content(example.run_dir, "assets.json")["config"]
    assert config["extra"] == {"optimizer": "adam", "lr": 1e-3, "epochs": 3}
    assert summary(example.run_dir) == example.summary
    assert status(example.run_dir)["status"] == "finished"
    meta = content(example.run_dir, "meta.json")
    assert (meta["path"], meta["alias"]) == ("cv/resnet50/baseline", "seed-42")


def test_the_viewer_shows_the_example(example, tmp_path):
    """The published viewer lists the run with its best metric, and shows its curves, stages, images, logs, summary."""
    run_id, storage = example.run_dir.name, example.run_dir.parents[4]
    row = (run_id, "cv/resnet50/baseline", "seed-42", "finished", BEST["name"], BEST["value"])
    names = ("id", "path", "alias", "status", "best_metric_name", "best_metric_value")
    with open_viewer(installed_viewer(), storage, tmp_path / "home") as viewer:
        assert settled(lambda: viewer.column(*names), {run_id: row}, LIST_TIMEOUT_S) == {run_id: row}

        page = viewer.get(f"/runs/{run_id}")
        assert page["status"] == "finished"
        page["summary"].pop("runicorn")  # what tracking it has cost
        assert page["summary"] == example.summary
        assert page["assets"]["config"]["extra"] == {"optimizer": "adam", "lr": 1e-3, "epochs": 3}

        curves = viewer.get(f"/runs/{run_id}/metrics_step")
        assert set(curves["columns"]) == {"global_step", "stage", "time", "train_acc", "train_loss", "val_acc"}
        assert curves["rows"] == example.metrics
        assert (curves["total"], [row["stage"] for row in curves["rows"]]) == (15, STAGES)

        images = viewer.get(f"/runs/{run_id}/images")["images"]
        assert [(image["step"], image["key"]) for image in images] == [(step, "epoch_preview") for step in IMAGE_STEPS]
        for image, logged in zip(images, example.images, strict=True):
            body = viewer.read(f"/runs/{run_id}/assets/download?path={quote(image['path'])}")
            assert body == (example.run_dir / logged["path"]).read_bytes()
            assert Image.open(io.BytesIO(body)).size == (320, 160)

        with viewer.log_tab(run_id) as tab:
            lines = [CONSOLE_LINE.fullmatch(line) for line in tab.receive(len(example.printed))]
        assert [line and line[1] for line in lines] == example.printed
