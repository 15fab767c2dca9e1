"""Options that several commands have, and what they stand for."""

from __future__ import annotations

import argparse
import os
import re
import sys
from typing import TYPE_CHECKING

from runicorn.errors import NotFoundError, RunNotFoundError
from runicorn.storage import paths

if TYPE_CHECKING:
    from runicorn.reading.info import RunInfo

_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)")
_UNIT_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def add_storage(parser: argparse.ArgumentParser) -> None:
    """``--storage``, as ``init()`` has it."""
    parser.add_argument(
        "--storage", metavar="DIR", help="storage root (default: RUNICORN_DIR, your configuration, ./.runicorn)"
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """``--json``, of every command that prints data."""
    parser.add_argument("--json", action="store_true", help="print one JSON document, for scripts")


RUN_HELP = "a run: its id or the beginning of its id, its alias, its path or its directory"


def add_run(parser: argparse.ArgumentParser) -> None:
    """The one run that is meant."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    add_latest(parser)


def add_latest(parser: argparse.ArgumentParser) -> None:
    """``--latest``, of every command that takes a run."""
    parser.add_argument("--latest", action="store_true", help="if several runs match RUN, take the newest, and say so")


def the_run(word: str, options: argparse.Namespace) -> RunInfo:
    """The run that a word stands for.

    Args:
        word: ``RUN`` as it was given.
        options: ``storage``, ``latest`` and ``command``.

    Raises:
        LookupError: no run matches; or several do, and ``--latest`` was not given.
    """
    from runicorn.reading.listing import find
    from runicorn.reading.plain_text import plain

    try:
        return find(word, options.storage)
    except RunNotFoundError as error:
        if not error.candidates:
            raise
        newest: RunInfo = error.candidates[0]
        if not options.latest:
            error.args = (f"{error} Or add --latest to take the newest.",)
            raise
        said = f"{len(error.candidates)} runs match {word!r}; --latest takes the newest, {newest.id}."
        print(f"runicorn {options.command}: {plain(said)}", file=sys.stderr)
        return newest


def storage_of(options: argparse.Namespace) -> str:
    """The absolute storage root.

    Raises:
        LookupError: it is not there.
    """
    root = paths.storage_root(options.storage)
    if not os.path.isdir(root):
        raise NotFoundError(
            f"No storage in {root}: there is no such directory. Name another with --storage DIR or RUNICORN_DIR."
        )
    return root


def age_s(text: str) -> float:
    """A length of time such as ``90s``, ``15m``, ``3h``, ``2d``, ``1w``, in seconds.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    found = _AGE.fullmatch(text.strip().lower())
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time. Write for example 90s, 15m, 3h, 2d or 1w.")
    return float(found[1]) * _UNIT_S[found[2]]


def positive_s(text: str) -> float:
    """A number of seconds above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0.")
    return seconds


def count(text: str) -> int:
    """A whole number, 0 or above.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more.")
    return int(text)
