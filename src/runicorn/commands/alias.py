"""``runicorn alias``: set or show the alias of a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from runicorn.commands import render
from runicorn.commands.options import add_json, add_run, add_storage, the_run
from runicorn.errors import WrongValueError
from runicorn.managing import labels, targets
from runicorn.reading import plain_text
from runicorn.settings import Settings

if TYPE_CHECKING:
    import argparse

HELP = "set or show the alias of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and what it shall be called."""
    add_run(parser)
    parser.add_argument("alias", nargs="?", metavar="NAME", help="the new alias; without it, print the current one")
    parser.add_argument("--clear", action="store_true", help="remove the alias")
    add_storage(parser)
    parser.add_argument(
        "--force-other-host", action="store_true", help="change the run even if another host may have it open"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Change the alias, or show it."""
    if options.clear and options.alias is not None:
        raise WrongValueError(
            f"Both --clear and the alias {options.alias!r} are given. Nothing was changed. Write one of them."
        )
    info = targets.find(the_run(options.run, options), options.storage)
    if options.clear or options.alias is not None:
        now = labels.set_alias(info, options.alias, Settings.from_environment(), force=options.force_other_host)
    else:
        now = labels.Labels(info.alias, info.tags)
    if options.json:
        render.emit({"run": info.id, "alias": now.alias, "tags": now.tags})
    elif not (options.clear or options.alias is not None):
        print(plain_text.plain(now.alias or ""))
    say_trouble("alias", now.trouble)
    return 0


def say_trouble(command: str, trouble: str | None) -> None:
    """Tell that a viewer's database was left as it was."""
    if trouble:
        print(
            f"runicorn {command}: done in the run's files; the row in runicorn.db was not changed: "
            f"{plain_text.plain(trouble)}. An open viewer may show the old state.",
            file=sys.stderr,
        )
