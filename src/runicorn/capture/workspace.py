"""The workspace: which of its files are code, to be archived with a run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from runicorn.capture import git_ignores, ignores
from runicorn.errors import WrongValueError
from runicorn.settings import KIB, MIB
from runicorn.validation import secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from runicorn.capture.ignores import Ignores, Rule

MAX_BYTES = 500 * MIB
MAX_FILES = 200_000

_NEVER = frozenset({".git"})
_NEVER_DIRECTORIES = frozenset(
    {
        ".hg",
        ".svn",
        ".venv",
        "__pycache__",
        ".idea",
        "node_modules",
        ".ipynb_checkpoints",
        ".mypy_cache",
        ".pytest_cache",
        ".ruff_cache",
        ".runicorn",
    }
)
_NAMED_IN_MESSAGE = 5
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Listing(NamedTuple):
    """What belongs into a snapshot, and what was left out without anybody having asked for it.

    Attributes:
        files: path relative to the root with ``/``, and size in bytes; sorted by path.
        total_bytes: of them all.
        skipped_secrets: files, and directories with ``/`` at the end, that look as if they held secrets.
        skipped_names: paths that are not UTF-8, with their odd bytes as backslash escapes.
        unreadable: directories that could not be listed.
    """

    files: list[tuple[str, int]]
    total_bytes: int
    skipped_secrets: list[str]
    skipped_names: list[str]
    unreadable: list[str]


def list_files(
    root: str,
    *,
    ignore_file: str = ".rnignore",
    extra_excludes: Iterable[str] = (),
    max_total_bytes: int = MAX_BYTES,
    max_files: int = MAX_FILES,
    force: bool = False,
    leave_out: Iterable[str] = (),
) -> Listing:
    """List the files of a workspace that belong into a snapshot.

    Left out are: what the ``.gitignore`` files exclude, of the workspace and of the repository around it, that
    repository's ``info/exclude``, and the user's ignore file; within a repository in the workspace its own rules count
    and not those around it; what ``.rnignore`` files exclude, which win over those; caches, virtual environments
    and what belongs to version control; secrets, unless a line of an ``.rnignore`` names them (``!.env``); symlinks
    and whatever is neither file nor directory. A file that git tracks although it is ignored is left out as well.

    Args:
        root: directory of the workspace.
        ignore_file: name of the ignore files beside git's.
        extra_excludes: lines that win over every ignore file's, relative to the root.
        max_total_bytes: limit of the sizes' sum.
        max_files: limit of the number.
        force: no limits.
        leave_out: paths of files and directories that are left out wherever they lie; they may be missing.

    Raises:
        ValueError: more than a limit allows, or the root is no directory that can be listed.
    """
    lister = _Lister(root, ignore_file, extra_excludes, leave_out)
    files: list[tuple[str, int]] = []
    total = 0
    for path, size in lister.walk():
        files.append((path, size))
        total += size
        if force:
            continue
        if len(files) > max_files:
            raise WrongValueError(_too_many(root, files, max_files, ignore_file))
        if total > max_total_bytes:
            raise WrongValueError(_too_large(root, files, max_total_bytes, ignore_file))
    files.sort()
    return Listing(
        files, total, sorted(lister.skipped_secrets), sorted(lister.skipped_names), sorted(lister.unreadable)
    )


class _Directory(NamedTuple):
    """A directory to be walked: its path, that from the root, that from the repository; what holds in it."""

    path: str
    relative: str
    full: str
    git: tuple[Ignores, ...]
    own: tuple[Ignores, ...]


class _Lister:
    """A walk; ``own`` are the rules of our ignore files, ``git`` those of git's, each with the deepest first."""

    def __init__(self, root: str, ignore_file: str, extra: Iterable[str], leave_out: Iterable[str]) -> None:
        self.skipped_secrets: list[str] = []
        self.skipped_names: list[str] = []
        self.unreadable: list[str] = []
        self._ignore_file = ignore_file
        self._left_out = dict(_identities(leave_out))
        prefix, around = _of_repository_around(root)
        self._extra = ignores.Ignores(map(ignores.as_bytes_text, extra), len(prefix))
        self._root = _Directory(os.path.abspath(root), "", prefix, around, ())

    def walk(self) -> Iterator[tuple[str, int]]:
        """The files with their sizes, in no order."""
        left = [self._root]
        while left:
            at = left.pop()
            if at.relative and os.path.lexists(os.path.join(at.path, "pyvenv.cfg")):
                continue
            if at.relative and git_ignores.git_directory(at.path) is not None:
                at = at._replace(git=git_ignores.outside_the_tree(at.path, len(at.full)))
            git = ignores.read(os.path.join(at.path, ".gitignore"), len(at.full))
            own = ignores.read(os.path.join(at.path, self._ignore_file), len(at.full))
            at = at._replace(git=(git, *at.git) if git else at.git, own=(own, *at.own) if own else at.own)
            try:
                with os.scandir(at.path) as entries:
                    for entry in entries:
                        found = self._examine(at, entry)
                        if isinstance(found, _Directory):
                            left.append(found)
                        elif found is not None:
                            yield found
            except OSError as error:
                if not at.relative:
                    raise WrongValueError(
                        f"init(): workspace_root={at.path!r} cannot be listed ({error.strerror}), so there is no code "
                        "to archive. No run was made. Write the directory of your code, or snapshot_code=False."
                    ) from error
                self.unreadable.append(at.relative)

    def _examine(self, at: _Directory, entry: os.DirEntry[str]) -> _Directory | tuple[str, int] | None:
        """A directory to be entered, a file with its size, or None for what is left out."""
        name = entry.name
        try:
            directory = entry.is_dir(follow_symlinks=False)
            if not directory and not entry.is_file(follow_symlinks=False):
                return None
            if _is_never_code(name, directory=directory) or self._is_left_out(entry):
                return None
            text = ignores.as_bytes_text(name)
            own = _first(at.own, at.full + text, text, directory=directory)
            if self._is_excluded(at, at.full + text, text, own, directory=directory):
                return None
            relative = at.relative + name
            if not name.isascii() and (told := _if_not_utf_8(relative)):
                self.skipped_names.append(told)
                return None
            if _is_secret(at, entry, directory=directory) and not (own and not own.excludes and own.explicit):
                self.skipped_secrets.append(relative + "/" * directory)
                return None
            if directory:
                return _Directory(entry.path, f"{relative}/", f"{at.full}{text}/", at.git, at.own)
            return relative, entry.stat(follow_symlinks=False).st_size
        except OSError:  # gone meanwhile
            return None

    def _is_excluded(self, at: _Directory, path: str, name: str, own: Rule | None, *, directory: bool) -> bool:
        extra = self._extra.rule(path, name, directory=directory)
        rule = extra or own or _first(at.git, path, name, directory=directory)
        return rule is not None and rule.excludes

    def _is_left_out(self, entry: os.DirEntry[str]) -> bool:
        device = self._left_out.get(entry.inode())
        return device is not None and entry.stat(follow_symlinks=False).st_dev == device


def _identities(paths: Iterable[str]) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:  # nothing there that could be archived
            continue
        yield found.st_ino, found.st_dev


def _of_repository_around(root: str) -> tuple[str, tuple[Ignores, ...]]:
    """The root's path in its repository, with ``/`` at the end, and what holds there for all of it, deepest first."""
    root = at = os.path.realpath(root)
    names: list[str] = []
    while git_ignores.git_directory(at) is None:
        parent, name = os.path.split(at)
        if parent == at:
            return "", git_ignores.outside_the_tree(root, 0)
        names.insert(0, ignores.as_bytes_text(name))
        at = parent
    found = [*reversed(git_ignores.outside_the_tree(at, 0))]
    prefix = ""
    for name in names:
        rules = ignores.read(os.path.join(at, ".gitignore"), len(prefix))
        found += [rules] if rules else []
        at = os.path.join(at, os.fsdecode(name.encode("latin-1")))
        prefix += f"{name}/"
    return prefix, tuple(reversed(found))


def _first(levels: tuple[Ignores, ...], path: str, name: str, *, directory: bool) -> Rule | None:
    for level in levels:
        rule = level.rule(path, name, directory=directory)
        if rule is not None:
            return rule
    return None


def _is_never_code(name: str, *, directory: bool) -> bool:
    if directory:
        return name in _NEVER or name in _NEVER_DIRECTORIES or name.endswith(".egg-info")
    return name in _NEVER or name.endswith(".pyc")


def _is_secret(at: _Directory, entry: os.DirEntry[str], *, directory: bool) -> bool:
    if directory:
        return entry.name.lower() in secrets.DIRECTORIES
    parent = at.relative.rstrip("/").rpartition("/")[2]
    if secrets.is_secret_file(parent, entry.name):
        return True
    return entry.name.lower().endswith(".json") and _is_service_account(entry.path)


def _is_service_account(path: str) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    except OSError:
        return False
    try:
        return b'"private_key"' in os.read(fd, 2 * KIB)
    except OSError:
        return False
    finally:
        os.close(fd)


def _if_not_utf_8(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path).decode("utf-8", "backslashreplace")
    return ""


def _too_many(root: str, files: list[tuple[str, int]], limit: int, ignore_file: str) -> str:
    most = _heaviest(files, lambda _: 1, lambda weight: f"{weight:,} files")
    return (
        f"code snapshot too large: too many files: more than {limit:,} in {root}, and that is the limit. "
        f"Most are in {most} (the search ended at the limit). {_way_out(ignore_file)}"
    )


def _too_large(root: str, files: list[tuple[str, int]], limit: int, ignore_file: str) -> str:
    most = _heaviest(files, lambda size: size, lambda weight: f"{weight / MIB:,.1f} MiB")
    total = sum(size for _, size in files)
    return (
        f"code snapshot too large: total bytes exceeded: {total / MIB:,.1f} MiB or more in {root}, and "
        f"the limit is {limit / MIB:,.1f} MiB. The largest are {most} (the search ended at the limit). "
        f"{_way_out(ignore_file)}"
    )


def _way_out(ignore_file: str) -> str:
    return (
        f"No run was made. Name what is not code in {ignore_file} in the workspace, for example in a line data/. "
        "To archive all of it, write force_snapshot=True, or runicorn run --force-code. To archive no code, write "
        "snapshot_code=False, or runicorn run --no-code."
    )


def _heaviest(files: list[tuple[str, int]], weigh: Callable[[int], int], tell: Callable[[int], str]) -> str:
    """The heaviest files and directories, none within another one."""
    weights: dict[str, int] = {}
    for path, size in files:
        weight = weigh(size)
        weights[path] = weight
        end = path.find("/") + 1
        while end:
            weights[path[:end]] = weights.get(path[:end], 0) + weight
            end = path.find("/", end) + 1
    # A directory whose weight is mostly that of one directory in it says less than that one does.
    passed = {
        directory
        for path, weight in weights.items()
        if (directory := path.rstrip("/").rpartition("/")[0] + "/") in weights and weight * 2 > weights[directory]
    }
    chosen: list[str] = []
    for path in sorted(weights.keys() - passed, key=lambda path: (-weights[path], path)):
        if not path.startswith(tuple(other for other in chosen if other.endswith("/"))):
            chosen.append(path)
        if len(chosen) == _NAMED_IN_MESSAGE:
            break
    return ", ".join(f"{path} ({tell(weights[path])})" for path in chosen)
