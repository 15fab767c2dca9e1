"""``runicorn tag``: add, remove or show the tags of a run."""

from __future__ import annotations

import argparse

from runicorn.commands import render
from runicorn.commands.alias import say_trouble
from runicorn.commands.options import add_json, add_run, add_storage, the_run
from runicorn.managing import labels, targets
from runicorn.reading import plain_text
from runicorn.settings import Settings

HELP = "add (+TAG), remove (-TAG) or show the tags of a run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which run, and what shall change."""
    _add_options(parser)
    add_run(parser)
    # The rest, for a word with one dash in front is a tag to remove and no option.
    parser.add_argument(
        "changes",
        nargs=argparse.REMAINDER,
        metavar="+TAG | -TAG",
        help="add (+) or remove (-) a tag; without one, show the tags",
    )


def run(options: argparse.Namespace) -> int:
    """Change the tags, or list them."""
    options = _parse_rest(options)
    info = targets.find(the_run(options.run, options), options.storage)
    if options.add or options.remove:
        now = labels.change_tags(
            info, options.add, options.remove, Settings.from_environment(), force=options.force_other_host
        )
    else:
        now = labels.Labels(info.alias, info.tags)
    if options.json:
        render.emit({"run": info.id, "alias": now.alias, "tags": now.tags})
    else:
        for tag in now.tags:
            print(plain_text.plain(tag))
    say_trouble("tag", now.trouble)
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--add", action="append", default=[], metavar="TAG", help="same as +TAG")
    parser.add_argument("--remove", action="append", default=[], metavar="TAG", help="same as -TAG")
    add_storage(parser)
    parser.add_argument(
        "--force-other-host", action="store_true", help="change the run even if another host may have it open"
    )
    add_json(parser)


def _parse_rest(options: argparse.Namespace) -> argparse.Namespace:
    rest = argparse.ArgumentParser(prog=f"runicorn tag {options.run}", usage="%(prog)s [+TAG | -TAG | option]...")
    _add_options(rest)
    rest.set_defaults(**vars(options))
    return rest.parse_args([_as_option(word) for word in options.changes])


def _as_option(word: str) -> str:
    if word.startswith("+"):
        return f"--add={word[1:]}"
    if word.startswith("-") and not word.startswith("--") and word not in {"-", "-h"}:
        return f"--remove={word[1:]}"
    return word
