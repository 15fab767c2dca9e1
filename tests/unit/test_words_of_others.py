"""Words of other trackers: arguments of ``init()`` that we call otherwise, and statuses of ``finish()``."""

from __future__ import annotations

import inspect

import pytest

import runicorn
from runicorn.storage import statuses


@pytest.mark.parametrize(
    ("keyword", "instead"),
    [
        ("project", "path="),
        ("experiment", "path="),
        ("name", "alias="),
        ("config", "run.log_config("),
        ("hparams", "run.log_config("),
        ("tags", "run.set_labels(tags="),
        ("notes", "run.set_labels(notes="),
        ("group", "run.set_labels(group="),
        ("dir", "storage="),
        ("logdir", "storage="),
        ("id", "run_id="),
        ("resume", "run_id="),
        ("mode", "rn.set_enabled(False)"),
        ("reinit", "leave it out"),
        ("entity", "leave it out"),
        ("capture_consol", "capture_console="),
        ("Project", "path="),
        ("zzz", "one of alias"),
    ],
)
def test_an_unknown_keyword_of_init_is_told_with_what_to_write(storage, keyword, instead):
    """``TypeError`` names the keyword and our call for it, and nothing is made."""
    with pytest.raises(TypeError, match="unexpected keyword") as raised:
        runicorn.init(storage=str(storage), **{keyword: "x"})
    assert repr(keyword) in str(raised.value)
    assert instead in str(raised.value)
    assert not storage.exists()


def test_each_of_several_unknown_keywords_is_told(storage):
    """All of them are in one message, also while tracking is switched off."""
    with runicorn.enabled(False), pytest.raises(TypeError) as raised:
        runicorn.init(storage=str(storage), project="p", config={}, alias="a")
    assert "'project': path=" in str(raised.value)
    assert "'config': run.log_config(" in str(raised.value)
    assert "'alias'" not in str(raised.value)


def test_the_signature_of_init_has_no_other_keywords():
    """Editors and scripts see the arguments that there are."""
    parameters = inspect.signature(runicorn.init).parameters.values()
    assert {each.kind for each in parameters} == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert runicorn.init.__name__ == "init"


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        ("pruned", "interrupted", "pruned"),
        ("PRUNED", "interrupted", "pruned"),
        ("preempted", "interrupted", "preempted"),
        ("TERMINATED", "interrupted", "terminated"),
        ("KILLED", "interrupted", None),
        ("timeout", "interrupted", "timeout"),
        ("Timed Out", "interrupted", "timed_out"),
        ("oom", "failed", "oom"),
        ("OUT_OF_MEMORY", "failed", "out_of_memory"),
        ("out of memory", "failed", "out_of_memory"),
        ("NODE-FAIL", "failed", "node_fail"),
        ("COMPLETE", "finished", None),
        ("Succeeded", "finished", None),
        ("FINISHED", "finished", None),
        ("errored", "failed", None),
        ("error", "failed", None),
        (" stopped\n", "interrupted", None),
        ("interrupted", "interrupted", None),
    ],
)
def test_a_word_of_another_library_is_a_status_and_may_be_a_reason(word, status, reason):
    """The words of Optuna, Ray, MLflow and SLURM mean one of our statuses, and stay as the reason if they say more."""
    assert statuses.normalise_status(word) == status
    assert statuses.reason_of(word) == reason


@pytest.mark.parametrize("word", ["running", "", "pending", "waiting", "scheduled", "fail", "x" * 100, "failed!"])
def test_another_word_is_no_status(word):
    """A word for no end raises ``ValueError``, and gives no reason."""
    with pytest.raises(ValueError, match="status="):
        statuses.normalise_status(word)
    assert statuses.reason_of(word) is None


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.log({"loss": 0.5}, 7),
        lambda run: run.log({"loss": 0.5}, step=7, commit=True),
        lambda run: run.log({"loss": 0.5}, step=7, commit=False, sync=None),
        lambda run: run.log("loss", 0.5, 7),
        lambda run: run.log("loss", 0.5, step=7),
        lambda run: run.log_metric("loss", 0.5, 7),
        lambda run: run.log_metric("loss", 0.5, step=7),
        lambda run: run.log_metric(key="loss", value=0.5, step=7, timestamp=3),
        lambda run: run.log_metrics({"loss": 0.5}, step=7),
        lambda run: run.add_scalar("loss", 0.5, 7),
        lambda run: run.add_scalar("loss", scalar_value=0.5, global_step=7, walltime=1.0),
        lambda run: run.track(0.5, name="loss", step=7, context={}),
    ],
)
def test_a_call_of_another_tracker_is_stored_as_it_is_meant(open_run, caplog, call):
    """The metric is stored at its step, and one warning says what to write."""
    run = open_run()
    call(run)
    run.finish()
    loaded = runicorn.load(run)
    column = loaded["loss"]
    assert (list(column.step), list(column.value)) == ([7], [0.5])
    assert list(loaded.metrics) == ["loss"]
    assert "Write" in caplog.text or "if the calls have the same step=" in caplog.text


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.log_params({"lr": 0.1}),
        lambda run: run.log_param("lr", 0.1),
        lambda run: run.log_hyperparams({"lr": 0.1}),
    ],
)
def test_parameters_are_stored_in_the_configuration(open_run, caplog, call):
    """What was recorded before stays."""
    run = open_run()
    run.log_config(extra={"seed": 1})
    call(run)
    run.finish()
    assert runicorn.load(run).config["extra"] == {"seed": 1, "lr": 0.1}
    assert "run.log_config(args=" in caplog.text


@pytest.mark.parametrize("name", ["watch", "define_metric", "save", "log_artifact", "alert", "set_tags", "log_code"])
def test_a_call_that_we_do_not_have_ends_no_training(open_run, caplog, name):
    """It warns, and says what to write; the loop goes on."""
    run = open_run()
    assert getattr(run, name)("x", log="all") is None
    assert f"run.{name}() is not a call of runicorn. Nothing was done. Write " in caplog.text


def test_a_call_that_we_do_not_have_raises_if_strict(open_run, monkeypatch):
    """``RUNICORN_STRICT`` holds for it as for every refusal."""
    monkeypatch.setenv("RUNICORN_STRICT", "1")
    with pytest.raises(runicorn.errors.WrongTypeError, match=r"run\.watch\(\)"):
        open_run().watch("model")


@pytest.mark.parametrize("name", ["end", "close", "stop"])
def test_another_word_for_finish_ends_the_run(open_run, name):
    """A run that was closed is not left for the interpreter's exit."""
    run = open_run()
    getattr(run, name)()
    assert run.is_finished


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("config", r"run\.log_config\("),
        ("name", r"init\(alias="),
        ("tags", r"run\.set_labels\("),
        ("url", r"run\.run_dir"),
    ],
)
def test_an_attribute_that_we_do_not_have_says_what_to_write(open_run, name, instead):
    """``AttributeError``, so that ``hasattr()`` is false, also if it is set; completion offers none of these names."""
    run = open_run()
    with pytest.raises(AttributeError, match=instead):
        getattr(run, name)
    with pytest.raises(AttributeError, match=instead):
        setattr(run, name, "x")
    assert not hasattr(run, name)
    assert not {"config", "watch", "log_metric"} & set(dir(run))


def test_a_run_that_is_switched_off_takes_the_calls_of_others(storage):
    """It does nothing, as for its own."""
    with runicorn.enabled(False):
        run = runicorn.init(storage=str(storage))
    run.log_metric("loss", 1)
    run.watch("model")
    run.summary["acc"] = 1
    run["loss"] = 1
    with pytest.raises(AttributeError, match="log_config"):
        run.config  # noqa: B018 - asking is the point


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda run: run.log_config(lr=1),
            r"log_config\(\) got an unexpected keyword argument 'lr'. Nothing was done.",
        ),
        (lambda run: run.log_config("lr", 1), r'too many positional arguments.*log_config\(args=\{"lr": 0.1\}\)'),
        (lambda run: run.log_dataset("cifar"), r'log_dataset\("cifar10", "/data/cifar10"\)'),
        (lambda run: run.finish(exit_code=1), r'finish\("failed"'),
        (lambda run: run.set_labels(name="x"), r"set_labels\(tags="),
        (lambda run: run.set_primary_metric("acc", goal="max"), r'set_primary_metric\("acc", mode="max"\)'),
        (lambda run: type(run)("cv"), r"runicorn\.init\(\)"),
        (lambda _: runicorn.init("cv", {"lr": 1}), r"run\.log_config\(args="),
        (lambda _: runicorn.init({"lr": 1}), r"run\.log_config\(args="),
        (lambda _: runicorn.init(*[None] * 12), r'init\(path="cv/resnet50"'),
    ],
)
def test_arguments_that_a_call_does_not_have_are_told_with_an_example(open_run, call, told):
    """``TypeError`` of our own tree, and the run stays open."""
    run = open_run()
    with pytest.raises(runicorn.errors.WrongTypeError, match=told):
        call(run)
    assert not run.is_finished


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda run: run.log_text("a", "b"), 'log_text("a line")'),
        (lambda run: run.log_image("key"), 'log_image("sample", image'),
        (lambda run: run.summary("acc", 1), 'summary({"final_acc": 0.9})'),
    ],
)
def test_a_call_inside_the_loop_with_wrong_arguments_warns(open_run, caplog, call, told):
    """It says what to write, and does not ask for a report of a fault."""
    call(open_run())
    assert told in caplog.text
    assert "report" not in caplog.text


def test_fields_of_the_summary_by_keyword_are_stored(open_run, caplog):
    """They win over those of the dict, and one warning shows the dict."""
    run = open_run()
    run.summary({"acc": 1, "loss": 2}, acc=3)
    run.finish()
    assert {"acc": 3, "loss": 2}.items() <= runicorn.load(run).summary.items()
    assert 'Write summary({"acc": 0.9})' in caplog.text


def _by_attribute(run):
    run.summary.acc = 1


@pytest.mark.parametrize(
    "set_field",
    [
        lambda run: run.summary.__setitem__("acc", 1),
        lambda run: run.summary.update({"acc": 1}),
        lambda run: run.summary.update(acc=1),
        _by_attribute,
    ],
)
def test_a_summary_that_is_written_as_a_dict_is_stored(open_run, caplog, set_field):
    """It is a dict elsewhere: the field is stored, and one warning shows the call."""
    run = open_run()
    set_field(run)
    set_field(run)
    run.finish()
    assert runicorn.load(run).summary["acc"] == 1
    assert caplog.text.count("it was taken as run.summary({") == 1


def test_what_cannot_be_done_with_the_items_of_an_open_run_is_told_with_what_to_write(open_run, caplog):
    """Setting and deleting warn, so that the loop goes on; reading raises ``TypeError``, for there is no value."""
    run = open_run()
    del run.summary["acc"]
    for name in map(str, range(100)):
        run[name] = 1
        del run[name]
    assert caplog.text.count("is not a call of runicorn. Nothing was done.") == 3
    assert "Write run.summary({'acc': None})." in caplog.text
    assert "Write run.log({name: value}) for a metric, run.log_config(" in caplog.text
    for read in (lambda: run["loss"], lambda: run.summary["loss"], lambda: "loss" in run.summary):
        with pytest.raises(runicorn.errors.WrongTypeError, match=r"runicorn\.load\(run\)"):
            read()
    with pytest.raises(AttributeError, match=r"runicorn\.load\(run\)\.summary"):
        run.summary.get("loss")


def test_the_summary_of_a_run_looks_like_the_call_that_it_is(open_run):
    """Its name, signature and help are those of the function."""
    call = open_run().summary
    assert list(inspect.signature(call).parameters) == ["update"]
    assert (call.__name__, call.__doc__) == ("summary", runicorn.Run.summary.__doc__)


@pytest.mark.parametrize(
    ("ask", "instead"),
    [
        (lambda run: run.history(), r"run\.to_pandas\(\)"),
        (lambda run: run.tags, r"run\.info\.tags"),
        (lambda run: run.name, r"run\.info\.alias"),
        (lambda run: run.log({"loss": 1}), r"runicorn\.init\(run_id="),
        (lambda run: run.zzz, "'zzz'$"),
        (lambda run: run.__setitem__("loss", 1), r"runicorn\.init\(run_id="),
        (lambda run: run["loss"][0], r"column\.value\[0\]"),
    ],
)
def test_what_a_loaded_run_does_not_have_says_what_to_write(open_run, ask, instead):
    """The kind of error is Python's, and the end of its message is ours."""
    run = open_run()
    run.log({"loss": 1})
    run.finish()
    with pytest.raises((AttributeError, TypeError), match=instead):
        ask(runicorn.load(run))


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("log", "run.log("),
        ("config", "run.log_config("),
        ("watch", "runicorn.init("),
        ("sweep", "runicorn.init("),
        ("start_run", "runicorn.init("),
        ("Image", "run.log_image("),
    ],
)
def test_a_name_of_another_package_says_what_to_write(name, instead):
    """Python's own questions get no more than Python's own answer."""
    with pytest.raises(AttributeError) as raised:
        getattr(runicorn, name)
    assert instead in str(raised.value)
    with pytest.raises(AttributeError, match=r"'__wrapped__'$"):
        runicorn.__wrapped__  # noqa: B018 - asking is the point
