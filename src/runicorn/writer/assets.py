"""``assets.json``: what a run was made of and what it has made, in the form of Runicorn 0.7.2.

The viewer of 0.7.2 takes two entries with one fingerprint for one asset, fails to insert the second, and locks up
over that. So every ``fingerprint`` here is one of its kind: it names the run and the entry beside the content. The
plain SHA-256 stands under ``sha256``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from runicorn.storage import run_files
from runicorn.writer.configuration import Configuration

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.queue.records import Config

_SAME = {
    "datasets": ("name", "context", "uri", "sha256", "file_count", "total_size_bytes", "size_bytes", "mtime"),
    "pretrained": ("name", "path_or_uri", "sha256", "file_count", "total_size_bytes", "size_bytes", "mtime"),
    "outputs": ("key", "sha256", "size_bytes", "mtime"),
}
"""Entries that agree in all of these are the same one, recorded twice."""


class Assets:
    """The content of the file.

    Args:
        run_id: the run's id.
        read: gives what is in the file already; asked once, when it is first needed.

    Attributes:
        changed: whether it has to be written.
    """

    def __init__(self, run_id: str, read: Callable[[], dict[str, Any]]) -> None:
        self._run_id = run_id
        self._read = read
        self._content: dict[str, Any] | None = None
        self._configuration: Configuration | None = None
        self._known: dict[str, set[bytes]] = {}
        self.changed = False

    @property
    def content(self) -> dict[str, Any]:
        """All of it."""
        if self._content is None:
            self._content = {**run_files.EMPTY_ASSETS, **self._read()}
        return self._content

    def update_config(self, record: Config, producer: str) -> None:
        """Replace top-level keys of the configuration, or add to them."""
        if self._configuration is None:
            self._configuration = Configuration(self._dict("config"))
        self.content["config"] = {**self._configuration.enter(record, producer), "fingerprint": self._run_id}
        self.changed = True

    def set_code(self, snapshot: dict[str, Any]) -> None:
        """The one code snapshot."""
        self._dict("code")["snapshot"] = self._with_fingerprint("code", snapshot)
        self.changed = True

    def add(self, section: str, entry: dict[str, Any]) -> None:
        """An entry of a list; where it is there already, it stays once."""
        entries = self._list(section)
        if section == "outputs":
            # A version that was there before and has come back is a version again.
            same = [each for each in entries if (each.get("key"), each.get("mode")) == (entry["key"], entry["mode"])]
            if same and _identity(section, same[-1]) == _identity(section, entry):
                return
            if entry["mode"] == "rolling":
                entries[:] = [each for each in entries if each not in same]
            key = f"{section}/{entry['key']}/{len(same)}"
        else:
            known = self._known.setdefault(section, {_identity(section, each) for each in entries})
            if (identity := _identity(section, entry)) in known:
                return
            known.add(identity)
            key = f"{section}/{len(entries)}"
        entries.append(self._with_fingerprint(key, entry))
        self.changed = True

    def _with_fingerprint(self, key: str, entry: dict[str, Any]) -> dict[str, Any]:
        unique = f"{self._run_id}/{key}"
        if entry.get("sha256"):
            return {**entry, "fingerprint": f"{entry['sha256']}@{unique}"}
        if isinstance(entry.get("fingerprint"), dict):
            return {**entry, "fingerprint": {**entry["fingerprint"], "run": unique}}
        return entry

    def _dict(self, section: str) -> dict[str, Any]:
        found = self.content.get(section)
        if not isinstance(found, dict):
            found = self.content[section] = {}
        return found

    def _list(self, section: str) -> list[dict[str, Any]]:
        found = self.content.get(section)
        if not isinstance(found, list):
            found = self.content[section] = []
        return found


def _identity(section: str, entry: Any) -> bytes:
    """What makes an entry that entry."""
    return msgspec.json.encode([_field(entry, name) for name in _SAME[section]] if isinstance(entry, dict) else None)


def _field(entry: dict[str, Any], name: str) -> Any:
    """A field of an entry, or of its fingerprint where that is an object."""
    if name in entry:
        return entry[name]
    fingerprint = entry.get("fingerprint")
    return fingerprint.get(name) if isinstance(fingerprint, dict) else None
