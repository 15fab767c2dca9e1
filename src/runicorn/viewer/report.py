"""A report: one file with the page and its data, which sends no request."""

from __future__ import annotations

import base64
import hashlib
import html
import os
from typing import TYPE_CHECKING, NamedTuple

from runicorn.viewer.answers import encoded
from runicorn.viewer.joined import whole_script
from runicorn.viewer.pages import FOLDER
from runicorn.viewer.report_contents import ReportContents, ReportWishes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runicorn.reading import RunInfo

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:image/svg+xml;base64,{icon}">
<style>{style}</style>
</head>
<body>
<div id="app"></div>
<noscript>This report needs JavaScript. Its own scripts draw it, and send no request. {told}</noscript>
<script type="application/json" id="report-data">{data}</script>
<script>{library}</script>
<script type="module">{script}</script>
</body>
</html>
"""


class Report(NamedTuple):
    """A report.

    Attributes:
        content: of the file.
        lines: what it is made of, and what is not in it, in words.
        figures: how much it is.
    """

    content: bytes
    lines: list[str]
    figures: dict[str, int]


def make_report(infos: Sequence[RunInfo], wishes: ReportWishes | None = None) -> Report:
    """Make the report of some runs.

    Args:
        infos: of the runs.
        wishes: what of them; None = what is in it by default.

    Raises:
        LookupError: no run has one of the metrics, ranks or stages in ``wishes``.
        OSError: a file of the page cannot be read.
    """
    contents = ReportContents(infos, wishes or ReportWishes())
    lines = contents.data["lines"]
    style = _file("vendor", "uPlot.min.css") + _file("style.css")
    library, script = _file("vendor", "uPlot.iife.min.js"), whole_script(FOLDER)
    page = _PAGE.format(
        policy=_policy([library, script], [style]),
        title=_escaped(_title(infos)),
        icon=base64.b64encode(_file("favicon.svg").encode()).decode("ascii"),
        style=style,
        told=_escaped(". ".join(lines)),
        data=encoded(contents.data).decode("ascii").replace("<", "\\u003c"),
        library=library,
        script=script,
    )
    return Report(page.encode("utf-8"), lines, contents.figures)


def _policy(scripts: list[str], styles: list[str]) -> str:
    """The policy: only these scripts run, and nothing is loaded from the network."""
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: list[str]) -> str:
    digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)


def _title(infos: Sequence[RunInfo]) -> str:
    names = [info.alias or info.id for info in infos[:3]]
    more = f" and {len(infos) - 3} more" if len(infos) > 3 else ""
    return f"{', '.join(names)}{more} · Runicorn report"


def _escaped(text: str) -> str:
    """Text for a page; half characters, which no encoding has, are replaced."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"))


def _file(*names: str) -> str:
    with open(os.path.join(FOLDER, *names), encoding="utf-8") as file:
        return file.read()
