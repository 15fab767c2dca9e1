"""Whose run an adapter logs into and when that ends: what is the same for all frameworks."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import threading
from types import SimpleNamespace

import pytest
from support import content, logged, meta, status, steps, warnings_in

import runicorn as rn
from runicorn.integrations import _many, _run
from runicorn.integrations._run import RunHolder


class Interrupting:
    """A stand-in for a logger's hook of a framework."""

    @_run.harmless
    def hook(self, error):
        raise error


@pytest.fixture(autouse=True)
def storage_of_own(monkeypatch, storage):
    monkeypatch.setenv("RUNICORN_DIR", str(storage))
    monkeypatch.setattr(_run, "_told", set())
    yield
    for holder in [each for each in gc.get_objects() if type(each) is RunHolder]:
        holder.let_go()


@pytest.fixture
def holder():
    return RunHolder("Adapter", path="one")


def ids():
    return [each.id for each in rn.runs()]


def test_a_run_of_its_own_is_ended_at_the_end_of_each_phase(holder):
    """Its status is true as soon as a phase has ended."""
    run = holder.begin()
    run.log(loss=1, step=1)
    assert status(run)["status"] == "running"
    holder.end()
    assert status(run) == {**status(run), "status": "finished"}
    assert holder.is_ours


def test_a_later_phase_goes_on_in_the_same_run(holder):
    """One id, all lines, finished after each phase."""
    for step in range(3):
        run = holder.begin()
        run.log(loss=step, step=step)
        holder.end()
        assert status(run)["status"] == "finished"
    assert ids() == [run.id]
    assert steps(run) == [0, 1, 2]


def test_steps_that_go_back_and_repeat_are_all_there_without_a_warning(holder, caplog):
    """Two counters, two calls at one step, one run."""
    run = holder.begin()
    for step in (5, 6, 0, 0, 7):
        run.log(value=step, step=step)
    holder.end()
    assert steps(run) == [5, 6, 0, 0, 7]
    assert not warnings_in(caplog)


def test_a_run_that_the_program_has_opened_is_used_and_not_ended(open_run, holder):
    """Neither by the end of a phase, nor by a failure, nor by throwing the adapter away."""
    run = open_run(path="theirs")
    del holder
    holder = RunHolder("Adapter")
    assert holder.begin() is run
    holder.end("failed")
    del holder
    gc.collect()
    assert not run.is_finished
    assert ids() == [run.id]


def test_a_run_that_was_given_comes_before_the_open_one(open_run):
    """``run=`` is explicit."""
    given, _newer = open_run(), open_run()
    assert RunHolder("Adapter", given).open() is given


def test_arguments_that_the_open_run_makes_useless_are_told_once(open_run, caplog):
    """The line names them and the run."""
    run = open_run()
    for _ in range(2):
        holder = RunHolder("Adapter", path="elsewhere", alias="x")
        assert holder.open() is run
    (told,) = warnings_in(caplog)
    assert run.id in told
    assert "alias=, path=" in told


def test_the_run_of_another_adapter_is_not_taken_for_one_of_the_program(holder):
    """Two adapters without a run of the program have a run each; ``get_active_run()`` knows them."""
    first = holder.begin()
    other = RunHolder("Other")
    assert other.begin() is not first
    assert rn.get_active_run() is other.open()


def test_a_run_that_the_program_has_ended_is_opened_again_and_ended_by_the_adapter(open_run):
    """``with rn.init(): fit()``, then ``test()``: one run, finished."""
    holder = RunHolder("Adapter")
    with open_run() as run:
        holder.begin().log(a=1, step=1)
        holder.end()
    holder.begin().log(a=2, step=2)
    holder.end()
    assert ids() == [run.id]
    assert steps(run) == [1, 2]
    assert status(run)["status"] == "finished"


def test_a_newer_run_of_the_program_is_used_by_the_next_training(open_run):
    """One callback in a loop over folds, each of which opens a run."""
    holder = RunHolder("Adapter")
    for _ in range(2):
        with open_run() as run:
            assert holder.begin() is run
            holder.end()


def test_a_newer_run_of_the_program_is_used_though_the_one_before_is_open(open_run):
    """But not in the middle of a training."""
    holder = RunHolder("Adapter")
    older = open_run()
    assert holder.begin() is older
    newer = open_run()
    assert holder.open() is older
    holder.end()
    assert holder.begin() is newer
    holder.end()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("diverged"), ("failed", "ValueError: diverged")),
        (KeyboardInterrupt(), ("interrupted", "KeyboardInterrupt")),
        (SystemExit(0), ("finished", None)),
        (SystemExit(3), ("failed", "SystemExit: 3")),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("word", [None, "failed"])
def test_an_end_while_an_exception_is_handled_takes_status_and_reason_from_it(holder, word, error, expected):
    """Also where the framework says ``failed`` for each of them."""
    run = holder.begin()
    try:
        raise error  # noqa: TRY301 - it is handled here
    except BaseException:  # noqa: BLE001 - all kinds
        holder.end(word)
    assert (status(run)["status"], status(run).get("exit_reason")) == expected


def test_an_exception_from_before_the_training_says_nothing_about_it():
    """A second try inside ``except``, with a smaller batch, which ends well."""
    holder = RunHolder("Adapter")
    try:
        raise MemoryError  # noqa: TRY301 - as above
    except MemoryError:
        run = holder.begin()
        holder.end()
    assert status(run)["status"] == "finished"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("success", ("finished", None)),
        ("aborted", ("interrupted", None)),
        ("pruned", ("interrupted", "pruned")),
        ("exploded", ("failed", "exploded")),
    ],
)
def test_a_word_of_a_framework_is_understood_and_never_raises(holder, word, expected):
    """An unknown one is a failure, and its reason."""
    run = holder.begin()
    holder.end(word)
    assert (status(run)["status"], status(run).get("exit_reason")) == expected


def test_a_training_whose_adapter_is_thrown_away_before_its_end_has_failed():
    """An exception has ended it, and was caught: no hook is called then."""
    holder = RunHolder("Adapter")
    run = holder.begin()
    del holder
    gc.collect()
    assert (status(run)["status"], status(run)["exit_reason"]) == ("failed", "training did not come to its end")


def test_the_exception_that_python_has_shown_since_is_the_reason(holder, monkeypatch):
    """As in a REPL: ``sys.last_value``."""
    run = holder.begin()
    monkeypatch.setattr(sys, "last_value", KeyboardInterrupt(), raising=False)
    holder.let_go()
    assert (status(run)["status"], status(run)["exit_reason"]) == ("interrupted", "KeyboardInterrupt")


def test_a_run_of_an_adapter_that_is_told_no_end_is_finished_when_it_is_thrown_away():
    """A writer of TensorBoard that nobody closes."""
    holder = RunHolder("Adapter")
    run = holder.open()
    del holder
    gc.collect()
    assert status(run)["status"] == "finished"


def test_a_cell_of_a_notebook_that_an_exception_ends_ends_the_run(holder, monkeypatch):
    """A stand-in for IPython calls what the adapter has registered; it is called once."""
    hooks = []
    events = SimpleNamespace(
        register=lambda _name, hook: hooks.append(hook), unregister=lambda _name, hook: hooks.remove(hook)
    )
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: SimpleNamespace(events=events)))
    run = holder.begin()
    (hook,) = hooks
    hook(SimpleNamespace(error_in_exec=ValueError("boom")))
    assert (status(run)["status"], status(run)["exit_reason"]) == ("failed", "ValueError: boom")
    assert not hooks


def test_a_rank_above_zero_makes_no_run_and_no_directory(storage):
    """It gets a run that stores nothing."""
    holder = RunHolder("Adapter")
    assert isinstance(holder.begin(rank=1), rn.NoOpRun)
    holder.end("failed")
    assert not storage.exists()


def test_a_rank_above_zero_is_known_by_the_environment(storage, monkeypatch):
    """If the framework does not know it."""
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert isinstance(RunHolder("Adapter").open(), rn.NoOpRun)
    assert not storage.exists()


def test_all_ranks_keep_the_run_open_at_a_good_end(holder):
    """For the other ranks may not be through; a failure ends it."""
    holder = RunHolder("Adapter", all_ranks=True)
    run = holder.begin(rank=1)
    holder.end()
    assert not run.is_finished
    holder.end("failed")
    assert status(run)["status"] == "failed"


def test_copies_in_one_process_are_one_run(holder):
    """``deepcopy``, as Lightning's tuner and ``sklearn.clone`` do it."""
    copies = [copy.copy(holder), copy.deepcopy({"logger": holder})["logger"]]
    assert {each.open().id for each in copies} == {holder.open().id}


def test_a_pickled_copy_logs_into_the_same_run_and_does_not_end_it(holder):
    """Pickling opens it, so that there is one run for all that it is sent to."""
    sent = pickle.loads(pickle.dumps(holder))
    assert sent.begin() is holder.open()
    sent.end("failed")
    assert not holder.open().is_finished


def test_a_hook_that_raises_is_told_once_and_goes_on(caplog):
    """One line a cause."""
    for _ in range(3):
        Interrupting().hook(RuntimeError("no config"))
    (told,) = warnings_in(caplog)
    assert "RuntimeError: no config" in told


def test_a_hook_lets_an_interruption_through():
    """Ctrl-C is the program's."""
    with pytest.raises(KeyboardInterrupt):
        Interrupting().hook(KeyboardInterrupt())


@pytest.mark.usefixtures("strict")
def test_a_strict_hook_raises():
    """``RUNICORN_STRICT=1``."""
    with pytest.raises(RuntimeError):
        Interrupting().hook(RuntimeError("x"))


def test_a_storage_that_cannot_be_used_ends_no_training(storage, caplog):
    """A file is in its place: one line, and nothing is stored."""
    storage.write_text("a file")
    holder = RunHolder("Adapter")
    for _ in range(2):
        holder.begin().log(loss=1)
        holder.end()
    (told,) = warnings_in(caplog)
    assert str(storage) in told


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"project": "x"}, TypeError),
        ({"path": "../x"}, ValueError),
        ({"path": 3}, TypeError),
        ({"run": "x"}, TypeError),
    ],
)
def test_a_wrong_argument_raises_when_the_adapter_is_made(arguments, error, storage):
    """And not hours later, in the training."""
    with pytest.raises(error):
        RunHolder("Adapter", **arguments)
    assert not storage.exists()


def test_tracking_that_is_switched_off_stores_nothing(storage):
    """And raises nothing, phase after phase."""
    rn.set_enabled(False)
    holder = RunHolder("Adapter")
    for _ in range(2):
        holder.begin().log(loss=1)
        holder.end()
    assert not storage.exists()


def test_what_the_framework_calls_the_experiment_is_the_path_unless_one_was_given():
    """The user's word wins."""
    named, own = RunHolder("Adapter"), RunHolder("Adapter", path="own")
    assert (named.open(path="framework", alias="first").path, named.open().alias) == ("framework", "first")
    assert own.open(path="framework").path == "own"


def test_a_forgotten_run_is_ended_and_the_next_one_is_new(holder):
    """Trials of one callback."""
    first = holder.begin()
    holder.end()
    holder.forget()
    second = holder.begin()
    holder.end()
    assert sorted(ids()) == sorted([first.id, second.id])


def test_threads_that_open_it_at_once_get_one_run(holder):
    """As with ``n_jobs``."""
    barrier, found = threading.Barrier(8), []

    def use():
        barrier.wait(30)
        found.append(holder.open())

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_configuration_that_cannot_be_stored_as_it_is_ends_nothing(holder):
    """Cycles, functions, huge values and credentials: cut, named, masked."""
    cyclic = {"f": print, "long": "x" * 10**6, "api_key": "sk-very-secret-123456", **{f"k{i}": i for i in range(3000)}}
    cyclic["me"] = cyclic
    run = holder.begin()
    run.log_config(args=cyclic, merge=True)
    holder.end()
    stored = str(content(run, "assets.json"))
    assert "sk-very-secret" not in stored
    assert len(stored) < 200_000


def test_a_run_that_lives_here_is_not_ended_if_its_id_was_given(open_run):
    """``run_id=`` of a run that the program has open: it stays the program's."""
    run = open_run(run_id="mine")
    holder = RunHolder("Adapter", run_id="mine")
    assert holder.begin() is run
    holder.end()
    assert not run.is_finished
    run.log(a=1)
    run.finish()
    assert logged(run) == [{"a": 1}]


CAUGHT = """
import sys
from runicorn.integrations._run import RunHolder

holder = RunHolder("Adapter", storage=sys.argv[1])
print(holder.begin().run_dir)
{rest}
"""


@pytest.mark.parametrize(
    ("rest", "code", "expected"),
    [
        ("", 0, ("failed", "training did not come to its end")),
        ("holder.end()", 0, ("finished", None)),
        ("raise ValueError('x')", 1, ("failed", "ValueError: x")),
        ("sys.exit(3)", 3, ("failed", "exit code 3")),
        ("raise KeyboardInterrupt", -2, ("interrupted", "KeyboardInterrupt")),
    ],
)
@pytest.mark.detached_writer
def test_the_end_of_the_interpreter_is_the_end_of_a_training(start_program, rest, code, expected):
    """One that was left, by an exception that somebody has caught, has failed though the exit code is 0."""
    program = start_program(CAUGHT.format(rest=rest))
    out, err = program.communicate(timeout=60)
    assert program.returncode == code, err
    stored = status(out.strip())
    assert (stored["status"], stored.get("exit_reason")) == expected


HELD = """
import os, sys
from runicorn.integrations import _many, _run

os.holder, os.module = _run.RunHolder("Adapter", storage=sys.argv[1]), _run  # the module is emptied before os is
os.holder.begin()
os.holder.end()
"""


@pytest.mark.detached_writer
def test_an_adapter_that_outlives_its_module_says_nothing(run_program):
    """At the end of the interpreter a module may be empty before the objects that it has made are gone."""
    assert run_program(HELD).stderr == ""


def test_a_job_script_decides_on_the_run_of_an_adapter(monkeypatch):
    """Before what the framework calls the experiment; the run has the group, and a later phase keeps it."""
    for name, value in {"PATH": "job/a", "ALIAS": "seed-1", "GROUP": "sweep"}.items():
        monkeypatch.setenv(f"RUNICORN_{name}", value)
    holder = RunHolder("Adapter")
    holder.begin(path="of-the-framework", alias="its name")
    holder.end()
    holder.begin(path="of-the-framework")
    holder.end()
    (info,) = rn.runs()
    assert (info.path, info.alias, info.group) == ("job/a", "seed-1", "sweep")


def test_what_an_adapter_was_given_comes_before_the_job_script(monkeypatch, holder):
    """A blank variable says nothing."""
    monkeypatch.setenv("RUNICORN_PATH", "job/a")
    monkeypatch.setenv("RUNICORN_ALIAS", " ")
    run = holder.open(path="of-the-framework", alias="its name")
    assert (run.path, run.alias) == ("one", "its name")


def test_a_variable_that_is_no_path_is_named_and_ends_no_training(monkeypatch, caplog):
    """One line says which; nothing is stored."""
    monkeypatch.setenv("RUNICORN_PATH", "../x")
    assert isinstance(RunHolder("Adapter").begin(), rn.NoOpRun)
    assert isinstance(_many.one_of_many("Trials", "study", {"path": "p", "alias": "t"}, {}), rn.NoOpRun)
    assert [text.count("RUNICORN_PATH") for text in warnings_in(caplog)] == [1, 1]
    assert rn.runs() == []


def test_a_job_script_does_not_decide_on_a_run_of_the_program(monkeypatch, open_run, holder):
    """The adapter uses that run as it is."""
    monkeypatch.setenv("RUNICORN_GROUP", "sweep")
    run = open_run(path="own")
    assert holder.begin() is run
    holder.end()
    assert "group" not in meta(run)


def test_runs_of_trials_have_a_group_and_the_run_around_them_as_parent(monkeypatch, open_run):
    """The job script decides on path and group; the alias tells the trials apart, so it is theirs."""
    monkeypatch.setenv("RUNICORN_PATH", "job/a")
    monkeypatch.setenv("RUNICORN_ALIAS", "seed-1")
    around = open_run(path="around")
    for group in ("", "sweep"):
        monkeypatch.setenv("RUNICORN_GROUP", group)
        with _many.one_of_many("Adapter", "study", {"path": "p", "alias": "trial-0"}, {}) as run:
            assert RunHolder("Inner").open() is run
        stored = meta(run)
        assert (run.path, run.alias, stored["group"], stored["parent"]) == (
            "job/a",
            "trial-0",
            group or "study",
            around.id,
        )


def test_the_run_of_a_trial_in_another_thread_is_nobody_elses():
    """An adapter outside of it opens one of its own, and the next trial is not its child."""
    with _many.one_of_many("Adapter", "study", {"path": "p", "alias": "trial-0"}, {}) as trial:
        found = []

        def elsewhere():
            found.append(RunHolder("Outer", path="outer").open())
            found.append(_many.one_of_many("Adapter", "study", {"path": "p", "alias": "trial-1"}, {}))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(60)
        outer, other = found
        assert outer is not trial
        assert "parent" not in meta(other)
        outer.finish()
        other.finish()


def test_a_trial_that_is_given_the_open_run_by_its_id_is_not_its_own_child(open_run):
    """Nothing raises, and there is one run."""
    around = open_run(run_id="named")
    assert _many.one_of_many("Adapter", "study", {"path": "p", "alias": "t"}, {"run_id": "named"}) is around
    stored = meta(around)
    assert stored["group"] == "study"
    assert "parent" not in stored
