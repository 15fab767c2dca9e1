"""``Run``: the handle that a training script logs through."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Any, Literal

from runicorn.errors import WrongTypeError, WrongValueError
from runicorn.queue.accelerator import push_metrics
from runicorn.queue.records import Metrics, PartialMetrics, Primary, Summary, Text, encode
from runicorn.queue.segment import adler32, checksum, pack_frame_header
from runicorn.refusals import explained, guarded
from runicorn.run_assets import AssetVerbs
from runicorn.run_keeping import KeepingVerbs
from runicorn.session import active_runs
from runicorn.storage.escaping import escape
from runicorn.validation.arguments import (
    SWITCHES_OF_OTHERS,
    clean_stage,
    clean_step,
    clean_wall_time,
    merged,
    step_by_position,
    value_by_position,
)
from runicorn.validation.foreign_verbs import explain_foreign_verbs
from runicorn.validation.json_values import LEFT_OUT, jsonable
from runicorn.validation.metrics import (
    AS_THEY_ARE,
    HIGHEST_INT,
    LOWEST_INT,
    are_plain,
    clean_metrics,
    escape_surrogates,
    known_names,
    shown,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import Mapping

    from runicorn.devices import OnDevice
    from runicorn.queue.producer import Queue
    from runicorn.queue.records import Scalar
    from runicorn.queue.spool_address import Address


_are_known = known_names.issuperset
_have_no_switch = SWITCHES_OF_OTHERS.isdisjoint
_need_no_check = AS_THEY_ARE.issuperset
_ONE_PIECE_BYTES = 5 * 1024


@explain_foreign_verbs
class Run(AssetVerbs, KeepingVerbs):
    """One run: made by ``init()``, ended by ``finish()`` or by leaving ``with``.

    Its verbs push records and return; the work is done by the writer process. A forked child uses the run that it
    inherited; a pickled run unpickles to a handle that has joined it. Only the process that created or resumed
    the run (the owner) can end it.

    Attributes:
        id: the run's id, the name of its directory.
        path: its path, normalised; the empty string is the root.
        alias: its label, or None.
        global_step: the step of the last ``log()`` of this process.
    """

    # --- what is called inside the loop: never waits, never raises (unless strict) ---------------------

    def log(
        self,
        /,
        data: Mapping[str, Any] | None = None,
        *more: Any,
        step: int | None = None,
        stage: str | None = None,
        wall_time: float | None = None,
        **kwargs: Any,
    ) -> None:
        """Record metrics at a step; costs one encode and one memory copy.

        Args:
            data: numbers (or bools, strings, None) by name; anything that carries one number will do, a numpy
                scalar or a tensor of one element included. Nested dicts are flattened: ``{"train": {"loss": 1}}``
                is ``train/loss``. Metrics called ``time``, ``step`` or ``global_step`` get a ``_`` behind their name.
            *more: ``log(data, 3)`` is ``log(data, step=3)``, with a warning.
            step: the step; None = one more than the last. An explicit one becomes the counter.
            stage: a label such as ``"epoch_1"``.
            wall_time: when it was, in seconds since 1970; None = now.
            **kwargs: more metrics; they win over ``data``.

        A value or step that cannot be stored is refused with a warning; the rest of the call is stored. If nothing
        is left to store, the step is counted and no line is written.
        """
        try:
            if more or wall_time is not None:
                self._log_otherwise(data, more, step, stage, wall_time, kwargs)
                return
            now = time()
            queue = self._queue
            if kwargs:
                data = (
                    {**data, **kwargs}
                    if type(data) is dict and _have_no_switch(kwargs)
                    else merged(data, kwargs, self._refusals)
                )
            if step is None:
                # Unique and without gaps under threads: CPython does not switch between the load and the store.
                self.global_step = step = self.global_step + 1
            elif type(step) is int and LOWEST_INT <= step <= HIGHEST_INT:
                self.global_step = step
            else:
                step = self._count(step)
            if push_metrics is not None:
                is_due = push_metrics(
                    now, step, data, stage, queue.push, queue.closed, queue.checked_at, queue.next_check_at
                )
                if is_due is None:
                    return
                if is_due:
                    self._check(queue, now)
                    return
            # One pass of C over the names and one over the types: the usual call goes straight through.
            if not (
                type(data) is dict
                and data
                and _are_known(data)
                and (_need_no_check(map(type, data.values())) or are_plain(list(data.values())))
            ):
                on_device: dict[str, OnDevice] = {}
                data = clean_metrics(data, self._refusals, on_device)
                if "stage" in data:
                    in_data = data.pop("stage")
                    stage = in_data if stage is None else stage  # type: ignore[assignment]
                if on_device:
                    self._log_partial(now, data, on_device, step, stage)
                    return
                if not data:
                    self._log_nothing()
                    return
            if stage is not None and type(stage) is not str:
                stage = clean_stage(stage, self._refusals)
            try:
                payload = encode(("m", now, step, data, stage))
            except (UnicodeEncodeError, TypeError, OverflowError):
                # A lone surrogate; or another thread has put something else into the dict since it was checked.
                data = clean_metrics(data, self._refusals)
                data.pop("stage", None)
                if not data:
                    return
                payload = encode(Metrics(now, step, escape_surrogates(data), stage and escape(stage)))
            size = len(payload)
            total = adler32(payload) if size <= _ONE_PIECE_BYTES else checksum(payload)
            frame = pack_frame_header(size, total) + payload
            try:
                queue.push(frame)
            except ValueError:
                if not self._session.push_slowly(frame, "log()"):
                    return
            if queue.closed[0] or not queue.checked_at <= now < queue.next_check_at:
                self._check(queue, now)
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happens in here, the loop goes on
            self._refusals.broken("log()", error)

    @guarded
    def log_text(self, text: str) -> None:
        """Write lines into ``logs.txt``; each line that is not blank begins with the time of the call.

        Args:
            text: any length, several lines allowed.
        """
        if not isinstance(text, str):
            self._refusals.refuse(
                ("text", type(text)),
                WrongTypeError(
                    f"log_text(): text={shown(text)} is of type {type(text).__name__}. Write a string. "
                    "Nothing was stored."
                ),
            )
            return
        self._session.send(Text(time(), escape(text)), "log_text()")

    @guarded
    def summary(self, update: Mapping[str, Any]) -> None:
        """Merge fields into ``summary.json``: the run's conclusions, not its history.

        Args:
            update: JSON-able values by name; numpy values, ``Path``, dates, ``Enum``, sets and dataclasses too.
                What cannot be stored is refused with its key path, the rest is stored.
        """
        if update is None:
            return
        from collections.abc import Mapping

        try:
            # Another mapping is read field by field: one that raises is refused, and the rest stored.
            items = update if isinstance(update, Mapping) and not isinstance(update, dict) else dict(update)
        except Exception:  # noqa: BLE001 - whatever a mapping of the program's own raises
            self._refusals.refuse(
                ("summary", type(update)),
                WrongTypeError(
                    f"summary(): update is of type {type(update).__name__}. Write a dict, for example "
                    'summary({"final_acc": 0.9}). Nothing was stored.'
                ),
            )
            return
        try:
            cleaned = jsonable(items, self._refuse_field)
        except RecursionError:  # called at the bottom of a deep recursion of the program's own
            self._refuse_field("", update)
            return
        if cleaned is not LEFT_OUT and cleaned:
            self._session.send(Summary(time(), cleaned), "summary()")

    # --- what is called when a run is set up or ended: raises at once where it is wrong --------------------

    @explained
    def set_primary_metric(self, metric_name: str, mode: Literal["max", "min"] = "max") -> None:
        """Have the best value of a metric tracked; it is in ``summary.json`` by ``finish()``.

        Args:
            metric_name: the metric; values logged before count too.
            mode: ``"max"`` when higher is better, ``"min"`` when lower is. Of equal values the first one counts.

        Raises:
            TypeError, ValueError: the name is no name, or the mode is neither.
        """
        if not isinstance(metric_name, str):
            raise WrongTypeError(
                f"set_primary_metric(): metric_name={metric_name!r} is of type {type(metric_name).__name__}. "
                "Write a string."
            )
        if not metric_name:
            raise WrongValueError("set_primary_metric(): metric_name is empty. Write the name of a metric.")
        if mode not in {"max", "min"}:
            raise WrongValueError(f'set_primary_metric(): mode={mode!r} is neither "max" nor "min". Write one of them.')
        self._session.send(Primary(escape(metric_name), mode, time()), "set_primary_metric()")

    def get_logging_handler(self, level: int | str = 20, fmt: str | None = None) -> logging.Handler:
        """A ``logging.Handler`` that writes into ``logs.txt``; ``finish()`` takes it off its loggers.

        Args:
            level: the lowest level it takes; 20 is ``logging.INFO``.
            fmt: format of a line; None = ``HH:MM:SS | LEVEL | logger | message``.
        """
        from runicorn.capture.logging_handler import RunHandler

        return RunHandler(self._log_line, level, fmt)

    def __enter__(self) -> Run:
        return self

    # --- what can be asked ------------------------------------------------------------------------------

    def __repr__(self) -> str:
        state = "finished" if self.is_finished else "joined" if not self._session.is_owner else "running"
        return f"<runicorn.Run {self.id} path={self.path!r} {state}>"

    def __reduce__(self) -> tuple[Any, ...]:
        session = self._session
        return rejoin, (session.address, session.queue.rank, self.alias, self._workspace_root, self.global_step)

    # --- off the hot path ---------------------------------------------------------------------------------

    def _count(self, step: Any) -> int:
        """The step of a call, which becomes the counter; where it is none, one more than the last."""
        cleaned = None if step is None else clean_step(step, self._refusals)
        self.global_step = counted = self.global_step + 1 if cleaned is None else cleaned
        return counted

    def _log_otherwise(
        self, data: Any, more: tuple[Any, ...], step: Any, stage: Any, wall_time: Any, kwargs: dict[str, Any]
    ) -> None:
        """``log()`` with a step by position, or at another time than now."""
        if more:
            data, more = value_by_position(data, more, self._refusals)
        if more:
            step = step_by_position(more, step, self._refusals)
        when = None if wall_time is None else clean_wall_time(wall_time, self._refusals)
        if when is None:
            self.log(data, step=step, stage=stage, **kwargs)
            return
        on_device: dict[str, OnDevice] = {}
        cleaned = clean_metrics(merged(data, kwargs, self._refusals), self._refusals, on_device)
        in_data = cleaned.pop("stage", None)
        stage = in_data if stage is None else stage
        step = self._count(step)
        if on_device:
            self._log_partial(when, cleaned, on_device, step, stage)
        elif not cleaned:
            self._log_nothing()
        else:
            stage = None if stage is None else clean_stage(stage, self._refusals)
            record = Metrics(when, step, escape_surrogates(cleaned), stage and escape(stage))
            self._session.send(record, "log()")

    def _log_nothing(self) -> None:
        """``log()`` with nothing to store."""
        if self.is_finished:
            self._session.refuse_after_end("log()")

    def _log_partial(
        self, now: float, data: dict[str, Scalar], on_device: dict[str, OnDevice], step: int, stage: Any
    ) -> None:
        """``log()`` of values that a device has not computed yet: the record goes now, they follow."""
        on_device.pop("stage", None)
        if not data or self.is_finished:
            self._log_nothing()
            return
        if stage is not None:
            stage = clean_stage(stage, self._refusals)
        record = PartialMetrics(now, step, escape_surrogates(data), stage and escape(stage), 0, [], [])
        self._session.devices().send(record, on_device)
        self._queue.next_check_at = 0.0  # from now on every call checks whether something has arrived

    def _check(self, queue: Queue, now: float) -> None:
        """After a push: the run has ended meanwhile, or it is time to see whether the writer lives."""
        if queue.closed[0]:
            self._session.refuse_after_end("log()")
        else:
            self._session.check(now)

    def _log_line(self, text: str, created_s: float) -> None:
        """A line of the logging handler, which has its prefix; silent after the end."""
        if not self.is_finished:
            self._session.send(Text(created_s, escape(text), raw=True), "the logging handler")

    def _refuse_field(self, key_path: str, value: Any) -> None:
        self._refusals.refuse(
            ("field", key_path),
            WrongTypeError(
                f"summary(): the value at {key_path!r} of type {type(value).__name__} was not stored: JSON cannot hold "
                "it, it contains itself, or it is too large. The other fields were stored. Convert it first."
            ),
        )


def rejoin(address: Address, rank: int | None, alias: str | None, workspace_root: str, global_step: int) -> Run:
    """What a pickled run unpickles to: the handle by which this process has joined the run, or joins it now.

    In the process that owns the run it is the run itself. Where the run has ended, it is a handle that refuses
    everything, as any other one of that run.
    """
    run: Run | None = active_runs.find_owned(address) or active_runs.find_joined(address, rank)
    if run is None:
        from runicorn.session import joining

        session = joining.join_anywhere(address, rank)
        run = Run(session, alias=alias, workspace_root=workspace_root, global_step=global_step)
        active_runs.sent(run)
    return run
