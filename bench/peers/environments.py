"""A virtual environment for each tracker, in the user's cache folder, made when it is first asked for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

INSTALL_LIMIT_S = 900.0
BESIDE = ("numpy",)  # the training loop's


class MissingError(Exception):
    """The tracker cannot be installed here; the message is the reason, in one line."""


def interpreter(requirements: tuple[str, ...]) -> str:
    """A Python that has them; this one where there are none.

    Raises:
        MissingError: they cannot be installed here.
    """
    if not requirements:
        return sys.executable
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runicorn-bench"
    caches.mkdir(parents=True, exist_ok=True)
    environment = caches / "-".join(["peer", *requirements, f"py{sys.version_info.major}.{sys.version_info.minor}"])
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (environment / "complete").is_file():
        shutil.rmtree(environment, ignore_errors=True)
        print(f"peers: installing {', '.join(requirements)}", file=sys.stderr)
        _run([sys.executable, "-m", "venv", str(environment)])
        _run([str(python), "-m", "pip", "install", "--quiet", *requirements, *BESIDE])
        (environment / "complete").touch()  # last: an environment that was left half made has none
    return str(python)


def version(python: str, requirements: tuple[str, ...]) -> str:
    """The version of the first of them that is installed there; empty where there are none."""
    if not requirements:
        return ""
    ask = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
    name = re.split(r"[=\[]", requirements[0])[0]
    return subprocess.run([python, "-c", ask, name], check=True, capture_output=True, text=True).stdout.strip()


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise MissingError(f"could not be installed within {INSTALL_LIMIT_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("ERROR")] or [error.stderr[-300:]]
        raise MissingError(f"could not be installed: {lines[-1].removeprefix('ERROR: ')}") from None
