"""The ``runicorn`` command: finds the module of a command and calls it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = (
    "demo",
    "run",
    "ls",
    "show",
    "tail",
    "plot",
    "compare",
    "export",
    "import",
    "alias",
    "tag",
    "note",
    "rm",
    "recover",
    "doctor",
    "viewer",
    "report",
    "ui",
)
_MODULES = {"ui": "viewer", "import": "import_"}
"""Commands whose module has another name."""
_NEWLINE = "\n"
DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it did what it says, 1 when it could not (there is no such run, nothing can be written), 2 when it was
        called wrongly, 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    # A stream that was closed (`>&-`) is None, or refuses what is written: nobody wants to see it.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115 - as above
    # Only the module of the command that is named: the others would take longer to import than most commands to run.
    options = parser(given[:1] if given[:1] and given[0] in COMMANDS else COMMANDS).parse_args(given)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal of few characters lacks must not end us
    try:
        status: int = options.run_command(options)
        sys.stdout.flush()  # here, where a reader that is gone is known as that
    except BrokenPipeError:  # `runicorn ls | head`: nobody is left to be told, nor by the interpreter's own last flush
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except ValueError as error:
        return _say(options.command, error, MISUSED)
    except (LookupError, OSError, ImportError) as error:
        return _say(options.command, error, FAILED)
    return status


def _say(command: str, error: Exception, status: int) -> int:
    from runicorn.reading.plain_text import plain

    # str() of a KeyError is the repr of its text.
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
    print(f"runicorn {command}: {plain(text, keep=_NEWLINE)}", file=sys.stderr)
    return status


def parser(names: Sequence[str] = COMMANDS) -> argparse.ArgumentParser:
    """The parser of these commands; of all of them, what generators of shell completions ask for."""
    parser = argparse.ArgumentParser(prog="runicorn", description="Experiment tracking that never waits.")
    parser.add_argument("--version", action=_Version)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in names:
        module = import_module(f"runicorn.commands.{_MODULES.get(name, name)}")
        command = commands.add_parser(name, help=module.HELP, description=(module.__doc__ or "").replace("`", ""))
        module.add_arguments(command)
        command.set_defaults(run_command=module.run)
    return parser


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
