"""What the pages link to outside of ``docs/``: the results of the benchmarks, and their picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

BENCH = Path(__file__).resolve().parents[2] / "bench"
PAGES = {"results.md": "RESULTS.md", "peers.svg": "peers.svg"}


def on_files(files: Files, /, *, config: Any) -> Files:
    """Add each of them as a page or a file of the documentation."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, abs_src_path=str(BENCH / source)))
    return files


def on_page_markdown(markdown: str, /, **_: Any) -> str:
    """Point the links at them, which are those of the repository, at the pages."""
    return markdown.replace("](../bench/RESULTS.md", "](results.md")
