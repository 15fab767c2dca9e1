"""How another machine is named: what is a host, what is a directory of this machine, and what is refused."""

from __future__ import annotations

import pytest

from runicorn import cli
from runicorn.commands import far_viewer
from runicorn.commands.ssh_target import Target, parse
from runicorn.viewer import over_ssh


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("login", None),
        ("login:", Target("login", "", None, "")),
        ("login:runs", Target("login", "", None, "runs")),
        ("login:/a:b@c", Target("login", "", None, "/a:b@c")),
        ("login:~/runs", Target("login", "", None, "~/runs")),
        ("login:a\nb", Target("login", "", None, "a\nb")),
        ("login:-x", Target("login", "", None, "-x")),
        ("ana@login", Target("login", "ana", None, "")),
        ("ana@login:runs", Target("login", "ana", None, "runs")),
        ("ana@uni.example@login:runs", Target("login", "ana@uni.example", None, "runs")),
        (r"UNI\ana@login", Target("login", r"UNI\ana", None, "")),
        ("ana@[::1]:runs", Target("::1", "ana", None, "runs")),
        ("[fe80::1%eth0]:runs", Target("fe80::1%eth0", "", None, "runs")),
        ("ssh://login", Target("login", "", None, "")),
        ("ssh://login/", Target("login", "", None, "")),
        ("ssh://C/data", Target("C", "", None, "/data")),
        ("ssh://ana@login:2222/data/my%20runs", Target("login", "ana", 2222, "/data/my runs")),
        ("ssh://ana@login/~/runs", Target("login", "ana", None, "~/runs")),
        ("ssh://[::1]:22/x", Target("::1", "", 22, "/x")),
        (r"C:\runs", None),
        ("C:/runs", None),
        ("./ana@login", None),
        ("/data/a@b:c", None),
        ("~/a@b", None),
        ("../x:y", None),
        ("", None),
        (":runs", None),
        ("ana@", None),
        ("ana@:runs", None),
        ("ssh://", None),
        ("ssh:///data", None),
        ("ssh://login:0/x", None),
        ("ssh://login:99999/x", None),
        ("ssh://login:x/y", None),
        ("-oProxyCommand=x:runs", None),
        ("ana@-oProxyCommand=x", None),
        ("-ana@login", None),
        ("ssh://-oProxyCommand=x/", None),
        ("ssh://%2doProxyCommand@login/", None),
        ("login;touch x:runs", None),
        ("$(touch x)@login", None),
        ("`x`@login:", None),
        ("ana|x@login", None),
        ("ana\\@login", None),
        ("lo gin:runs", None),
        ("lo\ngin:runs", None),
        ("http://login/x", None),
    ],
)
def test_what_names_another_machine(text, expected):
    """As scp and ssh read it; options of ssh, commands for a shell, and paths of this machine are refused."""
    if expected is not None:
        assert parse(text) == expected
        return
    with pytest.raises(ValueError, match="--storage DIR"):
        parse(text)


def test_a_directory_of_this_machine_is_not_taken_for_another_one(tmp_path, monkeypatch, capsys):
    """If a directory has that name: exit code 2, with both ways to write it."""
    monkeypatch.chdir(tmp_path)
    for name in ("ana@login", "login:runs"):
        (tmp_path / name).mkdir()
        assert cli.main(["viewer", name]) == 2
        told = capsys.readouterr().err
        assert "--storage DIR" in told
        assert "ssh://" in told


@pytest.mark.parametrize("option", ["--socket", "--list", "--stop", "--host=0.0.0.0", "--allow-host=hub.example"])
def test_options_that_make_no_sense_for_another_machine(option, capsys):
    """Exit code 2, and the option is named; ssh is not started."""
    assert cli.main(["viewer", "ana@login", option]) == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_a_remote_command_needs_another_machine(storage, capsys):
    """Without a host ``--remote-command`` is misuse."""
    assert cli.main(["viewer", "--storage", str(storage), "--remote-command", "x"]) == 2
    assert "--remote-command" in capsys.readouterr().err


def test_ssh_that_is_not_there_is_told(monkeypatch, capsys):
    """Exit code 1, with what to install and the variable that names another one."""
    monkeypatch.setenv("RUNICORN_VIEWER_SSH", "no-such-ssh -F x")
    assert cli.main(["viewer", "ana@login", "--port", "0"]) == 1
    told = capsys.readouterr().err
    assert "no-such-ssh" in told
    assert "RUNICORN_VIEWER_SSH" in told


def test_a_name_that_is_no_text_is_refused(capsys):
    """A directory there whose name has bytes that are no UTF-8: exit code 2, before ssh is started."""
    assert cli.main(["viewer", "login:a\udcffb", "--port", "0"]) == 2
    assert "UTF-8" in capsys.readouterr().err


def test_what_ssh_is_told(monkeypatch):
    """The user's options stand first, and win; hosts come after ``--``; nothing is said of keys, hosts or prompts."""
    monkeypatch.setenv("RUNICORN_VIEWER_SSH", "ssh -F 'my file' -o ExitOnForwardFailure=no")
    monkeypatch.setenv("RUNICORN_VIEWER_REMOTE_COMMAND", "~/venv/bin/runicorn")
    command = far_viewer._command_line(Target("login", "ana", 2222, "/runs"), over_ssh.Request("/tmp/s", 23300), "")
    assert command[:4] == ["ssh", "-F", "my file", "-o"]
    assert command[-3:] == ["--", "ana@login", "~/venv/bin/runicorn viewer --over-ssh"]
    assert command[-5:-3] == ["-L", "127.0.0.1:23300:/tmp/s"]
    assert command[command.index("-p") + 1] == "2222"
    assert not {"BatchMode", "StrictHostKeyChecking", "UserKnownHostsFile"} & {
        each.split("=")[0] for each in command if "=" in each
    }
    named = far_viewer._command_line(Target("login", "", None, ""), over_ssh.Request("/tmp/s", 1), "mine")
    assert named[-2:] == ["login", "mine viewer --over-ssh"]
