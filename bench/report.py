r"""Write ``RESULTS.md`` from the JSON files that the benchmarks' ``--json`` wrote into a directory.

::

    mkdir figures
    python bench/cold_call.py --json --parts > figures/cold_call.json    # --against CHECKOUT: beside an older one
    python bench/log_latency.py --json --parts > figures/log_latency.json
    for name in throughput many_processes startup switched_off gpu_scalars console images outputs system readers \
            importing frameworks syscalls chaos soak; do
        python bench/$name.py --json > figures/$name.json
    done
    python bench/read.py --peers --json > figures/read.json
    python bench/viewer.py --published --json > figures/viewer.json
    python bench/peers --json > figures/peers.json
    python bench/peers/plot.py figures/peers.json > bench/peers.svg
    python bench/report.py figures > bench/RESULTS.md

With ``--keep bench/RESULTS.md`` the sections of that document stay for which there are no new figures; each says of
which code it is.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re

import harness

ORDER = (
    *("cold_call", "log_latency", "peers", "throughput", "many_processes", "startup", "switched_off"),
    *("gpu_scalars", "console", "images", "outputs", "system", "frameworks", "read", "readers", "importing", "viewer"),
    *("syscalls", "chaos", "soak"),
)
PLOTS = {"peers": "![What a call costs, and what a SIGKILL leaves](peers.svg)"}

HEADER = """# Results

Written by `python bench/report.py DIRECTORY` from what the benchmarks printed with `--json`; nothing here is typed by
hand. Times on a shared machine move from run to run, so compare ratios within one table. "Met" and "missed" compare
with the target in the same row. The floor is what any tracker must do: read the clock, encode the record."""


def read_results(directory: pathlib.Path) -> list[dict]:
    """Read the results that are there, in the order of the questions."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(directory.glob("*.json"))]
    names = [result["benchmark"] for result in found]
    return sorted(found, key=lambda result: _rank(result["benchmark"], names))


def _rank(name: str, names: list[str]) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER) + names.index(name)


def section(result: dict) -> str:
    """A result, and the plot that was drawn of it."""
    return "\n\n".join([harness.as_markdown(result), *filter(None, [PLOTS.get(result["benchmark"])])])


def kept_sections(document: str) -> dict[str, str]:
    """The sections of an earlier document, by their benchmark."""
    sections = re.split(r"\n\n(?=## )", document.strip())[1:]
    commands = [re.search(r"^`python bench/(\w+)", text, re.MULTILINE) for text in sections]
    return {found[1]: text for found, text in zip(commands, sections, strict=True) if found}


def main() -> None:
    """Print the document."""
    parser = argparse.ArgumentParser(description="RESULTS.md from the benchmarks' JSON")
    parser.add_argument("directory", type=pathlib.Path, help="where the JSON files are")
    parser.add_argument("--keep", type=pathlib.Path, metavar="FILE", help="an earlier document, for the other sections")
    arguments = parser.parse_args()
    kept = kept_sections(arguments.keep.read_text(encoding="utf-8")) if arguments.keep else {}
    sections = kept | {result["benchmark"]: section(result) for result in read_results(arguments.directory)}
    print("\n\n".join([HEADER, *(sections[name] for name in sorted(sections, key=lambda name: _rank(name, [name])))]))


if __name__ == "__main__":
    main()
