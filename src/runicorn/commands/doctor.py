"""``runicorn doctor``: check this machine and storage; suggest fixes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runicorn import doctor
from runicorn.commands import render
from runicorn.commands.options import add_json, add_storage
from runicorn.reading import plain_text

if TYPE_CHECKING:
    import argparse

HELP = "check this machine and storage; suggest fixes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The storage alone."""
    add_storage(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print each finding as it comes; 1 where something is broken."""
    findings = []
    for finding in doctor.diagnose(options.storage):
        findings.append(finding)
        if not options.json:
            mark = "BROKEN" if finding.status == doctor.BROKEN else finding.status
            print(f"{mark:6}  {finding.name:16}  {plain_text.plain(finding.text)}", flush=True)
            if finding.advice:
                print(f"{'':26}{plain_text.plain(finding.advice)}", flush=True)
    is_well = all(finding.status != doctor.BROKEN for finding in findings)
    if options.json:
        render.emit({"ok": is_well, "findings": [_plain(finding) for finding in findings]})
    return 0 if is_well else 1


def _plain(finding: doctor.Finding) -> dict[str, object]:
    return {**finding._asdict(), "details": dict(finding.details)}
