"""The assets of a run, the members of its archives, and the other runs with the same content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runicorn.reading.plain_files import DamagedError
from runicorn.storage.escaping import escape
from runicorn.storage.plain_json import UnfitFileError, object_in
from runicorn.viewer.answers import ProblemError, answer, query_int
from runicorn.viewer.below import open_below
from runicorn.viewer.kept_assets import KeptAsset, assets_of
from runicorn.viewer.state import Viewer, viewer_of
from runicorn.viewer.zip_members import MOST_MEMBERS, ZipReader
from runicorn.viewer.zip_stream import PlannedFile, planned_folder

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from runicorn.viewer.changes import RunRow

_FARTHEST = 2**62
_LISTED = 2000


def assets(request: Request) -> Response:
    """``GET runs/{key}/assets``."""
    viewer = viewer_of(request)
    row = viewer.row(request.path_params["key"])
    listed = [each.document(number) for number, each in enumerate(_all_of(viewer, row))]
    return answer(request, {"assets": listed})


def users(request: Request) -> Response:
    """``GET runs/{key}/assets/users``."""
    viewer = viewer_of(request)
    row = viewer.row(request.path_params["key"])
    viewer.table.refresh()
    rows = viewer.table.rows()
    left = viewer.content_users.read(rows)
    hashes = {each.sha256 for each in _all_of(viewer, row) if each.sha256 is not None}
    found = viewer.content_users.others(rows, row, hashes)
    return answer(request, {"users": found, "runs": len(rows), "left": left})


def members(request: Request) -> Response:
    """``GET runs/{key}/assets/{number}/members``."""
    asset = _asset_in(request)
    offset = query_int(request, "offset", 0, 0, _FARTHEST)
    limit = query_int(request, "limit", _LISTED, 1, MOST_MEMBERS)
    try:
        listed, count = _members_of(asset)
    except FileNotFoundError as error:
        raise ProblemError(404, "The file is not there.") from error
    except DamagedError as error:
        raise ProblemError(404, f"Its members cannot be listed: {error}.") from error
    content = {"members": listed[offset : offset + limit], "listed": len(listed), "count": count, "form": asset.form}
    return answer(request, content)


def member(request: Request) -> Response:
    """``GET runs/{key}/assets/{number}/members/{member}``."""
    asset = _asset_in(request)
    number = _whole_number(request.path_params["member"])
    if asset.form != "zip":
        raise ProblemError(404, "Only members of a ZIP archive are shown as text.", "Download the asset.")
    try:
        with ZipReader(open_below(asset.top, asset.path)) as archive:
            shown = archive.shown(number)
    except FileNotFoundError as error:
        raise ProblemError(404, "The file is not there.") from error
    except DamagedError as error:
        raise ProblemError(404, f"The member cannot be shown: {error}.") from error
    return answer(request, shown)


def asset_of(viewer: Viewer, row: RunRow, number: int) -> KeptAsset:
    """The asset of a number.

    Raises:
        ProblemError: the run has none.
    """
    found = _all_of(viewer, row)
    if not 0 <= number < len(found):
        raise ProblemError(404, f"The run has no asset with the number {number}: it has {len(found)} assets.")
    return found[number]


def member_files(asset: KeptAsset) -> list[PlannedFile]:
    """The files of an asset that is a folder.

    Raises:
        DamagedError: it is none, or cannot be read.
    """
    if asset.form == "folder":
        return planned_folder(asset.top, asset.path)[0]
    return manifest_files(asset)


def manifest_files(asset: KeptAsset) -> list[PlannedFile]:
    """The files that a manifest of Runicorn 0.7.2 names; their contents lie in the archive by their hashes.

    Raises:
        DamagedError: there is none, or it cannot be read.
    """
    files = []
    for name, entry in _manifest_of(asset).items():
        sha256 = entry.get("sha256") if isinstance(entry, dict) else None
        if isinstance(sha256, str) and sha256.isalnum() and sha256.isascii():
            files.append(PlannedFile(str(name), asset.top, f"archive/blobs/{sha256[:2]}/{sha256}"))
    return files


def _manifest_of(asset: KeptAsset) -> dict[str, Any]:
    if asset.form != "manifest":
        raise DamagedError(asset.reason or "it has no members")
    with open_below(asset.top, asset.path) as file:
        try:
            found = object_in(file.fileno()).get("files")
        except (OSError, UnfitFileError) as error:
            raise DamagedError(f"its manifest cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def _members_of(asset: KeptAsset) -> tuple[list[dict[str, Any]], int]:
    """Members as a page is told of them, and how many there are."""
    if asset.form == "zip":
        with ZipReader(open_below(asset.top, asset.path)) as archive:
            return [each.document() for each in archive.members()], archive.count
    if asset.form == "folder":
        files, left_out = planned_folder(asset.top, asset.path)
        told = [_document(number, each.name, each.size) for number, each in enumerate(files[:MOST_MEMBERS])]
        return told, len(files) + len(left_out)
    entries = _manifest_of(asset)
    sizes = {name: each.get("size_bytes") for name, each in entries.items() if isinstance(each, dict)}
    files = manifest_files(asset)
    told = [_document(number, each.name, sizes.get(each.name)) for number, each in enumerate(files[:MOST_MEMBERS])]
    return told, len(entries)


def _document(number: int, name: str, size: Any) -> dict[str, Any]:
    size = size if type(size) is int else None
    return {"number": number, "name": escape(name), "bytes": size, "packed": None, "reason": None, "remark": None}


def _all_of(viewer: Viewer, row: RunRow) -> list[KeptAsset]:
    return assets_of(viewer.storages[row.cells["storage"]], row.info.run_dir)


def _asset_in(request: Request) -> KeptAsset:
    viewer = viewer_of(request)
    row = viewer.row(request.path_params["key"])
    return asset_of(viewer, row, _whole_number(request.path_params["number"]))


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ProblemError(404, f"{text[:40]!r} is not a number in the list.")
    return int(text)
