"""``runicorn recover``: save records left in memory by crashed runs, and mark them as failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.commands import render
from runicorn.commands.options import add_json
from runicorn.reading import plain_text
from runicorn.settings import Settings

if TYPE_CHECKING:
    import argparse

HELP = "save records left in memory by crashed runs, and mark them as failed"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which storage."""
    parser.add_argument(
        "--storage",
        help="only runs of this storage root (default: save the records in memory of all your runs on this host, and "
        "mark the lost runs of the storage that init() would use)",
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Recover, and say what became of each run."""
    from runicorn.managing.lost_runs import end_lost
    from runicorn.session.orphaned_spools import recover

    root = os.path.abspath(os.path.expanduser(options.storage)) if options.storage else None
    settings = Settings.from_environment()
    stored = recover(settings, root)
    ended, problems = end_lost(root, settings)
    if options.json:
        render.emit(
            {
                "stored": [each._asdict() for each in stored],
                "ended": [{"id": info.id, "run_dir": info.run_dir, "status": info.status} for info in ended],
                "problems": problems,
            }
        )
    else:
        for each in stored:
            print(plain_text.plain(each.text()))
        for info in ended:
            print(
                plain_text.plain(
                    f"{info.id}: its status was running, its process is gone, and no records of it are left in memory. "
                    f"Its status is now {info.status}"
                )
            )
        for problem in problems:
            print(plain_text.plain(problem))
        if not stored and not ended and not problems:
            where = plain_text.plain(root) if root else "this user on this host"
            print(f"Nothing to recover: no run of {where} left records behind, and none is `lost`.")
    return 0 if all(each.stored for each in stored) and not problems else 1
