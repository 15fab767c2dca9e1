"""Makes ``aim/aim.jsonl``: what ``docs/from_aim.py`` writes of a repository that Aim 3.29 has made.

Run it in an environment with Aim, in an empty folder in which ``aim init`` was called.
"""

import math
import subprocess
import sys
from pathlib import Path

import aim

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "docs" / "from_aim.py"


def main():
    run = aim.Run(repo=".", experiment="größe", system_tracking_interval=None, capture_terminal_logs=False)
    run.name = "first λ"
    run["hparams"] = {"lr": 0.1, "net": {"depth": 3}}
    for step, value in enumerate([1.5, math.nan, math.inf, -math.inf, 0.1]):
        run.track(value, name="loss", step=step, epoch=1, context={"subset": "train"})
    run.track(0.25, name="acc", step=7)
    run.close()
    with (HERE / "aim" / "aim.jsonl").open("wb") as file:
        subprocess.run([sys.executable, str(SCRIPT), "."], stdout=file, check=True, timeout=100)


if __name__ == "__main__":
    main()
