"""``runicorn report``: write runs as one HTML file that needs no server and no network."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from runicorn.commands import render
from runicorn.commands.options import RUN_HELP, add_json, add_latest, add_storage, count, the_run
from runicorn.errors import WrongValueError
from runicorn.storage.wording import counted

if TYPE_CHECKING:
    from runicorn.reading import RunInfo
    from runicorn.viewer.report import Report

HELP = "write runs as one HTML file, to be opened without a server"
_INSTALL = "A report needs the viewer's packages: pip install 'runicorn[viewer]'"
_OUTPUT = "report.html"
_STANDARD_OUTPUT = "-"
_PARTS = ("logs", "environment", "code")
_AXES = ("step", "time", "wall", "relative_step")
_RANK_WORDS = ("each", "mean", "minmax", "slowest")
_IMAGES = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, what of them, and where to."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help=f"{RUN_HELP}; several runs give a comparison")
    add_latest(parser)
    parser.add_argument(
        "-o", "--output", default=_OUTPUT, metavar="FILE", help=f"the file (default: {_OUTPUT}); '-' = standard output"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--with",
        dest="parts",
        type=_parts,
        action="append",
        default=[],
        metavar="A,B",
        help="also put in logs, environment or code; they may say more than a reader should know",
    )
    parser.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="A,B",
        help="only these metrics (default: all, up to 300 curves)",
    )
    parser.add_argument(
        "--images", type=count, default=_IMAGES, metavar="N", help=f"at most N images a run (default: {_IMAGES})"
    )
    parser.add_argument(
        "--x",
        type=_axes,
        default=("step",),
        metavar="A,B",
        help="x axes of the charts: step, time, wall, relative_step (default: step); each makes the file larger",
    )
    parser.add_argument(
        "--rank",
        type=_ranks,
        default=("0",),
        metavar="A,B",
        help="ranks that the reader can choose: their numbers, each, mean, minmax, slowest (default: 0); every one of "
        "these makes the file larger",
    )
    parser.add_argument(
        "--stage",
        type=_words,
        default=("all",),
        metavar="A,B",
        help="stages that the reader can choose: their names, or 'all' for all stages together (default: all); every "
        "one of these makes the file larger",
    )
    parser.add_argument("--open", action="store_true", help="open the file in the browser")
    add_storage(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Make the report, and say what is in it."""
    try:
        import starlette  # noqa: F401 - whether it is there
    except ImportError:
        print(_INSTALL, file=sys.stderr)
        return 1
    _check(options)
    infos = [the_run(word, options) for word in options.runs]
    twice = sorted({info.id for info in infos if sum(each.run_dir == info.run_dir for each in infos) > 1})
    if twice:
        raise WrongValueError(f"run {twice[0]} is named more than once. Nothing was written. Name each run once.")
    to_file = options.output != _STANDARD_OUTPUT
    if to_file:
        _check_place(options, infos)
    made = _made(options, infos)
    if to_file:
        _write(options, made)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(made.content)
        sys.stdout.buffer.flush()
    _say(options, infos, made)
    return 0


def _check(options: argparse.Namespace) -> None:
    if options.output != _STANDARD_OUTPUT:
        return
    for option, given in (("--json", options.json), ("--open", options.open)):
        if given:
            raise WrongValueError(f"{option} and -o - do not go together. Nothing was written. Leave one of them out.")


def _made(options: argparse.Namespace, infos: list[RunInfo]) -> Report:
    from runicorn.viewer.report import make_report
    from runicorn.viewer.report_contents import ReportWishes

    parts = frozenset(part for given in options.parts for part in given)
    wishes = ReportWishes(tuple(options.metrics), parts, options.images, options.x, options.rank, options.stage)
    return make_report(infos, wishes)


def _check_place(options: argparse.Namespace, infos: list[RunInfo]) -> None:
    """Refuse a place where nothing can be put, before the work is done."""
    from runicorn.exporting import placing

    for storage in {info.storage for info in infos}:
        placing.check(options.output, is_directory=False, force=options.force, storage=storage)


def _write(options: argparse.Namespace, made: Report) -> None:
    from runicorn.exporting import placing
    from runicorn.managing import targets

    what = f"{options.output} cannot be written: {{reason}}. Nothing was written."
    with targets.worded(what, options.output), placing.new_file(options.output, force=options.force) as file:
        file.write(made.content)
    if options.open:
        import pathlib
        import webbrowser

        webbrowser.open(pathlib.Path(options.output).absolute().as_uri())


def _say(options: argparse.Namespace, infos: list[RunInfo], made: Report) -> None:
    from runicorn.reading.plain_text import plain

    if options.json:
        path = os.path.abspath(options.output)
        render.emit({"path": path, "bytes": len(made.content), "runs": [info.id for info in infos], **made.figures})
        return
    stream = sys.stderr if options.output == _STANDARD_OUTPUT else sys.stdout
    where = "standard output" if stream is sys.stderr else options.output
    print(f"{plain(where)}: {counted(len(infos), 'run')}, {len(made.content):,} bytes", file=stream)
    for line in made.lines:
        print(f"  {plain(line)}", file=sys.stderr)


def _parts(text: str) -> tuple[str, ...]:
    return _some_of(text, _PARTS)


def _axes(text: str) -> tuple[str, ...]:
    return _some_of(text, _AXES)


def _some_of(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Known words with commas between them.

    Raises:
        argparse.ArgumentTypeError: one is not known, or there is none.
    """
    words = _words(text)
    if any(word not in known for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(known)}.")
    return words


def _ranks(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_rank(word) for word in _words(text)))


def _rank(word: str) -> str:
    if word in _RANK_WORDS:
        return word
    try:
        return str(count(word))
    except argparse.ArgumentTypeError:
        message = f"{word!r} is not a rank. Write a number, or one of {', '.join(_RANK_WORDS)}."
        raise argparse.ArgumentTypeError(message) from None


def _words(text: str) -> tuple[str, ...]:
    """Words with commas between them.

    Raises:
        argparse.ArgumentTypeError: there is none.
    """
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing. Write names with commas between them.")
    return words
