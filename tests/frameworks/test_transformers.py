"""Transformers: one run for train, evaluate and predict, the trainer's steps, the right end; TRL inherits all that."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support import content, events, status, summary
from support.installed import needed

import runicorn as rn

needed("transformers")
from support.tiny_gpt import data, model  # noqa: E402 - after the check
from transformers import Trainer, TrainerCallback, TrainingArguments  # noqa: E402 - as above

from runicorn.integrations import transformers as ours  # noqa: E402 - as above
from runicorn.integrations.transformers import RunicornCallback  # noqa: E402 - as above

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("default")]
STEPS = 6


class Failing(TrainerCallback):
    """Raises in the third step."""

    def __init__(self, error):
        self.error = error

    def on_step_end(self, _args, state, _control, **_):
        if state.global_step == 3:
            raise self.error


def trainer_of(*callbacks, out="out", **arguments):
    settings = {
        "output_dir": out,
        "per_device_train_batch_size": 2,
        "max_steps": STEPS,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_steps": 3,
        "disable_tqdm": True,
        "use_cpu": True,
        **arguments,
    }
    return Trainer(
        model=model(),
        args=TrainingArguments(**settings),
        train_dataset=data(),
        eval_dataset=data(),
        callbacks=list(callbacks),
    )


def values(run, name):
    return [(line["data"]["global_step"], line["data"][name]) for line in events(run) if name in line["data"]]


def the_run(storage):
    (run,) = rn.runs(storage=str(storage))
    return run


def test_train_evaluate_and_predict_are_one_run(storage):
    """Finished after each; names and steps are the trainer's."""
    trainer = trainer_of(
        RunicornCallback(), out="out/my model", metric_for_best_model="loss", load_best_model_at_end=True
    )
    statuses = []
    for phase in (trainer.train, trainer.evaluate, lambda: trainer.predict(data()), trainer.train):
        phase()
        statuses.append(the_run(storage).status)
    assert statuses == ["finished"] * 4
    run = the_run(storage)
    assert run.path == "my-model"
    assert [step for step, _ in values(run.run_dir, "loss")] == [*range(1, STEPS + 1)] * 2
    assert [step for step, _ in values(run.run_dir, "eval_loss")] == [3, 6, 6, 3, 6]
    assert len(values(run.run_dir, "test_loss")) == 1
    found = summary(run.run_dir)
    assert found["last_checkpoint"].endswith("checkpoint-6")
    assert found["best_metric_name"] == "eval_loss"
    assert "checkpoint-" in found["best_checkpoint"]
    config = content(run.run_dir, "assets.json")["config"]
    assert config["args"]["max_steps"] == STEPS
    assert config["extra"]["model"]["n_embd"] == 16


def test_report_to_runicorn_means_the_callback(storage):
    """By name, with the names rewritten nowhere."""
    ours.register()
    trainer_of(report_to="runicorn", run_name="named").train()
    run = the_run(storage)
    assert (run.path, run.alias, run.status) == ("out", "named", "finished")


def test_names_are_rewritten_if_asked_for(storage):
    """As peers do it."""
    trainer_of(RunicornCallback(rewrite=True)).train()
    run = the_run(storage)
    assert [step for step, _ in values(run.run_dir, "eval/loss")] == [3, 6]
    assert len(values(run.run_dir, "train/loss")) == STEPS + 1  # and the mean of the training


def test_a_resumed_training_goes_on_at_its_step(storage):
    """From a checkpoint, in a run of its own."""
    trainer_of(RunicornCallback()).train()
    trainer_of(RunicornCallback(), max_steps=8).train(resume_from_checkpoint="out/checkpoint-6")
    newest, _ = rn.runs(storage=str(storage))
    assert [step for step, _ in values(newest.run_dir, "loss")] == [7, 8]


def test_an_exception_that_is_caught_leaves_a_failed_run(storage):
    """The trainer tells no callback; it is known when trainer and callback are gone."""
    import gc

    trainer = trainer_of(RunicornCallback(), Failing(ValueError("nan")))
    with pytest.raises(ValueError, match="nan"):
        trainer.train()
    assert the_run(storage).status == "running"
    del trainer
    gc.collect()
    stored = status(the_run(storage).run_dir)
    assert (stored["status"], stored["exit_reason"]) == ("failed", "training did not come to its end")


def test_a_run_of_the_program_stays_open(open_run, storage):
    """The callback uses it."""
    run = open_run(path="own")
    trainer = trainer_of(RunicornCallback())
    trainer.train()
    trainer.evaluate()
    assert not run.is_finished
    assert the_run(storage).id == run.id


def test_each_trial_of_a_search_has_a_run(storage):
    """One callback, two trials."""
    needed("optuna")
    ours.register()
    trainer = Trainer(
        model_init=lambda: model(),  # noqa: PLW0108 - the trainer counts its parameters
        args=TrainingArguments(
            output_dir="search",
            max_steps=2,
            logging_steps=1,
            eval_strategy="steps",
            eval_steps=2,
            disable_tqdm=True,
            use_cpu=True,
            save_strategy="no",
        ),
        train_dataset=data(),
        eval_dataset=data(),
        callbacks=[RunicornCallback()],
    )
    trainer.hyperparameter_search(
        lambda trial: {"learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-3)}, backend="optuna", n_trials=2
    )
    runs = rn.runs(storage=str(storage))
    assert [run.status for run in runs] == ["finished", "finished"]
    rates = [content(run.run_dir, "assets.json")["config"]["extra"]["trial"]["learning_rate"] for run in runs]
    assert len(set(rates)) == 2


def test_the_trainers_of_trl_take_the_callback(storage):
    """SFT of a few tokens."""
    trl = needed("trl")
    datasets = needed("datasets")
    items = datasets.Dataset.from_list([{"input_ids": [1, 2, 3, 4]}] * 4)
    args = trl.SFTConfig(
        output_dir="sft",
        max_steps=2,
        logging_steps=1,
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        report_to="none",
        save_strategy="no",
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    import transformers

    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=_words(), pad_token="0", eos_token="0")
    trl.SFTTrainer(
        model=model(),
        args=args,
        train_dataset=items,
        processing_class=tokenizer,
        callbacks=[RunicornCallback()],
    ).train()
    assert [step for step, _ in values(the_run(storage).run_dir, "loss")] == [1, 2]


def _words():
    from tokenizers import Tokenizer, models

    return Tokenizer(models.WordLevel({str(number): number for number in range(32)}, unk_token="0"))


RANKS = """
import sys
from support.tiny_gpt import data, model
from transformers import Trainer, TrainerCallback, TrainingArguments
from runicorn.integrations.transformers import RunicornCallback

trainer = Trainer(
    model=model(),
    args=TrainingArguments(output_dir="out", per_device_train_batch_size=2, max_steps=3, logging_steps=1,
                           disable_tqdm=True, use_cpu=True, save_strategy="no"),
    train_dataset=data(),
    eval_dataset=data(),
    callbacks=[RunicornCallback(storage=sys.argv[1])],
)
EXTRA
trainer.train()
trainer.evaluate()
print("ended well")
"""


def test_two_ranks_of_torchrun_are_one_run(torchrun, storage):
    """Rank 1 stores nothing, and makes no directory."""
    out = torchrun(RANKS.replace("EXTRA", ""))
    assert out.count("ended well") == 2
    run = the_run(storage)
    assert run.status == "finished"
    assert [step for step, _ in values(run.run_dir, "loss")] == [1, 2, 3]
    assert not list(Path(run.run_dir).glob("events.rank*"))


INTERRUPT = """
import os, signal

class Interrupt(TrainerCallback):
    def on_step_end(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)

trainer.add_callback(Interrupt())
"""


def test_a_sigint_ends_the_run_as_interrupted(start_program, storage):
    """A signal in the middle of the training."""
    process = start_program(RANKS.replace("EXTRA", INTERRUPT))
    process.communicate(timeout=200)
    assert process.returncode == -signal.SIGINT
    stored = status(the_run(storage).run_dir)
    assert (stored["status"], stored["exit_reason"]) == ("interrupted", "KeyboardInterrupt")
