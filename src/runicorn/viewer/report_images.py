"""The images of a report: of each key some, evenly over its steps, the last one always."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import NotFoundError
from runicorn.viewer.inside import quoted

if TYPE_CHECKING:
    from runicorn.viewer.inside import Inside

_MOST_BYTES = 4 * 1024 * 1024
"""Of an image: a larger one is left out."""
_MOST_LISTED = 5000


class ReportImages(NamedTuple):
    """The images of a run that a report holds.

    Attributes:
        places: answers to the places that the page asks for.
        blobs: their bytes, by place.
        held: how many they are.
        left_out: how many images of the run are not in it.
    """

    places: dict[str, Any]
    blobs: dict[str, dict[str, str]]
    held: int
    left_out: int


def report_images(inside: Inside, place: str, most: int) -> ReportImages:
    """Choose images, and read them.

    Args:
        inside: what is asked.
        place: of the run.
        most: how many images it may be.
    """
    known = inside.ask(f"{place}/images").value
    chosen: dict[str, list[dict[str, Any]]] = {}
    blobs: dict[str, dict[str, str]] = {}
    keys = sorted(known["keys"][:most], key=lambda each: each["count"])  # what few have not used is for the others
    for number, key in enumerate(keys):
        share = (most - len(blobs)) // (len(keys) - number)
        for image in _chosen(_of_key(inside, place, key["key"]), share):
            blob = _blob(inside, f"{place}/images/{image['number']}")
            if blob is not None:
                blobs[f"{place}/images/{image['number']}"] = blob
                chosen.setdefault(key["key"], []).append(image)
    chosen = dict(sorted(chosen.items()))
    return ReportImages(_places(place, known, chosen), blobs, len(blobs), known["count"] - len(blobs))


def _of_key(inside: Inside, place: str, key: str) -> list[dict[str, Any]]:
    """Those of a key that can be shown."""
    asked = f"{place}/images?key={quoted(key)}&limit={_MOST_LISTED}"
    listed = inside.ask(asked).value["images"]
    return [each for each in listed if each["reason"] is None and (each["bytes"] or 0) <= _MOST_BYTES]


def _chosen(images: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """So many of them, evenly, with the last; with the first too, if they are two or more."""
    if len(images) <= count:
        return images
    if count == 1:
        return images[-1:]
    last = len(images) - 1
    return [images[round(number * last / (count - 1))] for number in range(count)]


def _blob(inside: Inside, place: str) -> dict[str, str] | None:
    try:
        answer = inside.ask(place)
    except NotFoundError:  # it went meanwhile
        return None
    return {"type": answer.kind, "data": base64.b64encode(answer.content).decode("ascii")}


def _places(place: str, known: dict[str, Any], chosen: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The lists that a page asks for: the keys, the images of each, and those at each step."""
    every = [image for images in chosen.values() for image in images]
    steps = sorted({image["step"] for image in every if image["step"] is not None})
    keys = [
        {"key": key, "count": len(images), "first_step": images[0]["step"], "last_step": images[-1]["step"]}
        for key, images in chosen.items()
    ]
    said = {"version": known["version"], "superseded": 0}
    places: dict[str, Any] = {f"{place}/images": {"keys": keys, "steps": steps, "count": len(every), **said}}
    lists = {f"key={quoted(key)}": images for key, images in chosen.items()}
    lists["at="] = [image for images in chosen.values() for image in _at(images, None)]
    for step in steps:
        lists[f"at={step}"] = [image for images in chosen.values() for image in _at(images, step)]
    for query, images in lists.items():
        places[f"{place}/images?{query}"] = {"images": images, "count": len(images), **said}
    return places


def _at(images: list[dict[str, Any]], step: int | None) -> list[dict[str, Any]]:
    """Those of the nearest step at or below one; of the last without a step."""
    before = [image for image in images if step is None or image["step"] is None or image["step"] <= step]
    return [image for image in before if image["step"] == before[-1]["step"]]
