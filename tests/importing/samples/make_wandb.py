"""Makes ``wandb/``: offline runs as wandb writes them, and what wandb's own protobuf classes read in them.

Run it in an environment with wandb and Pillow; it replaces the folder beside it. No account and no network is needed.
"""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent / "wandb"
SETTINGS = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_DISABLE_CODE": "true",
    "WANDB_USERNAME": "somebody",
    "WANDB_HOST": "maker",
    "WANDB_PROGRAM": "train.py",
}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c6360000000020001"
    "48afa4710000000049454e44ae426082"
)


def full():
    """Every kind of value and step, an image, console output, a primary metric, labels."""
    import wandb

    run = wandb.init(
        project="größe", name="first λ", id="abc12345", group="sweep", job_type="train", tags=["a", "b,c"],
        notes="two\nlines", config={"lr": 0.1, "net": {"depth": 3}, "api_key": "sk-abcdefghij0123456789"},
        settings=wandb.Settings(console="off", x_disable_stats=True, x_disable_machine_info=True),
    )  # fmt: skip
    run.define_metric("acc", summary="max")
    run.log({"loss": 1.5, "acc": 0.5, "note": "text", "flag": True, "count": 2**60})
    run.log({"loss": math.nan, "nested": {"a": {"b": 1}}, "acc": 0.75})
    run.log({"loss": math.inf, "low": -math.inf}, step=7)
    run.log({"acc": 0.25, "größe/λ": -0.0, "many": [1, 2, 3]}, step=7)
    Path("dot.png").write_bytes(PNG)
    run.log({"picture": wandb.Image("dot.png", caption="a dot")}, step=8)
    run.log({"long": "x" * 17_000}, step=9)
    run.log({"loss": 0.5}, step=2)
    run.summary["best"] = 0.75
    run.config.update({"later": "yes"})
    run.finish(exit_code=0)


def killed():
    """Killed while it logs."""
    import wandb

    run = wandb.init(
        project="p",
        id="killed01",
        settings=wandb.Settings(console="off", x_disable_stats=True, x_disable_machine_info=True),
    )
    (file,) = Path("wandb").glob("offline-run-*-killed01/*.wandb")
    for step in range(20_000):
        run.log({"loss": step / 3})
        if step >= 20 and file.stat().st_size > 3000:
            break
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)


def machine():
    """With what its monitor sees of the machine."""
    import wandb

    run = wandb.init(
        project="p",
        id="machine1",
        settings=wandb.Settings(console="off", x_disable_meta=True, x_stats_sampling_interval=1),
    )
    for step in range(4):
        run.log({"loss": 1 / (step + 1)})
        time.sleep(1)
    run.finish()


def records(path):
    """The records of a file, by the framing as LevelDB describes it and wandb's own classes."""
    from wandb.proto import wandb_internal_pb2

    data, at, parts = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        if at + 7 + length > len(data) or not kind:
            return
        parts += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in {1, 4}:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def expected(path):
    return [
        {"/".join(item.nested_key) or item.key: item.value_json for item in record.history.item}
        for record in records(path)
        if record.WhichOneof("record_type") == "history"
    ]


def samples_in(path):
    return [
        [record.stats.timestamp.ToNanoseconds(), {item.key: item.value_json for item in record.stats.item}]
        for record in records(path)
        if record.WhichOneof("record_type") == "stats"
    ]


def main():
    if len(sys.argv) > 1:
        {"full": full, "killed": killed, "machine": machine}[sys.argv[1]]()
        return
    shutil.rmtree(HERE, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("full", "killed", "machine"):
            command = [sys.executable, __file__, name]
            environment = {**os.environ, **SETTINGS, "HOME": folder}
            subprocess.run(command, cwd=folder, env=environment, timeout=120, check=False)
        time.sleep(20)  # the process that stores what the killed one has logged
        rows, stats = {}, {}
        for directory in sorted(Path(folder, "wandb").glob("offline-run-*")):
            target = HERE / f"offline-run-20231114_221320-{directory.name.rpartition('-')[2]}"
            for file in directory.rglob("*"):
                if file.is_file() and (file.suffix == ".wandb" or "media" in file.parts):
                    goal = target / file.relative_to(directory)
                    goal.parent.mkdir(parents=True, exist_ok=True)
                    goal.write_bytes(file.read_bytes())
            (file,) = target.glob("*.wandb")
            rows[target.name] = expected(file)
            stats[target.name] = samples_in(file)
    versions = {"wandb": version("wandb"), "python": sys.version.split()[0]}
    made = {"versions": versions, "rows": rows, "stats": stats}
    (HERE / "expected.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
