"""The terminal model: what lines come of what a program writes, chunk by chunk."""

import os
import random
from collections import Counter

import msgspec
import pytest

from runicorn.writer.terminal import MOST_PENDING_CHARACTERS, MOST_ROWS, Screen

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
MODES = ["smart", "all", "none"]
OUT, ERR = 1, 2


def writes(text):
    """What was recorded, with a bar between any two writes."""
    return text.split("|")


# tqdm 4.70.1: one bar (bar_format is short in all of these)
TQDM = writes("\rtrain: 0/3|\rtrain: 1/3|\rtrain: 2/3|\rtrain: 3/3||\rtrain: 3/3|\n|done|\n")
# tqdm 4.70.1: position 0 and 1, the inner one with leave=False
TQDM_NESTED = writes(
    "\repoch: 0/2|\n|\rbatch: 0/2|\x1b[A|\n|\rbatch: 1/2|\x1b[A|\n|\rbatch: 2/2|\x1b[A||\n|\r          |"
    "\x1b[A|\repoch: 1/2|\n|\rbatch: 0/2|\x1b[A|\n|\rbatch: 1/2|\x1b[A|\n|\rbatch: 2/2|\x1b[A||\n|"
    "\r          |\x1b[A|\repoch: 2/2||\repoch: 2/2|\n|done|\n"
)
# tqdm 4.70.1: the same with leave=True: an inner bar ends in the row of the outer one, which goes down
TQDM_NESTED_KEPT = writes(
    "\repoch: 0/2|\n|\rbatch: 0/2|\x1b[A|\n|\rbatch: 1/2|\x1b[A|\n|\rbatch: 2/2|\x1b[A||\rbatch: 2/2|\n|"
    "\repoch: 1/2|\n|\rbatch: 0/2|\x1b[A|\n|\rbatch: 1/2|\x1b[A|\n|\rbatch: 2/2|\x1b[A||\rbatch: 2/2|\n|"
    "\repoch: 2/2||\repoch: 2/2|\n|done|\n"
)
# tqdm 4.70.1: tqdm.write() to the stream of the bar
TQDM_WRITE = writes(
    "\rtrain: 0/3|\rtrain: 1/3||\r          |\r||message|\n|\rtrain: 1/3|\rtrain: 2/3|\rtrain: 3/3||\rtrain: 3/3|\n"
)
# tqdm 4.70.1: tqdm.write() to the stream of two bars
TQDM_NESTED_WRITE = writes(
    "\repoch: 0/2|\n|\rbatch: 0/2|\x1b[A|\n|\rbatch: 1/2|\x1b[A||\r          |\r||\n|\r          |\r|\x1b[A|"
    "message|\n|\repoch: 0/2|\n|\rbatch: 1/2|\x1b[A|\n|\rbatch: 2/2|\x1b[A||\n|\r          |\x1b[A|"
    "\repoch: 1/2|\n|\rbatch: 0/2|\x1b[A|\n|\rbatch: 1/2|\x1b[A||\r          |\r||\n|\r          |\r|\x1b[A|"
    "message|\n|\repoch: 1/2|\n|\rbatch: 1/2|\x1b[A|\n|\rbatch: 2/2|\x1b[A||\n|\r          |\x1b[A|"
    "\repoch: 2/2||\repoch: 2/2|\n|done|\n"
)
# tqdm 4.70.1: one bar after another
TQDM_TWO = writes("\rone: 0/2|\rone: 1/2|\rone: 2/2||\rone: 2/2|\n|\rtwo: 0/2|\rtwo: 1/2|\rtwo: 2/2||\rtwo: 2/2|\n")
# rich 15.0.0: Progress with two tasks and console.print() in the middle
RICH_PROGRESS = [
    "\x1b[?25l",
    "",
    "\r\x1b[2Kone \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m",
    ("\r\x1b[2Kone \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m\ntwo \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m"),
    (
        "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[91m━━━━\x1b[0m\x1b[90m╺\x1b[0m\x1b[90m━━━\x1b[0m \x1b[32m1/2\x1b[0m\n"
        "two \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m"
    ),
    (
        "\r\x1b[2K\x1b[1A\x1b[2Ka message\n"
        "one \x1b[91m━━━━\x1b[0m\x1b[90m╺\x1b[0m\x1b[90m━━━\x1b[0m \x1b[32m1/2\x1b[0m\n"
        "two \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m"
    ),
    (
        "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[90m━━━━━━━━\x1b[0m \x1b[32m2/2\x1b[0m\n"
        "two \x1b[90m━━━━━━━━\x1b[0m \x1b[32m2/2\x1b[0m"
    ),
    (
        "\r\x1b[2K\x1b[1A\x1b[2Kone \x1b[90m━━━━━━━━\x1b[0m \x1b[32m2/2\x1b[0m\n"
        "two \x1b[90m━━━━━━━━\x1b[0m \x1b[32m2/2\x1b[0m\n"
        "\x1b[?25h"
    ),
    "done\n",
]
# rich 15.0.0: the same with transient=True
RICH_TRANSIENT = [*RICH_PROGRESS[:-2], RICH_PROGRESS[-2] + "\r\x1b[1A\x1b[2K\x1b[1A\x1b[2K", "done\n"]
# rich 15.0.0: Live with a table that grows, console.print() in the middle
RICH_LIVE = [
    "\x1b[?25l",
    "+-----------+\n| row 0 | 1 |\n+-----------+",
    "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K+-----------+\n| row 0 | 2 |\n| row 1 | 2 |\n+-----------+",
    (
        "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2Ka message\n"
        "+-----------+\n"
        "| row 0 | 2 |\n"
        "| row 1 | 2 |\n"
        "+-----------+"
    ),
    (
        "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K+-----------+\n"
        "| row 0 | 3 |\n"
        "| row 1 | 3 |\n"
        "| row 2 | 3 |\n"
        "+-----------+"
    ),
    (
        "\r\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K\x1b[1A\x1b[2K+-----------+\n"
        "| row 0 | 3 |\n"
        "| row 1 | 3 |\n"
        "| row 2 | 3 |\n"
        "+-----------+\n"
        "\x1b[?25h"
    ),
    "done\n",
]
# rich 15.0.0: console.status() with console.print() in it
RICH_STATUS = [
    "\x1b[?25l",
    "a message\n⠋ working",
    "\r\x1b[2K⠋ working\n\x1b[?25h\r\x1b[1A\x1b[2K",
    "done\n",
]


def texts(lines):
    return [line for _, line in lines]


def again(screen):
    """What comes back after a plan has carried the screen."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(screen), type=Screen)


def size(screen):
    return len(msgspec.msgpack.encode(screen))


def feed(screen, *chunks, stream=ERR, thread=1):
    """The lines that are final by these chunks, which are texts, or a stream, a thread and a text."""
    found = []
    for chunk in chunks:
        where = chunk if isinstance(chunk, tuple) else (stream, thread, chunk)
        found += texts(screen.feed(where[0], where[2], 1.0, where[1]))
    return found


def play(mode, *chunks, carried=False):
    """All lines of these chunks, to the end; ``carried``: through a plan between any two of them."""
    screen = Screen(mode)
    found = []
    for chunk in chunks:
        found += feed(screen, chunk)
        if carried:
            screen = again(screen)
    found += texts(screen.flush())
    assert screen == Screen(mode)
    return found


def by_mode(*chunks):
    return tuple(play(mode, *chunks) for mode in MODES)


# --- plain text ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_text_and_newline_in_two_chunks_are_one_line(mode):
    """What print() writes, a text and then a newline, is one line, at once, with the time of its text."""
    screen = Screen(mode)
    assert screen.feed(OUT, "hello", 1.0, 1) == []
    assert screen.feed(OUT, "\n", 2.0, 1) == [(1.0, "hello")]
    assert screen == Screen(mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        (["a\n", "\n", "\n", "b\n"], ["a", "", "", "b"]),
        (["\n"], [""]),
        (["a\nb\n\nc", "d\n"], ["a", "b", "", "cd"]),
        (["  a  \n", "\tb\t\n", "   \n"], ["  a  ", "\tb\t", "   "]),
        (["a\r\nb\r\n\r\n"], ["a", "b", ""]),
        (["a", "\r", "\n", "b\r", "\nc\n", "\r", "\n"], ["a", "b", "c", ""]),
        (["a\r\r\n", "b\r", "\r\n"], ["a", "b"]),
        (["a\r", "", "\n"], ["a"]),
        (["a", "", "\n", ""], ["a"]),
        (["é", "漢\n"], ["é漢"]),
        (["a\x07b\x00\n"], ["ab"]),
    ],
)
def test_ordinary_lines_are_stored_as_they_were_printed(mode, chunks, lines):
    """Blanks, blank lines and characters stay, CRLF is a newline even in two chunks, and no line waits."""
    screen = Screen(mode)
    assert feed(screen, *chunks) == lines
    assert screen == Screen(mode)


def test_a_line_without_its_end_is_stored_at_the_flush():
    """The last line needs no newline, and an empty one is none."""
    assert by_mode("a\nb") == (["a", "b"],) * 3
    assert by_mode("a\n") == (["a"],) * 3


# --- what a terminal does -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunk", "line"),
    [
        ("abcdef\rXY\n", "XYcdef"),
        ("abc\b\bX\n", "aXc"),
        ("a\b\b\bX\n", "X"),
        ("ab\x1b[3Cc\n", "ab   c"),
        ("abcdef\x1b[3DX\n", "abcXef"),
        ("abcdef\x1b[2GX\n", "aXcdef"),
        ("abc\x1b[GX\n", "Xbc"),
        ("abcdef\x1b[3D\x1b[K\n", "abc"),
        ("abcdef\x1b[3D\x1b[1K\n", "    ef"),
        ("abcdef\x1b[2KX\n", "      X"),
        ("abc   \r\n", "abc   "),
        ("100%\r    \rdone   \n", "done"),
        ("a\x1b[31mb\x1b[0m\n", "a\x1b[31mb\x1b[0m"),
        ("\x1b[31mabc\x1b[0m\rX\n", "Xbc\x1b[0m"),
        ("abc\r\x1b[31mX\x1b[0m\n", "\x1b[31mX\x1b[0mbc"),
        ("ab\x1b[31mc \x1b[0m\r\n", "ab\x1b[31mc \x1b[0m"),
        ("\x1b[32mabc\x1b[0m\b\x1b[1mX\n", "\x1b[32mab\x1b[1mX"),
        ("x\r\x1b[32mab  \x1b[0m\n", "\x1b[32mab\x1b[0m"),
        ("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\n", "abc"),
        ("a\x1bPq#0;2\x1b\\b\x1b_Gx\x1b\\c\n", "abc"),
        ("a\x1b7b\x1b(Bc\x1b=d\x1b[?2004he\x1b[>4;2mf\x1b[2 qg\x1b[5 Ah\x1b[6nj\n", "abcdefghj"),
        ("a\x1b[" + "9" * 10_000 + "zb\n", "ab"),
        ("ab\x1b[2 Dc\n", "abc"),
        ("a\x1béb\n", "aéb"),
        ("a\x1b[3Gb\n", "a b"),
    ],
)
def test_controls_within_a_line_do_what_a_terminal_does(chunk, line):
    """What a chunk with controls comes to is the row that a terminal shows, colours in their places."""
    assert play("smart", chunk) == [line]


@pytest.mark.parametrize(
    ("chunk", "lines"),
    [
        ("\rone\n\rtwo\x1b[A\rONE\x1b[B\rTWO\n", ["ONE", "TWO"]),
        ("\rone\n\rtwo\x1b[FONE\x1b[ETWO\n", ["ONE", "TWO"]),
        ("\rone\n\rtwo\n\rthree\x1b[2A\x1b[J\rlast\n", ["last"]),
        ("\rone\n\rtwo\n\rthree\x1b[A\r\x1b[1J\n", ["wo", "three"]),
        ("\rone\n\rtwo\x1b[2J\rthree\n", ["three"]),
        ("\rone\x1b[9A\rtwo\n", ["two"]),
        ("\x1b[2J\x1b[Hone\ntwo\n", ["one", "two"]),
    ],
)
def test_controls_between_rows_do_what_a_terminal_does(chunk, lines):
    """The cursor goes up and down among the rows that are not final, and erases them."""
    assert [line.strip() for line in play("smart", "\x1b[?25l", chunk)] == lines


def test_a_screen_that_is_cleared_before_anything_stands_on_it_makes_no_progress_row():
    """Lines printed behind an erasing of nothing are ordinary."""
    assert by_mode("\x1b[2J\x1b[H\x1b[2K\x1b[Kone\ntwo\n") == (["one", "two"],) * 3


def test_the_cursor_moved_in_an_ordinary_line_counts_in_the_next_chunk():
    """A plain chunk is written where the cursor is, which need not be the end of the line."""
    assert play("smart", "abc\x1b[2D", "X", "\n") == ["aXc"]
    assert play("smart", "abc\x1b[2C", "X\n") == ["abc  X"]
    assert play("smart", "\x1b[2C", "X\n") == ["  X"]
    assert play("none", "abc\x1b[2C", "X\n") == ["abc  X"]
    assert play("none", "abc\x1b[2C", (ERR, 2, "\r50%"), "X\n") == ["abc  X"]


def test_a_colour_at_the_end_of_a_chunk_is_that_of_the_next():
    """A colour that is written before the text that it is for stands before it in the line."""
    assert play("smart", "abc\r\x1b[32m", "X\x1b[K\x1b[0m\n") == ["\x1b[32mX\x1b[0m"]
    assert play("smart", "abc\r", "\x1b[32m", "X\x1b[0m", "\n") == ["abc", "\x1b[32mX\x1b[0m"]


@pytest.mark.parametrize(
    "whole",
    [
        "a\x1b[31mb\x1b[0mc\n",
        "abc\x1b[2DX\n",
        "a\x1b]0;title\x07b\n",
        "a\x1b]8;;http://x\x1b\\b\n",
        "a\x1bPq\x1b\\b\n",
        "a\x1b(Bb\n",
        "50%\x1b[?25lx\x1b[?25h\n",
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_sequence_that_a_chunk_has_cut_is_completed_by_the_next(mode, whole):
    """Wherever a chunk ends, within a sequence or not, the lines are the same."""
    for carried in (False, True):
        expected = play(mode, whole)
        for at in range(1, len(whole)):
            assert play(mode, whole[:at], whole[at:], carried=carried) == expected
        assert play(mode, *whole, carried=carried) == expected


def test_a_cut_sequence_is_completed_by_its_own_thread():
    """Half a sequence of one thread is nothing to another one."""
    chunks = [(OUT, 1, "a\x1b[3"), (OUT, 2, "2mb\n"), (OUT, 1, "1mc\n")]
    for mode in MODES:
        assert sorted(play(mode, *chunks)) == ["2mb", "a\x1b[31mc"]


# --- a carriage return at the end of a chunk ------------------------------------------------------------------------


def test_a_line_printed_over_a_bar_that_ended_with_a_return_is_ordinary():
    r"""After print(x, end="\r") a print() makes a line of its own, and the bar's last state is one too."""
    assert by_mode("10/10", "\r", "ok", "\n") == (["10/10", "ok"], ["10/10", "ok"], ["ok"])
    assert by_mode("9/10\r", "10/10\r", "ok\nmore\n") == (
        ["10/10", "ok", "more"],
        ["9/10", "10/10", "ok", "more"],
        ["ok", "more"],
    )


def test_a_shorter_line_over_a_bar_has_nothing_of_it():
    """An ordinary line over a longer bar is stored as printed, its blanks too."""
    assert by_mode("a long bar", "\r", "ok  ", "\n")[0] == ["a long bar", "ok  "]


def test_a_loop_of_returns_that_a_bare_newline_ends_is_a_bar():
    r"""print(x, end="\r") in a loop and then print() leaves the last state, which is no ordinary line."""
    chunks = ["1/2", "\r", "2/2", "\r", "\n", "ok", "\n"]
    assert by_mode(*chunks) == (["2/2", "ok"], ["1/2", "2/2", "ok"], ["ok"])


def test_a_return_and_text_in_one_chunk_is_a_bar():
    r"""print("\r" + x, end="") makes progress rows, whatever ends them."""
    chunks = ["\r1/2", "", "\r2/2", "", "\n", "ok", "\n"]
    assert by_mode(*chunks) == (["2/2", "ok"], ["1/2", "2/2", "ok"], ["ok"])


@pytest.mark.parametrize("wipe", ["\r\x1b[K", "\r\x1b[2K", "\r      \r", "\x1b[2K\r"])
def test_a_line_printed_over_a_wiped_bar_is_ordinary_and_final_at_once(wipe):
    """A bar that is wiped out for a message leaves nothing, and the message does not wait."""
    for mode in MODES:
        screen = Screen(mode)
        states = ["50%"] if mode == "all" else []
        assert feed(screen, "\r50%", wipe, "message", "\n") == [*states, "message"]
        assert feed(screen, "\r60%", "\n", "end\n") == ([] if mode == "none" else ["60%"]) + ["end"]


def test_a_line_printed_behind_a_bar_is_not_lost():
    """Text that a thread appends to its own bar is in its row, and by itself where rows are not wanted."""
    assert by_mode("\r50%", " oops", "\n") == (["50% oops"], ["50% oops"], [" oops"])
    assert by_mode("\r50%", "\x1b[0m", "\n")[2] == []


# --- threads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_lines_of_two_threads_are_not_merged(mode):
    """The pieces of print() of two threads, in any order, are each thread's own lines."""
    screen = Screen(mode)
    assert feed(screen, (OUT, 1, "a"), (OUT, 2, "b"), (OUT, 3, "\x1b[31mc"), (OUT, 2, "\n")) == ["b"]
    assert feed(screen, (OUT, 1, "a\n"), (OUT, 3, "\x1b[0m\n")) == ["aa", "\x1b[31mc\x1b[0m"]
    assert screen == Screen(mode)


@pytest.mark.parametrize("mode", MODES)
def test_blanks_of_another_thread_are_its_text_too(mode):
    """An indentation that waits for its text is not given to another thread's line."""
    assert play(mode, (OUT, 1, "  "), (OUT, 2, "b\n"), (OUT, 1, "a\n")) == ["b", "  a"]


@pytest.mark.parametrize("mode", MODES)
def test_a_crlf_cut_by_another_thread_is_a_newline(mode):
    r"""Between \r and \n of one thread another one may print."""
    chunks = [(OUT, 1, "a\r"), (OUT, 2, "b\r"), (OUT, 1, "\nc"), (OUT, 2, "\n"), (OUT, 1, "\r\n")]
    assert play(mode, *chunks) == ["a", "b", "c"]
    assert play(mode, (OUT, 1, "\r"), (OUT, 2, "b"), (OUT, 1, "\n"), (OUT, 2, "\r"), (OUT, 2, "\n")) == ["", "b"]


def test_a_bar_may_be_refreshed_by_another_thread():
    """A refresh from a second thread is a state of the same row."""
    chunks = [(ERR, 1, "\r1/3"), (ERR, 9, "\r2/3"), (ERR, 1, "\r3/3"), (ERR, 1, "\n")]
    assert by_mode(*chunks) == (["3/3"], ["1/3", "2/3", "3/3"], [])


def test_nested_bars_may_be_refreshed_by_another_thread():
    """Whoever has drawn the last state, the newline that leads to the next bar is no line."""
    inner = ["\n", "\rinner", "\x1b[A"]
    chunks = [(ERR, 1, c) for c in ("\router 1", *inner)] + [(ERR, 9, "\router 2")] + [(ERR, 1, c) for c in inner]
    assert by_mode(*chunks, (ERR, 1, "\router 3")) == (
        ["outer 3", "inner"],
        ["outer 1", "inner", "outer 2", "outer 3"],
        [],
    )


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_line_of_another_thread_is_its_own(mode):
    """A print() without text beside another thread's bar is a blank line, and the bar stays where it is."""
    states = {"smart": ["2/2"], "all": ["1/2", "2/2"], "none": []}[mode]
    found = play(mode, (ERR, 1, "\r1/2"), (ERR, 2, "\n"), (ERR, 1, "\r2/2"), (ERR, 1, "\n"))
    assert sorted(found) == sorted(["", *states])


@pytest.mark.parametrize("mode", MODES)
def test_a_line_of_another_thread_is_whole_while_a_block_begins(mode):
    """Who has hidden the cursor paints the screen, and a line that another thread has begun stays clear of it."""
    for line in ([(ERR, 2, "li"), (ERR, 1, RICH_LIVE[0])], [(ERR, 1, RICH_LIVE[0]), (ERR, 2, "li")]):
        chunks = [*line, *((ERR, 1, chunk) for chunk in RICH_LIVE[1:-2]), (ERR, 2, "ne\n"), *RICH_LIVE[-2:]]
        found = play(mode, *[(ERR, 1, chunk) if isinstance(chunk, str) else chunk for chunk in chunks])
        assert Counter(found) == Counter([*LIBRARIES["rich live"][1 + MODES.index(mode)], "line"])


def test_a_line_of_another_thread_makes_the_rows_above_final():
    """A bar that is done comes before what another thread prints afterwards."""
    screen = Screen("smart")
    assert feed(screen, (ERR, 1, "\r2/2"), (ERR, 1, "\n"), (ERR, 2, "message"), (ERR, 2, "\n")) == ["2/2", "message"]


def test_a_bar_beside_another_threads_bar_is_final_at_its_newline():
    """A thread that has printed beside a bar is free of that once its own row has ended."""
    screen = Screen("smart")
    assert feed(screen, (ERR, 1, "\r1/2"), *[(ERR, 2, chunk) for chunk in ("a", "\r", "b\r", "\n")]) == ["b"]
    assert screen.err.asides == {}


def test_a_line_of_another_thread_does_not_touch_a_bar():
    """A message of one thread comes out clean and at once while another one's bar is pending."""
    screen = Screen("smart")
    assert feed(screen, (ERR, 1, "\r1/2"), (ERR, 2, "message"), (ERR, 1, "\r2/2"), (ERR, 2, "\n")) == ["message"]
    assert feed(screen, (ERR, 1, "\n"), (ERR, 1, "end\n")) == ["2/2", "end"]


@pytest.mark.parametrize("mode", MODES)
def test_a_bar_over_another_threads_unfinished_line_does_not_take_it(mode):
    """Between the text and the newline of a print() a bar may be refreshed: the line is whole."""
    screen = Screen(mode)
    chunks = [(ERR, 1, "mess"), (ERR, 2, "\r1/2"), (ERR, 1, "age"), (ERR, 2, "\r2/2"), (ERR, 1, "\n"), (ERR, 1, "b\n")]
    states = ["1/2"] if mode == "all" else []
    assert feed(screen, *chunks) == [*states, "message", "b"]
    assert feed(screen, (ERR, 2, "\n"), (ERR, 2, "end\n")) == ([] if mode == "none" else ["2/2"]) + ["end"]


def test_two_threads_may_end_their_chunks_with_returns():
    r"""Each of two threads that print(x, end="\r") has its own row."""
    chunks = [(OUT, t, c) for c in ("1/2", "\r", "2/2", "\r", "ok", "\n") for t in (1, 2)]
    assert by_mode(*chunks) == (
        ["2/2", "ok"] * 2,
        ["1/2", "1/2", "2/2", "2/2", "ok", "ok"],
        ["ok", "ok"],
    )


# rich 15.0.0: Live without a renderable, so that the first block is painted by the thread that refreshes
RICH_LIVE_LATER = [RICH_LIVE[0], (ERR, 9, RICH_LIVE[1]), *RICH_LIVE[2:]]
# rich 15.0.0: console.status(), with lines that come one by one
RICH_STATUS_LINES = [
    "\x1b[?25l",
    "line 0\n⠋ working",
    (ERR, 2, "\r\x1b[2Kline 1\n⠋ working"),
    (ERR, 9, "\r\x1b[2K⠙ working"),
    "\r\x1b[2Kline 2\n⠙ working",
    (ERR, 2, "\r\x1b[2Kline 3\n⠙ working"),
    "\r\x1b[2K⠙ working\n\x1b[?25h\r\x1b[1A\x1b[2K",
    "done\n",
]


def is_painting(chunk):
    return "\x1b[2K" in chunk and "?25h" not in chunk


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("name", ["rich", "rich, transient", "rich live", "rich status"])
@pytest.mark.parametrize("mode", MODES)
def test_whoever_paints_goes_on_with_the_painting(name, mode, seed):
    """Threads take turns with the repaints of one block, and print between them as others do: all lines are whole."""
    print(f"CHAOS_SEED={SEED}, number {seed}")
    source = random.Random(f"{SEED} painters {seed}")
    chunks, *expected = LIBRARIES[name]
    mixed = []
    printed = []
    for number, chunk in enumerate(chunks):
        mixed.append((ERR, source.choice([1, 8, 9]) if is_painting(chunk) else 1, chunk))
        if number > 2 and source.random() < 0.5:
            printed.append(f"line {len(printed)}")
            stream, thread = source.choice([OUT, ERR]), source.choice([1, 5, 8])
            mixed += [(stream, thread, printed[-1]), (stream, thread, "\n")]
    found = play(mode, *mixed, carried=True)
    assert [line for line in found if line not in printed] == expected[MODES.index(mode)]
    assert [line for line in found if line in printed] == printed


def test_a_print_beside_another_threads_painting_is_a_line_at_once():
    """The thread that has begun a block prints while another one repaints it: its line is whole, and does not wait."""
    screen = Screen("smart")
    feed(screen, *RICH_PROGRESS[:3], (ERR, 9, RICH_PROGRESS[3]), (ERR, 9, RICH_PROGRESS[4]))
    assert feed(screen, "epoch", " ", "1", "\n") == ["epoch 1"]
    assert feed(screen, (ERR, 9, RICH_PROGRESS[6]), *RICH_PROGRESS[7:]) == [ONE[2], TWO[1], "done"]


@pytest.mark.parametrize("chunks", [RICH_PROGRESS[:3], RICH_PROGRESS[:4], RICH_PROGRESS[:5], RICH_LIVE[:2]])
def test_a_print_behind_an_own_painting_is_a_line_at_once(chunks):
    """Nor does it come to the last row if the same thread has painted that, in one go."""
    screen = Screen("smart")
    assert feed(screen, *chunks, "epoch", " ", "1", "\n", "line\n") == ["epoch 1", "line"]
    pieces = ["\x1b[?25l", "\r1/2", "\r", "2/2", " now", "\n\x1b[?25h"]
    assert play("smart", *pieces) == ["1/2", "2/2 now"]


def test_a_bar_that_a_thread_paints_in_pieces_is_one_bar_among_prints():
    """A spinner that a thread paints with the cursor hidden, and that another one wipes for a line, or prints over."""
    screen = Screen("smart")
    spin = [(ERR, 2, piece) for piece in ("\r", "| spin", "\x1b[K")]
    found = feed(screen, "\x1b[?25l", *spin, *spin, "\r", "\x1b[K", "wiped\n", *spin, *spin)
    found += feed(screen, *spin, "printed", "\n", *spin)
    assert found == ["wiped", "printed"]
    assert feed(screen, "\r", "\x1b[K", "\x1b[?25h", "end", "\n") == ["end"]
    assert screen == Screen("smart")


@pytest.mark.parametrize("mode", MODES)
def test_the_first_block_may_be_painted_by_another_thread(mode):
    """A block of several rows is a painting also without a control character in it."""
    assert play(mode, *RICH_LIVE_LATER) == LIBRARIES["rich live"][1 + MODES.index(mode)]
    rows = [(ERR, 9, "one row"), (ERR, 9, "\r\x1b[2Kone row, later")]
    states = {"smart": ["last"], "all": ["one row", "one row, later", "last"], "none": []}[mode]
    assert play(mode, "\x1b[?25l", *rows, "\r\x1b[2Klast\n\x1b[?25h", "done\n") == [*states, "done"]


@pytest.mark.parametrize("mode", MODES)
def test_no_line_above_a_block_of_one_row_is_taken_for_a_bar(mode):
    """Lines that take the row of a block, which goes on below them, are lines in every mode."""
    found = play(mode, *RICH_STATUS_LINES)
    assert [line for line in found if "working" not in line] == ["line 0", "line 1", "line 2", "line 3", "done"]


@pytest.mark.parametrize("mode", MODES)
def test_each_thread_may_have_a_bar_of_its_own(mode):
    """Newlines with which a thread goes down to its first bar are no empty line, nor is its bar above that."""
    chunks = []
    for n in range(3):
        chunks += [(ERR, 1, f"\router {n}"), (ERR, 2, "\n"), (ERR, 2, f"\rinner {n}"), (ERR, 2, "\x1b[A")]
    states = {"smart": ["outer 2", "inner 2"], "none": []}
    states["all"] = [line for n in range(3) for line in (f"outer {n}", f"inner {n}")]
    assert sorted(play(mode, *chunks)) == sorted(states[mode])


def test_empty_lines_beside_a_bar_are_kept_and_bounded():
    """A thread that prints nothing but newlines beside another one's bar has an empty line for each."""
    screen = Screen("smart")
    found = feed(screen, "\r50%", *[(ERR, 2, "\n")] * 1000)
    assert size(screen) < 1000
    found += texts(screen.flush())
    assert sorted(found) == [""] * 1000 + ["50%"]


@pytest.mark.parametrize("stream", [OUT, ERR])
def test_a_line_in_the_middle_of_a_painting_does_not_end_it(stream):
    """While a thread is at its lower bar another one prints, on either stream: the upper bar is not doubled."""
    upper = ["\router 1", "\n", "\rinner 1", "\x1b[A"]
    screen = Screen("smart")
    assert feed(screen, *upper[:3], (stream, 2, "line\n"), upper[3], "\router 2") == ["line"]
    assert texts(screen.flush()) == ["outer 2", "inner 1"]
    assert feed(screen, *upper[:3]) == []
    assert texts(screen.feed(stream, "much later\n", 9.0, 2)) == ["outer 1", "much later"]


# --- finality and order ---------------------------------------------------------------------------------------------


def test_a_row_that_a_newline_has_left_is_held_until_an_ordinary_line_ends_below():
    """A bar may come back to its row by the cursor, so only what is printed below makes it final."""
    screen = Screen("smart")
    assert feed(screen, "\r1/2", "\n", "below") == []
    assert feed(screen, "\n") == ["1/2", "below"]


def test_a_held_row_is_final_when_a_line_ends_on_the_other_stream():
    """Bars that are done come before what is printed after them, on whichever stream."""
    screen = Screen("smart")
    assert feed(screen, "\r2/2", "\n", (OUT, 1, "next")) == []
    assert feed(screen, (OUT, 1, "\n")) == ["2/2", "next"]
    assert feed(screen, "\r1/2", (OUT, 1, "while\n")) == ["while"]
    assert texts(screen.flush()) == ["1/2"]


def test_a_held_row_is_final_when_another_bar_refreshes_below():
    """A second carriage return below, without the cursor gone up between, is a bar after a bar."""
    screen = Screen("smart")
    assert feed(screen, "\r2/2", "\n", "\r1/2") == []
    assert feed(screen, "\r2/2") == ["2/2"]
    nested = Screen("smart")
    assert feed(nested, "\router", *["\n", "\rinner", "\x1b[A"] * 3, "\n", "\r     ", "\r", "\x1b[A", "\rOUTER") == []
    assert texts(nested.flush()) == ["OUTER"]
    down = ["\router", "\n", "\rinner", "\x1b[A", "\x1b[B", "\rinner 2", "\x1b[A", "\n", "\r", "\rinner 3", "\x1b[A"]
    assert play("smart", *down, "\rOUTER") == ["OUTER", "inner 3"]


def test_more_rows_than_a_screen_has_become_final():
    """Of rows that nothing else makes final no more than a screenful is held, and they come out in order."""
    screen = Screen("smart")
    rows = [f"row {number}" for number in range(3 * MOST_ROWS)]
    found = []
    for row in rows:
        found += feed(screen, f"\r{row}\n")
        assert len(screen.err.rows) <= MOST_ROWS
    assert len(found) > MOST_ROWS
    assert found + texts(screen.flush()) == rows


def test_a_flush_takes_everything_in_order():
    """At the end held rows, the row of the cursor and what other threads have begun become lines."""
    screen = Screen("smart")
    feed(screen, "\r2/2", "\n", "\r1/2", (ERR, 2, "unfinished"), (OUT, 1, "out"), (ERR, 3, "\x1b[3"))
    assert texts(screen.flush()) == ["out", "2/2", "1/2", "unfinished"]
    assert screen == Screen("smart")
    assert screen.flush() == []


def test_lines_carry_the_time_of_what_they_show():
    """An ordinary line has the time of its first character, a progress row that of its last state."""
    screen = Screen("all")
    assert screen.feed(ERR, "\r1/2", 1.0, 1) == []
    assert screen.feed(ERR, "\r2/2", 2.0, 1) == [(1.0, "1/2")]
    assert screen.feed(ERR, "\n", 3.0, 1) == []
    assert screen.feed(ERR, "a", 4.0, 1) == []
    assert screen.feed(ERR, "b\nc", 5.0, 1) == [(2.0, "2/2"), (4.0, "ab")]
    assert screen.flush() == [(5.0, "c")]


def test_a_state_that_is_drawn_again_is_one_state():
    """In mode ``all`` a refresh that changes nothing, and a bar drawn again below a message, give no line."""
    assert play("all", "\r1/2", "\r1/2", "\r    ", "\r1/2", "\r2/2", "\n") == ["1/2", "2/2"]
    assert play("all", "\r\x1b[32m1\x1b[0m\x1b[K", "\r\x1b[32m1\x1b[0m\x1b[K") == ["\x1b[32m1\x1b[0m"]


def test_half_a_repaint_is_no_state():
    """In mode ``all`` what a row shows within a chunk, between the new text and the erasing of the old, is not seen."""
    assert play("all", "\r100 of 200\x1b[K", "\r9 left\x1b[K", "\n") == ["100 of 200", "9 left"]


# --- what real libraries write --------------------------------------------------------------------------------------

ONE = [
    "one \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m",
    "one \x1b[91m━━━━\x1b[0m\x1b[90m╺\x1b[0m\x1b[90m━━━\x1b[0m \x1b[32m1/2\x1b[0m",
    "one \x1b[90m━━━━━━━━\x1b[0m \x1b[32m2/2\x1b[0m",
]
TWO = ["two \x1b[90m━━━━━━━━\x1b[0m \x1b[32m0/2\x1b[0m", "two \x1b[90m━━━━━━━━\x1b[0m \x1b[32m2/2\x1b[0m"]
BORDER = "+-----------+"
LIBRARIES = {
    "tqdm": (
        TQDM,
        ["train: 3/3", "done"],
        ["train: 0/3", "train: 1/3", "train: 2/3", "train: 3/3", "done"],
        ["done"],
    ),
    "tqdm nested": (
        TQDM_NESTED,
        ["epoch: 2/2", "done"],
        [
            *["epoch: 0/2", "batch: 0/2", "batch: 1/2", "batch: 2/2"],
            *["epoch: 1/2", "batch: 0/2", "batch: 1/2", "batch: 2/2", "epoch: 2/2", "done"],
        ],
        ["done"],
    ),
    "tqdm nested, kept": (
        TQDM_NESTED_KEPT,
        ["batch: 2/2", "batch: 2/2", "epoch: 2/2", "done"],
        [
            *["epoch: 0/2", "batch: 0/2", "batch: 1/2", "batch: 2/2"],
            *["epoch: 1/2", "batch: 0/2", "batch: 1/2", "epoch: 2/2", "done"],  # "batch: 2/2" still stands above
        ],
        ["done"],
    ),
    "tqdm.write": (
        TQDM_WRITE,
        ["message", "train: 3/3"],
        ["train: 0/3", "train: 1/3", "message", "train: 2/3", "train: 3/3"],
        ["message"],
    ),
    "tqdm.write, nested": (
        TQDM_NESTED_WRITE,
        ["message", "message", "epoch: 2/2", "done"],
        [
            *["epoch: 0/2", "batch: 0/2", "batch: 1/2", "message", "batch: 2/2"],
            *["epoch: 1/2", "batch: 0/2", "batch: 1/2", "message", "batch: 2/2", "epoch: 2/2", "done"],
        ],
        ["message", "message", "done"],
    ),
    "tqdm twice": (
        TQDM_TWO,
        ["one: 2/2", "two: 2/2"],
        ["one: 0/2", "one: 1/2", "one: 2/2", "two: 0/2", "two: 1/2", "two: 2/2"],
        [],
    ),
    "rich": (
        RICH_PROGRESS,
        ["a message", ONE[2], TWO[1], "done"],
        [ONE[0], TWO[0], ONE[1], "a message", ONE[2], TWO[1], "done"],
        ["a message", "done"],
    ),
    "rich, transient": (
        RICH_TRANSIENT,
        ["a message", "done"],
        [ONE[0], TWO[0], ONE[1], "a message", ONE[2], TWO[1], "done"],
        ["a message", "done"],
    ),
    "rich live": (
        RICH_LIVE,
        ["a message", BORDER, "| row 0 | 3 |", "| row 1 | 3 |", "| row 2 | 3 |", BORDER, "done"],
        [
            *[BORDER, "| row 0 | 1 |", "| row 0 | 2 |", "| row 1 | 2 |", "a message"],
            *["| row 0 | 3 |", "| row 1 | 3 |", "| row 2 | 3 |", "done"],
        ],
        ["a message", "done"],
    ),
    "rich status": (
        RICH_STATUS,
        ["a message", "done"],
        ["a message", "⠋ working", "done"],
        ["a message", "done"],
    ),
}


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("mode", MODES)
def test_what_a_library_writes_comes_to_what_its_user_has_seen(name, mode):
    """Bars come out once in their final state, or with each state, or not at all, and messages in every mode."""
    chunks, *expected = LIBRARIES[name]
    assert play(mode, *chunks) == expected[MODES.index(mode)]
    assert play(mode, *chunks, carried=True) == expected[MODES.index(mode)]


def test_a_message_above_a_block_does_not_wait_for_its_end():
    """What is printed above bars that are repainted is final with the next repaint, the bars are not."""
    screen = Screen("smart")
    assert feed(screen, *RICH_PROGRESS[:-2]) == ["a message"]
    assert feed(screen, RICH_PROGRESS[-2]) == [ONE[2], TWO[1]]


def test_a_line_of_the_other_stream_does_not_end_a_block():
    """While the cursor is hidden the rows above it are still repainted."""
    screen = Screen("smart")
    feed(screen, *RICH_PROGRESS[:4])
    assert feed(screen, (OUT, 1, "line\n")) == ["line"]
    assert feed(screen, *RICH_PROGRESS[4:]) == ["a message", ONE[2], TWO[1], "done"]


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("mode", MODES)
def test_lines_of_other_threads_are_whole_among_what_a_library_writes(name, mode):
    """Two threads print all the while between the writes of a library: their lines and its own are all there."""
    chunks, *expected = LIBRARIES[name]
    mixed = []
    for number, chunk in enumerate(chunks):
        thread = 2 + number % 2
        piece = "\n" if number % 4 > 1 else f"line {number // 4} of {thread}"
        mixed += [(ERR, 1, chunk), (ERR, thread, piece)]
    found = play(mode, *mixed)
    for thread in (2, 3):
        lines = [line for line in found if line.endswith(f" of {thread}")]
        begun = sum(piece.endswith(f" of {thread}") for _, _, piece in mixed)
        assert lines == [f"line {number} of {thread}" for number in range(begun)]
    ordinary = [line for line in found if line in expected[2]]
    assert ordinary == expected[2]


# --- properties -----------------------------------------------------------------------------------------------------


def random_line(source, thread):
    """An ordinary line whose visible characters name its thread, or one that shows nothing."""
    mark = "abcdefgh"[thread]
    parts = [mark, mark.upper(), f"{mark}é{mark}", f"\x1b[{source.randrange(100)}m", "\x1b[0m", " ", "   ", "\t"]
    return "".join(source.choices(parts, k=source.choice([0, 1, 1, 2, 5, 20])))


def cut(source, text):
    """A text in pieces; where it is cut is by chance, with a liking for every single place."""
    most = source.choice([1, 3, 10, 100])
    while text:
        size = source.randint(1, most)
        yield text[:size]
        text = text[size:]


@pytest.mark.parametrize("number", range(60))
def test_ordinary_lines_survive_every_cutting_and_mixing(number):
    """Lines of several threads, cut and mixed at random, on the way through plans, are each thread's lines in order."""
    print(f"CHAOS_SEED={SEED}, number {number}")
    for mode in MODES:
        source = random.Random(f"{SEED} {number}")
        lines = {thread: [random_line(source, thread) for _ in range(source.randrange(25))] for thread in range(5)}
        streams = {thread: source.choice([OUT, ERR]) for thread in lines}
        waiting = {}
        for thread, each in lines.items():
            text = "".join(line + source.choice(["\n", "\n", "\r\n"]) for line in each)
            if each and each[-1] and source.random() < 0.5:
                text = text.rstrip("\r\n") or text
            waiting[thread] = list(cut(source, text))
        screen = Screen(mode)
        found = []
        while any(waiting.values()):
            thread = source.choice([thread for thread, chunks in waiting.items() if chunks])
            found += feed(screen, (streams[thread], thread, waiting[thread].pop(0)))
            if source.random() < 0.2:
                screen = again(screen)
            if source.random() < 0.1:
                found += texts(screen.trim())
        found += texts(screen.flush())
        assert screen == Screen(mode)
        assert Counter(found) == Counter(line for each in lines.values() for line in each)
        for thread, each in lines.items():
            mark = "abcdefgh"[thread]
            assert [line for line in found if mark in line.lower().replace("m", "")] == [
                line for line in each if mark in line.lower().replace("m", "")
            ]


@pytest.mark.parametrize("number", range(30))
def test_messages_among_bars_are_never_lost(number):
    """In every mode each line printed around, above and beside bars of other threads is there, once and in order."""
    print(f"CHAOS_SEED={SEED}, number {number}")
    for mode in MODES:
        source = random.Random(f"{SEED} bars {number}")
        screen = Screen(mode)
        printed = {2: 0, 3: 0}
        half = {2: False, 3: False}
        found = []
        finals = []
        messages = 0
        for bar in range(6):
            for step in range(source.randrange(1, 6)):
                final = f"bar {bar} at {step}"
                writer = source.choice([1, 1, 1, 9]) if step else 1
                found += feed(screen, (ERR, writer, f"\r{final}"), (ERR, writer, ""))
                if source.random() < 0.3:
                    wipe = source.choice([["\r" + " " * 20, "\r"], ["\r\x1b[K"], ["\r\x1b[2K"]])
                    found += feed(screen, *wipe, f"message {messages} of 1", "\n", f"\r{final}")
                    messages += 1
                for thread in (2, 3):
                    if source.random() < 0.4:
                        piece = "\n" if half[thread] else f"line {printed[thread]} of {thread}"
                        printed[thread] += half[thread]
                        half[thread] = not half[thread]
                        found += feed(screen, (ERR, thread, piece))
                if source.random() < 0.2:
                    screen = again(screen)
            finals.append(final)
            found += feed(screen, "\n")
        found += texts(screen.flush())
        assert [line for line in found if line.startswith("message")] == [f"message {n} of 1" for n in range(messages)]
        for thread, count in printed.items():
            lines = [line for line in found if line.endswith(f" of {thread}")]
            assert lines == [f"line {n} of {thread}" for n in range(count + half[thread])]
        bars = [line for line in found if line.startswith("bar")]
        if mode == "all":
            assert [line for line in bars if line in finals] == finals
        else:
            assert bars == (finals if mode == "smart" else [])


PIECES = [
    *["\n", "\r", "\r\n", "\b", "\x1b", "\x1b[", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[1J", "\x1b[2J"],
    *["\x1b[A", "\x1b[3A", "\x1b[B", "\x1b[9B", "\x1b[C", "\x1b[D", "\x1b[E", "\x1b[F", "\x1b[G", "\x1b[7G"],
    *["\x1b[999999999C", "\x1b[99999999999999999999B", "\x1b[" + "9" * 5000 + "G", "\x1b[;;A", "\x1b[:K", "\x1b[?K"],
    *["\x1b[?25l", "\x1b[?25h", "\x1b[31m", "\x1b[0m", "\x1b[m", "\x1b[>m", "\x1b]0;t", "\x07", "\x1b\\", "\x1bP"],
    *["\x00", "\x7f", "\t", " ", "    ", "a", "bcd", "漢字", "efgh " * 50, "i" * 5000, "\x9b", "\u2028", "0", "?", ";"],
]


@pytest.mark.parametrize("number", range(60))
def test_whatever_is_written_nothing_breaks(number):
    """Random text and controls never raise, stay bounded, and give the same lines through plans as without."""
    print(f"CHAOS_SEED={SEED}, number {number}")
    for mode in MODES:
        source = random.Random(f"{SEED} garbage {number}")
        threads = source.choice([1, 3])
        pieces = source.sample(PIECES, source.choice([4, 10, len(PIECES)]))
        plain, carried = Screen(mode), Screen(mode)
        for step in range(200):
            chunk = "".join(source.choices(pieces, k=source.choice([0, 1, 1, 2, 3, 8])))
            where = source.choice([OUT, ERR]), chunk, float(step), source.randrange(threads)
            lines = plain.feed(*where)
            assert carried.feed(*where) == lines
            assert all("\n" not in line for _, line in lines)
            if source.random() < 0.1:
                assert carried.trim() == plain.trim()
                assert size(plain) < 16 * MOST_PENDING_CHARACTERS
            carried = again(carried)
            assert carried == plain
            for each in (plain.out, plain.err):
                assert len(each.rows) <= MOST_ROWS
                assert 0 <= each.at < max(1, len(each.rows))
        assert carried.flush() == plain.flush()
        assert plain == Screen(mode)


# --- bounds ---------------------------------------------------------------------------------------------------------


def took(mode, chunks):
    """Feed chunks, with a plan's trim now and then; the lines, and the largest state."""
    screen = Screen(mode)
    found = []
    largest = 0
    for number, chunk in enumerate(chunks):
        found += feed(screen, chunk)
        if number % 1000 == 999:
            found += texts(screen.trim())
            largest = max(largest, size(screen))
    found += texts(screen.trim())
    largest = max(largest, size(screen))
    found += texts(screen.flush())
    return found, largest


MEBI = 1024 * 1024
FLOODS = {
    "lines": ["".join(f"{n}\n" for n in range(100_000))],
    "lines with colours": ["\x1b[31mx\x1b[0m\n" * 100_000],
    "lines and a bar": ["\r50%\n" + "x\n" * 100_000],
    "lines in a block": ["\x1b[?25l" + "x\n" * 100_000],
    "lines in a plain block": ["\x1b[?25l", "x\n" * 100_000],
    "rows": ["\rx\n" * 100_000],
    "a line": ["x" * 2 * MEBI, "\n"],
    "a coloured line": ["\x1b[31mx" * (MEBI // 3), "\n"],
    "a line and returns": ["x" * 2 * MEBI + "\rX" * 100_000],
    "a line and returns in chunks": ["x" * 2 * MEBI, *["\rX"] * 10_000],
    "a bar as long as a line": ["\r" + "x" * 2 * MEBI] * 3,
    "one line in chunks": ["0123456789" * 10] * 10_000,
    "one coloured line in chunks": ["\x1b[31m" + "0123456789" * 10] * 10_000,
    "one line that another thread waits for": [(ERR, n % 2, "0123456789" * 10) for n in range(10_000)],
    "colours": ["abc\r", *["\x1b[31m"] * 10_000, "\r" + "\x1b[31m" * 100_000],
    "colours in chunks on a bar": ["\rabc", *["\x1b[31m"] * 10_000],
    "far to the right": ["\x1b[999999999C", "x\n", "\x1b[999999999G\x1b[2K" * 10_000],
    "far to the right again and again": ["\x1b[4000Gx\x1b[2K" * 3_000],
    "far down": ["\x1b[999999999B", "x", "\x1b[999999999A\x1b[9E" * 10_000],
    "up and down": ["\x1b[?25l" + "x" * 4000 + "\n" + "y" * 4000 + "\x1b[A\x1b[B" * 20_000],
    "an unfinished string": ["\x1b]0;" + "x" * MEBI],
    "an unfinished string in chunks": ["\x1b]0;", *["x" * 100] * 10_000],
    "an unfinished sequence": ["\x1b[" + "1;" * MEBI],
    "an unfinished sequence in chunks": ["\x1b[", *["1;" * 50] * 10_000],
    "escapes": ["\x1b" * MEBI, *["\x1b"] * 10_000],
    "threads": [(ERR, n % 1_000, "0123456789" * 10) for n in range(20_000)],
    "threads with half a sequence": [(ERR, n, "\x1b[3") for n in range(5_000)],
    "threads that come and go": [(ERR, n, "x") for n in range(5_000)],
    "returns": ["\r" * MEBI, *["\r"] * 10_000],
    "backspaces": ["abc" + "\b" * 100_000 + "\b \b" * 20_000],
    "states": [f"\r{n}" for n in range(20_000)],
}


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("mode", MODES)
def test_time_and_state_are_bounded_whatever_is_fed(name, mode):
    """Hostile or huge writes leave a state that a plan can carry; what takes quadratic time exceeds a test's limit."""
    _, largest = took(mode, FLOODS[name])
    assert largest < 8 * MOST_PENDING_CHARACTERS


def test_a_line_that_a_trim_has_cut_is_all_there_and_ends_once():
    """A line too long to wait for comes in pieces, and its newline makes no empty line."""
    for mode in MODES:
        screen = Screen(mode)
        found = feed(screen, "x" * 2 * MEBI)
        found += texts(screen.trim())
        assert size(screen) < 1000
        screen = again(screen)
        assert feed(screen, (ERR, 2, "other\n")) == ["other"]
        found += feed(screen, "\n", "next\n")
        assert found == ["x" * 2 * MEBI, "next"]
        assert screen == Screen(mode)


@pytest.mark.parametrize("colour", ["", "\x1b[31m"])
def test_a_line_in_many_pieces_is_cut_but_not_lost(colour):
    """Of a line that never ends no more waits than a plan can carry, even before anybody trims it."""
    screen = Screen("smart")
    found = []
    for number in range(10_000):
        found += feed(screen, colour + "0123456789" * 10)
        if number % 100 == 0:
            assert size(screen) < MOST_PENDING_CHARACTERS + 1000
    found += texts(screen.flush())
    assert "".join(found) == (colour + "0123456789" * 10) * 10_000
    assert len(found) < 40


def test_a_trim_takes_a_screen_full_of_wide_rows():
    """Rows that are each short enough to wait are lines as soon as all of them are too much to carry."""
    screen = Screen("smart")
    rows = [f"{number:04}" * 1000 for number in range(MOST_ROWS - 1)]
    assert feed(screen, "\x1b[?25l", *[f"\r{row}\n" for row in rows]) == []
    assert size(screen) > MOST_PENDING_CHARACTERS
    assert texts(screen.trim()) == rows
    assert size(screen) < 1000


def test_a_thousand_threads_have_each_their_line():
    """Threads that all wait for their newlines lose nothing by their number."""
    for mode in MODES:
        screen = Screen(mode)
        assert feed(screen, *[(OUT, n, f"line {n}") for n in range(1_000)]) == []
        screen = again(screen)
        assert feed(screen, *[(OUT, n, "\n") for n in range(1_000)]) == [f"line {n}" for n in range(1_000)]
        assert screen == Screen(mode)


def test_an_unfinished_string_takes_no_more_than_its_line():
    """A sequence whose end never comes hides what follows it in its line, and nothing below."""
    for mode in MODES:
        assert play(mode, "a\x1b]0;title", " and so on", "\n", "b\n") == ["a", "b"]


def test_a_long_line_that_a_bar_is_written_over_is_kept():
    """A text longer than any row is not cut by a carriage return behind it."""
    assert by_mode("x" * 20_000, "\r", "ok", "\n") == (["x" * 20_000, "ok"],) * 3
