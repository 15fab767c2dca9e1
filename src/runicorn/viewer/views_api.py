"""Saved views of the table of runs: a name and a query each, in the first storage of the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from starlette.concurrency import run_in_threadpool

from runicorn.managing import saved_views
from runicorn.viewer.answers import answer
from runicorn.viewer.bodies import json_of
from runicorn.viewer.edits_api import tried, writing
from runicorn.viewer.state import viewer_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


class WantedView(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``PUT views/{name}``."""

    query: str


def views(request: Request) -> Response:
    """``GET views``."""
    storage = viewer_of(request).storages[0]
    found = tried(lambda: saved_views.listed(storage))
    return answer(request, {"views": [view._asdict() for view in found]})


async def save(request: Request) -> Response:
    """``PUT views/{name}``."""
    storage = writing(request).storages[0]
    query = (await json_of(request, WantedView)).query
    return await _answered(request, lambda name: saved_views.save(storage, name, query)._asdict())


async def remove(request: Request) -> Response:
    """``DELETE views/{name}``: what it was, so that it can be saved again."""
    storage = writing(request).storages[0]
    return await _answered(request, lambda name: saved_views.remove(storage, name)._asdict())


async def _answered(request: Request, change: Any) -> Response:
    name = request.path_params["name"]
    return await run_in_threadpool(lambda: answer(request, tried(lambda: change(name))))
