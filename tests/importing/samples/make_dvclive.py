"""Makes ``dvclive/``: a folder as DVCLive writes it. Its files are text, and read by nothing of its own.

Run it in an environment with dvclive and Pillow; it replaces the folder beside it.
"""

import json
import math
import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "dvclive"
VALUES = [1.5, math.nan, math.inf, -math.inf, 0.1, -0.0, 1e-300]


def main():
    import numpy as np
    from dvclive import Live

    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with Live("dvclive", save_dvc_exp=False, report=None, dvcyaml=None, monitor_system=False) as live:
            live.log_params(
                {"lr": 0.1, "net": {"depth": 3, "kinds": ["a", "b"]}, "word": "größe", "api_key": "hunter2hunter2"}
            )
            for step, value in enumerate(VALUES):
                live.log_metric("train/loss", value)
                live.log_metric("acc λ", step / 3)
                live.next_step()
            live.step = 3
            live.log_metric("late", 7, timestamp=True)
            live.log_image("dot.png", np.zeros((2, 2, 3), dtype=np.uint8))
        shutil.copytree("dvclive", HERE)
    made = {"versions": {"dvclive": version("dvclive"), "python": sys.version.split()[0]}}
    made["train/loss"] = [repr(float(value)) for value in VALUES]
    (HERE / "expected.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
