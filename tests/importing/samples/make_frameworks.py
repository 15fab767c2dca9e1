"""Make ``frameworks``: the tables that Lightning, Transformers, Ultralytics and timm write.

Run it in an environment with these four packages, and with torch and torchvision of one build. It needs no network, and
takes half a minute. Ultralytics trains from a configuration, on pictures that this script makes.
"""

import json
import math
import os
import shutil
import sys
import tempfile
from collections import OrderedDict
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "frameworks"
PACKAGES = ("lightning", "transformers", "ultralytics", "timm", "torch")


def lightning(top):
    """A training with ``CSVLogger`` that logs steps, epochs and a validation that gives NaN."""
    import torch
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.loggers import CSVLogger

    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch, _number):
            loss = self.layer(batch).square().mean()
            self.log("train_loss", loss, on_step=True, on_epoch=True)
            return loss

        def validation_step(self, batch, number):
            self.log("val_loss", math.nan if number else self.layer(batch).square().mean())

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    torch.manual_seed(0)
    batches = torch.utils.data.DataLoader(torch.ones(4, 2), batch_size=2)
    logger = CSVLogger(top, name="net", version=0)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    trainer = Trainer(max_epochs=2, accelerator="cpu", logger=logger, log_every_n_steps=1, **quiet)
    trainer.fit(Model(), batches, batches)


def transformers(top):
    """A model of one layer trained for two epochs, with a checkpoint after each."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1))
    texts = [list(range(number, number + 8)) for number in range(8)]
    rows = [{"input_ids": text, "labels": text} for text in texts]
    arguments = TrainingArguments(
        str(top), num_train_epochs=2, per_device_train_batch_size=4, logging_steps=1, eval_strategy="epoch",
        save_strategy="epoch", save_only_model=True, use_cpu=True, report_to=[], disable_tqdm=True,
    )  # fmt: skip
    Trainer(model, arguments, train_dataset=rows, eval_dataset=rows[:4]).train()


def ultralytics(top):
    """A classifier trained for two epochs on pictures of one colour."""
    from PIL import Image
    from ultralytics import YOLO

    for part in ("train", "val"):
        for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
            folder = top / "pictures" / part / name
            folder.mkdir(parents=True)
            for number in range(4):
                Image.new("RGB", (32, 32), colour).save(folder / f"{number}.png")
    YOLO("yolov8n-cls.yaml").train(
        data=str(top / "pictures"), epochs=2, imgsz=32, batch=4, device="cpu", workers=0, plots=False, val=True,
        project=str(top), name="train", save=False, verbose=False, amp=False,
    )  # fmt: skip


def timm(top):
    """The function that timm's training script calls after each epoch."""
    from timm.utils import update_summary

    folder = top / "20240102-resnet"
    folder.mkdir()
    for epoch in range(3):
        train = OrderedDict(loss=2.5 - epoch)
        validated = OrderedDict(loss=math.nan if epoch == 1 else 2.25 - epoch, top1=10.0 * epoch, top5=50.0)
        file = str(folder / "summary.csv")
        update_summary(epoch, train, validated, file, lr=0.1 / (epoch + 1), write_header=epoch == 0)


def main():
    os.environ["YOLO_OFFLINE"] = "true"
    shutil.rmtree(HERE, ignore_errors=True)
    kept = {
        "lightning": "**/metrics.csv",
        "transformers": "**/trainer_state.json",
        "ultralytics": "train/results.csv",
        "timm": "**/summary.csv",
    }
    expected = {"versions": {name: version(name) for name in PACKAGES} | {"python": sys.version.split()[0]}}
    for make in (lightning, transformers, ultralytics, timm):
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            for path in sorted(Path(folder).glob(kept[make.__name__])):
                goal = HERE / make.__name__ / path.relative_to(folder)
                goal.parent.mkdir(parents=True, exist_ok=True)
                goal.write_bytes(path.read_bytes())
    (HERE / "versions.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
