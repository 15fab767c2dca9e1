"""What a run was made of and has made, as its ``assets.json`` says, and where of that something lies on disk."""

from __future__ import annotations

import os
import re
import stat
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.reading.plain_files import DamagedError, read_object
from runicorn.storage import run_files
from runicorn.storage.escaping import escape
from runicorn.viewer.below import status_below

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_ASSETS = 5000
MOST_FILES = 1000
_LONGEST_TEXT = 2000
_LISTS = {"datasets": "dataset", "pretrained": "pretrained", "outputs": "output"}
_ABOUT = (
    *("context", "uri", "path_or_uri", "source_type", "path", "mode", "description", "workspace_root"),
    *("archived_at", "created_at", "left_out_count", "fingerprint_kind"),
)
_FOLDERS = {"blobs", "manifests", "outputs"}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HOSTS = re.compile(r"assets\.(.+)\.json")
_OUTSIDE = "it lies outside of the storage"


class KeptAsset(NamedTuple):
    """Something of a run.

    Attributes:
        kind: ``code``, ``config``, ``environment``, ``dataset``, ``pretrained``, ``output`` or ``file``.
        name: what it is called.
        saved: whether the run has kept it.
        sha256: of its content; None if that is not known.
        size: bytes; None if that is not known.
        files: how many files it has; None if it is one.
        about: more fields of its entry.
        form: of what lies on disk: ``file``, ``zip``, ``folder`` or ``manifest``; None if there is nothing.
        top: directory below which that is.
        path: of it there, as it is stored.
        reason: why there is nothing, though the run has kept it.
    """

    kind: str
    name: str
    saved: bool = True
    sha256: str | None = None
    size: int | None = None
    files: int | None = None
    about: dict[str, Any] = {}  # noqa: RUF012 - never changed
    form: str | None = None
    top: str = ""
    path: str = ""
    reason: str | None = None

    def document(self, number: int) -> dict[str, Any]:
        """What a page is told of it."""
        told = {name: value for name, value in self._asdict().items() if name not in {"top", "path", "size"}}
        return {"number": number, **told, "bytes": self.size}


def assets_of(storage: str, run_dir: str) -> list[KeptAsset]:
    """All of a run, in an order that does not change while outputs come."""
    found = [*_entries(storage, run_dir)][:MOST_ASSETS]
    return [*found, *_files_of(run_dir)]


def entries_of(run_dir: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and entry of each thing in the run's ``assets.json`` and in those of its other hosts."""
    for name in _assets_files(run_dir):
        try:
            content = read_object(run_dir, name)
        except DamagedError:
            continue
        code = content.get("code")
        if isinstance(code, dict) and isinstance(code.get("snapshot"), dict):
            yield "code", code["snapshot"]
        if isinstance(content.get("config"), dict) and set(content["config"]) - {"fingerprint"}:
            yield "config", {"saved": True, **content["config"], "file": name}
        for section, kind in _LISTS.items():
            listed = content.get(section)
            yield from ((kind, each) for each in (listed if isinstance(listed, list) else []) if isinstance(each, dict))


def count_of(run_dir: str) -> int:
    """How many there are beside the run's own files."""
    has_environment = os.path.lexists(os.path.join(run_dir, run_files.ENVIRONMENT))
    stamps = tuple(stamp_of_file(run_dir, name) for name in _assets_files(run_dir))
    return min(MOST_ASSETS, _entry_count(run_dir, stamps) + has_environment)


@lru_cache(256)
def _entry_count(run_dir: str, _stamps: tuple[Any, ...]) -> int:
    return sum(1 for _ in entries_of(run_dir))


def stamp_of_file(run_dir: str, name: str) -> tuple[int, int] | None:
    """What is another one if a file of a run has changed; None if it is not there."""
    try:
        status = os.stat(os.path.join(run_dir, name), follow_symlinks=False)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def sha256_of(entry: dict[str, Any]) -> str | None:
    """The hash of the content of an entry, also of one of Runicorn 0.7.2."""
    given = entry.get("sha256")
    if given is None and entry.get("fingerprint_kind") in {"sha256", "sha256_manifest"}:
        given = entry.get("fingerprint")
    found = given.partition("@")[0] if isinstance(given, str) else ""
    return found if _SHA256.fullmatch(found) else None


def name_of_entry(entry: dict[str, Any], kind: str) -> str:
    """What an entry is called."""
    for name in ("key", "name"):
        if isinstance(entry.get(name), str) and entry[name]:
            return escape(entry[name][:_LONGEST_TEXT])
    return {"code": "code", "config": "config"}.get(kind, "(without a name)")


def _assets_files(run_dir: str) -> list[str]:
    try:
        names = sorted(name for name in os.listdir(run_dir) if _HOSTS.fullmatch(name))
    except OSError:
        return []
    return [run_files.ASSETS, *names[:100]]


def _entries(storage: str, run_dir: str) -> Iterator[KeptAsset]:
    if os.path.lexists(os.path.join(run_dir, run_files.ENVIRONMENT)):
        yield _file_of(run_dir, run_files.ENVIRONMENT)._replace(kind="environment", name="environment")
    for kind, entry in entries_of(run_dir):
        if kind == "config":
            about = {"config_files": _text(entry.get("config_files"))} if entry.get("config_files") else {}
            yield _file_of(run_dir, entry["file"])._replace(kind=kind, name=kind, about=about)
        else:
            yield _asset(storage, run_dir, kind, entry)


def _asset(storage: str, run_dir: str, kind: str, entry: dict[str, Any]) -> KeptAsset:
    stat_of = entry.get("fingerprint")
    figures = {**(stat_of if isinstance(stat_of, dict) else {}), **entry}
    files = _whole(figures.get("file_count"))
    size = _whole(figures.get("size_bytes"))
    made = KeptAsset(
        kind,
        name_of_entry(entry, kind),
        entry.get("saved") is True,
        sha256_of(entry),
        _whole(figures.get("total_size_bytes")) if size is None else size,
        files,
        {name: _plain(entry[name]) for name in _ABOUT if name in entry and entry[name] is not None},
    )
    return _found(storage, run_dir, made, entry) if made.saved else made


def _found(storage: str, run_dir: str, asset: KeptAsset, entry: dict[str, Any]) -> KeptAsset:
    """An asset, with the place where it lies now: also of a storage that was moved, where paths are the old ones."""
    reason = "its file is not named"
    places = [(run_dir, run_files.CODE)] if asset.kind == "code" else []
    stored = entry.get("archive_path")
    if isinstance(stored, str):
        place = place_of(storage, run_dir, stored)
        reason = "its file is not there" if place else _OUTSIDE
        places += [place] if place else []
    for top, path in places:
        try:
            status = status_below(top, path)
        except FileNotFoundError:
            continue
        except DamagedError as error:
            reason = str(error)
        else:
            form = _form(asset, status, path)
            if form is None:
                reason = "it is a link, or no regular file"
                continue
            size = status.st_size if asset.size is None and form in {"file", "zip"} else asset.size
            return asset._replace(form=form, top=top, path=path, size=size)
    return asset._replace(reason=reason)


def place_of(storage: str, run_dir: str, stored: str) -> tuple[str, str] | None:
    """Below which directory a stored path lies: the run's, or the archive of its storage; None if it is elsewhere."""
    text = stored.replace("\\", "/") if os.sep == "/" else stored
    if text.startswith(run_dir.rstrip(os.sep) + os.sep):
        return run_dir, text
    parts = text.split("/")
    for at in reversed(range(len(parts) - 1)):
        if parts[at] == "archive" and parts[at + 1] in _FOLDERS:
            return os.path.realpath(storage), "/".join(parts[at:])
    return None


def _form(asset: KeptAsset, status: os.stat_result, path: str) -> str | None:
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    if not stat.S_ISREG(status.st_mode):
        return None
    if asset.kind == "code":
        return "zip"
    is_manifest = "/manifests/" in path and path.endswith(".json")
    return "manifest" if is_manifest and asset.about.get("fingerprint_kind") == "sha256_manifest" else "file"


def _files_of(run_dir: str) -> Iterator[KeptAsset]:
    """The run's own files, as they lie in its directory; hidden ones are left out."""
    try:
        with os.scandir(run_dir) as entries:
            names = sorted(each.name for each in entries if each.is_file(follow_symlinks=False))
    except OSError:
        return
    shown = [name for name in names if not name.startswith(".") and not name.endswith(".lock")]
    yield from (_file_of(run_dir, name) for name in shown[:MOST_FILES])


def _file_of(run_dir: str, name: str) -> KeptAsset:
    try:
        status = os.stat(os.path.join(run_dir, name), follow_symlinks=False)
    except OSError:
        return KeptAsset("file", escape(name), reason="its file is not there")
    if not stat.S_ISREG(status.st_mode):
        return KeptAsset("file", escape(name), reason="it is a link, or no regular file")
    return KeptAsset("file", escape(name), size=status.st_size, form="file", top=run_dir, path=name)


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**62 else None


def _plain(value: Any) -> Any:
    return value if type(value) in {int, float, bool} else _text(value)


def _text(value: Any) -> str:
    text = ", ".join(map(str, value[:100])) if isinstance(value, list) else str(value)
    return escape(text[:_LONGEST_TEXT])
