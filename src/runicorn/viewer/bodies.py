"""The body of a request, as far as it is not too large and does not take too long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import msgspec

from runicorn.viewer import limits
from runicorn.viewer.answers import ProblemError

if TYPE_CHECKING:
    from starlette.requests import Request

Decoded = TypeVar("Decoded")
_JSON = "application/json"


async def json_of(request: Request, kind: type[Decoded]) -> Decoded:
    """The body as what is expected; no form of another page sends one of this type.

    Raises:
        ProblemError: it is something else.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != _JSON:
        raise ProblemError(400, f"The body is of the type {given[:60]!r}.", f"Send JSON, as {_JSON}.")
    content = await body_of(request)
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, f"The body is not what was expected: {error}", "See docs/viewer-api.md.") from error


async def body_of(request: Request) -> bytes:
    """The whole body.

    Raises:
        ProblemError: it is larger than 1 MiB, takes longer than ten seconds, or is packed.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise ProblemError(400, "The body is packed.", "Send it as it is.")
    try:
        return await asyncio.wait_for(_read(request), limits.BODY_S)
    except asyncio.TimeoutError:
        raise ProblemError(400, f"The body has not come within {limits.BODY_S:.0f} s.") from None


async def _read(request: Request) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > limits.BODY_BYTES:
            raise ProblemError(413, f"The body is larger than {limits.BODY_BYTES:,} bytes.", "Ask for less at once.")
    return bytes(content)
