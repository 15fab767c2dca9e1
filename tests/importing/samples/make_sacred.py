"""Makes ``sacred/``: a FileStorageObserver's folder as sacred writes it.

Run it in an environment with sacred; it replaces the folder beside it.
"""

import json
import math
import platform
import re
import shutil
import sys
import tempfile
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "sacred"
VALUES = [1.5, math.nan, math.inf, -math.inf, 0.1, -0.0, 1e-300]


def without_machine(text):
    """The text, without the names of the machine that it was made on."""
    for ours, word in ((str(Path(__file__).parent), "/made"), (sys.prefix, "/made"), (platform.platform(), "Linux")):
        text = text.replace(ours, word)
    text = re.sub(r'"hostname": "[^"]*"', '"hostname": "maker"', text)
    return re.sub(r'"cpu": "[^"]*"', '"cpu": "a processor"', text)


def main():
    from sacred import Experiment
    from sacred.observers import FileStorageObserver
    from sacred.settings import SETTINGS

    SETTINGS.CAPTURE_MODE = "sys"
    SETTINGS.HOST_INFO.INCLUDE_GPU_INFO = False
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        for fails in (False, True):
            experiment = Experiment("größe λ", save_git_info=False, interactive=True)
            experiment.observers.append(FileStorageObserver(folder))
            experiment.add_config({"lr": 0.1, "net": {"depth": 3}, "api_key": "hunter2hunter2", "fails": fails})

            @experiment.main
            def train(_run, fails):
                for step, value in enumerate(VALUES):
                    _run.log_scalar("train/loss", value, step)
                _run.log_scalar("train/loss", 7.0, -1)
                _run.log_scalar("acc", 1, 2)
                _run.log_scalar("acc", 0.5, 2)
                _run.info["note"] = "two\nlines"
                print("a line of the console")
                if fails:
                    raise ValueError("on purpose")
                return 0.75

            with suppress(ValueError):
                experiment.run()
        for number in ("1", "2"):
            for name in ("run.json", "config.json", "metrics.json", "cout.txt", "info.json"):
                source = Path(folder, number, name)
                if source.exists():
                    goal = HERE / number / name
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    goal.write_text(without_machine(source.read_text("utf-8")), "utf-8")
    made = {"versions": {"sacred": version("sacred"), "python": sys.version.split()[0]}}
    made["train/loss"] = [repr(value) for value in [*VALUES, 7.0]]
    (HERE / "expected.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
