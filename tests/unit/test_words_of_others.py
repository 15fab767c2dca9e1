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
