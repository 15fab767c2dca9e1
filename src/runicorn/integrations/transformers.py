"""Transformers and TRL: ``Trainer(callbacks=[RunicornCallback()])``, or ``register()`` and ``report_to="runicorn"``."""

from __future__ import annotations

import os
from typing import Any

from runicorn.integrations import _names, _run

_DEFAULT_OUTPUT = "trainer_output"
_MARKS = (("eval_", "eval/"), ("test_", "test/"))
_Callback: Any = _run.needed("transformers", "transformers").TrainerCallback


class RunicornCallback(_Callback):  # type: ignore[misc]
    """A callback for ``Trainer`` and the trainers of TRL; metrics keep their names, and have the trainer's step.

    ``train``, ``evaluate`` and ``predict`` go into one run. If the callback has opened it, it is ended after each of
    them, and opened again for the next. Each trial of a hyperparameter search has a run of its own.

    Args:
        path: path of the run, if the program has not opened one; None = after ``args.output_dir``.
        run: log into this run.
        all_ranks: have ranks above 0 log as well.
        rewrite: True = ``eval_loss`` becomes ``eval/loss`` and ``loss`` becomes ``train/loss``.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    def __init__(
        self, path: str | None = None, *, run: Any = None, all_ranks: bool = False, rewrite: bool = False, **init: Any
    ) -> None:
        super().__init__()
        self._holder = _run.RunHolder("RunicornCallback", run, all_ranks=all_ranks, path=path, **init)
        self._rewrite = rewrite

    @_run.harmless
    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Open the run, and note arguments and configuration."""
        if state.is_hyper_param_search:
            self._holder.forget()
        run = self._holder.begin(**_suggested(args, state), rank=_rank(state))
        run.log_config(args=args.to_dict(), extra=_configuration(kwargs.get("model"), state), merge=True)
        if self._holder.is_ours and args.metric_for_best_model:
            name = self._name(f"eval_{args.metric_for_best_model.removeprefix('eval_')}")
            run.set_primary_metric(name, mode="max" if args.greater_is_better else "min")

    @_run.harmless
    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Log a point."""
        self._log(args, state, logs)

    @_run.harmless
    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """End an evaluation after the training; ``on_log`` has logged its metrics."""
        self._end_outside_training()

    @_run.harmless
    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Log the metrics: ``on_log`` does not get them."""
        self._log(args, state, metrics)
        self._end_outside_training()

    @_run.harmless
    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Note where the checkpoint is; nothing is copied."""
        checkpoint = os.path.join(args.output_dir, f"checkpoint-{state.global_step}")
        self._open(args, state).summary({"last_checkpoint": checkpoint})

    @_run.harmless
    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Note the best checkpoint, and end the run if it is the callback's own."""
        best = {"best_checkpoint": state.best_model_checkpoint, "best_metric": state.best_metric}
        self._open(args, state).summary({name: value for name, value in best.items() if value is not None})
        self._holder.end()

    def _open(self, args: Any, state: Any) -> Any:
        return self._holder.open(**_suggested(args, state), rank=_rank(state))

    def _log(self, args: Any, state: Any, metrics: Any) -> None:
        run = self._open(args, state)
        points, texts = _names.without_long_texts(_names.flat(metrics or {}))
        run.log({self._name(name): value for name, value in points.items()}, step=state.global_step)
        for text in texts:
            run.log_text(text)

    def _name(self, name: str) -> str:
        if not self._rewrite:
            return name
        found = (new + name.removeprefix(old) for old, new in _MARKS if name.startswith(old))
        return next(found, f"train/{name.removeprefix('train_')}")

    def _end_outside_training(self) -> None:
        if not self._holder.is_training:
            self._holder.end()


def register() -> None:
    """Make ``TrainingArguments(report_to="runicorn")`` use this callback; ``"all"`` does not include it."""
    _run.needed("transformers.integrations.integration_utils", "transformers").INTEGRATION_TO_CALLBACK["runicorn"] = (
        RunicornCallback
    )


def _rank(state: Any) -> int:
    return 0 if state.is_world_process_zero else 1


def _suggested(args: Any, state: Any) -> dict[str, Any]:
    """Path and alias by what the trainer calls the experiment."""
    from runicorn.storage.slugs import slug

    directory = os.path.basename(os.path.normpath(args.output_dir or ""))
    name = state.trial_name if state.is_hyper_param_search else getattr(args, "run_name", None)
    return {
        "path": None if directory in {"", ".", _DEFAULT_OUTPUT} else slug(directory),
        "alias": None if name in {None, args.output_dir} else str(name),
    }


def _configuration(model: Any, state: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    config = getattr(model, "config", None)
    if config is not None:
        found["model"] = config.to_dict() if hasattr(config, "to_dict") else config
    if state.is_hyper_param_search and state.trial_params:
        found["trial"] = dict(state.trial_params)
    return found
