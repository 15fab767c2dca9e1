"""What "raises", "warns" and "refuses" mean, whatever the call."""

from __future__ import annotations

import logging

import pytest
from support import logged, summary, text_of, warnings_in


def test_a_warning_comes_once_per_kind_of_cause(open_run, caplog):
    """The same slip in a thousand calls, under whatever name, warns once."""
    run = open_run()
    for number in range(1000):
        run.log({f"name{number % 7}": [1, 2], "loss": number})
    run.finish()
    assert len(warnings_in(caplog)) == 1
    assert len(logged(run)) == 1000


def test_another_kind_of_cause_warns_again(open_run, caplog):
    """A second kind of slip is told although the first was."""
    run = open_run()
    run.log({"a": [1, 2], "step": 3})
    run.log(a=1, step="x")
    assert len(warnings_in(caplog)) == 3


def test_each_run_warns_for_itself(open_run, caplog):
    """What one run has told is told again by the next, which it names."""
    for _ in range(2):
        run = open_run()
        run.log(a=[1, 2])
        run.finish()
        assert run.id in warnings_in(caplog)[-1]
    assert len(warnings_in(caplog)) == 2


def test_a_run_warns_at_most_twenty_times(open_run, caplog):
    """However many kinds of cause there are, a run warns 20 times at most."""
    run = open_run()
    for number in range(50):
        run.summary({f"field{number}": object()})
    run.finish()
    assert 1 < len(warnings_in(caplog)) <= 20


SLIP = """
import logging, sys
import runicorn as rn
if sys.argv[2] == "configured":
    logging.basicConfig(stream=sys.stdout, format="%(name)s %(levelname)s %(message)s")
with rn.init(storage=sys.argv[1]) as run:
    run.log(bad=[1, 2])
"""


def test_warnings_go_to_stderr_where_nobody_configured_logging(run_program):
    """Without a logging configuration a warning is seen on stderr."""
    ended = run_program(SLIP, "bare")
    assert "'bad'" in ended.stderr
    assert ended.stdout == ""


def test_warnings_go_through_the_logger_runicorn(run_program):
    """With a configuration they go where it sends the logger ``runicorn``."""
    ended = run_program(SLIP, "configured")
    assert ended.stdout.startswith("runicorn WARNING ")
    assert "'bad'" in ended.stdout
    assert ended.stderr == ""


def test_a_program_can_silence_the_warnings(open_run, caplog):
    """The logger is an ordinary one: a level set by the program holds."""
    caplog.set_level(logging.ERROR, logger="runicorn")
    run = open_run()
    run.log(bad=[1, 2])
    assert warnings_in(caplog) == []


class Trouble:
    """An object of which everything that is asked raises something else than is expected."""

    def _fail(self, *_):
        raise RuntimeError("trouble")

    item = numpy = tolist = _fail
    __float__ = __index__ = __int__ = __bool__ = __str__ = __repr__ = __len__ = __iter__ = _fail
    __eq__ = __lt__ = __fspath__ = keys = __getitem__ = _fail
    __hash__ = None


class Tensor:
    """As torch does: several elements make ``item()`` raise ``RuntimeError``."""

    shape = (2,)

    def item(self):
        """Refuse, as there are two."""
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


class Unreadable(dict):
    """A dict that another thread changes while it is read."""

    def items(self):
        """Fail, as a dict does that changes meanwhile."""
        raise RuntimeError("dictionary changed size during iteration")

    __iter__ = keys = items


@pytest.mark.parametrize("value", [Tensor(), Trouble()], ids=["tensor", "trouble"])
@pytest.mark.parametrize("place", ["value", "keyword", "data", "step", "stage", "stage in data"])
def test_log_never_raises(open_run, caplog, place, value):
    """Whatever an object raises when it is looked at, ``log()`` refuses it and stores the rest."""
    run = open_run()
    {
        "value": lambda: run.log({"bad": value, "good": 1}),
        "keyword": lambda: run.log(bad=value, good=1),
        "data": lambda: run.log(value, good=1),
        "step": lambda: run.log(good=1, step=value),
        "stage": lambda: run.log(good=1, stage=value),
        "stage in data": lambda: run.log({"stage": value, "good": 1}),
    }[place]()
    run.finish()
    assert logged(run) == [{"good": 1}]
    assert len(warnings_in(caplog)) == 1


@pytest.mark.parametrize("data", [Unreadable(a=1), Trouble()], ids=["changing", "trouble"])
def test_data_that_cannot_be_read_never_raises(open_run, caplog, data):
    """A mapping that raises while it is read is refused, and the loop goes on."""
    run = open_run()
    run.log(data)
    run.summary(data)
    run.log(good=1)
    run.finish()
    assert logged(run)[-1] == {"good": 1}
    assert warnings_in(caplog)


@pytest.mark.parametrize("value", [Tensor(), Trouble()], ids=["tensor", "trouble"])
def test_summary_never_raises(open_run, caplog, value):
    """Whatever an object raises when it is looked at, ``summary()`` stores the other fields."""
    run = open_run()
    run.summary({"bad": value, "good": 1, "inner": {"bad": [value], "good": 2}})
    run.finish()
    assert summary(run)["good"] == 1
    assert summary(run)["inner"]["good"] == 2
    assert any("bad" in message for message in warnings_in(caplog))


def test_log_text_never_raises(open_run, caplog):
    """Whatever an object raises when it is looked at, ``log_text()`` refuses it."""
    run = open_run()
    run.log_text(Trouble())
    run.log_text("good")
    run.finish()
    assert text_of(run).endswith("| good\n")
    assert len(warnings_in(caplog)) == 1


@pytest.mark.usefixtures("strict")
def test_a_refusal_raises_when_strict(open_run, caplog):
    """With ``RUNICORN_STRICT=1`` a refusal raises the message that it would warn with."""
    run = open_run()
    with pytest.raises(TypeError, match="'bad'"):
        run.log(bad=[1, 2])
    with pytest.raises(TypeError, match="log_text"):
        run.log_text(5)
    with pytest.raises(TypeError, match="field"):
        run.summary({"field": object()})
    assert warnings_in(caplog) == []
    run.log(good=1)
    run.finish()
    assert logged(run)[-1] == {"good": 1}
