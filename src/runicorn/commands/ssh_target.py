"""Where a viewer on another machine runs, as it is written: ``user@host:DIR`` or ``ssh://user@host:port/DIR``."""

from __future__ import annotations

import os
import re
import urllib.parse
from typing import NamedTuple

from runicorn.errors import WrongValueError
from runicorn.reading.plain_text import plain

_SCHEME = "ssh://"
_HOW = "Write HOST:DIR, USER@HOST:DIR or ssh://USER@HOST:PORT/DIR; a directory of this machine goes with --storage DIR."
_OTHER = re.compile(r"[A-Za-z]:[\\/]|[A-Za-z][A-Za-z0-9+.-]*://")
"""A path of Windows, and an address of something else."""
# No name of a host or user has these. ~/.ssh/config may hand the name to a shell, which would read more in it.
_SPECIAL = re.compile(r"""[\s'"`$\\;&<>|(){}\x00-\x1f\x7f]""")


class Target(NamedTuple):
    """A machine, and what to show there.

    Attributes:
        host: its name, for ssh: of the network, or of ``~/.ssh/config``.
        user: there; empty = as ssh decides.
        port: of ssh there; None = as ssh decides.
        storage: storage root there; empty = what commands there use.
    """

    host: str
    user: str
    port: int | None
    storage: str

    @property
    def login(self) -> str:
        """As ssh is told it."""
        return f"{self.user}@{self.host}" if self.user else self.host


def parse(text: str) -> Target:
    """Read what was written.

    Raises:
        WrongValueError: it names no other machine, or one that could be an option or a command.
    """
    if os.path.isdir(text):
        raise WrongValueError(
            f"{plain(text)!r} is a directory of this machine. To show it, write --storage DIR. "
            "If you mean another machine, write ssh://USER@HOST/DIR."
        )
    parts = _parts_of_address(text) if text.startswith(_SCHEME) else _parts(text)
    for name in (parts.host, re.sub(r"\\(?=.)", "", parts.user)):  # DOMAIN\user
        if name.startswith("-") or _SPECIAL.search(name):
            raise WrongValueError(f"{plain(name)!r} is not the name of a host or a user. {_HOW}")
    if not parts.host or "\0" in parts.storage:
        raise WrongValueError(f"{plain(text)!r} does not name a host. {_HOW}")
    return parts


def _parts(text: str) -> Target:
    """``[user@]host[:DIR]``; an address with colons stands in brackets."""
    found = re.fullmatch(r"(?:([^:/\[]*)@)?(?:\[([^\]]*)\]|([^:/@\[\]]*))(?::(.*))?", text, re.DOTALL)
    if found is None or (found[1] is None and found[4] is None) or _OTHER.match(text):
        raise WrongValueError(f"{plain(text)!r} does not name another machine. {_HOW}")
    user, bracketed, host, storage = found.groups()
    return Target(bracketed or host or "", user or "", None, storage or "")


def _parts_of_address(text: str) -> Target:
    """``ssh://[user@]host[:port][/DIR]``; the directory begins at the root, or with ``/~/`` at the user's home."""
    authority, slash, storage = text[len(_SCHEME) :].partition("/")
    user, _, place = authority.rpartition("@")
    found = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}))?", place)
    port = None if found is None or found[3] is None else int(found[3])
    if found is None or port == 0 or (port or 0) > 65_535:
        raise WrongValueError(f"{plain(text)!r} is not the address of a machine. {_HOW}")
    storage = urllib.parse.unquote(f"{slash}{storage}")
    storage = storage.removeprefix("/") if storage.startswith("/~") else storage
    return Target(found[1] or found[2] or "", urllib.parse.unquote(user), port, "" if storage == "/" else storage)
