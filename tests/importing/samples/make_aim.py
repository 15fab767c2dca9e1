"""Make ``aim``: what ``docs/from_aim.py`` writes from a repository of Aim, and what Aim itself reads from it.

Run it in an environment with Aim, in an empty folder in which ``aim init`` was called.
"""

import json
import math
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import aim

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "docs" / "from_aim.py"


def main():
    run = aim.Run(repo=".", experiment="größe", system_tracking_interval=1, capture_terminal_logs=False)
    run.name = "first λ"
    run["hparams"] = {"lr": 0.1, "net": {"depth": 3}}
    for step, value in enumerate([1.5, math.nan, math.inf, -math.inf, 0.1]):
        run.track(value, name="loss", step=step, epoch=1, context={"subset": "train"})
    run.track(0.25, name="acc", step=7)
    time.sleep(4)  # Aim's monitor takes samples meanwhile
    run.close()
    with (HERE / "aim" / "aim.jsonl").open("wb") as file:
        subprocess.run([sys.executable, str(SCRIPT), "."], stdout=file, check=True, timeout=100)
    system = {}
    for metric in aim.Run(run.hash, repo=".", read_only=True).metrics():
        if metric.name.startswith("__system__"):
            _, (values, _, times) = metric.data.numpy()
            system[metric.name] = [list(point) for point in zip(times.tolist(), values.tolist(), strict=True)]
    made = {"versions": {"aim": version("aim"), "python": sys.version.split()[0]}, "system": system}
    (HERE / "aim" / "expected.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
