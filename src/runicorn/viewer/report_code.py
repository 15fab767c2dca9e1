"""The code of a run in a report: the members of its archives as text, as far as that is not too much."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import NotFoundError

if TYPE_CHECKING:
    from runicorn.viewer.inside import Inside

_MOST_MEMBERS = 2000
_MOST_CHARACTERS = 4 * 1024 * 1024
_LISTED = 20_000


class ReportCode(NamedTuple):
    """The code of a run that a report holds.

    Attributes:
        places: answers to the places that the page asks for.
        archives: how many archives of code the run has.
        left_out: how many files of them are not in it.
    """

    places: dict[str, Any]
    archives: int
    left_out: int


def report_code(inside: Inside, place: str) -> ReportCode:
    """Read the code.

    Args:
        inside: what is asked.
        place: of the run.
    """
    listed = [each for each in inside.ask(f"{place}/assets").value["assets"] if each["kind"] == "code"]
    places: dict[str, Any] = {f"{place}/assets": {"assets": listed}}
    left_out = 0
    for archive in listed:
        members = f"{place}/assets/{archive['number']}/members"
        try:
            found = inside.ask(f"{members}?limit={_LISTED}").value
        except NotFoundError:  # it is not there, or damaged: the list says so
            continue
        texts = _texts(inside, members, [member["number"] for member in found["members"]])
        left_out += found["count"] - len(texts)
        kept = [member for member in found["members"] if f"{members}/{member['number']}" in texts]
        places |= {members: {**found, "members": kept, "listed": len(kept)}, **texts}
    return ReportCode(places, len(listed), left_out)


def _texts(inside: Inside, place: str, numbers: list[int]) -> dict[str, Any]:
    """What is shown of members, by place, until that is too much."""
    texts: dict[str, Any] = {}
    characters = 0
    for number in numbers[:_MOST_MEMBERS]:
        try:
            shown = inside.ask(f"{place}/{number}").value
        except NotFoundError:
            continue
        characters += len(shown["text"] or "")
        if characters > _MOST_CHARACTERS:
            break
        texts[f"{place}/{number}"] = shown
    return texts
