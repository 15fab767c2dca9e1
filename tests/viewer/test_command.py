"""``runicorn viewer``: what it prints, where it listens, and what it does beside another one."""

from __future__ import annotations

import http.client
import os
import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from links import link_parts
from support import wait_until

import runicorn
from runicorn import cli
from runicorn.viewer import address

SOURCE = Path(runicorn.__file__).parents[1]


def test_the_link_is_the_first_line(start_viewer):
    """It is there while the process goes on, alone on its line, and what else is said goes to standard error."""
    viewer = start_viewer("--port", 0)
    port, token = link_parts(viewer.link)
    assert port > 0
    assert len(token) == 43
    (entry,) = address.running()
    assert (entry.link, entry.pid) == (viewer.link, viewer.pid)
    address.ask(entry, "POST", "/api/v1/stop")
    assert viewer.stdout.read() == ""
    assert viewer.wait(timeout=60) == 0


def test_a_port_that_is_taken_is_passed_over(start_viewer):
    """The next free one is taken, and it says so."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        viewer = start_viewer("--port", port)
        assert link_parts(viewer.link)[0] > port
        wait_until(lambda: f"Port {port} is taken" in viewer.told.read_text())


def test_a_second_one_gives_the_link_of_the_first(start_viewer, storage, capsys):
    """The same storage in the same way: its link, exit code 0, no second process; another way is another viewer."""
    first = start_viewer("--port", 0)
    wait_until(address.running)
    assert cli.main(["ui", "--storage", str(storage), "--no-open"]) == 0
    out, err = capsys.readouterr()
    assert out.strip() == first.link
    assert "already" in err
    other = start_viewer("--port", 0, "--read-only")
    assert other.link != first.link
    assert cli.main(["viewer", "--list"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {first.link, other.link}
    assert cli.main(["viewer", "--stop", "--storage", str(storage)]) == 0
    assert [each.wait(timeout=60) for each in (first, other)] == [0, 0]
    assert cli.main(["viewer", "--stop"]) == 1


def test_word_of_a_viewer_that_was_killed_goes(start_viewer, capsys):
    """After SIGKILL its file is passed over and removed; nothing is signalled by what stands in it."""
    viewer = start_viewer("--port", 0)
    viewer.kill()
    viewer.wait()
    assert len(list(address.entries())) == 1
    assert cli.main(["viewer", "--list"]) == 0
    assert capsys.readouterr().out == ""
    assert list(address.entries()) == []


def test_a_file_of_another_process_ends_nobody(tmp_path, capsys):
    """Word that names a living process that is no viewer: ``--stop`` asks nobody, and that process lives on."""
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address.write(address.Entry("127.0.0.1", port, "", "t" * 43, [str(tmp_path)], False, sleeper.pid, "1"))
    assert cli.main(["viewer", "--stop"]) == 1
    assert sleeper.poll() is None
    sleeper.communicate(b"\n")
    assert "No viewer" in capsys.readouterr().err


def test_it_ends_by_itself_when_nobody_asks(start_viewer):
    """``--idle-timeout``: without a request or an open page for so long it goes."""
    viewer = start_viewer("--port", 0, "--idle-timeout", "0.5")
    assert viewer.wait(timeout=60) == 0


def test_options_of_0_7_2_are_told_to_be_needless(start_viewer):
    """``--reload`` and ``--remote-mode`` are taken, and it says that they do nothing."""
    viewer = start_viewer("--port", 0, "--reload", "--remote-mode")
    link_parts(viewer.link)
    told = viewer.told.read_text()
    assert "--reload" in told
    assert "--remote-mode" in told


WITHOUT = """
import sys
sys.modules["starlette"] = None
from runicorn.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_without_its_packages_it_says_what_to_install(storage):
    """One line with the ``pip install`` that is missing, and exit code 1."""
    storage.mkdir()
    command = [sys.executable, "-c", WITHOUT, "viewer", "--storage", str(storage)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'runicorn[viewer]'" in done.stderr


def test_a_storage_that_is_not_there_is_named(tmp_path, capsys):
    """Exit code 1, with its path; nothing is made."""
    assert cli.main(["viewer", "--storage", str(tmp_path / "nowhere"), "--no-open"]) == 1
    assert str(tmp_path / "nowhere") in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_of_somebody_else_gets_no_link(monkeypatch, tmp_path):
    """Where the folder for links is a link, or others may enter it, nothing is written into it."""
    for number, mode in enumerate((0o755, 0o777, None)):
        place = tmp_path / f"place{number}"
        place.mkdir()
        monkeypatch.setenv("RUNICORN_VIEWER_DIR", str(place))
        folder = place / address._FOLDER
        if mode is None:
            folder.symlink_to(tmp_path)
        else:
            folder.mkdir()
            folder.chmod(mode)
        entry = address.Entry("127.0.0.1", 1, "", "t", [], False, 1, "1")
        with pytest.raises(OSError, match=r"place"):
            address.write(entry)
        assert list(address.entries()) == []


def test_the_opener_is_the_users_alone_and_leads_to_the_link():
    """``--open`` hands the browser a file of mode 0600, so that no arguments hold the token."""
    path = Path(address.write_opener("http://127.0.0.1:1/#t=</script><b>"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert "</script><b>" not in path.read_text().replace("</script>\n", "")
    address.remove(str(path))
    assert not path.exists()


def test_open_hands_the_browser_a_file_that_goes(start_viewer, tmp_path, storage):
    """The browser's arguments name a file; it leads to the link, and is gone when the viewer is."""
    seen, browser = tmp_path / "seen.txt", tmp_path / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$@" > {seen}.new\ncat "${{1#file://}}" >> {seen}.new\nmv {seen}.new {seen}\n')
    browser.chmod(0o755)
    viewer = start_viewer("--port", 0, "--open", environment={"BROWSER": f"{browser} %s"})
    wait_until(seen.exists)
    arguments, _, content = seen.read_text().partition("\n")
    _, token = link_parts(viewer.link)
    assert token not in arguments
    assert viewer.link in content
    cli.main(["viewer", "--stop", "--storage", str(storage)])
    viewer.wait(timeout=60)
    assert not [path for path in (tmp_path / "viewers").rglob("*") if path.is_file()]


@pytest.mark.parametrize("word", ["baseline", "20260101_120000_ab", "20260101_120000_abcdef"])
def test_run_is_the_page_that_the_link_leads_to(start_viewer, make_run, word):
    """``--run`` takes an alias, an id or its beginning; the link leads to that run's page, with the token."""
    make_run(meta={"alias": "baseline"})
    viewer = start_viewer("--port", 0, "--run", word)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/run/20260101_120000_abcdef#t=[\w-]+", viewer.link)
    again = start_viewer("--port", 0, "--run", word)
    assert again.link == viewer.link
    again.wait(timeout=60)
    assert "running already" in again.told.read_text()


def test_a_run_that_is_not_there_is_named(storage, make_run, capsys):
    """Exit code 1 with its name, and no viewer is started."""
    make_run()
    assert cli.main(["viewer", "--storage", str(storage), "--no-open", "--run", "nobody"]) == 1
    assert "nobody" in capsys.readouterr().err


def test_a_viewer_that_nobody_asks_does_nothing(start_program, make_run):
    """Its server has no clock that ticks: it waits for a request, or for its end by a signal."""
    make_run()
    viewer = start_program(
        "import sys, uvicorn\nfrom runicorn.cli import main\n"
        "async def tick(*_): print('tick', flush=True)\nuvicorn.Server.on_tick = tick\n"
        "sys.exit(main(['viewer', '--port', '0', '--no-open', '--storage', sys.argv[1]]))"
    )
    port, _ = link_parts(viewer.stdout.readline())
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    viewer.terminate()
    told, _ = viewer.communicate(timeout=60)
    assert told == ""


def test_nothing_else_imports_its_libraries():
    """Neither ``import runicorn`` nor any other command loads starlette or uvicorn."""
    program = (
        "import sys, runicorn, runicorn.reading, runicorn.cli; runicorn.cli.parser(); "
        "print([name for name in sys.modules if name.split('.')[0] in ('starlette', 'uvicorn', 'anyio')])"
    )
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_the_wheel_has_the_page(tmp_path):
    """Built without node, the wheel contains each file of the page that the checkout has."""
    root = SOURCE.parent
    build = "import sys; from hatchling.build import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True, timeout=120
    )
    static = SOURCE / "runicorn" / "viewer" / "static"
    expected = {str(path.relative_to(SOURCE)) for path in static.rglob("*") if path.is_file()}
    with zipfile.ZipFile(tmp_path / done.stdout.strip().splitlines()[-1]) as wheel:
        assert expected <= set(wheel.namelist())
    assert expected
