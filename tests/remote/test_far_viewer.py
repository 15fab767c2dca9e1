"""``runicorn viewer USER@HOST:DIR`` by the real ssh and a real sshd: what it shows, and what it says if it cannot."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from far import HOST, PATIENCE_S, SOURCE, USER, ask, entry_of
from support import wait_until

from runicorn.viewer import address, over_ssh


def test_the_runs_of_another_machine_are_shown(far_viewer, far_storage, sshd):
    """The first line is a link to a port of this machine, which leads to the viewer there and its runs."""
    near = far_viewer(f"{USER}@{HOST}:{far_storage}")
    server = ask(near.link, "server")
    assert server["storages"][0]["root"] == str(far_storage)
    assert server["pid"] in [each.pid for each in sshd.sessions()]
    assert ask(near.link, "runs")["columns"]["alias"] == ["baseline"]
    wait_until(lambda: f"Showing {USER}@{HOST}:{far_storage}. Ctrl-C ends it." in near.said())


def test_the_socket_there_is_the_users_alone(far_viewer, far_storage):
    """It has mode 0600 in a folder of mode 0700, and no port is opened there."""
    near = far_viewer(f"{USER}@{HOST}:{far_storage}")
    far = psutil.Process(ask(near.link, "server")["pid"])
    (listening,) = {each.laddr for each in far.net_connections("unix") if each.laddr.startswith("/tmp/runicorn-ssh-")}
    assert os.stat(listening).st_mode & 0o777 == 0o600
    assert os.stat(os.path.dirname(listening)).st_mode & 0o777 == 0o700
    assert not far.net_connections("inet")


def test_the_token_is_in_no_list_of_processes_and_in_no_file_that_others_can_read(far_viewer, far_storage, sshd):
    """Neither end, nor ssh, has it in its arguments or environment; nor the directory that is shown."""
    near = far_viewer(f"{USER}@{HOST}:{far_storage}")
    token = near.link.partition("#t=")[2]
    far = psutil.Process(ask(near.link, "server")["pid"])
    for process in (psutil.Process(near.process.pid), near.ssh, *sshd.sessions()):
        arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert token.encode() not in arguments + Path(f"/proc/{process.pid}/environ").read_bytes()
    assert str(far_storage) not in " ".join(far.cmdline())
    folders = (sshd.folder, near.links)
    holding = [each for folder in folders for each in folder.rglob("*.json") if token.encode() in each.read_bytes()]
    assert [each.stat().st_mode & 0o777 for each in holding] == [0o600, 0o600]


NAMES = [
    *("$(touch pwned)\n; touch 'pwned' `touch pwned`", "a b", "it's", 'a"b', "a\nb", "; touch pwned", "& touch pwned"),
    *("-rf", "é ü", "a\\b", "%h!x*?", "~", "#", "{a,b}", " "),
]


def test_a_directory_of_any_name_is_shown(far_viewer, sshd):
    """No shell reads a name: it stays as it is, and runs nothing."""
    storages = [sshd.home / name for name in NAMES]
    for each in storages:
        each.mkdir()
    more = [word for each in storages[1:] for word in ("--storage", each)]
    near = far_viewer(f"{HOST}:{storages[0]}", *more)
    assert [each["root"] for each in ask(near.link, "server")["storages"]] == list(map(str, storages))
    assert not list(sshd.home.rglob("pwned"))
    assert not os.path.exists(os.path.expanduser("~/pwned"))


def test_options_hold_at_the_other_end(far_viewer, far_storage, sshd):
    """``--run``, ``--read-only`` and more storages go there with the directory."""
    other = sshd.home / "other"
    other.mkdir()
    near = far_viewer(f"{HOST}:{far_storage}", "--storage", other, "--run", "baseline", "--read-only")
    link = re.sub(r"/run/[\w%.-]+#", "/#", near.link)
    assert link != near.link
    server = ask(link, "server")
    assert server["read_only"]
    assert [each["root"] for each in server["storages"]] == [str(far_storage), str(other)]


def test_an_address_with_a_port_is_taken(far_viewer, far_storage, sshd):
    """``ssh://USER@HOST:PORT/DIR`` overrides the port of the configuration."""
    configuration = sshd.folder / "ssh_config"
    configuration.write_text(configuration.read_text().replace(f"Port {sshd.port}", "Port 1"))
    near = far_viewer(f"ssh://{USER}@{HOST}:{sshd.port}{far_storage}")
    assert ask(near.link, "server")["storages"][0]["root"] == str(far_storage)


def test_a_port_that_is_taken_here_is_passed_over(far_viewer, far_storage):
    """The next free one of this machine is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        near = far_viewer(f"{HOST}:{far_storage}", "--port", taken.getsockname()[1])
        assert entry_of(near.link).port > taken.getsockname()[1]


def test_what_a_shell_prints_before_is_passed_over(far_viewer, far_storage, make_sshd):
    """A greeting, a line without its end, bytes that are no text, and a false answer are not taken for the answer."""
    false = '{"socket":"/tmp/other","token":"' + "x" * 43 + '"}'
    mark = over_ssh._MARK.decode()
    server = make_sshd(
        f"""ForceCommand printf 'Welcome!\\n\\377\\376\\n{mark}{false}\\nno end'; exec sh -c "$SSH_ORIGINAL_COMMAND" """
    )
    near = far_viewer(f"{HOST}:{far_storage}", server=server)
    assert ask(near.link, "server")["storages"][0]["root"] == str(far_storage)


def failed(near):
    """What it says when it has ended with 1, and has printed no link."""
    assert near.link == ""
    assert near.process.wait(PATIENCE_S) == 1
    return near.said()


def test_no_runicorn_there_says_how_to_get_or_name_it(far_viewer, far_storage, sshd):
    """Exit code 1 with the ``pip install`` and the option; with the option it runs, as the shell there reads it."""
    (sshd.home / "runicorn").rename(sshd.home / "elsewhere")
    said = failed(far_viewer(f"{HOST}:{far_storage}"))
    assert "pip install 'runicorn[viewer]'" in said
    assert "--remote-command" in said
    assert "pip install" in failed(far_viewer(f"{HOST}:{far_storage}", "--remote-command", "~/nowhere/runicorn"))
    command = f"cd / && A=1 {shlex.quote(str(sshd.home / 'elsewhere'))}"
    assert ask(far_viewer(f"{HOST}:{far_storage}", "--remote-command", command).link, "server")["api"] == 1


def test_an_old_runicorn_there_is_told(far_viewer, far_storage, sshd):
    """One that does not know how to be reached: exit code 1, and what to install there."""
    old = "import argparse; p = argparse.ArgumentParser(); p.add_argument('command'); p.parse_args()"
    sshd.write_program("runicorn", f'exec {sys.executable} -c "{old}" "$@"')
    said = failed(far_viewer(f"{HOST}:{far_storage}"))
    assert "older" in said
    assert "pip install -U 'runicorn[viewer]'" in said


def test_packages_that_are_missing_there_are_told(far_viewer, far_storage, sshd):
    """The one ``pip install``, and on which machine."""
    without = "import sys; sys.modules['starlette'] = None; from runicorn.cli import main; sys.exit(main())"
    sshd.write_program("runicorn", f'exec {sys.executable} -c "{without}" "$@"')
    said = failed(far_viewer(f"{HOST}:{far_storage}"))
    assert re.search(rf"On {HOST}: .*pip install 'runicorn\[viewer\]'", said)


def test_a_program_there_that_ends_otherwise_is_shown(far_viewer, far_storage, sshd):
    """Its exit code and its last words, of which no control character reaches the terminal."""
    sshd.write_program("runicorn", "printf 'no module \\033]0;x\\007 today\\n'; exit 9")
    said = failed(far_viewer(f"{HOST}:{far_storage}"))
    assert "ended with the status 9" in said
    assert "no module \\x1b]0;x\\x07 today" in said


@pytest.mark.usefixtures("far_storage")
@pytest.mark.parametrize(
    ("target", "options", "expected"),
    [
        ("{far}/nowhere", (), "On login.test: No storage in {far}/nowhere"),
        ("{far}/storage", ("--run", "nobody"), "On login.test: No run matches 'nobody'"),
        ("{far}/runicorn", (), "On login.test: No storage in {far}/runicorn"),
    ],
)
def test_what_is_not_there_is_told(far_viewer, sshd, target, options, expected):
    """Exit code 1 with the machine and the name; nothing is made there."""
    said = failed(far_viewer(f"{HOST}:{target.format(far=sshd.home)}", *options))
    assert expected.format(far=sshd.home) in said
    assert not (sshd.home / "nowhere").exists()
    wait_until(lambda: not sshd.sessions())


def test_a_server_that_forbids_sockets_is_told(far_viewer, far_storage, make_sshd):
    """Exit code 1 with the name of its option and what to do instead; the viewer there has ended."""
    server = make_sshd("AllowStreamLocalForwarding no")
    said = failed(far_viewer(f"{HOST}:{far_storage}", server=server))
    assert "AllowStreamLocalForwarding" in said
    assert "ssh -L 23300:localhost:PORT" in said
    wait_until(lambda: not server.sessions())
    assert not [each for each in server.links.rglob("*") if each.is_file()]


def test_a_machine_that_does_not_answer_is_told(far_viewer, far_storage, sshd):
    """Ssh's own message, and then ours; exit code 1."""
    sshd.close()
    said = failed(far_viewer(f"{HOST}:{far_storage}"))
    assert "Connection refused" in said
    assert f"Try `ssh {HOST}`." in said


def test_a_key_of_the_machine_that_is_another_is_refused_by_ssh(far_viewer, far_storage, sshd):
    """We neither accept a key of a host for the user, nor write to the file of those."""
    known = sshd.folder / "known_hosts"
    known.write_text("")
    assert "Host key verification failed" in failed(far_viewer(f"{HOST}:{far_storage}"))
    assert known.read_text() == ""


def test_a_shared_connection_of_the_user_is_left_alone(far_viewer, far_storage, sshd):
    """With ControlMaster in the configuration: no master is made, for it would keep our port after our end."""
    configuration = sshd.folder / "ssh_config"
    path = Path(os.environ["TMPDIR"]) / "cm"
    more = f" ControlMaster auto\n ControlPath {path}\n ControlPersist yes\n RemoteCommand false\n RequestTTY force\n"
    configuration.write_text(configuration.read_text() + more)
    near = far_viewer(f"{HOST}:{far_storage}")
    assert ask(near.link, "server")["api"] == 1
    assert not path.exists()


def test_the_line_that_socket_prints_leads_to_it(sshd, far_storage, tmp_path):
    """``--socket`` there, and here the ``ssh -L`` that it prints: the page and its interface answer."""
    storage, told = str(far_storage), tmp_path / "told.txt"
    path = Path(os.environ["TMPDIR"]) / "a b:c" / "s"
    command = [sys.executable, "-m", "runicorn", "viewer", "--storage", storage, "--no-open", "--socket", str(path)]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "RUNICORN_VIEWER_DIR": str(sshd.links)}
    with told.open("wb") as errors:
        viewer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment)
    token = viewer.stdout.readline().strip().partition("#t=")[2]
    wait_until(lambda: "ssh -L" in told.read_text())
    words = shlex.split(told.read_text().partition("On your machine: ")[2].splitlines()[0])
    assert words[:2] == ["ssh", "-L"]
    assert words[2].startswith("23300:")
    assert words[3].startswith(f"{USER}@")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = words[2].replace("23300:", f"127.0.0.1:{port}:", 1)
    ssh = subprocess.Popen([*shlex.split(sshd.ssh), "-N", "-L", forward, words[3]])
    entry = address.Entry("127.0.0.1", port, "", token, [], False, 0, "")
    try:
        wait_until(lambda: address.ask(entry, "GET", "/api/v1/server"))
        assert address.ask(entry, "GET", "/api/v1/server")["storages"][0]["root"] == storage
    finally:
        ssh.kill()
        ssh.wait()
        viewer.terminate()
        viewer.wait(PATIENCE_S)
        viewer.stdout.close()
    assert not path.exists()
    path.parent.rmdir()
