"""Ignore files: what the lines of one say of a path, as git reads them.

A path is asked for by itself, after the directories on its way: whoever walks does not enter an excluded one. So
"below an excluded directory nothing can be included again" is a fact of the walk, and a pattern only ever has to match
the path that it is asked for, never a directory above it.

Patterns are of bytes in git (``?`` is one byte of a name). Here both patterns and paths are those bytes as Latin-1.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_BOM = "\xef\xbb\xbf"


class Rule(NamedTuple):
    """One line.

    Attributes:
        excludes: False for a line that begins with ``!``.
        directories: it is of directories only.
        by_name: it is compared with the name alone, wherever that is.
        explicit: it names something, and is not only wildcards in its last part.
        slashes: how many a path has that it matches; None for any number.
        regex: what finds the path, or a path above it.
    """

    excludes: bool
    directories: bool
    by_name: bool
    explicit: bool
    slashes: int | None
    regex: re.Pattern[str]

    def matches(self, path: str, name: str, *, directory: bool) -> bool:
        """Whether the line is of this path, which is relative to the directory of the ignore file."""
        if self.directories and not directory:
            return False
        # In the expressions [!a] is a slash as well, in git it never is.
        if self.slashes is not None and path.count("/") != self.slashes:
            return False
        found = self.regex.search(name if self.by_name else path)
        # The only group of these expressions is the slash behind a directory above the path.
        return found is not None and found.lastgroup is None


class Ignores:
    """The rules of one ignore file; the last that matches is the one that counts."""

    def __init__(self, lines: Iterable[str], start: int) -> None:
        """Read the lines.

        Args:
            lines: of the file, as ``as_bytes_text``; those that git does not understand have no effect.
            start: where the part of a path begins that is relative to the file's directory.
        """
        self._start = start
        self._rules = _rules(lines)[::-1]
        self._names = _any_of([rule for rule in self._rules if rule.by_name])
        self._paths = _any_of([rule for rule in self._rules if not rule.by_name])

    def __bool__(self) -> bool:
        return bool(self._rules)

    def rule(self, path: str, name: str, *, directory: bool) -> Rule | None:
        """The rule that counts for a path, given as bytes text; None where no line is of it."""
        relative = path[self._start :]
        # Most names match nothing: one search for all rules instead of one for each.
        if not (self._names is not None and self._names.search(name)) and not (
            self._paths is not None and self._paths.search(relative)
        ):
            return None
        for rule in self._rules:
            if rule.matches(relative, name, directory=directory):
                return rule
        return None


def as_bytes_text(name: str) -> str:
    """A name as the characters that its bytes are in Latin-1."""
    return name if name.isascii() else os.fsencode(name).decode("latin-1")


def content(path: str, *, follow: bool) -> str | None:
    """The bytes of a regular file as Latin-1; None where it is not there, cannot be read, or is something else."""
    try:
        fd = os.open(path, _READ | (0 if follow else _NO_FOLLOW))
    except (OSError, ValueError):  # the second for a name that no system takes
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read().decode("latin-1")
    except OSError:
        return None
    finally:
        os.close(fd)


def read(path: str, start: int, *, follow: bool = False) -> Ignores | None:
    """The rules of an ignore file; None where it says nothing. git follows a symlink to one outside the tree only."""
    text = content(path, follow=follow)
    if not text:
        return None
    return Ignores((line.removesuffix("\r") for line in text.removeprefix(_BOM).split("\n")), start) or None


def _rules(lines: Iterable[str]) -> list[Rule]:
    understood = [parsed for line in lines if (parsed := _parsed(line)) is not None]
    regexes = _regexes([pattern for _, _, pattern in understood])
    rules = []
    for (excludes, directories, pattern), regex in zip(understood, regexes, strict=True):
        if regex is not None:
            by_name = "/" not in pattern
            explicit = any(letter.isalnum() for letter in pattern.rpartition("/")[2])
            slashes = None if by_name or "**" in pattern else pattern.removeprefix("/").count("/")
            rules.append(Rule(excludes, directories, by_name, explicit, slashes, regex))
    return rules


def _parsed(line: str) -> tuple[bool, bool, str] | None:
    """Whether a line excludes, whether it is of directories only, and its pattern; None for one without effect."""
    pattern = _trimmed(line)
    if not pattern or pattern.startswith("#"):
        return None
    excludes = not pattern.startswith("!")
    pattern = pattern if excludes else pattern[1:]
    directories = pattern.endswith("/")
    pattern = pattern[:-1] if directories else pattern
    if not pattern:
        return None
    # What is no comment, no negation and no blank end here must not become one in the library's eyes.
    if pattern[0] in "#!":
        pattern = "\\" + pattern
    if pattern[-1].isspace() and pattern[-2:-1] != "\\":
        pattern = f"{pattern[:-1]}[{pattern[-1]}]"
    return excludes, directories, pattern


def _trimmed(line: str) -> str:
    """Without the spaces at the end that no backslash protects."""
    at = end = 0
    while at < len(line):
        protected = line[at] == "\\"
        at += 2 if protected else 1
        if protected or line[at - 1] != " ":
            end = at
    return line[:end]


def _regexes(patterns: list[str]) -> list[re.Pattern[str] | None]:
    if not patterns:
        return []
    import pathspec  # only here: its import is as long as the rest of a listing

    try:
        compiled = list(pathspec.GitIgnoreSpec.from_lines(patterns).patterns)
    except (ValueError, re.error):
        # One of them is none that git knows: it matches nothing, and the others stay.
        return [None] if len(patterns) == 1 else [regex for pattern in patterns for regex in _regexes([pattern])]
    return [getattr(pattern, "regex", None) for pattern in compiled]


def _any_of(rules: list[Rule]) -> re.Pattern[str] | None:
    """What finds everything that one of the rules finds, and maybe more."""
    if not rules:
        return None
    unnamed = [re.sub(r"\(\?P<\w+>", "(?:", rule.regex.pattern) for rule in rules]
    return re.compile("|".join(f"(?:{pattern})" for pattern in unnamed))
