"""Switching tracking off, and the run that is none."""

from __future__ import annotations

import inspect
import os
import threading
from pathlib import Path

import psutil
import pytest
from support import logged

import runicorn
from runicorn import NoOpRun, Run

# --- the switch ----------------------------------------------------------------------------------------------


def test_tracking_is_on_by_default(open_run):
    """Without a switch ``init()`` opens a real run."""
    assert runicorn.is_enabled()
    assert isinstance(open_run(), Run)


@pytest.mark.parametrize("word", ["0", "false", "no", "n", "off", "disabled", "none", "OFF", " False "])
def test_the_variable_switches_off(storage, monkeypatch, word):
    """Each word for off in ``RUNICORN_ON``, in any case and with blanks, gives a ``NoOpRun``."""
    monkeypatch.setenv("RUNICORN_ON", word)
    assert not runicorn.is_enabled()
    assert isinstance(runicorn.init(storage=str(storage)), NoOpRun)
    assert not storage.exists()


@pytest.mark.parametrize("word", ["1", "true", "yes", "y", "on", "", "TRUE", " On "])
def test_the_variable_says_on(monkeypatch, caplog, word):
    """Each word for on, and the empty one, leave tracking on without a word."""
    monkeypatch.setenv("RUNICORN_ON", word)
    assert runicorn.is_enabled()
    assert caplog.records == []


UNKNOWN = """
import runicorn as rn
for _ in range(3):
    assert rn.is_enabled()
"""


@pytest.mark.parametrize("word", ["2", "maybe", "offf"])
def test_another_word_in_the_variable_warns(run_program, monkeypatch, word):
    """An unknown value leaves tracking on, and one warning names it and what to write."""
    monkeypatch.setenv("RUNICORN_ON", word)
    (message,) = run_program(UNKNOWN).stderr.splitlines()
    assert "RUNICORN_ON" in message
    assert repr(word) in message
    assert "Write" in message


@pytest.mark.parametrize(("variable", "switch"), [("1", False), ("0", True)])
def test_set_enabled_overrides_the_variable(monkeypatch, variable, switch):
    """``set_enabled`` wins over ``RUNICORN_ON`` until ``reset_enabled``."""
    monkeypatch.setenv("RUNICORN_ON", variable)
    runicorn.set_enabled(switch)
    assert runicorn.is_enabled() is switch
    runicorn.reset_enabled()
    assert runicorn.is_enabled() is not switch


@pytest.mark.parametrize(("value", "on"), [("0", True), ("", False), (0, False), (1, True), (None, False)])
def test_set_enabled_takes_any_truth_value(value, on):
    """As in 0.7.2 ``set_enabled`` takes what ``bool`` makes of its argument."""
    runicorn.set_enabled(value)
    assert runicorn.is_enabled() is on


def test_enabled_holds_for_a_block_and_nests():
    """``with enabled(...)`` restores what was before, after an exception as well."""
    with runicorn.enabled(False):
        assert not runicorn.is_enabled()
        with runicorn.enabled(True):
            assert runicorn.is_enabled()
        assert not runicorn.is_enabled()
    assert runicorn.is_enabled()
    with pytest.raises(ValueError, match="mine"), runicorn.enabled(False):
        raise ValueError("mine")
    assert runicorn.is_enabled()


def test_the_switch_is_the_processes(open_run):
    """It holds for all threads, and a run that is open goes on."""
    run = open_run()
    runicorn.set_enabled(False)
    seen = []
    thread = threading.Thread(target=lambda: seen.append(runicorn.is_enabled()))
    thread.start()
    thread.join()
    assert seen == [False]
    run.log(a=1)
    run.finish()
    assert logged(run) == [{"a": 1}]


# --- the run that is none ---------------------------------------------------------------------------------------


@pytest.fixture
def none(storage):
    """A run while tracking is switched off."""
    with runicorn.enabled(False):
        return runicorn.init(path="cv/a", storage=str(storage), alias="mine")


def public_members(run):
    """Public names of a class and of what its objects have, and the protocols that users rely on."""
    protocols = {"__enter__", "__exit__", "__repr__"}
    return {name for name in dir(run) if not name.startswith("_")} | protocols


def test_it_has_every_public_member_of_a_run(open_run, none):
    """Whatever can be asked of a ``Run`` can be asked of a ``NoOpRun``."""
    assert public_members(open_run()) - public_members(none) == set()
    assert public_members(none) - public_members(open_run()) == set()


def test_its_methods_have_the_signatures_of_a_runs(open_run, none):
    """Each method takes the same arguments, with the same defaults."""
    run = open_run()
    compared = 0
    for name in public_members(run):
        theirs = getattr(Run, name, None)
        if not callable(theirs):
            assert not callable(getattr(none, name))
            continue
        assert shape(getattr(none, name)) == shape(getattr(run, name)), name
        compared += 1
    assert compared >= 8


def shape(method):
    """Name, kind and default of each parameter."""
    parameters = inspect.signature(method).parameters.values()
    return [(each.name, each.kind, each.default) for each in parameters]


def test_it_tells_what_it_is(none):
    """Id, path, alias and directories of a run that is none."""
    assert (none.id, none.path, none.alias) == ("disabled", "cv/a", "mine")
    assert none.is_finished is False
    assert "cv/a" in repr(none)
    assert not isinstance(none, Run)


@pytest.mark.usefixtures("strict")
def test_it_validates_nothing(tmp_path):
    """Arguments that would raise, at ``init()`` or later, are taken, even when strict."""
    with runicorn.enabled(False):
        run = runicorn.init(
            path=5,
            storage=object(),
            run_id="../x",
            alias=1,
            capture_env="yes",
            workspace_root=str(tmp_path),
            snapshot_format="tar",
            tqdm_mode="bogus",
        )
    run.log(5, step="x", stage=[1], bad=[1, 2])
    run.log_text(5)
    run.summary(5)
    run.set_primary_metric(None, "bogus")
    run.log_config(args=5, extra=6, config_files=7)
    run.get_logging_handler("NOTSET", fmt="%(message)s").close()
    run.finish("bogus")
    assert run.is_finished


def test_it_starts_nothing_and_writes_nothing(none, storage, tmp_path, tmp_path_factory, monkeypatch, caplog, capfd):
    """No file, process, thread or warning comes of it, from ``init()`` to after ``finish()``."""
    monkeypatch.chdir(tmp_path)
    memory = tmp_path_factory.mktemp("memory")  # in that of the others a spool of an earlier test may be going
    monkeypatch.setenv("RUNICORN_SHM_DIR", str(memory))
    before = (os.listdir(memory), threading.active_count(), children())
    with none as run:
        run.log({"loss": 1}, step=1, stage="a", acc=2)
        run.log_text("text")
        run.summary({"a": 1})
        run.set_primary_metric("loss")
        handler = run.get_logging_handler()
        handler.close()
    run.finish()
    run.log(late=1)
    assert (os.listdir(memory), threading.active_count(), children()) == before
    assert not storage.exists()
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def children():
    """Processes that this one has started."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def test_it_swallows_no_exception(none):
    """``with`` on it lets an exception through."""
    with pytest.raises(ValueError, match="mine"), none:
        raise ValueError("mine")
    assert none.is_finished


def test_it_is_not_the_active_run(none):
    """While tracking is switched off no run is active."""
    assert none is not None
    assert runicorn.get_active_run() is None


def test_a_program_runs_switched_off(run_program, storage, monkeypatch):
    """A training script that is switched off by the variable runs to its end and leaves nothing."""
    monkeypatch.setenv("RUNICORN_ON", "0")
    ended = run_program("""
import sys
import runicorn as rn
with rn.init(path="cv/a", storage=sys.argv[1]) as run:
    run.set_primary_metric("acc")
    for step in range(3):
        run.log({"acc": step}, step=step)
    run.summary({"a": 1})
print(run.id)
""")
    assert (ended.stdout, ended.stderr) == ("disabled\n", "")
    assert not Path(storage).exists()


# --- its directories --------------------------------------------------------------------------------------------

DIRECTORIES = """
import copy, multiprocessing, os, pickle, sys, tempfile
import runicorn as rn

def work(run):
    own = rn.init()
    print(run.run_dir.is_dir(), own.run_dir.is_dir(), own.run_dir == run.run_dir, flush=True)

if __name__ == "__main__":
    first, second, unasked = rn.init(), rn.init(), rn.init()
    assert first.run_dir.is_dir() and first.run_dir == first.run_dir != second.run_dir
    assert pickle.loads(pickle.dumps(first)).run_dir == copy.deepcopy(first).run_dir == first.run_dir
    assert first.run_dir.is_relative_to(tempfile.gettempdir())
    assert first.run_dir.is_relative_to(first.runs_dir) and first.runs_dir.is_relative_to(first.storage_root)
    assert first.media_dir.is_dir() and first.media_dir.is_relative_to(first.run_dir)
    for method in ("fork", "spawn"):
        process = multiprocessing.get_context(method).Process(target=work, args=(first,))
        process.start()
        process.join()
    pid = os.fork()
    if pid == 0:
        second.run_dir, unasked.run_dir
        sys.exit()
    os.waitpid(pid, 0)
    assert first.run_dir.is_dir() and second.run_dir.is_dir()
    KEPT
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A temp directory of one's own, for programs that run switched off."""
    monkeypatch.setenv("RUNICORN_ON", "0")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    return tmp_path / "temporary"


def ours_in(directory):
    """What we have made there; multiprocessing has names of its own."""
    return sorted(each.name for each in directory.iterdir() if each.name.startswith("runicorn"))


def test_its_directories_can_be_written_to_and_go_at_exit(run_program, temporary):
    """They are made when asked for, shared with workers that are sent the run, and removed by who has made them."""
    ended = run_program(DIRECTORIES.replace("KEPT", ""))
    assert ended.stdout == "True True False\n" * 2
    assert ended.stderr == ""
    assert ours_in(temporary) == []


def test_what_was_written_into_its_directory_stays(run_program, temporary):
    """If something is in it at exit, one line on stderr says where, and the others are removed."""
    ended = run_program(DIRECTORIES.replace("KEPT", "(first.run_dir / 'model.pt').write_text('weights')"))
    (line,) = ended.stderr.splitlines()
    (kept,) = ours_in(temporary)
    assert str(temporary / kept) in line
    assert [each.name for each in temporary.rglob("*.pt")] == ["model.pt"]


def test_its_directories_without_a_temp_directory(run_program, temporary):
    """If TMPDIR has gone, before the start or since, another place is found."""
    temporary.rmdir()
    source = "import runicorn as rn\nrun = rn.init()\nprint(run.run_dir.is_dir())\n"
    assert run_program(source).stdout == "True\n"
    gone = "import os, tempfile\ntempfile.tempdir = os.environ['TMPDIR']\n"
    assert run_program(gone + source).stdout == "True\n"


def test_a_run_that_is_none_and_is_not_asked_makes_nothing(run_program, temporary):
    """Without a question for its directory there is none."""
    run_program("import runicorn as rn\nwith rn.init() as run:\n    run.log(a=1)\n    run.flush()\n")
    assert ours_in(temporary) == []
