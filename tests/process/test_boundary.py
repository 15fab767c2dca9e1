"""No exception of this package gets out of a call in the loop or of finish(), and none stops the records after it."""

import logging
import os
import sys

import pytest
from support import events, status, warnings_in

import runicorn
from runicorn import refusals
from runicorn.storage import statuses

PACKAGE = os.path.dirname(runicorn.__file__)
THE_CALLS = {"log", "log_text", "summary", "log_image", "finish", "__get__"}  # `run.summary` is a descriptor
THE_BOUNDARY = {refusals.__file__, statuses.__file__}  # a wrong status raises, before the boundary
MOST_CALLS = 2000


class Injected(Exception):  # noqa: N818 - it is injected
    """What no code expects."""


def is_finalising(frame):
    """Whether a finaliser is at work: what it raises goes to sys.unraisablehook, and gets out of no call."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


class Injector:
    """Raises at the n-th call, of Python or of C, that this package makes behind one of its public calls."""

    def __init__(self, nth):
        self.left = nth
        self.storing = None

    def __call__(self, frame, event, argument):
        """Called by the interpreter at each call and return of any function."""
        code = frame.f_code
        # finish() is the writer itself at this moment, for there is no process for it: another boundary's part.
        if self.storing is not None:
            if frame is self.storing and event == "return":
                self.storing = None
            return
        if event not in {"call", "c_call"} or not code.co_filename.startswith(PACKAGE):
            return
        if event == "call" and code.co_name == "serve":
            self.storing = frame
            return
        # What is raised while a generator is closed goes to sys.unraisablehook, whoever raises it.
        if event == "call" and code.co_name in {*THE_CALLS, "<genexpr>"}:
            return
        if code.co_filename in THE_BOUNDARY:  # what tells of the exception is not its subject
            return
        # To give up a lock does not fail; if it did here, the lock would be held for all later tests.
        if is_finalising(frame) or (event == "c_call" and argument.__name__ in {"__exit__", "release"}):
            return
        self.left -= 1
        if self.left == 0:
            sys.setprofile(None)
            raise Injected


def rotate(run):
    """A call that needs the next segment."""
    run.log(pad="x" * 3000)


def look(run):
    """A call that checks the writer."""
    run._queue.next_check_at = 0.0
    run.log(a=1)


CALLS = {
    "the first log()": (lambda _: None, lambda run: run.log(a=1)),
    "log() that rotates": (rotate, rotate),
    "log() with a value that is refused": (look, lambda run: run.log(a=[1, 2], b=3)),
    "log() that checks the writer": (look, look),
    "log_text()": (look, lambda run: run.log_text("text")),
    "summary()": (look, lambda run: run.summary({"a": 1, "b": {"c": [1, 2]}})),
    "log_image()": (look, lambda run: run.log_image("a", [[0, 1], [1, 0]])),
}


@pytest.fixture
def tiny_segments(monkeypatch):
    """Segments that a long text fills; no writer process, so that finish() stores here and is quick."""
    monkeypatch.setenv("RUNICORN_SEGMENT_BYTES", "4096")
    monkeypatch.setattr(sys, "frozen", True, raising=False)


@pytest.mark.usefixtures("tiny_segments")
@pytest.mark.parametrize("call", CALLS)
def test_no_exception_gets_out_of_a_call_in_the_loop(open_run, call):
    """Whichever call behind the boundary raises: the loop goes on, and the ten records that follow are stored."""
    before, the_call = CALLS[call]
    for nth in range(1, MOST_CALLS):
        run = open_run(path="p")
        before(run)
        injector = Injector(nth)
        sys.setprofile(injector)
        try:
            the_call(run)
        finally:
            sys.setprofile(None)
        for i in range(10):
            run.log(after=i)
        run.finish()
        stored = [line["data"]["after"] for line in events(run) if "after" in line["data"]]
        assert stored == list(range(10)), nth
        assert status(run)["status"] == "finished"
        if injector.left > 0:
            break
    assert nth > 3
    assert injector.left > 0


@pytest.mark.usefixtures("tiny_segments")
def test_no_exception_gets_out_of_finish(open_run):
    """Whichever call behind finish() raises: it returns, and what was logged is stored by then or at the next try."""
    for nth in range(1, MOST_CALLS):
        run = open_run(path="p")
        for i in range(10):
            run.log(i=i)
        injector = Injector(nth)
        sys.setprofile(injector)
        try:
            run.finish()
        finally:
            sys.setprofile(None)
        run.finish()
        assert [line["data"]["i"] for line in events(run)] == list(range(10)), nth
        assert status(run)["status"] == "finished", nth
        if injector.left > 0:
            break
    assert injector.left > 0


def test_a_logging_handler_that_raises_harms_no_call(open_run):
    """A warning of ours that a handler of the program chokes on is no exception of log()."""

    class Hostile(logging.Handler):
        def emit(self, record):
            raise Injected(record)

    hostile = Hostile()
    logging.getLogger("runicorn").addHandler(hostile)
    try:
        run = open_run(path="p")
        run.log(a=[1, 2], b=1)
    finally:
        logging.getLogger("runicorn").removeHandler(hostile)
    run.finish()
    assert events(run)[0]["data"]["b"] == 1


def test_what_was_broken_is_told_with_its_cause(open_run, caplog, monkeypatch):
    """The warning names the call, the exception, and what became of the data."""
    run = open_run(path="p")

    def boom(_record):
        raise Injected("boom")

    with monkeypatch.context() as broken:  # and whole again when the run is ended
        broken.setattr(run._session, "check_writer", lambda: boom(None))
        run._queue.next_check_at = 0.0
        run.log(a=1)
    (warning,) = warnings_in(caplog)
    assert "Injected: boom" in warning
    assert "later calls are stored" in warning
