"""``runicorn recover``: store what runs whose processes are gone have left in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.settings import Settings

if TYPE_CHECKING:
    import argparse

HELP = "store what runs whose processes are gone have left in memory"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The storage alone."""
    parser.add_argument("--storage", help="only runs of this storage root (default: all of this user and host)")


def run(options: argparse.Namespace) -> int:
    """Recover, and say what became of each run."""
    from runicorn.writer.recover import recover

    root = os.path.abspath(os.path.expanduser(options.storage)) if options.storage else None
    found = recover(Settings.from_environment(), root)
    for each in found:
        print(each.text())
    if not found:
        where = root or "any storage"
        print(f"Nothing to recover: no run of {where} on this host has left records behind.")
    return 0 if all(each.stored for each in found) else 1
