"""The viewer of the published Runicorn 0.7.2: installed once, started as often as wanted.

It lives in a virtual environment of its own, kept in the user's cache folder, so that the package
under test and the published package, which share their name, never meet in one process.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import holds_within
from websocket_lines import WebSocketLines

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = "0.7.2"
START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
REQUEST_TIMEOUT_S = 60

_LISTENING = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")


def installed_viewer() -> Path:
    """Return the Python that has the published package, after installing it if need be.

    An environment counts only with its marker, which is written last: a killed build leaves none.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "runicorn-tests"
    caches.mkdir(parents=True, exist_ok=True)
    name = f"viewer-{VERSION}-py{sys.version_info.major}.{sys.version_info.minor}"
    environment = caches / name
    python = environment / "bin" / "python"
    marker = environment / "complete"
    with _locked(caches / f"{name}.lock"):
        if not (marker.is_file() and python.is_file()):
            for leftover in caches.glob(f"{name}.building-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            building = Path(tempfile.mkdtemp(prefix=f"{name}.building-", dir=caches))
            _run(sys.executable, "-I", "-m", "venv", str(building))
            _run(
                *(str(building / "bin" / "python"), "-I", "-m", "pip", "install"),
                *("--quiet", "--disable-pip-version-check", f"runicorn=={VERSION}"),
            )
            if environment.exists():
                shutil.rmtree(environment)
            building.rename(environment)
            marker.touch()
    return python


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(*command: str) -> None:
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{done.stdout}")


class Viewer:
    """A running viewer, seen through its HTTP and WebSocket API."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read(self, path: str) -> bytes:
        """Return the body of `GET /api<path>`."""
        url = f"http://127.0.0.1:{self.port}/api{path}"
        with self._opener.open(url, timeout=REQUEST_TIMEOUT_S) as response:
            body: bytes = response.read()
        return body

    def get(self, path: str) -> Any:
        """Return the JSON that `GET /api<path>` answers."""
        return json.loads(self.read(path))

    def send(self, method: str, path: str, content: object) -> Any:
        """Return the JSON that `<method> /api<path>` answers to a body of JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api{path}",
            data=json.dumps(content).encode("utf-8"),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with self._opener.open(request, timeout=REQUEST_TIMEOUT_S) as response:
            return json.load(response)

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return the rows of the list by run id; no run may have two."""
        rows = self.get("/runs")
        by_id = {row["id"]: row for row in rows}
        assert len(by_id) == len(rows), f"a run is listed twice: {rows}"
        return by_id

    def column(self, *names: str) -> dict[str, Any]:
        """Return some cells of the list by run id: the value of one name, or a tuple of several."""
        rows = self.runs()
        if len(names) == 1:
            return {run_id: row[names[0]] for run_id, row in rows.items()}
        return {run_id: tuple(row[name] for name in names) for run_id, row in rows.items()}

    def log_tab(self, run_id: str) -> closing[WebSocketLines]:
        """Open, for a `with` block, the stream that fills the logs tab of a run."""
        path = f"/api/runs/{run_id}/logs/ws"
        return closing(WebSocketLines(self.port, path, timeout_s=REQUEST_TIMEOUT_S))

    def output(self) -> str:
        """Return what the viewer has said on its terminal so far."""
        return self._log.read_text(encoding="utf-8")


@contextmanager
def open_viewer(python: Path, storage: Path, home: Path) -> Iterator[Viewer]:
    """Run the viewer over `storage`, with `home` in the place of the user's home directory.

    Port 0 lets the viewer take any free port, which it then names on its terminal.
    """
    home.mkdir()
    log = home / "viewer.txt"
    of_others = ("RUNICORN_", "PYTHON", "XDG_")
    environment = {name: os.environ[name] for name in os.environ if not name.startswith(of_others)}
    environment |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(str(python), "-I", "-u", "-m", "runicorn", "viewer", "--storage", str(storage)),
                *("--host", "127.0.0.1", "--port", "0"),
            ],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def is_up_or_gone() -> bool:
        return process.poll() is not None or bool(_LISTENING.search(log.read_text("utf-8")))

    try:
        holds_within(is_up_or_gone, START_TIMEOUT_S)
        said = log.read_text(encoding="utf-8")
        listening = _LISTENING.search(said)
        if listening is None or process.poll() is not None:
            raise RuntimeError(f"the viewer did not start (exit {process.poll()}):\n{said}")
        yield Viewer(int(listening[1]), log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the viewer as Ctrl-C would: it lets open log tabs go on that signal alone."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
