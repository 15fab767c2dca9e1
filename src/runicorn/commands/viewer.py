"""`runicorn viewer`: open a page on the runs of a storage; `runicorn ui` is the same.

`runicorn viewer USER@HOST:DIR` shows the runs of another machine, by ssh.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import sys
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from runicorn.commands.options import positive_s
from runicorn.errors import MissingPackageError, MissingPathError, WrongValueError
from runicorn.reading.plain_text import plain
from runicorn.storage import paths

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from runicorn.viewer import address, over_ssh
    from runicorn.viewer.state import Viewer

HELP = "show the runs of a storage in the browser"
_HOST, PORT = "127.0.0.1", 23300
_BROWSER_S = 5.0
"""How long a browser has to read the file that leads it to a viewer which runs already."""
_INSTALL = "The viewer needs two more packages: pip install 'runicorn[viewer]'"
_INTERRUPTED = 130
_LOCAL = {"127.0.0.1", "localhost", "::1"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is shown, where it listens, and what may be done."""
    parser.add_argument(
        "target",
        nargs="?",
        metavar="[USER@]HOST:[DIR]",
        help="show the storage DIR of another machine, by ssh; runicorn must be installed there too. Also "
        "USER@HOST, and ssh://USER@HOST:PORT/DIR. The viewer ends with the connection. For a directory of this "
        "machine, use --storage",
    )
    parser.add_argument("--remote-command", metavar="COMMAND", help="the command that starts runicorn there, such "
                        "as ~/venv/bin/runicorn; text for the shell there (default: RUNICORN_VIEWER_REMOTE_COMMAND, "
                        "runicorn)")  # fmt: skip
    parser.add_argument("--over-ssh", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--storage",
        action="append",
        metavar="DIR",
        help="storage root; may be repeated (default: RUNICORN_DIR, your configuration, ./.runicorn). With HOST:, a "
        "directory there",
    )
    parser.add_argument("--run", metavar="RUN", help="begin with the page of this run, instead of the list of all")
    parser.add_argument("--host", default=_HOST, help="address to listen at (default: 127.0.0.1); another one "
                        "needs --allow-host, and there is no encryption")  # fmt: skip
    parser.add_argument(
        "--port", type=_port, default=PORT, help=f"port, or the next one that is free (default: {PORT})"
    )
    parser.add_argument("--socket", nargs="?", const="", metavar="PATH", help="listen at a Unix socket that only you "
                        "can connect to, for ssh -L 23300:PATH; without PATH one is made")  # fmt: skip
    parser.add_argument("--open", action=argparse.BooleanOptionalAction, help="open the browser (default: if this "
                        "machine has one and you sit at a terminal)")  # fmt: skip
    parser.add_argument("--read-only", action="store_true", help="write nothing: lost runs are shown, but not ended")
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="answer requests to this "
                        "host name too, such as that of a proxy; may be repeated")  # fmt: skip
    parser.add_argument("--idle-timeout", type=positive_s, metavar="S", help="end after S seconds without an open page")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="print the links of your running viewers")
    what.add_argument(
        "--stop", action="store_true", help="end your running viewers; with --storage, only those of that storage"
    )
    parser.add_argument("--reload", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--remote-mode", nargs="?", const="", help=argparse.SUPPRESS)


def run(options: argparse.Namespace) -> int:
    """Show the page, until Ctrl-C."""
    if options.target is not None:
        return _show_far(options)
    if options.list or options.stop:
        return _list_or_stop(options)
    if options.remote_command is not None:
        raise WrongValueError(
            "--remote-command is for a viewer on another machine. Name that machine too, as USER@HOST:DIR."
        )
    if options.over_ssh:
        return _serve_over_ssh()
    if not _has_packages():
        print(_INSTALL, file=sys.stderr)
        return 1
    for option, given in (("--reload", options.reload), ("--remote-mode", options.remote_mode is not None)):
        if given:
            print(f"{option} of Runicorn 0.7.2 is not needed any more, and is ignored.", file=sys.stderr)
    storages = _storages(options.storage)
    if options.host not in _LOCAL and options.socket is None and not options.allow_host:
        raise WrongValueError(
            f"Other machines can reach --host {options.host}: add --allow-host NAME, with the host name that they use. "
            "There is no encryption; use --socket with ssh -L for that."
        )
    return _serve(options, storages)


def _has_packages() -> bool:
    try:
        import starlette  # noqa: F401 - whether it is there
        import uvicorn  # noqa: F401 - as above
    except ImportError:
        return False
    return True


def _show_far(options: argparse.Namespace) -> int:
    """Show the storage of another machine, until Ctrl-C."""
    from runicorn.commands import far_viewer, ssh_target
    from runicorn.viewer import ending, links

    for option, given in (
        ("--host", options.host != _HOST),
        ("--socket", options.socket is not None),
        ("--allow-host", options.allow_host),
        ("--list", options.list),
        ("--stop", options.stop),
    ):
        if given:
            raise WrongValueError(f"{option} does not go with another machine. Leave out {option} or {options.target}.")
    target = ssh_target.parse(options.target)
    request = far_viewer.new_request(
        far_viewer.free_port(options.port),
        [*filter(None, [target.storage]), *(options.storage or [])],
        run=options.run,
        read_only=options.read_only,
        idle_s=options.idle_timeout,
    )
    print(f"Starting a viewer on {target.login} by ssh.", file=sys.stderr, flush=True)
    status = _INTERRUPTED
    with ending.ended_by_signals(), far_viewer.FarViewer(target, request, options.remote_command or "") as far:
        link = far.entry.link_to(far.page)
        with links.published(far.entry), links.opened(link, opens=_opens(options)):
            links.say_link(link)
            status = 0  # from here on Ctrl-C is how it ends
            print(f"Showing {plain(', '.join(far.entry.storages))}. Ctrl-C ends it.", file=sys.stderr, flush=True)
            far.wait()
            print(f"The viewer on {target.login} has ended.", file=sys.stderr)
    return status


def _serve_over_ssh() -> int:
    """Be the far end of that: what to show comes by the standard input, and the token goes by the standard output."""
    from runicorn.viewer import over_ssh

    answers = os.dup(1)
    os.dup2(2, 1)  # what else is printed is for people
    request = over_ssh.read_request(0)
    if request is None:
        return 1
    try:
        if not _has_packages():
            raise MissingPackageError(_INSTALL)
        _serve_request(request, answers)
    except (LookupError, OSError, ValueError, ImportError) as error:
        over_ssh.write_reply(answers, over_ssh.failed(request, error))
        return 1
    return 0


def _serve_request(request: over_ssh.Request, answers: int) -> None:
    from runicorn.viewer import address, ending, links, over_ssh, serving, sockets
    from runicorn.viewer.state import Viewer

    address.forget_killed()
    storages = _storages(request.storages)
    page = "" if request.run is None else _page_of(request.run, storages)
    viewer = Viewer(storages, read_only=request.read_only)
    with ending.ended_by_signals(), sockets.PrivateSocket(request.socket) as made:
        entry = serving.entry_of(viewer, bound=("", request.port), private=made, over_ssh=True)
        with links.published(entry):
            over_ssh.write_reply(answers, over_ssh.ready(request, entry, page))
            gone = partial(over_ssh.wait_for_silence, 0, request.silence_s)
            serving.serve(viewer, made.socket, idle_s=request.idle_s, until=gone)
    with suppress(OSError):  # the near end may be gone
        over_ssh.write_reply(answers, over_ssh.Reply(request.socket, ended=True))


def _serve(options: argparse.Namespace, storages: list[str]) -> int:
    from runicorn.viewer import ending, links, serving
    from runicorn.viewer.state import Viewer

    page = "" if options.run is None else _page_of(options.run, storages)
    there = _running_already(options, storages)
    if there is not None:
        with links.opened(there.link_to(page), opens=_opens(options), lasts_s=_BROWSER_S):
            links.say_link(there.link_to(page))
            print("It was running already.", file=sys.stderr)
        return 0
    viewer = Viewer(storages, read_only=options.read_only, allowed=options.allow_host)
    with ending.ended_by_signals(), _listening(options, viewer) as (made, entry), links.published(entry):
        links.say_link(entry.link_to(page))
        _say_where(options, entry)
        with links.opened(entry.link_to(page), opens=_opens(options)):
            serving.serve(viewer, made, idle_s=options.idle_timeout)
    return 0


@contextmanager
def _listening(options: argparse.Namespace, viewer: Viewer) -> Iterator[tuple[socket.socket, address.Entry]]:
    """What it listens at, and what others find it by."""
    from runicorn.viewer import address, serving, sockets

    if options.socket is None:
        made, port = address.bind(options.host, options.port)
        yield made, serving.entry_of(viewer, bound=(options.host, port))
        return
    address.forget_killed()  # a killed viewer may have left its socket at this path
    path = options.socket or os.path.join(address.folder(), f"viewer-{os.urandom(8).hex()}.sock")
    with sockets.PrivateSocket(path) as private:
        yield private.socket, serving.entry_of(viewer, private=private)


def _page_of(run: str, storages: list[str]) -> str:
    """The page of a run, from the first storage that has it.

    Raises:
        LookupError: none has, or the word stands for several.
    """
    from runicorn.reading.listing import find
    from runicorn.viewer.changes import plain_key

    for storage in storages[:-1]:
        with suppress(LookupError):
            return f"run/{plain_key(find(run, storage))}"
    return f"run/{plain_key(find(run, storages[-1]))}"


def _say_where(options: argparse.Namespace, entry: address.Entry) -> None:
    """What a person should know beside the link: on standard error, which scripts do not read."""
    shown = ", ".join(entry.storages)
    print(f"Showing {shown}. Ctrl-C ends it.", file=sys.stderr, flush=True)
    if entry.socket:
        print(f"It listens at {entry.socket}. On your machine: {_ssh_line(entry.socket)}", file=sys.stderr)
    elif options.port not in {0, entry.port}:
        print(f"Port {options.port} is taken: it listens at {entry.port}.", file=sys.stderr)
    if not entry.socket and entry.host not in _LOCAL:
        print("Other machines can reach it, and there is no TLS: what is sent can be read on the way.", file=sys.stderr)
    sys.stderr.flush()


def _ssh_line(path: str) -> str:
    """The command that leads from another machine to a socket here; ssh takes a colon for the end of a name."""
    from runicorn.host import identity

    escaped = path.replace("\\", "\\\\").replace(":", "\\:")
    return shlex.join(["ssh", "-L", f"{PORT}:{escaped}", f"{getpass.getuser()}@{identity.hostname()}"])


def _running_already(options: argparse.Namespace, storages: list[str]) -> address.Entry | None:
    """A viewer of mine that shows just that, in the same way."""
    from runicorn.viewer import address

    if options.idle_timeout is not None or options.allow_host:
        return None
    for entry in address.running():
        way = bool(entry.socket) == (options.socket is not None) and (entry.socket or entry.host == options.host)
        if entry.storages == storages and entry.read_only == options.read_only and way and not entry.over_ssh:
            return entry
    return None


def _list_or_stop(options: argparse.Namespace) -> int:
    from runicorn.viewer import address

    wanted = None if options.storage is None else _storages(options.storage)
    found = [entry for entry in address.running() if wanted is None or entry.storages == wanted]
    if not found:
        print("No viewer of yours is running" + ("." if wanted is None else " on that storage."), file=sys.stderr)
        return 0 if options.list else 1
    for entry in found:
        if options.stop:
            address.ask(entry, "POST", "/api/v1/stop")
            print(f"Ended the viewer of {', '.join(entry.storages)}.")
        else:
            print(f"{entry.link}  {entry.socket or ''} {', '.join(entry.storages)}".replace("   ", "  "))
    return 0


def _storages(given: list[str] | None) -> list[str]:
    roots = [paths.storage_root(each) for each in given] if given else [paths.storage_root(None)]
    for root in roots:
        if not os.path.isdir(root):
            raise MissingPathError(
                f"No storage in {root}: there is no such directory. Name another with --storage DIR or RUNICORN_DIR."
            )
    return list(dict.fromkeys(roots))


def _opens(options: argparse.Namespace) -> bool:
    from runicorn.viewer import links

    opens: bool | None = options.open
    return links.has_display() and sys.stdout.isatty() if opens is None else opens


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65_536):
        raise argparse.ArgumentTypeError(f"{text!r} is no port. Write a number from 0 to 65535.")
    return int(text)
