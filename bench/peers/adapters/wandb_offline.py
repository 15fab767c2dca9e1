"""W&B in offline mode. Its own reader is the cloud's, so its file is read: a log of blocks of 32 KiB, of protobufs."""

import pathlib
import struct

import wandb
from wandb.proto.wandb_internal_pb2 import Record

BLOCK_BYTES, HEADER_BYTES = 32 * 1024, 7
FULL, FIRST, LAST = 1, 2, 4


def start(directory):
    run = wandb.init(project="bench", dir=directory, mode="offline")
    return run.log, run.finish


def read_back(directory):
    (path,) = pathlib.Path(directory).glob("wandb/offline-run-*/*.wandb")
    count = 0
    for message in messages(path.read_bytes()):
        names = {item.key or "/".join(item.nested_key) for item in Record.FromString(message).history.item}
        count += {"loss", "accuracy", "lr", "grad_norm"} <= names
    return count


def messages(data):
    at, whole = HEADER_BYTES, b""  # the file's own header is as long as a piece's
    while at + HEADER_BYTES <= len(data):
        left_in_block = BLOCK_BYTES - at % BLOCK_BYTES
        if left_in_block < HEADER_BYTES:
            at += left_in_block
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        at += HEADER_BYTES
        if at + length > len(data) or not kind:
            return
        whole = (b"" if kind in {FULL, FIRST} else whole) + data[at : at + length]
        at += length
        if kind in {FULL, LAST}:
            yield whole
