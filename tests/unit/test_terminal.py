"""The terminal model: what lines come of what programs write, from recordings of real ones."""

import json
import os
import pathlib
import random
import re

import msgspec
import pytest

from runicorn.writer.terminal import MOST_PENDING_CHARACTERS, MOST_ROWS, Screen

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
MODES = ["smart", "all", "none"]
OUT, ERR = 1, 2
RECORDINGS = pathlib.Path(__file__).parents[1] / "recordings"
INDEX = json.loads((RECORDINGS / "index.json").read_text())


def numbered(text, count, **more):
    return [text.format(n=n, **more) for n in range(count)]


LIGHTNING = ["GPU available: False, used: False", "TPU available: False, using: 0 TPU cores"]
STOPPED = "`Trainer.fit` stopped: `max_epochs=2` reached."
MESSAGES = [f"{kind} {n} of {epoch}" for epoch in (0, 1) for n in range(3) for kind in ("message", "error")]
RICH = [[f"{kind} {n} of {epoch}" for n in range(4) for kind in ("message", "printed")] for epoch in (0, 1)]
STATUS = [f"{kind} {n}" for n in range(3) for kind in ("message", "printed")]
TABLE = [
    *["┏━━━━━━━┳━━━━━━━┓", "┃ name  ┃ value ┃", "┡━━━━━━━╇━━━━━━━┩"],
    *["│ row 0 │ 1     │", "│ row 1 │ 1     │", "└───────┴───────┘"],
]
PIP = [
    *["Collecting heavy==1.0", "  Downloading http://127.0.0.1:8000/heavy-1.0-py3-none-any.whl (2.0 MB)"],
    "     ━ 2.0/2.0 MB",
    "Processing ./source",
]
BUILT = [
    "Successfully built light",
    "Installing collected packages: light, heavy",
    "Successfully installed heavy-1.0 light-0.0.0",
]

# What a person would keep. A bar is cut before what it measures; see ``kept()``.
KEPT = {
    "tqdm_terminal": ["one: 4/4", "done", "three: 3/3", "four: 3/3"],
    "tqdm_nested_terminal": ["epoch: 2/2", "now kept", "batch: 3/3", "batch: 3/3", "epoch: 2/2", "done"],
    "tqdm_write_terminal": [*MESSAGES, "epoch: 2/2", "done"],
    "keras_terminal": ["Epoch 1/2", "5/5 ━", "Epoch 2/2", "5/5 ━", "done"],
    "lightning_tqdm_terminal": [*LIGHTNING, "epoch 0 is over", "epoch 1 is over", STOPPED, "Epoch 1: 4/4", "done"],
    "lightning_rich_terminal": [
        *[*LIGHTNING, "epoch 0 is over", STOPPED, "epoch 1 is over", "Epoch 1/1  ━ 4/4", "done"],
    ],
    "rich_progress_terminal": [*RICH[0], "epoch 0 is over", *RICH[1], "one ━ 100%", "two ━ 100%", "epoch 1 is over"],
    "rich_live_terminal": ["message 1", "message 2", "message 3", *TABLE, "done"],
    "rich_status_terminal": [*STATUS, "done"],
    "pip_terminal": [
        *PIP,
        "  Preparing metadata (pyproject.toml) ... done",
        "Building wheels for collected packages: light",
        "  Building wheel for light (pyproject.toml) ... done",
        *BUILT,
    ],
    "rich_progress_pipe": [
        *[*RICH[0], "", "epoch 0 is over", *RICH[1]],
        *["one ━ 100%", "two ━ 100%", "epoch 1 is over"],
    ],
    "rich_live_pipe": ["message 1", "message 2", "message 3", *TABLE[:-1], TABLE[-1] + "done"],
    "lightning_rich_pipe": [
        *[*LIGHTNING, "epoch 0 is over", "epoch 1 is over", STOPPED, "Epoch 1/1  ━ 4/4", "done"],
    ],
    "pip_pipe": [
        *PIP,
        *[f"  Preparing metadata (pyproject.toml): {how}" for how in ("started", "finished with status 'done'")],
        "Building wheels for collected packages: light",
        *[f"  Building wheel for light (pyproject.toml): {how}" for how in ("started", "finished with status 'done'")],
        *BUILT,
    ],
}
for _name in ("tqdm", "tqdm_nested", "tqdm_write", "keras", "lightning_tqdm", "rich_status"):
    KEPT[f"{_name}_pipe"] = KEPT[f"{_name}_terminal"]  # they write the same to a pipe

THREADS = [f"tqdm_threads_{where}" for where in ("terminal", "pipe")]
BAR = re.compile(r"[━│┃└]|: \d/\d")


def is_rewritten(name):
    """Whether the program draws its bars over themselves: all do in a terminal, some to a pipe too."""
    return name.endswith("_terminal") or name.startswith(("tqdm", "keras", "lightning_tqdm"))


def chunks_of(name):
    """Each ``write()`` of a recorded program: its stream, its thread and its text."""
    text = (RECORDINGS / f"{name}.bin").read_bytes().decode()
    for stream, thread, size in INDEX[name]["writes"] or [[OUT, 0, len(text)]]:
        yield stream, thread, text[:size]
        text = text[size:]


def cut(chunks, source):
    """The same at other places: what a thread writes without another one between is cut by chance."""
    turns = []
    for stream, thread, text in chunks:
        if turns and turns[-1][:2] == [stream, thread]:
            turns[-1][2] += text
        else:
            turns.append([stream, thread, text])
    for stream, thread, text in turns:
        most = source.choice([1, 5, 80])
        start = 0
        while start < len(text):
            stop = start + source.randint(1, most)
            yield stream, thread, text[start:stop]
            start = stop


def again(screen):
    """What comes back after a plan has carried the screen."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(screen), type=Screen)


def size_of(screen):
    return len(msgspec.msgpack.encode(screen))


def texts(lines):
    return [text for _, text in lines]


def feed(screen, *chunks):
    """The lines that are final by these chunks: texts, or a stream, a thread and a text."""
    found = []
    for chunk in chunks:
        stream, thread, text = chunk if isinstance(chunk, tuple) else (ERR, 1, chunk)
        found += texts(screen.feed(stream, text, 1.0, thread))
    return found


def play(mode, *chunks):
    """All lines of these chunks to the end, on the way through plans."""
    screen = Screen(mode)
    found = []
    for chunk in chunks:
        found += feed(screen, chunk)
        screen = again(screen)
    return found + texts(screen.flush())


def kept(lines):
    """Lines without colours, times, rates and drawings of their bars."""
    found = []
    for line in lines:
        text = re.sub(r"\x1b\[[0-9;]*m", "", line)
        text = re.sub(r"^(.*): +\d+%\|.*\| (\d+/\d+) \[.*", r"\1: \2", text)
        text = re.sub(r"━+ +(\d+%|\d+/\d+|[0-9.]+/[0-9.]+ MB) .*", r"━ \1", text) if text[:1] not in "┏┡" else text
        text = re.sub(r"^(\d+/\d+) ━+ .*", r"\1 ━", text)
        if not text.startswith(("  Created wheel", "  Stored in directory")):  # a hash, and a folder
            found.append(text)
    return found


# --- what real programs write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEPT)
def test_the_lines_of_a_program_are_those_that_a_person_would_keep(name):
    """The last state of each bar is one line, and each line that was printed is there, whole and in its order."""
    assert kept(play("smart", *chunks_of(name))) == KEPT[name]


@pytest.mark.parametrize("name", sorted(INDEX))
@pytest.mark.parametrize("mode", ["smart", "all"])
def test_it_does_not_matter_where_a_chunk_ends(name, mode):
    """What a program writes gives the same lines wherever its text is cut."""
    print(f"CHAOS_SEED={SEED}")
    expected = play(mode, *chunks_of(name))
    for number in range(6):
        source = random.Random(f"{SEED} {name} {number}")
        assert play(mode, *cut(chunks_of(name), source)) == expected, number


@pytest.mark.parametrize("name", KEPT)
def test_without_bars_there_are_the_printed_lines(name):
    """Mode ``none`` has what was printed, and no bar, unless the program does not rewrite it."""
    expected = [line for line in KEPT[name] if not (is_rewritten(name) and BAR.search(line))]
    assert kept(play("none", *chunks_of(name))) == expected


@pytest.mark.parametrize("name", KEPT)
def test_no_printed_line_is_lost_wherever_a_chunk_ends(name):
    """Mode ``none`` has every printed line too if the text is cut by chance; pieces of bars may come with them."""
    print(f"CHAOS_SEED={SEED}")
    expected = play("none", *chunks_of(name))
    for number in range(6):
        source = random.Random(f"{SEED} {name} {number}")
        found = iter(play("none", *cut(chunks_of(name), source)))
        assert all(line in found for line in expected), number


@pytest.mark.parametrize("name", KEPT)
def test_every_state_is_a_line_if_that_is_wanted(name):
    """Mode ``all`` has the lines of ``smart``, in whichever order, and for a bar more than its last state."""
    every = play("all", *chunks_of(name))
    last = play("smart", *chunks_of(name))
    assert {line.rstrip() for line in last} <= {line.rstrip() for line in every}
    assert (len(every) > len(last)) is is_rewritten(name)


@pytest.mark.parametrize("name", THREADS)
def test_the_bars_of_several_threads(name):
    """Three threads with a bar each: every message is whole, each thread's in order, and every bar complete."""
    lines = kept(play("smart", *chunks_of(name)))
    messages = [line for line in lines if line.startswith("message")]
    assert sorted(messages) == sorted(f"message {step} of {n}" for step in range(4) for n in range(3))
    for n in range(3):
        assert [line for line in messages if line.endswith(f"of {n}")] == numbered("message {n} of {i}", 4, i=n)
        assert f"bar {n}: 4/4" in lines
    assert set(lines) == {*messages, *numbered("bar {n}: 4/4", 3), "done"}


@pytest.mark.parametrize("name", ["rich_progress_terminal", "rich_live_terminal", "rich_status_terminal"])
def test_a_message_does_not_wait_for_the_end_of_a_block(name):
    """What is printed above a block that is repainted is a line with the next painting."""
    chunks = list(chunks_of(name))
    last = max(number for number, (_, _, text) in enumerate(chunks) if "?25h" in text)
    found = kept(feed(Screen("smart"), *chunks[:last]))
    printed = [line for line in KEPT[name] if line.startswith(("message", "printed"))]
    assert [line for line in found if line in printed] in (printed, printed[:-1])  # the last painting may be the next


@pytest.mark.parametrize("name", ["lightning_rich_terminal", "lightning_tqdm_terminal"])
def test_a_program_with_one_stream_loses_no_line(name):
    """If stderr was sent into stdout, what is printed behind a bar is kept, behind the bar or by itself."""
    lines = play("smart", *((OUT, thread, text) for _, thread, text in chunks_of(name)))
    for line in (*LIGHTNING, STOPPED, "epoch 0 is over", "epoch 1 is over", "done"):
        assert any(each.endswith(line) for each in lines), line


@pytest.mark.parametrize("name", sorted(INDEX))
@pytest.mark.parametrize("mode", MODES)
def test_what_other_threads_print_meanwhile_is_whole(name, mode):
    """Lines that two more threads print between the writes of a program are there, once, in each thread's order."""
    print(f"CHAOS_SEED={SEED}")
    source = random.Random(f"{SEED} beside {name}")
    mixed = []
    for number, chunk in enumerate(chunks_of(name)):
        mixed.append(chunk)
        if number > 4:  # the program has painted something
            stream, thread = source.choice([OUT, ERR]), source.choice([98, 99])
            mixed += [(stream, thread, f"line {number} "), (stream, thread, f"by {thread}"), (stream, thread, "\n")]
    found = play(mode, *mixed)
    printed = [f"{text}by {thread}" for _, thread, text in mixed if re.fullmatch(r"line \d+ ", text)]
    assert [line for line in found if " by 9" in line] == printed


# --- rules ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        (["hello", "\n"], ["hello"]),
        (["a\nb\n\nc", "d\n"], ["a", "b", "", "cd"]),
        (["\n", "a", "\n", "\n", "\n", "b\n"], ["", "a", "", "", "b"]),
        (["  a  \n", "\tb\t\n"], ["  a  ", "\tb\t"]),
        (["a\r\nb\r\n\r\nc\r", "\n"], ["a", "b", "", "c"]),
        (["\x1b[31mred\x1b[0m é漢\n"], ["\x1b[31mred\x1b[0m é漢"]),
        (["no", " end"], ["no end"]),
        (["\n"], [""]),
    ],
)
def test_printed_lines_are_stored_as_they_were_printed(mode, chunks, lines):
    """Blanks, empty lines, colours, CRLF and the end without a newline are as the program has printed them."""
    assert play(mode, *chunks) == lines


@pytest.mark.parametrize("mode", MODES)
def test_a_line_is_final_with_its_newline(mode):
    """A line has the time of its first character, does not wait for more, and leaves nothing behind."""
    screen = Screen(mode)
    assert screen.feed(OUT, "hello", 1.0, 1) == []
    assert screen.feed(OUT, "\n", 2.0, 1) == [(1.0, "hello")]
    assert screen == Screen(mode)


@pytest.mark.parametrize("mode", MODES)
def test_lines_of_threads_are_not_mixed(mode):
    """The pieces of print() of several threads are each thread's own lines, on each stream."""
    source = random.Random(SEED)
    print(f"CHAOS_SEED={SEED}")
    waiting = {
        (stream, thread): [piece for n in range(50) for piece in (f"line {n}", f" of {thread}{stream}", "\n")]
        for stream in (OUT, ERR)
        for thread in range(4)
    }
    chunks = []
    while any(waiting.values()):
        where = source.choice([where for where, pieces in waiting.items() if pieces])
        chunks.append((*where, waiting[where].pop(0)))
    found = play(mode, *chunks)
    for stream, thread in waiting:
        mine = [line for line in found if line.endswith(f" of {thread}{stream}")]
        assert mine == numbered("line {n} of {who}", 50, who=f"{thread}{stream}")
    assert len(found) == 400


@pytest.mark.parametrize("wipe", ["\r\x1b[K", "\r\x1b[2K", "\r      \r", "\x1b[2K\r"])
@pytest.mark.parametrize("mode", MODES)
def test_a_line_printed_over_a_wiped_bar_is_final_at_once(mode, wipe):
    """A bar that is wiped out for a message leaves nothing, in every mode the message is a line with its newline."""
    screen = Screen(mode)
    states = ["50%"] if mode == "all" else []
    assert feed(screen, "\r50%", wipe, "message", "\n") == [*states, "message"]
    assert feed(screen, "\r60%", "\n", "end\n")[-1] == "end"


@pytest.mark.parametrize(
    ("chunks", "line"),
    [
        (["10/10", "\r", "ok", "\n"], "ok"),
        (["\r10/10", "\rok   \n"], "ok"),
        (["1/2", "\r", "2/2", "\r", "\n"], "2/2"),
        (["\r", "1", "/", "2", "\r", "2", "/", "2", "\n"], "2/2"),
        (["abc\b\bX\n"], "aXc"),
        (["a\b\b\bX\n"], "X"),
        (["\x1b[31mabc\x1b[0m\bX\n"], "\x1b[31mabX\x1b[0m"),
        (["\rabcdef\b\b\b\x1b[K\n"], "abc"),
        (["... -", "\b \b", "\\", "\b \b", "done\n"], "... done"),
    ],
)
def test_a_row_that_is_rewritten_is_what_it_shows_at_last(chunks, line):
    """Returns begin a row anew, backspaces write over it, and nothing stays of what was there."""
    assert play("smart", *chunks) == [line]


@pytest.mark.parametrize(
    "escape",
    [
        *["\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\", "\x1bPq#0;2\x1b\\", "\x1b_Gx\x1b\\", "\x1b7", "\x1b(B"],
        *["\x1b=", "\x1b[?2004h", "\x1b[>4;2m", "\x1b[2 q", "\x1b[5 A", "\x1b[6n", "\x1b[3G", "\x1b[2J", "\x1b[H"],
        *["\x1b[" + "9" * 10_000 + "z", "\x1b[?1049h", "\x07", "\x00"],
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_sequences_that_are_not_known_are_swallowed_whole(mode, escape):
    """Nothing of an escape sequence is printed, wherever a chunk ends in it, and the line around it is whole."""
    text = f"ab{escape}cd\n"
    for at in (*range(1, min(len(text), 30)), len(text) - 4):
        assert play(mode, text[:at], text[at:]) == ["abcd"], at


def test_a_cut_sequence_is_completed_by_its_own_thread():
    """Half a sequence of one thread is nothing to another one."""
    for mode in MODES:
        assert sorted(play(mode, (OUT, 1, "a\x1b[3"), (OUT, 2, "2mb\n"), (OUT, 1, "1mc\n"))) == ["2mb", "a\x1b[31mc"]


def test_a_bar_that_has_ended_comes_before_what_is_printed_later():
    """A bar below which nothing follows is a line as soon as its thread prints elsewhere, or another one much later."""
    for later in [(OUT, 1, "next\n"), (ERR, 1, "next\n")]:
        assert feed(Screen("smart"), "\r2/2", "\n", later) == ["2/2", "next"]
    screen = Screen("smart")
    assert feed(screen, "\r2/2", "\n") == []
    assert texts(screen.feed(OUT, "next\n", 9.0, 2)) == ["2/2", "next"]
    assert feed(screen, "\r1/2", (OUT, 2, "beside\n")) == ["beside"]


@pytest.mark.parametrize("stream", [OUT, ERR])
def test_a_line_in_the_middle_of_a_painting_does_not_end_it(stream):
    """While a thread is at its lower bar another one prints, on either stream: no bar is doubled."""
    screen = Screen("smart")
    assert feed(screen, "\router 1", "\n", "\rinner 1", (stream, 2, "line\n"), "\x1b[A", "\router 2") == ["line"]
    assert texts(screen.flush()) == ["outer 2", "inner 1"]


def test_what_is_printed_behind_a_bar_is_kept():
    """Text without a control character behind a bar stays in its row, and is there by itself if bars are not wanted."""
    assert play("smart", "\r50%", " oops", "\n") == ["50% oops"]
    assert play("none", "\r50%", " oops", "\n") == [" oops"]


@pytest.mark.parametrize("mode", MODES)
def test_what_is_printed_behind_a_block_is_a_line_before_the_block_is_painted_again(mode):
    """A thread that has painted a block itself, and prints past the library, loses nothing, and the block stays one."""
    block = "\r\x1b[2K\x1b[1A\x1b[2Kone {0}\ntwo {0}"
    screen = Screen(mode)
    found = feed(screen, "\x1b[?25l", "\r\x1b[2Kone 1\ntwo 1", block.format(2), "raw", "\n", "more\n", block.format(3))
    assert [line for line in found if not line.startswith(("one", "two"))] == ["raw", "more"]
    found = feed(screen, block.format(4) + "\n\x1b[?25h", "end\n")
    assert found[-3:] == {"smart": ["one 4", "two 4", "end"]}.get(mode, found[-3:])
    assert "end" in found


def test_the_first_block_may_be_painted_by_another_thread():
    """A block that has no control character in it yet is a painting, whoever has hidden the cursor."""
    block = "\r\x1b[2K\x1b[1A\x1b[2Kone 2\ntwo 2\n\x1b[?25h"
    assert play("smart", "\x1b[?25l", (ERR, 9, "one 1\ntwo 1"), block, "done\n") == ["one 2", "two 2", "done"]


# --- bounds ---------------------------------------------------------------------------------------------------------

PIECES = [
    *["\n", "\r", "\r\n", "\b", "\x1b", "\x1b[", "\x1b[K", "\x1b[1K", "\x1b[2K", "\x1b[J", "\x1b[2J", "\x1b[A"],
    *["\x1b[3A", "\x1b[B", "\x1b[9B", "\x1b[C", "\x1b[D", "\x1b[E", "\x1b[F", "\x1b[7G", "\x1b[999999999C"],
    *["\x1b[99999999999999999999B", "\x1b[" + "9" * 5000 + "A", "\x1b[;;A", "\x1b[:K", "\x1b[?K", "\x1b[?25l"],
    *["\x1b[?25h", "\x1b[31m", "\x1b[0m", "\x1b[>m", "\x1b]0;t", "\x07", "\x1b\\", "\x1bP", "\x00", "\x7f", "\t"],
    *[" ", "    ", "a", "bcd", "漢字", "efgh " * 50, "i" * 5000, "\x9b", "\u2028", "0", "?", ";"],
]


@pytest.mark.parametrize("number", range(40))
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
            where = source.choice([OUT, ERR]), chunk, step / 4, source.randrange(threads)
            lines = plain.feed(*where)
            assert carried.feed(*where) == lines
            assert all("\n" not in line for _, line in lines)
            if source.random() < 0.1:
                assert carried.trim() == plain.trim()
                assert size_of(plain) < 16 * MOST_PENDING_CHARACTERS
            carried = again(carried)
            assert carried == plain
            for each in (plain.out.screen, plain.err.screen):
                assert len(each.rows) <= MOST_ROWS
                assert 0 <= each.at < max(1, len(each.rows))
        assert carried.flush() == plain.flush()
        assert plain == Screen(mode)


MEBI = 1024 * 1024
FLOODS = {
    "lines": ["".join(f"{n}\n" for n in range(100_000))],
    "lines and a bar": ["\r50%\n" + "x\n" * 100_000],
    "lines in a block": ["\x1b[?25l", "x\n" * 20_000, "\r" + "x\n" * 20_000],
    "rows": ["\rx\n" * 50_000],
    "a line and returns": ["x" * (MEBI // 2) + "\rX" * 50_000, *["\rX"] * 5_000],
    "a bar as long as a line": ["\r" + "x" * (MEBI // 4)] * 3,
    "one line in chunks": ["\x1b[31m" + "0123456789" * 10] * 10_000,
    "one bar in chunks": ["\r", *["\x1b[31m" + "0123456789" * 10] * 10_000],
    "lines of two threads": [(ERR, n % 2, "0123456789" * 10) for n in range(10_000)],
    "colours": ["abc\r", *["\x1b[31m"] * 10_000, "\r" + "\x1b[31m" * 50_000],
    "up and down": ["\x1b[?25l" + "x" * 4000 + "\n" + "y" * 4000 + "\x1b[A\x1b[999999999B" * 20_000],
    "an unfinished string": ["\x1b]0;" + "x" * MEBI, *["x" * 100] * 5_000],
    "an unfinished sequence": ["\x1b[" + "1;" * MEBI, *["1;" * 50] * 5_000],
    "escapes": ["\x1b" * (MEBI // 4), *["\x1b"] * 5_000],
    "threads": [(ERR, n % 1_000, "0123456789" * 10) for n in range(20_000)],
    "threads with half a sequence": [(ERR, n, "\x1b[3") for n in range(5_000)],
    "threads that come and go": [(ERR, n, "x") for n in range(5_000)],
    "empty lines beside a bar": ["\r50%", *[(ERR, 2, "\n")] * 5_000],
    "returns": ["\r" * (MEBI // 4), *["\r"] * 5_000],
    "backspaces": ["abc" + "\b" * 100_000 + "\b \b" * 20_000],
    "states": [f"\r{n}" for n in range(20_000)],
}


@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("mode", MODES)
def test_the_state_is_bounded_whatever_is_fed(name, mode):
    """Hostile or huge writes leave a state that a plan can carry; what takes quadratic time exceeds a test's limit."""
    screen = Screen(mode)
    for number, chunk in enumerate(FLOODS[name]):
        feed(screen, chunk)
        if number % 1000 == 999:
            screen.trim()
            assert size_of(screen) < 8 * MOST_PENDING_CHARACTERS
    screen.trim()
    assert size_of(screen) < 8 * MOST_PENDING_CHARACTERS


@pytest.mark.parametrize("mode", MODES)
def test_a_line_too_long_to_wait_for_is_cut_and_not_lost(mode):
    """It comes in pieces, its newline makes no empty line, and another thread's line is whole meanwhile."""
    screen = Screen(mode)
    found = feed(screen, "x" * 2 * MEBI)
    assert size_of(screen) < 1000
    assert feed(screen, (ERR, 2, "other\n")) == ["other"]
    found += feed(screen, "\n", "next\n")
    assert found == ["x" * 2 * MEBI, "next"]


def test_a_thousand_threads_have_each_their_line():
    """Threads that all wait for their newlines lose nothing by their number."""
    screen = Screen("smart")
    assert feed(screen, *[(OUT, n, f"line {n}") for n in range(1_000)]) == []
    assert feed(again(screen), *[(OUT, n, "\n") for n in range(1_000)]) == numbered("line {n}", 1_000)


def test_more_rows_than_a_screen_has_become_final():
    """Of bars that nothing else ends no more than a screenful is held, and they come out in order."""
    screen = Screen("smart")
    rows = numbered("row {n}", 3 * MOST_ROWS)
    found = feed(screen, *(f"\r{row}\n" for row in rows))
    assert len(found) > MOST_ROWS
    assert found + texts(screen.flush()) == rows
