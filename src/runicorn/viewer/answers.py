"""Answers: JSON that every browser reads, and errors that say what happened and what to do."""

from __future__ import annotations

import gzip
import json
import math
import re
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.requests import Request

_LEAST_PACKED_BYTES = 1024
_DEEPEST = 60
_LEVEL = 4
_MOST_EXACT = 2**53
_ACCEPTS = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[0-9.]+\s*)?(?:,|$)", re.IGNORECASE)


class ProblemError(Exception):
    """A request that is answered with an error.

    Args:
        status: of the answer.
        what: what happened.
        hint: what to do.
    """

    def __init__(self, status: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.status = status
        self.what = what
        self.hint = hint


def encoded(value: Any) -> bytes:
    """A value as JSON: what is not finite as text, what is nested too deeply cut, half characters escaped."""
    try:
        text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError, TypeError):
        text = json.dumps(_plain(value, 0), allow_nan=False, separators=(",", ":"))
    return text.encode("ascii")


def plain_number(value: float) -> float | str:
    """A number, or the word for one that is not finite."""
    if isinstance(value, int) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def exact_integer(value: int) -> int | str:
    """An integer; text if JavaScript would change its digits, because its numbers are floats."""
    if abs(value) <= _MOST_EXACT:
        return value
    try:
        return str(value)
    except ValueError:  # more digits than Python prints
        return "(int)"


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) < 10**400 else "(a number of more digits than are shown)"
    if isinstance(value, float):
        return plain_number(value)
    if depth > _DEEPEST:
        return "..."
    if isinstance(value, dict):
        return {str(key): _plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each, depth + 1) for each in value]
    return str(value)


def answer(request: Request, value: Any, status: int = 200) -> Response:
    """A JSON answer, gzipped if it is large and the client takes that."""
    return packed(request, encoded(value), "application/json", status)


def packed(request: Request, content: bytes, kind: str, status: int = 200) -> Response:
    """An answer of bytes, gzipped if it is large and the client takes that."""
    headers = {"vary": "accept-encoding"}
    if len(content) >= _LEAST_PACKED_BYTES and accepts_gzip(request):
        content = gzip.compress(content, _LEVEL, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(content, status, headers, media_type=kind)


def accepts_gzip(request: Request) -> bool:
    """Whether the client takes a gzipped answer."""
    return _ACCEPTS.search(request.headers.get("accept-encoding", "")) is not None


def error_content(status: int, what: str, hint: str = "") -> bytes:
    """The content of an error."""
    return encoded({"error": {"status": status, "what": what, "hint": hint}})


def query_int(request: Request, name: str, default: int, least: int, most: int) -> int:
    """A whole number of the query, between bounds.

    Raises:
        ProblemError: it is none, or not between them.
    """
    text = request.query_params.get(name)
    if text is None or not text:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 20 and least <= int(text) <= most):
        raise ProblemError(400, f"{name}={text[:40]!r} is no whole number from {least} to {most}.")
    return int(text)


def query_flag(request: Request, name: str) -> bool:
    """Whether ``name=1`` is in the query."""
    return request.query_params.get(name, "") in {"1", "true", "yes"}
