"""The app: every route in one table, and how what goes wrong is answered."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from runicorn.viewer import (
    assets_api,
    compare_api,
    curves_api,
    edits_api,
    files_api,
    images_api,
    live_api,
    pages,
    runs_api,
    text_api,
    views_api,
)
from runicorn.viewer.answers import ProblemError, answer, error_content
from runicorn.viewer.guard import Guard
from runicorn.viewer.state import Viewer, viewer_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.types import ASGIApp

_API = "/api/v1"
_logger = logging.getLogger("runicorn.viewer")


async def stop(request: Request) -> Response:
    """``POST stop``: the viewer ends."""
    viewer = viewer_of(request)
    viewer.stop()
    return await run_in_threadpool(answer, request, {"stopping": True})


_GET, _POST = ["GET"], ["POST"]
_PATCH, _PUT, _DELETE = ["PATCH"], ["PUT"], ["DELETE"]
ROUTES = [
    *(Route(path, pages.index, methods=_GET) for path in pages.ADDRESSES),
    Route("/favicon.ico", pages.favicon, methods=_GET),
    Route("/static/{name}", pages.static, methods=_GET),
    Route("/static/{folder}/{name}", pages.static, methods=_GET),
    Route(f"{_API}/server", runs_api.server, methods=_GET),
    Route(f"{_API}/runs", runs_api.runs, methods=_GET),
    Route(f"{_API}/runs/columns", runs_api.run_columns, methods=_GET),
    Route(f"{_API}/runs/deleted", edits_api.deleted, methods=_GET),
    Route(f"{_API}/runs/delete", edits_api.delete, methods=_POST),
    Route(f"{_API}/runs/restore", edits_api.restore, methods=_POST),
    Route(f"{_API}/runs/tags", edits_api.tag, methods=_POST),
    Route(f"{_API}/runs/{{key}}", runs_api.run, methods=_GET),
    Route(f"{_API}/runs/{{key}}", edits_api.edit, methods=_PATCH),
    Route(f"{_API}/runs/{{key}}/metrics", runs_api.metrics, methods=_GET),
    Route(f"{_API}/runs/{{key}}/config", runs_api.config, methods=_GET),
    Route(f"{_API}/runs/{{key}}/summary", runs_api.summary, methods=_GET),
    Route(f"{_API}/runs/{{key}}/environment", runs_api.environment, methods=_GET),
    Route(f"{_API}/runs/{{key}}/problems", runs_api.problems, methods=_GET),
    Route(f"{_API}/runs/{{key}}/logs", text_api.logs, methods=_GET),
    Route(f"{_API}/runs/{{key}}/logs/search", text_api.search, methods=_GET),
    Route(f"{_API}/compare", compare_api.compare, methods=_GET),
    Route(f"{_API}/compare/metrics", compare_api.compare_metrics, methods=_GET),
    Route(f"{_API}/compare/code", compare_api.compare_code, methods=_GET),
    Route(f"{_API}/runs/{{key}}/images", images_api.images, methods=_GET),
    Route(f"{_API}/runs/{{key}}/images/{{number}}", images_api.image, methods=_GET),
    Route(f"{_API}/runs/{{key}}/assets", assets_api.assets, methods=_GET),
    Route(f"{_API}/runs/{{key}}/assets/users", assets_api.users, methods=_GET),
    Route(f"{_API}/runs/{{key}}/assets/{{number}}/members", assets_api.members, methods=_GET),
    Route(f"{_API}/runs/{{key}}/assets/{{number}}/members/{{member}}", assets_api.member, methods=_GET),
    Route(f"{_API}/tickets", files_api.tickets, methods=_POST),
    Route(f"{_API}/files/{{ticket}}", files_api.file, methods=_GET),
    Route(f"{_API}/curves", curves_api.curves, methods=_POST),
    Route(f"{_API}/views", views_api.views, methods=_GET),
    Route(f"{_API}/views/{{name}}", views_api.save, methods=_PUT),
    Route(f"{_API}/views/{{name}}", views_api.remove, methods=_DELETE),
    Route(f"{_API}/problems", runs_api.all_problems, methods=_GET),
    Route(f"{_API}/live", live_api.live, methods=_GET),
    Route(f"{_API}/stop", stop, methods=_POST),
]


def make_app(viewer: Viewer) -> ASGIApp:
    """The app of a viewer, behind its guard."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        viewer.checker.start()
        try:
            yield
        finally:
            viewer.close()

    handlers: dict[Any, Any] = {ProblemError: _problem, HTTPException: _http_error, Exception: _fault}
    app = Starlette(routes=ROUTES, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.state.viewer = viewer
    return Guard(app, viewer.token, viewer.allowed)


def _problem(_request: Request, problem: Exception) -> Response:
    assert isinstance(problem, ProblemError)
    content = error_content(problem.status, problem.what, problem.hint)
    return Response(content, problem.status, media_type="application/json")


def _http_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    what = "There is nothing at this address." if error.status_code == 404 else str(error.detail)
    content = error_content(error.status_code, what)
    return Response(content, error.status_code, error.headers, media_type="application/json")


def _fault(request: Request, error: Exception) -> Response:
    _logger.error("%s %s: %s: %s", request.method, request.url.path, type(error).__name__, error, exc_info=error)
    what = f"The viewer has failed at this: {type(error).__name__}."
    content = error_content(
        500, what, "What it was stands where the viewer was started. The run's files are untouched."
    )
    return Response(content, 500, media_type="application/json")
