"""Names as a file store of mlflow takes them: letters, digits, ``_-. :/``, and each is the path of a file."""

from __future__ import annotations

import hashlib
import re

_OTHER = re.compile(r"[^\w.\- :/]")
_LONGEST_BYTES, _LONGEST = 200, 250


class FileNames:
    """The names of the files in one folder: two names never become one, and no file is in the place of a directory.

    Args:
        names: all that will be asked for.

    Attributes:
        changed: how many are written otherwise.
    """

    def __init__(self, names: list[str]) -> None:
        self._new: dict[str, str] = {}
        self._files: set[str] = set()
        self._folders: set[str] = set()
        # The plain ones first: of two names that become the same, the one that is that keeps it. Of those the deep
        # ones first: a name that would be a file in the place of their folders gets a mark.
        for name in sorted(names, key=lambda name: (_plain(name) != name, -name.count("/"), name)):
            self._add(name)
        self.changed = sum(name != new for name, new in self._new.items())

    def __getitem__(self, name: str) -> str:
        return self._new[name]

    def _add(self, name: str) -> None:
        new = _plain(name)
        while self._is_taken(new):
            above = next((folder for folder in _folders(new) if folder in self._files), new)
            new = f"{above}_{new[len(above) :]}"
        self._new[name] = new
        self._files.add(new)
        self._folders.update(_folders(new))

    def _is_taken(self, new: str) -> bool:
        return new in self._files or new in self._folders or not self._files.isdisjoint(_folders(new))


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _plain(name: str) -> str:
    parts = [_OTHER.sub("_", part) for part in name.split("/")]
    plain = "/".join(_short(part) if part.strip(". ") else part.replace(".", "_") + "_" for part in parts if part)
    return _shortened(plain, _LONGEST) if plain else "_"


def _short(part: str) -> str:
    return part if len(part.encode()) <= _LONGEST_BYTES else _shortened(part, _LONGEST_BYTES // 4)


def _shortened(text: str, most: int) -> str:
    """Cut in the last part, and told from others by a hash."""
    if len(text) <= most:
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return f"{text[: most - 13].rstrip('/')}_{mark}"
