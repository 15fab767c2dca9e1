"""``runicorn rm``: move runs into the recycle folder, restore them, or list what is in it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from runicorn.commands import render
from runicorn.commands.alias import say_trouble
from runicorn.commands.options import RUN_HELP, add_json, add_latest, add_storage, the_run
from runicorn.errors import WrongValueError
from runicorn.managing import deleted_marker, recycle_bin, targets
from runicorn.reading import plain_text
from runicorn.settings import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from runicorn.reading import RunInfo

HELP = "move runs into the recycle folder, or bring them back (--restore)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which runs, and which way."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help=RUN_HELP)
    add_latest(parser)
    parser.add_argument(
        "--restore", action="store_true", help="bring runs back; without RUN, list what is in the recycle folder"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add_storage(parser)
    parser.add_argument(
        "--force-other-host", action="store_true", help="move runs even if another host may have them open"
    )
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Move the runs, each for itself, and say what became of them."""
    settings = Settings.from_environment()
    if options.restore:
        if not options.runs:
            return _show(options)
        back = _once([recycle_bin.find_recycled(run, options.storage) for run in options.runs])
        return _each(options, back, lambda info: recycle_bin.restore(info, settings))
    if not options.runs:
        raise WrongValueError("no run is named. Nothing was moved. Write for example: runicorn rm RUN")
    going = _once([targets.find(the_run(run, options), options.storage) for run in options.runs])
    for info in going:  # before anything is asked, or moved
        recycle_bin.check_removable(info, settings, force=options.force_other_host)
    if not (options.yes or _says_yes(going)):
        print("runicorn rm: nothing was moved.", file=sys.stderr)
        return 1
    return _each(options, going, lambda info: recycle_bin.remove(info, settings, force=options.force_other_host))


def _once(infos: list[RunInfo]) -> list[RunInfo]:
    return list({info.run_dir: info for info in infos}.values())


def _says_yes(infos: list[RunInfo]) -> bool:
    if not sys.stdin.isatty():
        raise WrongValueError(
            "cannot ask for confirmation: the input is not a terminal. Nothing was moved. Add --yes to move "
            "without asking."
        )
    for info in infos:
        said = [info.id, info.path or "/", info.alias or "", info.status]
        print("  ".join(plain_text.plain(word) for word in said if word), file=sys.stderr)
    what = "this run" if len(infos) == 1 else f"these {len(infos)} runs"
    print(f"Move {what} into the recycle folder? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _each(options: argparse.Namespace, infos: list[RunInfo], move: Callable[[RunInfo], recycle_bin.Moved]) -> int:
    results: list[dict[str, Any]] = []
    for info in infos:
        try:
            moved = move(info)
        except (OSError, ValueError, LookupError) as error:
            results.append({"run": info.id, "moved": False, "run_dir": info.run_dir, "problem": str(error)})
            print(f"runicorn rm: {plain_text.plain(info.id)}: {plain_text.plain(str(error))}", file=sys.stderr)
            continue
        results.append({"run": info.id, "moved": True, "run_dir": moved.run_dir, "problem": moved.trouble})
        say_trouble("rm", moved.trouble)
        if not options.json:
            print(f"{plain_text.plain(info.id)}: {plain_text.plain(moved.run_dir)}")
    if options.json:
        render.emit(results)
    elif not options.restore and any(each["moved"] for each in results):
        print("Bring one back with: runicorn rm --restore RUN")
    return 0 if all(each["moved"] for each in results) else 1


def _show(options: argparse.Namespace) -> int:
    found = [(deleted_marker.deleted_at(info.run_dir), info) for info in recycle_bin.recycled(options.storage)]
    if options.json:
        render.emit(
            [
                {"run": info.id, "path": info.path, "alias": info.alias, "deleted_at": at, "run_dir": info.run_dir}
                for at, info in found
            ]
        )
    else:
        now = time.time()
        rows = [
            (info.id, info.path or "/", info.alias or "", render.age(None if at is None else now - at))
            for at, info in found
        ]
        render.table(("run", "path", "alias", "deleted"), rows, right=(3,))
    return 0
