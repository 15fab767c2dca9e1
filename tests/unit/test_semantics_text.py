"""``log_text()`` and ``get_logging_handler()``."""

from __future__ import annotations

import logging
import re
import threading
import time

import pytest
from support import stopped_writer, text_of, wait_until, warnings_in, without_waiting

CLOCK = r"\d\d:\d\d:\d\d"


def without_clock(run):
    """Each line, with its time written as ``T``."""
    return [re.sub(f"^{CLOCK} ", "T ", line) for line in text_of(run).split("\n")]


# --- log_text ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one", ["T | one"]),
        ("a\nb\n\nc", ["T | a", "T | b", "", "T | c"]),
        ("trailing\n", ["T | trailing", ""]),
        ("", [""]),
        ("  \t", [""]),
        ("\n", ["", ""]),
        ("  indented", ["T |   indented"]),
        ("tab\tand \x1b[1mcolour", ["T | tab\tand \x1b[1mcolour"]),
        ("中文 é 😀", ["T | 中文 é 😀"]),
    ],
    ids=repr,
)
def test_lines_are_as_in_0_7_2(open_run, text, lines):
    """Each line that is not blank gets ``HH:MM:SS | ``, a blank one is empty."""
    run = open_run()
    run.log_text(text)
    run.finish()
    assert without_clock(run) == [*lines, ""]


def test_a_carriage_return_stays(open_run):
    """A progress line's carriage returns are stored as they are."""
    run = open_run()
    run.log_text("10%\r20%\r\nnext")
    run.finish()
    stored = (run.run_dir / "logs.txt").read_bytes()
    assert re.fullmatch(rf"{CLOCK} \| 10%\r20%\r\n{CLOCK} \| next\n".encode(), stored)


def test_calls_are_stored_in_order(open_run):
    """Texts follow each other as they were logged."""
    run = open_run()
    for number in range(1000):
        run.log_text(f"line {number}")
    run.finish()
    assert without_clock(run) == [*(f"T | line {number}" for number in range(1000)), ""]


@pytest.mark.detached_writer
def test_the_time_is_that_of_the_call(open_run):
    """The time is local wall clock at the call, however late the text is stored."""
    run = open_run()
    with stopped_writer(run):
        before = int(time.time())
        run.log_text("now")
        after = int(time.time())
        wait_until(lambda: int(time.time()) > after + 1, what="two seconds later")
    run.finish()
    stored = text_of(run)[:8]
    assert stored in {time.strftime("%H:%M:%S", time.localtime(second)) for second in range(before, after + 1)}


def test_text_may_be_of_any_length(open_run):
    """A text that is larger than any segment is stored whole."""
    run = open_run()
    long = "é" * 6_000_000
    run.log_text(long)
    run.log_text("short")
    run.finish()
    first, second, rest = text_of(run).split("\n")
    assert first[11:] == long
    assert second[11:] == "short"
    assert rest == ""


def test_surrogates_are_escaped(open_run):
    """What UTF-8 cannot carry is escaped, never dropped."""
    run = open_run()
    run.log_text("a\udc80b \ud83d")
    run.finish()
    assert without_clock(run) == ["T | a\\udc80b \\ud83d", ""]


@pytest.mark.parametrize("text", [5, None, b"bytes", ["a"]], ids=repr)
def test_text_that_is_no_string_is_refused(open_run, caplog, text):
    """Anything but a string is refused, naming it."""
    run = open_run()
    run.log_text(text)
    run.finish()
    (message,) = warnings_in(caplog)
    assert f"text={text!r}" in message
    assert "string" in message
    assert text_of(run) == ""


@pytest.mark.usefixtures("strict")
def test_text_that_is_no_string_raises_when_strict(open_run):
    """Anything but a string raises ``TypeError`` when strict."""
    run = open_run()
    with pytest.raises(TypeError, match="text=5"):
        run.log_text(5)


def test_text_is_not_printed(open_run, capfd):
    """``log_text()`` writes into ``logs.txt`` and nowhere else."""
    run = open_run()
    run.log_text("only there")
    run.finish()
    out, err = capfd.readouterr()
    assert out + without_waiting(err) == ""


# --- the logging handler -----------------------------------------------------------------------------------------


@pytest.fixture
def logger():
    """A logger of the program's, without handlers when the test is over."""
    found = logging.getLogger("program.part")
    found.setLevel(logging.DEBUG)
    yield found
    for handler in list(found.handlers):
        found.removeHandler(handler)
        handler.close()
    found.setLevel(logging.NOTSET)


def test_a_handler_writes_time_level_logger_and_message(open_run, logger):
    """The default line is ``HH:MM:SS | LEVEL | logger | message``, from ``INFO`` on."""
    run = open_run()
    logger.addHandler(run.get_logging_handler())
    logger.debug("hidden")
    logger.info("loss %.1f", 0.5)
    logger.error("bad")
    run.finish()
    assert without_clock(run) == [
        "T | INFO | program.part | loss 0.5",
        "T | ERROR | program.part | bad",
        "",
    ]


@pytest.mark.parametrize("level", [logging.ERROR, "ERROR"])
def test_a_handler_takes_a_level(open_run, logger, level):
    """What is below ``level`` is left out."""
    run = open_run()
    logger.addHandler(run.get_logging_handler(level=level))
    logger.warning("hidden")
    logger.error("shown")
    run.finish()
    assert without_clock(run) == ["T | ERROR | program.part | shown", ""]


def test_a_handler_takes_a_format(open_run, logger):
    """``fmt`` is the whole line."""
    run = open_run()
    logger.addHandler(run.get_logging_handler(10, "%(levelname)s:%(message)s"))
    logger.debug("a")
    logger.info("b")
    run.finish()
    assert text_of(run) == "DEBUG:a\nINFO:b\n"


def test_a_handler_logs_an_exception_with_its_traceback(open_run, logger):
    """A traceback is stored with the message."""
    run = open_run()
    logger.addHandler(run.get_logging_handler())
    try:
        raise ValueError("the cause")  # noqa: TRY301 - to have a traceback
    except ValueError:
        logger.exception("failed")
    run.finish()
    assert "| failed\nTraceback" in text_of(run)
    assert "ValueError: the cause" in text_of(run)


class Unprintable:
    """Raises where it is formatted."""

    def __str__(self):
        raise RuntimeError("unprintable")


@pytest.mark.usefixtures("strict")
def test_a_handler_never_raises_into_the_program(open_run, logger, monkeypatch):
    """Messages that cannot be formatted, surrogates and threads: the program goes on, even when strict."""
    monkeypatch.setattr(logger, "propagate", False)  # pytest's own handlers do raise
    run = open_run()
    logger.addHandler(run.get_logging_handler())
    logger.info("%d", "no number")
    logger.info("%s", Unprintable())
    logger.info("a\udc80b")
    threads = [threading.Thread(target=lambda: [logger.info("t") for _ in range(100)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.finish()
    lines = without_clock(run)
    assert lines[0] == "T | INFO | program.part | a\\udc80b"
    assert lines[1:] == ["T | INFO | program.part | t"] * 400 + [""]


@pytest.mark.parametrize("name", ["runicorn", "runicorn.anything"])
def test_a_handler_never_logs_the_librarys_own_records(open_run, name):
    """On the root logger it leaves out what the library tells, and takes the rest."""
    run = open_run()
    handler = run.get_logging_handler()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        logging.getLogger(name).warning("ours")
        logging.getLogger("runicornish").warning("theirs")
        run.log(bad=[1, 2])
        run.finish()
    finally:
        root.removeHandler(handler)
    assert without_clock(run) == ["T | WARNING | runicornish | theirs", ""]


def test_the_end_of_a_run_takes_its_handlers_off_their_loggers(open_run, logger):
    """Of all loggers, the root too; those of another run and of the program stay."""
    first, second, own = open_run(), open_run(), logging.NullHandler()
    root, handler = logging.getLogger(), first.get_logging_handler()
    kept = second.get_logging_handler()
    root.addHandler(handler)
    for each in (handler, first.get_logging_handler(), kept, own):
        logger.addHandler(each)
    first.finish()
    assert logger.handlers == [kept, own]
    assert handler not in root.handlers
    logger.info("after")
    second.finish()
    assert without_clock(second) == ["T | INFO | program.part | after", ""]
    assert logger.handlers == [own]


def test_a_handler_stops_at_finish(open_run, logger, caplog):
    """After ``finish()`` it stores nothing, and says nothing about that."""
    run = open_run()
    logger.addHandler(run.get_logging_handler())
    logger.info("before")
    run.finish()
    logger.info("after")
    assert without_clock(run) == ["T | INFO | program.part | before", ""]
    assert warnings_in(caplog) == []
