"""Keras 3, with any backend: ``model.fit(callbacks=[RunicornCallback()])``."""

from __future__ import annotations

from typing import Any

from runicorn.integrations import _names, _run

_keras = _run.needed("keras", "keras")
_Callback: Any = _keras.callbacks.Callback


class RunicornCallback(_Callback):  # type: ignore[misc]
    """A callback for ``fit()`` and ``evaluate()``; metrics keep their names, and the epoch is the step.

    All calls of one callback go into one run. If the callback has opened it, it is ended after each, and opened again
    for the next. The metrics of an ``evaluate()`` outside ``fit()`` are ``test_loss`` and so on.

    Args:
        path: path of the run, if the program has not opened one; None = after the model's name.
        batches: True = log each batch as well, as ``batch/loss`` and so on, with a step of their own. Keras gives the
            mean of the epoch so far, not the value of the batch.
        run: log into this run.
        **init: more arguments of ``runicorn.init()``.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """

    async_safe = True
    """``log()`` may be called from any thread, so Keras need not wait for the device after each batch."""

    def __init__(self, path: str | None = None, *, batches: bool = False, run: Any = None, **init: Any) -> None:
        super().__init__()
        self._holder = _run.RunHolder("RunicornCallback", run, path=path, **init)
        self._batches = batches
        self._batch = 0
        self._epoch: int | None = None

    @_run.harmless
    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
        """Open the run, and note what is trained."""
        run = self._holder.begin(**self._suggested())
        run.log_config(extra={"keras": self._configuration()}, merge=True)

    @_run.harmless
    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - it starts at 0 in each epoch
        """Log a batch, if that was asked for."""
        if self._batches:
            self._batch += 1
            self._holder.open().log(_names.flat(logs or {}, "batch/"), step=self._batch)

    @_run.harmless
    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log an epoch."""
        self._epoch = epoch
        self._holder.open().log(_names.flat(logs or {}), step=epoch)

    @_run.harmless
    def on_test_end(self, logs: Any = None) -> None:
        """Log an evaluation outside ``fit()``; the metrics of those inside come with the epoch's."""
        if not self._holder.is_training:
            self._holder.open(**self._suggested()).log(_names.flat(logs or {}, "test_"), step=self._epoch)
            self._holder.end()

    @_run.harmless
    def on_train_end(self, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
        """End the run if it is the callback's own."""
        self._holder.end()

    def _suggested(self) -> dict[str, Any]:
        from runicorn.storage.slugs import slug

        return {"path": slug(self.model.name)}

    def _configuration(self) -> dict[str, Any]:
        optimizer = getattr(self.model, "optimizer", None)
        found = {"model": self.model.name, "backend": _keras.backend.backend(), **(self.params or {})}
        return found if optimizer is None else {**found, "optimizer": optimizer.get_config()}
