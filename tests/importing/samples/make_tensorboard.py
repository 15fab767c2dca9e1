"""Makes ``tensorboard/``: event files as tensorboardX writes them, and what TensorBoard's own reader returns of them.

Run it in an environment with tensorboard and tensorboardX; it replaces the folder beside it.
"""

import json
import math
import shutil
import struct
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.proto.tensor_pb2 import TensorProto
from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto

HERE = Path(__file__).parent / "tensorboard"
START_S = 1_700_000_000.25
VALUES = [1.5, math.nan, math.inf, -math.inf, 0.1, -0.0, 1e-45, 3.4e38]


def scalars(directory):
    """float32 scalars, every kind of value and step, text, an image, hyperparameters, series of their own."""
    with SummaryWriter(str(directory), filename_suffix=".a") as writer:
        for step, value in enumerate(VALUES):
            writer.add_scalar("train/loss", value, step, walltime=START_S + step)
        writer.add_scalar("größe λ", 7.0, -1, walltime=START_S + 20)
        writer.add_scalar("train/loss", 2.0, 3, walltime=START_S + 21)
        writer.add_scalar("train/loss", 2.5, 3, walltime=START_S + 22)
        writer.add_scalar("large", 1.0, 2**62, walltime=START_S + 23)
        writer.add_scalar("step", 4.0, 1, walltime=START_S + 24)
        writer.add_scalars("both/curves", {"a": 1.0, "b": 2.0}, 5, walltime=START_S + 25)
        writer.add_text("note", "first line\nsecond ñ", 4, walltime=START_S + 26)
        writer.add_image("dot", np.zeros((3, 2, 2), dtype=np.uint8), 6, walltime=START_S + 27)
        writer.add_histogram("weights", np.arange(5), 1, walltime=START_S + 28)
        writer.add_hparams({"lr": 0.1, "depth": 3, "net": "tiny", "bias": True}, {"hparam/acc": 0.75})


def coats(directory):
    """One number in each coat that a tensor has."""
    with SummaryWriter(str(directory), filename_suffix=".a") as writer:
        events = writer.file_writer.event_writer
        made = {
            "float_val": TensorProto(dtype="DT_FLOAT", float_val=[0.1]),
            "double_val": TensorProto(dtype="DT_DOUBLE", double_val=[0.1]),
            "content_f": TensorProto(dtype="DT_FLOAT", tensor_content=struct.pack("<f", 0.1)),
            "content_d": TensorProto(dtype="DT_DOUBLE", tensor_content=struct.pack("<d", 0.1)),
            "int64_val": TensorProto(dtype="DT_INT64", int64_val=[-(2**62)]),
            "int_val": TensorProto(dtype="DT_INT32", int_val=[-7]),
        }
        for step in range(3):
            for tag, tensor in made.items():
                tensor.tensor_shape.CopyFrom(TensorShapeProto())
                metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="scalars"))
                value = Summary.Value(tag=tag, tensor=tensor, metadata=metadata)
                events.add_event(Event(wall_time=START_S + step, step=step, summary=Summary(value=[value])))
        two = [Summary.Value(tag="one", simple_value=1.0), Summary.Value(tag="two", simple_value=2.0)]
        events.add_event(Event(wall_time=START_S + 9, step=9, summary=Summary(value=two)))


def restart(directory):
    """A run that was killed at step 5 and has gone on from step 3, with ``purge_step``."""
    with SummaryWriter(str(directory), filename_suffix=".a") as writer:
        for step in range(6):
            writer.add_scalar("loss", step, step, walltime=START_S + step)
    with SummaryWriter(str(directory), filename_suffix=".b") as writer:
        events = writer.file_writer.event_writer
        events.add_event(Event(wall_time=START_S + 10, step=3, session_log=SessionLog(status=SessionLog.START)))
        for step in range(3, 6):
            writer.add_scalar("loss", step * 10, step, walltime=START_S + 10 + step)


def torn(directory):
    """A file whose writer was killed inside a record."""
    with SummaryWriter(str(directory), filename_suffix=".a") as writer:
        for step in range(4):
            writer.add_scalar("loss", step, step, walltime=START_S + step)
    (file,) = directory.iterdir()
    file.write_bytes(file.read_bytes()[:-5])


def rename(top):
    """Give the files names that no host and no clock has a part in."""
    for number, file in enumerate(sorted(top.rglob("*tfevents*"))):
        suffix = file.name[-2:] if file.name.endswith((".a", ".b")) else ""
        file.rename(file.with_name(f"events.out.tfevents.{1_700_000_000 + number}.maker{suffix}"))
    for directory in [each for each in top.rglob("*") if each.is_dir() and each.name.replace(".", "").isdigit()]:
        directory.rename(directory.with_name("1700000100.5"))


def expected(top):
    """What TensorBoard's own loader returns: for each directory and tag the triples time, step, value."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    found = {}
    for directory in sorted({file.parent for file in top.rglob("*tfevents*")}):
        accumulator = EventAccumulator(str(directory), {"scalars": 0, "tensors": 0}, purge_orphaned_data=False)
        accumulator.Reload()
        of_run = found[directory.relative_to(top).as_posix()] = {}
        for tag in accumulator.Tags()["scalars"]:
            of_run[tag] = [[each.wall_time, each.step, repr(each.value)] for each in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["tensors"]:
            if accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars":
                points = accumulator.Tensors(tag)
                of_run[tag] = [
                    [each.wall_time, each.step, repr(tensor_util.make_ndarray(each.tensor_proto).item())]
                    for each in points
                ]
    return found


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    for name, make in (("full", scalars), ("coats", coats), ("restart", restart), ("torn", torn)):
        make(HERE / name)
    rename(HERE)
    versions = {name: version(name) for name in ("tensorboard", "tensorboardX", "protobuf")}
    made = {"versions": {**versions, "python": sys.version.split()[0]}, "scalars": expected(HERE)}
    (HERE / "expected.json").write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
