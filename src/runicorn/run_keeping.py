"""The verbs of a run that describe it, have it stored and end it."""

from __future__ import annotations

import sys
from time import time
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongTypeError
from runicorn.queue.records import Config, End
from runicorn.refusals import explained, guarded
from runicorn.run_handle import RunHandle
from runicorn.session import active_runs, at_exit, exit_status
from runicorn.storage import run_files, statuses
from runicorn.storage.escaping import escape
from runicorn.validation import arguments

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType


class KeepingVerbs(RunHandle):
    """What ``Run`` has to be found again, and to keep what was logged."""

    _own_tags: Sequence[str] = ()

    @explained
    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until what this process has logged is on disk, readable and durable; the run goes on.

        Archives of code, datasets and outputs, and the best metric in ``summary.json``, may come later.

        Args:
            timeout_s: how long to wait; 0 = for ever; None = as long as ``finish()`` would.

        Returns:
            Whether it is on disk; of a run that has ended, whether that was stored.

        Raises:
            TypeError, ValueError: ``timeout_s`` is no number of seconds.
        """
        if timeout_s is not None:
            timeout_s = arguments.timeout_s(timeout_s, "flush()")
        if self.is_finished:
            return self._session.control.done
        timeout_s = self._session.address.settings.finish_timeout_s if timeout_s is None else timeout_s
        self._await_devices(timeout_s, last=False)
        if not self._session.flush(timeout_s):
            return False
        try:
            run_files.sync_files(self._session.address.run_dir)
        except OSError:  # moved, or the storage is failing
            return False
        return True

    @explained
    def log_config(
        self,
        given: Mapping[str, Any] | None = None,
        /,
        *,
        args: Any = None,
        extra: Any = None,
        config_files: Any = None,
        merge: bool = False,
    ) -> None:
        """Record the run's configuration in ``assets.json``.

        Args:
            given: taken as ``extra``; write ``extra=``.
            args: a mapping, or an object with fields: ``argparse.Namespace``, a dataclass, pydantic, attrs, omegaconf,
                ml_collections, absl flags, a module or class of settings.
            extra: as ``args``, a second place.
            config_files: a path or a list of paths of configuration files; their content is not stored.
            merge: False = each argument replaces what was logged under its name before. True = its fields are added
                to those, nested mappings too, and files to the files. All processes and sessions of the run count.

        What JSON cannot hold becomes text: the shape of an array, the name of a function. Values of more than
        20,000 characters or elements are cut, and say so. Secrets are masked.

        Raises:
            TypeError: an argument is none of these; never for what is in a configuration.
        """
        from runicorn.validation import configs

        if given is not None:
            if extra is not None:
                raise WrongTypeError(
                    "log_config(): extra was given twice, by position and as extra=. Nothing was stored. Write "
                    "extra= only."
                )
            extra = given
            self._refusals.warn(
                "log_config positional",
                "log_config(): the configuration was stored as extra. Write log_config(extra=...), or args=... for "
                "command-line arguments.",
            )
        update: dict[str, Any] = {}
        if args is not None:
            update["args"] = configs.config_dict("args", args)
        if extra is not None:
            update["extra"] = configs.config_dict("extra", extra)
        if config_files is not None:
            update["config_files"] = configs.config_files(config_files)
        if update:
            self._session.send(Config(time(), update, bool(merge)), "log_config()")

    @explained
    def set_labels(
        self,
        tags: Sequence[str] | None = None,
        notes: str | None = None,
        group: str | None = None,
        parent: str | RunHandle | None = None,
    ) -> None:
        """Write labels into ``meta.json``; what is not given stays as it is.

        Args:
            tags: take the place of those that this handle has set before; tags of others stay.
            notes: free text.
            group: what the run belongs to, such as a sweep.
            parent: the run, or id of the run, that has started this one.

        If storing fails, a warning says so.

        Raises:
            TypeError, ValueError: one of them is no label; nothing was changed.
        """
        from runicorn.managing import labels

        wanted = labels.checked(tags, notes, group, getattr(parent, "id", parent), self.id)
        if self.is_finished:
            self._session.refuse_after_end("set_labels()")
            return
        address = self._session.address
        try:
            labels.merge(address.run_dir, address.storage, address.settings, wanted, self._own_tags)
        except (OSError, ValueError) as error:
            self._refusals.warn("labels", f"set_labels(): {run_files.META} was not changed: {error}")
            return
        self._own_tags = wanted.get("tags", self._own_tags)

    @explained
    def finish(self, status: str = "finished", reason: str | None = None) -> None:
        """End the run: returns when everything that was logged before, by any process, is on disk.

        Args:
            status: ``finished``, ``failed`` or ``interrupted``, or a word for one of them.
            reason: why, for ``exit_reason``; None = the exception that is being handled, if the status is ``failed``
                and there is one; else the given word if it says more, such as ``pruned``.

        Waits ``RUNICORN_FINISH_TIMEOUT_S`` (600) seconds at most, then warns what is left while the writer goes on;
        Ctrl-C stops the waiting. In a process that has joined it stores that process's records, and ends nothing.
        Afterwards the handle costs no descriptor, and can still be asked.

        Raises:
            TypeError, ValueError: not a final status, or the reason is no string; the run stays open.
        """
        stored = statuses.normalise_status(status)
        if reason is not None and not isinstance(reason, str):
            raise WrongTypeError(
                f"finish(): reason={reason!r} is of type {type(reason).__name__}. Write a string. The run stays open."
            )
        self._finish(stored, self._reason(stored, status) if reason is None else escape(reason))

    @guarded
    def _reason(self, stored: str, word: str) -> str | None:
        error = sys.exc_info()[1]
        if error is not None and (stored, type(error)) == (statuses.INTERRUPTED, KeyboardInterrupt):
            return "KeyboardInterrupt"
        if error is not None and stored == statuses.FAILED:
            return exit_status.describe(error)
        return statuses.reason_of(word)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._ending:  # if the block has ended the run itself, that status stays
            self._finish(*exit_status.of_exception(error))

    @guarded
    def _stop_recording(self) -> None:
        """Give ``print()`` its streams back; a forked child leaves them to the process that has taken them."""
        console = sys.modules.get("runicorn.session.console")
        if console is not None and not self._queue.forked_here:
            console.stop(self._session)

    @guarded
    def _finish(self, status: str, reason: str | None) -> None:
        self._stop_recording()
        timeout_s = self._session.address.settings.finish_timeout_s
        self._await_devices(timeout_s)
        if not self._session.is_owner:
            if self._session.is_supervised:
                self._tell_command(status, reason)
            self._tell_what_is_left(stored=self._session.flush(timeout_s))
            self._session.let_go_of_ended_run()
            return
        # setdefault is atomic: of two threads, or a thread and a signal handler in it, one sets the status.
        first = self._ending.setdefault("status", (status, reason))
        if first[0] != status:
            self._refusals.warn(
                ("finish", status),
                f'finish("{status}") was called after finish("{first[0]}"): the first status stays.',
            )
            return
        self._tell_what_is_left(stored=self._end_run(End(time(), status, reason), timeout_s))
        self._detach_handlers()

    @guarded
    def _detach_handlers(self) -> None:
        """Take the run's handlers off the loggers, for they would be called for ever and do nothing."""
        logging_handler = sys.modules.get("runicorn.capture.logging_handler")
        if logging_handler is not None:
            logging_handler.detach(self)

    @guarded
    def _tell_command(self, status: str, reason: str | None) -> None:
        """Tell ``runicorn run``, which ends the run, the status and the reason that the script gave."""
        from runicorn.managing import labels
        from runicorn.session import supervised

        address = self._session.address
        labels.merge(address.run_dir, address.storage, address.settings, {supervised.SAID: [status, reason]}, ())

    def _tell_what_is_left(self, *, stored: bool) -> None:
        if stored:
            return
        self._refusals.warn(
            "finish timeout",
            f"finish() stopped waiting: up to {self._session.control.spooled_bytes:,} bytes of records and the "
            f"final status are not stored yet. They are in {self._session.address.spool}, and the writer goes on "
            "storing them. If it is gone, the next init() in this storage or `runicorn recover` stores them.",
        )

    def _end_run(self, end: End, timeout_s: float) -> bool:
        try:
            try:
                stored = self._session.end_run(end, timeout_s)
            except Exception as error:  # noqa: BLE001 - the boundary; what has been done is not done again
                self._refusals.broken("finish()", error)
                stored = self._session.end_run(end, timeout_s)
        except KeyboardInterrupt:  # stops the waiting, not the writer
            stored = False
            self._session.leave(end)
        if stored:
            active_runs.ended(self)
            if not active_runs.open_runs():
                at_exit.unwatch()
        return stored

    def _end_at_exit(self, end: End) -> None:
        """The interpreter ends, and nobody has called ``finish()``, or it has stopped waiting."""
        self._stop_recording()
        self._await_devices(self._session.address.settings.exit_wait_s)
        if self._session.is_owner:
            self._end_run(self._last_word(end), self._session.address.settings.exit_wait_s)
        else:
            self._leave_joined(end)

    @guarded
    def _leave_joined(self, end: End) -> None:
        """Leave the run in a joined process that exits. The last process to leave waits for the run's end."""
        self._session.push_rank_end(end)
        if self._session.is_supervised:  # the command waits
            self._session.leave()
        else:
            self._session.leave_at_exit(self._session.address.settings.exit_wait_s)

    @guarded
    def _leave_at_exit(self, end: End) -> None:
        """The interpreter ends, and nobody waits any more."""
        self._session.leave(self._last_word(end) if self._session.is_owner else None)

    def _last_word(self, end: End) -> End:
        """What ``finish()`` has said before, if it was called."""
        begun = self._ending.setdefault("status", (end.status, end.reason))
        return end if begun == (end.status, end.reason) else End(end.time, *begun)
