"""tensorboardX: a scalar a call, so four calls make a step. Its files are read record by record."""

import itertools
import pathlib
import struct

from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event


def start(directory):
    writer = SummaryWriter(directory)
    steps = itertools.count()

    def log(data):
        step = next(steps)
        for name, value in data.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def read_back(directory):
    (path,) = pathlib.Path(directory).glob("events.out.tfevents.*")
    steps = {}
    for message in messages(path.read_bytes()):
        event = Event.FromString(message)
        for value in event.summary.value:
            steps.setdefault(value.tag, set()).add(event.step)
    return len(set.intersection(*steps.values())) if steps else 0


def messages(data):
    at = 0
    while at + 12 <= len(data):  # length, its checksum; the record, its checksum
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 12 + length + 4 > len(data):
            return
        yield data[at + 12 : at + 12 + length]
        at += 12 + length + 4
