"""Makes ``swanlab/``: an offline run as SwanLab writes it, and what SwanLab's own classes read in it.

Run it in an environment with swanlab and Pillow; it replaces the folder beside it. No account is needed.
"""

import json
import math
import os
import shutil
import struct
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "swanlab"


def fill():
    """Every kind of value and step, a text, an image, console output, labels."""
    import numpy as np
    import swanlab

    swanlab.init(
        project="groesse", experiment_name="first λ", description="two\nlines", tags=["a", "b"], group="sweep",
        config={"lr": 0.1, "net": {"depth": 3}, "api_key": "sk-abcdefghij0123456789"}, mode="offline", logdir="logs",
        settings=swanlab.Settings(probe=swanlab.Settings.Probe(monitor_interval=5)),
    )  # fmt: skip
    swanlab.log({"loss": 1.5, "acc": 0.0})
    swanlab.log({"loss": math.nan, "nested": {"a": 1}})
    swanlab.log({"loss": math.inf, "größe λ": -math.inf}, step=7)
    swanlab.log({"acc": 0.25}, step=3)
    print("a line of the console")
    swanlab.log({"note": swanlab.Text("some text ñ", caption="cap")}, step=8)
    swanlab.log({"picture": swanlab.Image(np.zeros((2, 2, 3), dtype=np.uint8), caption="a dot")}, step=9)
    time.sleep(8)  # one sample of the machine
    swanlab.finish()


def expected(path):
    """Key, step, time and value of each scalar, by the framing and SwanLab's own classes."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record

    data, at, parts, rows = path.read_bytes(), 7, b"", []
    while at + 7 <= len(data):
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            record = Record()
            record.ParseFromString(parts)
            parts = b""
            if record.WhichOneof("record_type") == "scalar" or record.HasField("scalar"):
                scalar = record.scalar
                time_s = scalar.timestamp.seconds + scalar.timestamp.nanos / 1e9
                rows.append([scalar.key, scalar.step, time_s, repr(scalar.value.number)])
    return rows


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        fill()
        (run,) = Path("logs").glob("run-*")
        target = HERE / "run-20231114_221320-abcdefgh"
        for file in run.rglob("*"):
            if file.is_file() and (file.suffix == ".swanlab" or file.name == "config.yaml" or "media" in file.parts):
                goal = target / file.relative_to(run)
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, goal)
    (file,) = target.glob("*.swanlab")
    made = {"versions": {"swanlab": version("swanlab"), "python": sys.version.split()[0]}, "scalars": expected(file)}
    (HERE / "expected.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
