"""An offline run that we write is synced by wandb itself to a stand-in for its server on loopback.

``RUNICORN_PEERS`` names a directory with an environment for each tracker, as for the samples. Run by hand.
"""

import json
import math
import os
import subprocess
from pathlib import Path

import pytest
from support.mlflow_export import PNG, make_run
from support.wandb_server import stand_in

from runicorn import exporting, load
from runicorn.exporting.selection import Selection

pytestmark = [pytest.mark.peers, pytest.mark.timeout(400)]

PEERS = os.environ.get("RUNICORN_PEERS", "")
LONGEST_S = 300
LOSS = [1.5, math.nan, math.inf, 7, 0.1, 0, 5e-324, 1 / 3]


def test_wandb_sends_what_was_logged(tmp_path):
    """The server gets every row with its step and time, labels, configuration, summary, the end, and the image."""
    wandb = Path(PEERS, "wandb", "bin", "wandb")
    if not PEERS or not wandb.exists():
        pytest.skip("no environment of wandb in RUNICORN_PEERS")
    run = load(str(make_run(tmp_path / "storage")))
    exporting.export_together([run], Selection(), exporting.WANDB, str(tmp_path / "wandb"))
    with stand_in() as server:
        environment = {**os.environ, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "a" * 40, "HOME": str(tmp_path)}
        environment["WANDB_ERROR_REPORTING"] = "false"
        command = [wandb, "sync", "--yes", *(tmp_path / "wandb").iterdir()]
        subprocess.run(command, check=True, timeout=LONGEST_S, env=environment, capture_output=True, cwd=tmp_path)
    assert repr([row.get("train/loss") for row in server.rows]) == repr([*LOSS, "text"])
    assert [row["_step"] for row in server.rows] == [*range(8), 9]
    assert [row["_timestamp"] for row in server.rows[:3]] == [1000.5, 1001.5, 1002.5]
    assert [row["loss"] for row in server.rows if "loss" in row] == [2**53 + 1]
    (image,) = [row["a/dot"] for row in server.rows if "a/dot" in row]
    assert (image["_type"], image["caption"], image["width"]) == ("image-file", "a dot", 1)
    assert server.files[image["path"]] == PNG
    made = server.runs[0]
    assert (made["project"], made["displayName"], made["name"]) == ("cv-net", "größe λ", run.info.id)
    assert (made["tags"], made["notes"]) == (["plain", "team:a b"], "two\nlines")
    config = {name: each["value"] for name, each in json.loads(made["config"]).items()}
    assert config.items() >= {"lr": 0.1, "net": {"depth": 3}, "word": "größe", "none": None}.items()
    assert json.loads(server.files["wandb-summary.json"])["best"] == 1
    (end,) = [stream for stream in server.streams if "exitcode" in stream]
    assert (end["complete"], end["exitcode"]) == (True, 255)
