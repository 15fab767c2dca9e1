"""The ignore rules of a git repository that lie outside its tree: its ``info/exclude``, and the file of the user.

git is asked for one thing only, the setting ``core.excludesFile``: the files that may hold it include one another.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from runicorn.capture import ignores

if TYPE_CHECKING:
    from runicorn.capture.ignores import Ignores

_GIT_S = 5.0
_GIT_FILE = "gitdir: "


def outside_the_tree(top: str, start: int) -> tuple[Ignores, ...]:
    """The rules for a whole repository, the strongest first.

    Args:
        top: directory of the repository, or one that belongs to none: then the user's file alone counts.
        start: where the part of a path begins that is relative to it.
    """
    directory = git_directory(top)
    exclude = os.path.join(_common(directory), "info", "exclude") if directory else ""
    found = [ignores.read(path, start, follow=True) for path in (exclude, _users_file(top)) if path]
    return tuple(rules for rules in found if rules)


def git_directory(top: str) -> str | None:
    """The git directory of a repository, by the directory or the file ``.git`` in it; None where git sees none."""
    at = os.path.join(top, ".git")
    if not os.path.lexists(at):
        return None
    if not os.path.isdir(at):
        said = ignores.content(at, follow=True) or ""
        if not said.startswith(_GIT_FILE):
            return None
        at = os.path.join(top, _as_path(said.removeprefix(_GIT_FILE)))
    common = _common(at)
    parts = (os.path.join(at, "HEAD"), os.path.join(common, "objects"), os.path.join(common, "refs"))
    return at if all(map(os.path.lexists, parts)) else None


def _common(directory: str) -> str:
    """What a worktree shares with the other ones; else the git directory itself."""
    said = ignores.content(os.path.join(directory, "commondir"), follow=True)
    return os.path.join(directory, _as_path(said)) if said else directory


def _as_path(said: str) -> str:
    return os.fsdecode(said.rstrip("\r\n").encode("latin-1"))


def _users_file(top: str) -> str:
    configured = _configured(top)
    if configured is not None:
        return os.path.join(top, configured)
    home = os.environ.get("HOME")
    settings = os.environ.get("XDG_CONFIG_HOME") or (os.path.join(home, ".config") if home else "")
    return os.path.join(settings, "git", "ignore") if settings else ""


def _configured(top: str) -> str | None:
    import shutil  # only here: with the next one it is as long as a listing
    import subprocess

    git = shutil.which("git")
    if git is None:
        return None
    command = [git, "-C", top, "config", "--null", "--type=path", "--get", "core.excludesFile"]
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return os.fsdecode(said.stdout.rstrip(b"\0")) if said.returncode == 0 else None
