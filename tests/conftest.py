"""Fixtures of all tests: a storage of one's own, runs that are ended, and nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from support import WRITER, command_line, wait_until, without_waiting

import runicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEPT = {"RUNICORN_SHM_DIR", "RUNICORN_ACCELERATOR"}
LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
CLEAN_UP_S = 60.0
PROGRAM_S = 100.0

# Each of the workers of pytest, and of the hundreds of programs that tests start, would compile the same modules anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--share k/n``: every n-th test, from the k-th on; together the n shares are everything."""
    parser.addoption("--share", default="1/1", help="k/n: every n-th test, from the k-th on (default: all)")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep this session's share of the tests."""
    which, of = map(int, config.getoption("--share").split("/"))
    kept = items[which - 1 :: of]
    taken = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in taken])
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def signals_of_the_foreground() -> None:
    """Have programs that tests start get the default for signals that ``nohup``, or a shell's background, ignores.

    A handler is reset to the default by ``exec``; this process goes on surviving what it has ignored.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, _survive),
        (signal.SIGQUIT, _survive),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def _survive(_number: int, _frame: object) -> None:
    """Do nothing."""


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the session spool places of its own; at its end they are empty and no writer lives."""
    storages = tmp_path_factory.getbasetemp()
    memory = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path(tempfile.gettempdir())
    shared = Path(tempfile.mkdtemp(prefix="runicorn-tests-", dir=memory))
    temporary = Path(tempfile.mkdtemp(prefix="runicorn-tests-"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RUNICORN_SHM_DIR", str(shared))
        environment.setenv("TMPDIR", str(temporary))
        yield
    places = (shared, temporary)
    # Programs that were started without these variables used the places that everybody uses.
    common = (memory, Path(tempfile.gettempdir()))

    def left() -> list[str]:
        spools = [path for place in places for path in place.glob("runicorn-*")]
        spools += [
            path
            for place in common
            for path in place.glob(f"runicorn-{os.geteuid()}-*")
            if _storage_of(path).startswith(str(storages))
        ]
        told = [f"{path} of {_storage_of(path)} with {_names_in(path)}" for path in spools]
        return told + [str(process) for process in _writers_of((*places, *spools))]

    try:
        wait_until(lambda: not left(), CLEAN_UP_S)
    except AssertionError:
        pytest.fail("left behind by the tests: " + "; ".join(left()))
    finally:
        for process in _writers_of(places):
            process.kill()
        for place in places:
            shutil.rmtree(place, ignore_errors=True)


def _names_in(spool: Path) -> list[str]:
    try:
        return [f"{path.name} ({path.stat().st_size})" for path in sorted(spool.iterdir())]
    except OSError:  # it has just gone
        return []


def _storage_of(spool: Path) -> str:
    try:
        return str(json.loads((spool / "address.json").read_bytes())["storage"])
    except (OSError, ValueError, KeyError):
        return ""


def _writers_of(places: tuple[Path, ...]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        line = command_line(process)
        if any(WRITER in word for word in line) and any(
            word.startswith(str(place)) for word in line for place in places
        ):
            found.append(process)
    return found


@pytest.fixture(autouse=True)
def settings_of_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No setting of the user, of a launcher or of an earlier test reaches a test."""
    for name in list(os.environ):
        if (name.startswith("RUNICORN_") and name not in KEPT) or name in LAUNCHERS:
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-configuration"))
    monkeypatch.setenv("RUNICORN_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RUNICORN_SYSTEM_INTERVAL_S", "0")  # tests of it set it; in others the machine is no matter
    yield
    runicorn.reset_enabled()


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals raise."""
    monkeypatch.setenv("RUNICORN_STRICT", "1")


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A storage root that is not there yet."""
    return tmp_path / "storage"


@pytest.fixture
def open_run(storage: Path) -> Iterator[Callable[..., Any]]:
    """``init()`` in the test's storage; what is still open when the test ends is finished."""
    opened = []

    def open_one(**arguments: Any) -> Any:
        run = runicorn.init(**{"storage": str(storage), **arguments})
        opened.append(run)
        return run

    yield open_one
    for run in reversed(opened):
        if not run.is_finished:
            run.finish()


@pytest.fixture
def start_program(tmp_path: Path, storage: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a Python program that is given the storage as ``sys.argv[1]``; it does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        program = tmp_path / f"program_{len(started)}.py"
        program.write_text(source, encoding="utf-8")
        paths = [Path(runicorn.__file__).parents[1], Path(__file__).parent]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(
            [sys.executable, str(program), str(storage), *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            encoding="utf-8",
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


@pytest.fixture
def run_program(start_program: Callable[..., subprocess.Popen[str]]) -> Callable[..., Any]:
    """Run such a program to its end, which must be a good one unless `returncode` says otherwise.

    Its stderr is what it said but for what ``finish()`` waits for, which a slow machine is told.
    """

    def run(source: str, *arguments: object, returncode: int = 0) -> subprocess.CompletedProcess[str]:
        process = start_program(source, *arguments)
        out, err = process.communicate(timeout=PROGRAM_S)
        assert process.returncode == returncode, f"exit code {process.returncode}: {out}{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, without_waiting(err))

    return run
