"""The ``runicorn`` command."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 when it did what it says, 2 when it was called wrongly."""
    options = _parser().parse_args(arguments)
    if options.command == "demo":
        from runicorn import demo

        return demo.main(storage=options.storage, seconds=options.seconds, seed=options.seed)
    return _recover(options.storage)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runicorn", description="Experiment tracking that never waits.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="train a small language model for ten seconds, and log every step")
    demo.add_argument("--storage", help="storage root (default: RUNICORN_DIR, your configuration, ./.runicorn)")
    demo.add_argument("--seconds", type=float, default=10.0, help="how long to train (default: 10)")
    demo.add_argument("--seed", type=int, default=0, help="of the model and the data's order (default: 0)")
    recover = commands.add_parser("recover", help="store what runs whose processes are gone have left in memory")
    recover.add_argument("--storage", help="only runs of this storage root (default: all of this user and host)")
    return parser


def _recover(storage: str | None) -> int:
    import os

    from runicorn.settings import Settings
    from runicorn.writer.recover import recover

    settings = Settings.from_environment()
    root = os.path.abspath(os.path.expanduser(storage)) if storage else None
    found = recover(settings, root)
    for each in found:
        print(each.text())
    if not found:
        where = root or "any storage"
        print(f"Nothing to recover: no run of {where} on this host has left records behind.")
    return 0 if all(each.stored for each in found) else 1


class _Version(argparse.Action):
    """Prints the version; read from the installed package only when somebody asks."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: object) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        import runicorn

        print(runicorn.__version__)
        parser.exit(0)


if __name__ == "__main__":
    sys.exit(main())
