"""``runicorn note``: set or show the notes of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runicorn.commands import render
from runicorn.commands.alias import say_trouble
from runicorn.commands.options import add_json, add_run, add_storage, the_run
from runicorn.errors import WrongValueError
from runicorn.managing import labels, targets
from runicorn.reading import plain_text
from runicorn.settings import Settings

if TYPE_CHECKING:
    import argparse

HELP = "set or show the notes of a run"

_NEWLINE = "\n"
_INPUT = "-"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and what shall be noted."""
    add_run(parser)
    parser.add_argument(
        "text",
        nargs="?",
        metavar="TEXT",
        help="the new notes; - reads them from standard input; without TEXT, the notes are printed",
    )
    parser.add_argument("--clear", action="store_true", help="remove the notes")
    add_storage(parser)
    parser.add_argument(
        "--force-other-host", action="store_true", help="change the run even if another host may have it open"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Change the notes, or show them."""
    if options.clear and options.text is not None:
        raise WrongValueError("Both --clear and notes are given. Nothing was changed. Give only one of them.")
    info = targets.find(the_run(options.run, options), options.storage)
    changes = options.clear or options.text is not None
    if changes:
        # A character more than there may be is enough to be refused.
        text = sys.stdin.read(labels.MOST_NOTES + 1) if options.text == _INPUT else options.text
        now = labels.set_notes(info, text, Settings.from_environment(), force=options.force_other_host)
    else:
        now = labels.Labels(info.alias, info.tags, info.notes)
    if options.json:
        render.emit({"run": info.id, "notes": now.notes})
    elif not changes:
        print(plain_text.plain(now.notes or "", keep=_NEWLINE))
    say_trouble("note", now.trouble)
    return 0
