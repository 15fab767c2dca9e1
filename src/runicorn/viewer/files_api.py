"""Downloads: a ticket for a file of a run's own lists, and one download for it, which no browser opens as a page."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from runicorn.reading.plain_files import DamagedError
from runicorn.storage.escaping import escape
from runicorn.viewer import image_heads
from runicorn.viewer.answers import ProblemError, answer
from runicorn.viewer.assets_api import asset_of, manifest_files, member_files
from runicorn.viewer.below import open_below, pieces, status_below
from runicorn.viewer.bodies import body_of
from runicorn.viewer.guard import TRUSTED
from runicorn.viewer.images_api import image_of
from runicorn.viewer.runs_api import sources_of
from runicorn.viewer.sending import PieceAnswer
from runicorn.viewer.state import Viewer, viewer_of
from runicorn.viewer.tickets import Offer, Sent
from runicorn.viewer.zip_members import ZipReader
from runicorn.viewer.zip_stream import planned_folder, zipped

if TYPE_CHECKING:
    from starlette.requests import Request

    from runicorn.viewer.changes import RunRow
    from runicorn.viewer.zip_stream import PlannedFile

_KINDS = ("asset", "member", "image", "log", "folder")
_LONGEST_NAME = 150
_UNFIT = re.compile(r"[^\w.+=@,()\[\] -]+")
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)", re.IGNORECASE)
_USED = "This link was used already, or is older than a minute."


class TicketWish(msgspec.Struct, forbid_unknown_fields=True):
    """What a ticket is asked for.

    Attributes:
        run: the key of the run.
        kind: ``asset``, ``member``, ``image``, ``log`` or ``folder``.
        number: of it in the run's list.
        member: of an asset, its number.
        name: that the list has there; the ticket is refused if there is another one by now.
    """

    run: str
    kind: str
    number: int = 0
    member: int | None = None
    name: str | None = None


async def tickets(request: Request) -> Response:
    """``POST tickets``."""
    body = await body_of(request)
    return await run_in_threadpool(_give, request, body)


def _give(request: Request, body: bytes) -> Response:
    viewer = viewer_of(request)
    try:
        wish = msgspec.json.decode(body, type=TicketWish)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"The body does not ask for a ticket: {error}") from error
    offers = {"asset": _asset, "member": _member, "image": _image, "log": _log, "folder": _folder}
    if wish.kind not in offers:
        raise ProblemError(400, f"{wish.kind[:40]!r} is not a kind of download. Write one of {', '.join(_KINDS)}.")
    row = viewer.row(wish.run)
    try:
        offer = offers[wish.kind](viewer, row, wish)
    except FileNotFoundError as error:
        raise ProblemError(404, "The file is not there.", "Load the page again.") from error
    except DamagedError as error:
        raise ProblemError(404, f"The file cannot be sent: {error}.") from error
    return answer(request, {"ticket": viewer.tickets.add(offer), "name": offer.name})


def file(request: Request) -> Response:
    """``GET files/{ticket}``."""
    viewer = viewer_of(request)
    ticket = request.path_params["ticket"]
    offer = viewer.tickets.take(ticket, keep=request.method == "HEAD")
    if offer is None:
        raise ProblemError(404, _USED, "Download it again from the page.")
    headers = {"content-disposition": _disposition(offer.name), "content-security-policy": "sandbox"}
    if request.method == "HEAD":
        return Response(headers=headers, media_type="application/octet-stream")
    request.scope[TRUSTED] = True  # who has the ticket has had the token
    return PieceAnswer(*offer.begin(), "application/octet-stream", headers)


def _asset(viewer: Viewer, row: RunRow, wish: TicketWish) -> Offer:
    asset = asset_of(viewer, row, wish.number)
    _check_name(wish.name, asset.name)
    base = os.path.basename(asset.name.rstrip("/")) or asset.name
    if asset.form is None:
        raise DamagedError(asset.reason or "the run has not kept it")
    if asset.form == "folder":
        return _of_folder(asset.top, asset.path, base)
    if asset.form == "manifest":
        return _of_files(manifest_files(asset), [], base)
    ending = ".zip" if asset.form == "zip" and not base.endswith(".zip") else ""
    own_name = os.path.basename(asset.path) if asset.kind in {"config", "environment"} else base + ending
    return _of_file(asset.top, asset.path, own_name)


def _member(viewer: Viewer, row: RunRow, wish: TicketWish) -> Offer:
    asset = asset_of(viewer, row, wish.number)
    number = -1 if wish.member is None else wish.member
    if asset.form == "zip":
        with ZipReader(open_below(asset.top, asset.path)) as archive:
            name = next((each.name for each in archive.members() if each.number == number), None)
            archive.check(number)
        _check_name(wish.name, name)
        identity = _identity(asset.top, asset.path)

        def begin() -> Sent:
            opened = _same_file(asset.top, asset.path, identity)
            try:
                return ZipReader(opened).unpacked(number)
            except DamagedError as error:
                opened.close()
                raise ProblemError(404, f"The file cannot be sent: {error}.") from error

        return Offer(_file_name(os.path.basename(name or "")), begin)
    files = member_files(asset)
    if not 0 <= number < len(files):
        raise DamagedError(f"it has no member with the number {number}")
    _check_name(wish.name, escape(files[number].name))
    return _of_file(files[number].top, files[number].path, os.path.basename(files[number].name))


def _image(viewer: Viewer, row: RunRow, wish: TicketWish) -> Offer:
    listed = image_of(viewer, row.key, str(wish.number))
    _check_name(wish.name, listed.key)
    with open_below(row.info.run_dir, listed.path) as opened:
        kind = image_heads.kind_of(opened.read(image_heads.HEAD_BYTES) or b"")
    step = "" if listed.step is None else f"_step{listed.step}"
    return _of_file(row.info.run_dir, listed.path, f"{listed.key}{step}.{kind.ending if kind else 'bin'}")


def _log(viewer: Viewer, row: RunRow, wish: TicketWish) -> Offer:
    del viewer
    sources = sources_of(row)
    if not 0 <= wish.number < len(sources):
        raise DamagedError(f"the run has no log with the number {wish.number}")
    name = sources[wish.number]["name"]
    _check_name(wish.name, name)
    return _of_file(row.info.run_dir, name, f"{row.info.id}_{name}")


def _folder(viewer: Viewer, row: RunRow, wish: TicketWish) -> Offer:
    del viewer, wish
    return _of_folder(row.info.run_dir, "", row.info.id)


def _of_file(top: str, path: str, name: str) -> Offer:
    identity = _identity(top, path)

    def begin() -> Sent:
        opened = _same_file(top, path, identity)
        size = os.fstat(opened.fileno()).st_size
        return pieces(opened, size), size

    return Offer(_file_name(name), begin)


def _of_folder(top: str, path: str, name: str) -> Offer:
    identity = _identity_of_folder(top, path)

    def begin() -> Sent:
        try:
            is_same = _identity_of_folder(top, path) == identity
        except (FileNotFoundError, DamagedError) as error:
            raise ProblemError(404, "The folder is not there any more.", "Load the page again.") from error
        if not is_same:
            raise ProblemError(404, "Another folder has taken its place since.", "Load the page again.")
        files, left_out = planned_folder(top, path)
        return zipped(files, left_out, _file_name(name)), None

    return Offer(_file_name(name) + ".zip", begin)


def _of_files(files: list[PlannedFile], left_out: list[str], name: str) -> Offer:
    def begin() -> Sent:
        return zipped(files, left_out, _file_name(name)), None

    return Offer(_file_name(name) + ".zip", begin)


def _identity(top: str, path: str) -> tuple[int, int]:
    with open_below(top, path) as opened:
        status = os.fstat(opened.fileno())
    return status.st_dev, status.st_ino


def _identity_of_folder(top: str, path: str) -> tuple[int, int]:
    status = status_below(top, path)
    if not stat.S_ISDIR(status.st_mode):
        raise DamagedError("it is no folder")
    return status.st_dev, status.st_ino


def _same_file(top: str, path: str, identity: tuple[int, int]) -> Any:
    """The file that a ticket was given for, opened again."""
    try:
        opened = open_below(top, path)
    except (FileNotFoundError, DamagedError) as error:
        raise ProblemError(404, "The file is not there any more.", "Load the page again.") from error
    status = os.fstat(opened.fileno())
    if (status.st_dev, status.st_ino) == identity:
        return opened
    opened.close()
    raise ProblemError(404, "Another file has taken its place since.", "Load the page again, and download that one.")


def _check_name(wanted: str | None, found: str | None) -> None:
    if wanted is not None and wanted != found:
        raise ProblemError(
            404, f"The list has changed: there is {(found or 'nothing')[:200]!r} now.", "Load the page again."
        )


def _file_name(name: str) -> str:
    """A name that every system takes as one of a file, and that no browser opens as something else."""
    text = _UNFIT.sub("_", name.encode("utf-8", "replace").decode()).strip(". ")
    stem, dot, ending = text.rpartition(".")
    text = (
        text
        if len(text) <= _LONGEST_NAME
        else f"{stem[: _LONGEST_NAME - len(ending) - 1]}{dot}{ending}"[:_LONGEST_NAME]
    )
    return f"_{text}" if not text or _RESERVED.match(text) else text


def _disposition(name: str) -> str:
    plain = "".join(c if c.isascii() else "_" for c in name)
    exact = quote(name, safe="")
    return f'attachment; filename="{plain}"' + ("" if plain == name else f"; filename*=UTF-8''{exact}")
