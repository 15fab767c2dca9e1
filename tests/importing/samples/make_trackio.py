"""Makes ``trackio/``: a project's database as trackio writes it, and what trackio itself reads of it.

Run it in an environment with trackio and Pillow; it replaces the folder beside it.
"""

import json
import math
import os
import shutil
import sqlite3
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "trackio"


def fill():
    """Every kind of value, nested ones, an image, and a second run of the project."""
    import numpy as np
    import trackio

    for name in ("first λ", "second"):
        trackio.init(
            project="größe", name=name, config={"lr": 0.1, "net": {"depth": 3}}, group="sweep", auto_log_gpu=False
        )
        trackio.log({"loss": 1.5, "note": "text", "flag": True, "count": 2**60})
        trackio.log({"loss": math.nan, "nested": {"a": {"b": 1}}})
        trackio.log({"loss": math.inf, "low": -math.inf}, step=7)
        trackio.log({"loss": 0.25, "many": [1, 2, 3]}, step=3)
        trackio.log({"picture": trackio.Image(np.zeros((2, 2, 3), dtype=np.uint8), caption="a dot")}, step=8)
        trackio.log_system({"cpu": {"utilization": 12.5}, "memory/total": 1.5, "odd": math.nan, "gpu/0/temp": 40})
        trackio.log_system({"gpu/0/allocated_memory": 0.25, "gpu/0/utilization": 75})
        trackio.finish()


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update({"TRACKIO_DIR": folder, "HF_HUB_OFFLINE": "1", "TRACKIO_SHOW_DASHBOARD": "0"})
        fill()
        from trackio.sqlite_storage import SQLiteStorage

        logs = {name: SQLiteStorage.get_logs("größe", name) for name in ("first λ", "second")}
        samples = {name: SQLiteStorage.get_system_logs("größe", name) for name in ("first λ", "second")}
        HERE.mkdir()
        for file in Path(folder).rglob("*"):
            if file.suffix == ".db":
                shutil.copy(file, HERE / file.name)
                with sqlite3.connect(HERE / file.name, isolation_level=None) as connection:
                    connection.execute("PRAGMA journal_mode=DELETE")
                    connection.execute("PRAGMA page_size=512")
                    connection.execute("VACUUM")
            elif "media" in file.parts and file.is_file():
                target = HERE / file.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    versions = {"trackio": version("trackio"), "python": sys.version.split()[0]}
    made = {"versions": versions, "logs": logs, "system": samples}
    text = json.dumps(made, indent=1, ensure_ascii=False)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
