"""Sockets of viewers: what is in their place already, how long their path may be, and that their names go."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from support import wait_until

from runicorn import cli
from runicorn.viewer import address, sockets


@pytest.fixture
def folder():
    """A private folder whose path is short enough for a socket."""
    place = Path(os.environ["TMPDIR"]) / os.urandom(4).hex()
    place.mkdir(mode=0o700)
    yield place
    for each in place.iterdir():
        each.unlink()
    place.rmdir()


def dead(path):
    """The socket of a process that was killed."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    made.close()
    return path.lstat()


def test_a_socket_is_private_whatever_the_umask(folder):
    """A socket has mode 0600 under any umask, and accepts connections."""
    path = folder / "s"
    umask = os.umask(0)
    try:
        made = sockets.PrivateSocket(str(path))
    finally:
        os.umask(umask)
    with made:
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(path))
    assert not path.exists()


@pytest.mark.parametrize("state", ["listening", "bound", "dead"])
def test_a_socket_of_another_program_stays(folder, state):
    """A socket of another program is not changed, even if nobody listens; the error names its path."""
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        if state == "listening":
            other.listen()
        if state == "dead":
            other.close()
        before = path.lstat()
        with pytest.raises(FileExistsError, match="exists already") as caught:
            sockets.PrivateSocket(str(path))
        assert caught.value.filename == str(path)
        sockets.remove_left(str(path), None)
        assert path.lstat() == before
        if state == "bound":
            other.listen()
        if state != "dead":
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(path))


def test_only_what_a_viewer_has_noted_goes(folder):
    """The socket that a killed viewer has noted is removed; a later file with the same name or inode stays."""
    path = folder / "s"
    noted = sockets.PrivateSocket(str(path))
    noted.socket.close()  # as if it was killed
    device, inode, bound_ns = noted.identity
    for other in ((device, inode + 1, bound_ns), (device, inode, bound_ns + 1), (device + 1, inode, bound_ns)):
        sockets.remove_left(str(path), other)
        assert path.is_socket()
    sockets.remove_left(str(path), noted.identity)
    assert not path.exists()
    path.write_text("mine")
    sockets.remove_left(str(path), sockets._identity(path.lstat()))
    assert path.read_text() == "mine"


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo", "link to a dead socket"])
def test_what_is_no_socket_stays(folder, tmp_path, kind):
    """A file, a directory, a FIFO or a link in its place is an error, and is not changed."""
    path, target = folder / "s", tmp_path / "target"
    target.write_text("mine")
    if kind == "file":
        path.write_text("mine")
    elif kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        if kind != "link":
            dead(folder / "d")
        path.symlink_to(target if kind == "link" else folder / "d")
    before = path.lstat()
    with pytest.raises(FileExistsError):
        sockets.PrivateSocket(str(path))
    sockets.remove_left(str(path), (before.st_dev, before.st_ino, before.st_mtime_ns))
    assert path.lstat() == before
    assert target.read_text() == "mine"
    if kind == "directory":
        path.rmdir()


def test_its_name_goes_only_if_it_is_still_its(folder):
    """Somebody has put a file there meanwhile: that stays."""
    path = folder / "s"
    with sockets.PrivateSocket(str(path)):
        path.unlink()
        path.write_text("mine")
    assert path.read_text() == "mine"


def test_a_path_that_is_too_long_is_told(folder, storage, capsys):
    """Of 103 bytes it works; of 104 it is an error that says so, and no folder is made."""
    storage.mkdir()
    room = 103 - len(str(folder)) - 1
    with sockets.PrivateSocket(str(folder / ("s" * room))):
        pass
    long = folder / "é" / ("s" * room)
    assert cli.main(["viewer", "--storage", str(storage), "--no-open", "--socket", str(long)]) == 1
    assert "103 bytes" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_of_two_at_once_one_gets_the_path(folder, start_viewer):
    """Two viewers find the socket of a killed one: one replaces it, the other one says that the path is taken."""
    path = folder / "s"
    killed = start_viewer("--socket", path)
    killed.kill()
    killed.wait()
    first, second = (
        start_viewer("--socket", path, "--read-only", "--allow-host", name) for name in ("a.test", "b.test")
    )
    assert [bool(first.link), bool(second.link)] == [True, False]
    assert second.wait(timeout=60) == 1
    assert "exists already" in second.told.read_text()
    (entry,) = address.running()
    address.ask(entry, "POST", "/api/v1/stop")
    first.wait(timeout=60)


def test_a_viewer_takes_its_socket_with_it(folder, start_viewer):
    """The socket of ``--socket PATH`` goes with the viewer; its folder, which the user has named, stays."""
    path = folder / "s"
    viewer = start_viewer("--socket", path)
    assert path.is_socket()
    viewer.terminate()
    assert viewer.wait(timeout=60) == 0
    assert list(folder.iterdir()) == []


def test_the_socket_of_a_killed_viewer_goes_with_its_link(start_viewer, folder, monkeypatch, capsys):
    """After SIGKILL, the next ``--list`` removes the link and the socket, also one of ``--socket PATH``."""
    monkeypatch.setenv("RUNICORN_VIEWER_DIR", str(folder))
    for arguments in ((), (folder / "s",)):
        viewer = start_viewer("--socket", *arguments)
        (entry,) = address.running()
        viewer.kill()
        viewer.wait()
        assert os.path.exists(entry.socket)
        assert cli.main(["viewer", "--list"]) == 0
        assert capsys.readouterr().out == ""
        assert not os.path.exists(entry.socket)
    os.rmdir(address.folder())


def test_the_line_for_the_other_machine_names_it(start_viewer, folder):
    """User, host and socket stand in it, so that it can be copied; a colon and a blank are as ssh reads them."""
    (folder / "a b:c").mkdir(mode=0o700)
    viewer = start_viewer("--socket", folder / "a b:c" / "s", environment={"RUNICORN_HOSTNAME": "login7"})
    wait_until(lambda: "ssh -L" in viewer.told.read_text())
    assert f"""ssh -L '23300:{folder}/a b\\:c/s' """ in viewer.told.read_text()
    assert "@login7\n" in viewer.told.read_text()
    viewer.terminate()
    viewer.wait(timeout=60)
    (folder / "a b:c").rmdir()
