"""Capturing the console: the program's own output is as it was, and what it printed is in logs.txt, whatever dies."""

import os
import pty
import re
import signal
import subprocess
import sys

import pytest
from support import events, status, wait_until
from support.trainers import Trainer, assert_valid, recover_killed, wait_stored

from runicorn.queue.control_page import ControlPage

PREFIX = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] ")


def console_lines(run_dir, name="logs.txt"):
    """The lines of a captured console, without their times; each has one. Not what finish() says where it waits."""
    lines = (run_dir / name).read_text(encoding="utf-8").split("\n")
    assert lines.pop() == "", "the last line is torn"
    assert all(PREFIX.match(line) for line in lines if line), lines
    printed = [PREFIX.sub("", line, count=1) for line in lines]
    return [line for line in printed if not line.startswith("runicorn: waiting until")]


def captured(tmp_path, body, mode="smart", **environment):
    """A script whose console is captured to its end: what it printed, its errors, and the lines stored."""
    start = f"run = rn.init(capture_console=True, tqdm_mode={mode!r})\nprint(run.run_dir, run._session.address.spool)\n"
    trainer = Trainer(tmp_path, start + body, PYTHONUNBUFFERED="1", **environment)
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    wait_stored(trainer)
    return out, errors, console_lines(trainer.run_dir)[1:], trainer


def test_what_is_printed_is_stored(tmp_path):
    """print(), stderr, blank lines, tabs, colours and other scripts reach the terminal and logs.txt, each once."""
    body = """
print("plain")
print()
print("a", "b", sep="\\t", end="!\\n")
print("\\x1b[31mred\\x1b[0m", "中文 ß", file=sys.stderr)
sys.stdout.writelines(["one\\n", "two\\n"])
print("no end", end="")
run.finish()
"""
    out, errors, lines, trainer = captured(tmp_path, body)
    assert out == "plain\n\na\tb!\none\ntwo\nno end"
    assert errors == "\x1b[31mred\x1b[0m 中文 ß\n"
    assert lines == ["plain", "", "a\tb!", "\x1b[31mred\x1b[0m 中文 ß", "one", "two", "no end"]
    assert_valid(trainer.run_dir)


def test_the_text_is_on_the_real_stream_at_once(tmp_path):
    """What is printed is out while the writer is stopped: nothing of ours is between a program and its terminal."""
    body = """
run = rn.init(capture_console=True)
opened(run)
sys.stdin.readline()
print("out", flush=True)
sys.stdin.readline()
run.finish()
"""
    trainer = Trainer(tmp_path, body)
    writer = trainer.writer_pid()
    os.kill(writer, signal.SIGSTOP)
    try:
        trainer.go_on()
        assert trainer.read_line() == "out"
    finally:
        os.kill(writer, signal.SIGCONT)
    trainer.go_on()
    trainer.end()
    assert console_lines(trainer.run_dir)[1:] == ["out"]


def test_the_stream_is_like_the_real_one(tmp_path):
    """Encoding, fileno, buffer, isatty, errors, name, reconfigure and the type are those of the real stream."""
    body = """
import io
real = sys.__stdout__
names = ("encoding", "errors", "name", "line_buffering", "newlines", "closed", "mode")
assert [getattr(sys.stdout, each) for each in names] == [getattr(real, each) for each in names]
assert sys.stdout.buffer is real.buffer and sys.stdout.fileno() == 1 and sys.stdout.isatty() is real.isatty()
assert isinstance(sys.stdout, io.TextIOWrapper) and isinstance(sys.stdout, io.TextIOBase)
assert sys.stdout.writable() and not sys.stdout.readable()
sys.stdout.reconfigure(errors="replace")
assert real.errors == "replace"
assert sys.stdout.write("four") == 4
for wrong in (b"bytes", None, 5):
    try:
        sys.stdout.write(wrong)
    except TypeError:
        pass
    else:
        raise AssertionError(wrong)
run.finish()
assert sys.stdout is real and sys.stderr is sys.__stderr__
"""
    _, errors, lines, _ = captured(tmp_path, body)
    assert errors == ""
    assert lines == ["four"]


def test_on_a_terminal(tmp_path):
    """On a real terminal the program sees a terminal of the same size, and the terminal the same bytes."""
    script = tmp_path / "train.py"
    script.write_text(
        "import os, sys\nimport runicorn as rn\n"
        "run = rn.init(capture_console=True)\n"
        "print(sys.stdout.isatty(), os.get_terminal_size(sys.stdout.fileno()).columns)\n"
        "print('\\x1b[32mok\\x1b[0m')\n"
        "run.finish()\n"
    )
    ours, theirs = pty.openpty()
    try:
        import fcntl
        import struct
        import termios

        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        environment = {**os.environ, "RUNICORN_DIR": str(tmp_path / "storage")}
        process = subprocess.Popen(
            [sys.executable, str(script)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        assert process.wait(100) == 0
        shown = os.read(ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown == b"True 77\r\n\x1b[32mok\x1b[0m\r\n"


@pytest.mark.parametrize(
    ("mode", "kept"),
    [
        ("smart", ["before", "3/3", "after"]),
        ("all", ["before", "1/3", "2/3", "3/3", "after"]),
        ("none", ["before", "after"]),
    ],
)
def test_progress_bars(tmp_path, mode, kept):
    """tqdm_mode says what becomes of a bar; the lines around it are stored in every mode, those with CRLF too."""
    body = """
sys.stderr.write("before\\r\\n")
for i in (1, 2, 3):
    sys.stderr.write(f"\\r{i}/3")
sys.stderr.write("\\n")
sys.stderr.write("after\\n")
run.finish()
"""
    assert captured(tmp_path, body, mode)[2] == kept


def test_threads_that_print_at_once(tmp_path):
    """Of eight threads that print at once every line is stored as it was printed, in each thread's order."""
    body = """
import threading
def work(n):
    for i in range(300):
        print(f"thread {n} line {i}")
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
[each.start() for each in threads]
[each.join() for each in threads]
run.finish()
"""
    lines = captured(tmp_path, body)[2]
    assert len(lines) == 2400
    for n in range(8):
        mine = [line for line in lines if line.startswith(f"thread {n} ")]
        assert mine == [f"thread {n} line {i}" for i in range(300)]


def test_a_block_that_a_thread_repaints(tmp_path):
    """Bars of rich, repainted by its own thread: a line is stored before the run ends, each bar once, as it ended."""
    body = """
from rich.console import Console
from rich.progress import Progress
console = Console(force_terminal=True, width=60)
for epoch in range(2):
    with Progress(console=console) as progress:
        bars = [progress.add_task(name, total=2) for name in "AB"]
        for _ in range(2):
            for bar in bars:
                progress.update(bar, advance=1)
            painted = threading.Event()
            progress.live.refresh, refresh = lambda: (refresh(), painted.set()), progress.live.refresh
            assert painted.wait(60)
            progress.live.refresh = refresh
    print("epoch", epoch, "done")
print("waits", file=sys.stderr)
sys.stdin.readline()
run.finish()
"""
    start = "import threading\nrun = rn.init(capture_console=True)\nprint(run.run_dir, run._session.address.spool)\n"
    trainer = Trainer(tmp_path, start + body, PYTHONUNBUFFERED="1")
    bars = [f"{name} {'━' * 40} 100% 0:00:00" for name in "AB"]
    expected = [*bars, "epoch 0 done", *bars, "epoch 1 done"]

    def stored():
        log = trainer.run_dir / "logs.txt"
        lines = console_lines(trainer.run_dir) if log.exists() and log.read_bytes().endswith(b"\n") else []
        return [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines][1:]

    wait_until(lambda: "waits" in stored())
    before = stored()
    trainer.go_on()
    trainer.end()
    assert before == [*expected, "waits"]
    assert stored() == before


NESTED = """
real = sys.stdout
first = rn.init(capture_console=True, path="first")
print("one")
second = rn.init(capture_console=True, path="second")
print("two")
{first}.finish()
print("three")
{second}.finish()
assert sys.stdout is real
print("four")
print(first.run_dir, second.run_dir)
"""


@pytest.mark.parametrize("order", [("first", "second"), ("second", "first")])
def test_runs_that_are_nested(tmp_path, order):
    """Two captures at once each have what was printed while they were on, in whichever order they end."""
    body = NESTED.format(first=order[0], second=order[1])
    trainer = Trainer(tmp_path, body, expect_line=False)
    out, errors = trainer.end()
    assert errors == ""
    *printed, dirs = out.splitlines()
    assert printed == ["one", "two", "three", "four"]
    first, second = (console_lines(type(tmp_path)(each)) for each in dirs.split())
    assert first == (["one", "two"] if order[0] == "first" else ["one", "two", "three"])
    assert second == (["two", "three"] if order[0] == "first" else ["two"])


def test_a_stream_that_was_replaced_meanwhile(tmp_path):
    """A program that has put a stream of its own over ours keeps it at finish(), and ours is a mere passage then."""
    body = """
import io, contextlib
with contextlib.redirect_stdout(io.StringIO()) as aside:
    print("aside")
print("back")
ours = sys.stdout
class Tee:
    def write(self, text): return ours.write(text.upper())
    def flush(self): ours.flush()
tee = sys.stdout = Tee()
print("through the tee")
run.finish()
assert sys.stdout is tee
print("after the end")
assert aside.getvalue() == "aside\\n"
"""
    out, errors, lines, _ = captured(tmp_path, body)
    assert errors == ""
    assert out == "back\nTHROUGH THE TEE\nAFTER THE END\n"
    assert lines == ["back", "THROUGH THE TEE"]


def test_a_patched_write(tmp_path):
    """A function assigned as write of the stream is called, by writelines() too, until the old one is put back."""
    body = """
def patch(name):
    write = sys.stdout.write
    def tee(text):
        seen.append(name + text)
        return write(text)
    sys.stdout.write = tee
    assert sys.stdout.write == tee
    return lambda: setattr(sys.stdout, "write", write)
seen = []
first = patch("1 ")
print("one", end="\\n\\n")
second = patch("2 ")
sys.stdout.writelines(["two\\n"])
second()
print("three", end="")
first()
print("four")
real = sys.__stdout__
run.finish()
assert sys.stdout is real
print("five")
assert seen == ["1 one", "1 \\n\\n", "2 two\\n", "1 two\\n", "1 three", "1 "], seen
"""
    out, errors, lines, _ = captured(tmp_path, body)
    assert errors == ""
    assert out == "one\n\ntwo\nthreefour\nfive\n"
    assert lines == ["one", "", "two", "threefour"]


def test_a_patch_that_outlives_the_capture_or_is_older(tmp_path):
    """Patches are called as long as they are there, whichever of them and the capture is taken away first."""
    body = """
run.finish()
seen = []
def patch():
    write = sys.stdout.write
    def tee(text):
        seen.append(text)
        return write(text)
    sys.stdout.write = tee
    return lambda: setattr(sys.stdout, "write", write)
older = patch()
run = rn.init(capture_console=True)
print("a")
later = patch()
print("b")
assert seen == ["a", "\\n", "b", "b", "\\n", "\\n"], seen
run.finish()
print("c")
assert seen[6:] == ["c", "c", "\\n", "\\n"], seen
later()
assert sys.stdout is sys.__stdout__
print("d")
run = rn.init(capture_console=True)
older()
print("e")
assert seen[10:] == ["d", "\\n"], seen
run.finish()
assert sys.stdout is sys.__stdout__
print("f")
assert seen[12:] == [], seen
sys.stderr.write(f"{run.run_dir}\\n")
"""
    out, errors, lines, _ = captured(tmp_path, body)
    assert out == "a\nb\nc\nd\ne\nf\n"
    assert console_lines(type(tmp_path)(errors.strip())) == ["e"]
    assert lines == []


def test_a_patch_that_goes_past_the_capture(tmp_path):
    """Of a patch that calls what write was before init(), or the other stream's, each text is recorded, once."""
    body = """
run.finish()
write = sys.stdout.write
run = rn.init(capture_console=True)
sys.stdout.write = lambda text: write(text)
print("a")
sys.stdout.write = sys.stderr.write
print("b")
del sys.stdout.write
print("c")
run.finish()
assert sys.stdout is sys.__stdout__
print(run.run_dir)
"""
    out, errors, _, _ = captured(tmp_path, body)
    *printed, where = out.splitlines()
    assert (printed, errors) == (["a", "c"], "b\n")
    assert console_lines(type(tmp_path)(where)) == ["a", "b", "c"]


def test_what_tools_of_tests_and_notebooks_do_to_streams(tmp_path):
    """mock.patch, a patched flush and isatty, wrappers of wrappers, the buffer and the original stream stay as ever."""
    body = """
import contextlib, io, unittest.mock
with unittest.mock.patch.object(sys.stdout, "write", wraps=sys.stdout.write) as write:
    print("mocked")
    assert sys.stdout.write.call_args_list == [unittest.mock.call("mocked"), unittest.mock.call("\\n")]
flushed = []
flush = sys.stdout.flush
sys.stdout.flush = lambda: flushed.append(1) or flush()
sys.stdout.isatty = lambda: "patched"
print("flushed", flush=True)
assert (flushed, sys.stdout.isatty(), sys.__stdout__.isatty()) == ([1], "patched", "patched")
sys.stdout.flush = flush
del sys.stdout.isatty
assert sys.stdout.isatty() is False
class Wrapper:
    def __init__(self, stream): self.stream = stream
    def __getattr__(self, name): return getattr(self.stream, name)
    def write(self, text): return self.stream.write(text)
ours = sys.stdout
sys.stdout = Wrapper(Wrapper(sys.stdout))
again = rn.init(run_id=run.id, capture_console=True)
print("wrapped")
sys.stdout = ours
with contextlib.redirect_stdout(sys.stderr):
    print("to the other")
with contextlib.redirect_stdout(io.StringIO()):
    print("nowhere")
sys.stdout.flush()
sys.stdout.buffer.write(b"bytes\\n")
sys.stdout.buffer.flush()
print("original", file=sys.__stdout__)
run.finish()
assert sys.stdout is sys.__stdout__
"""
    out, errors, lines, _ = captured(tmp_path, body)
    assert errors == "to the other\n"
    assert out == "mocked\nflushed\nwrapped\nbytes\noriginal\n"
    assert lines == ["mocked", "flushed", "wrapped", "to the other"]


def test_a_redirection_that_begins_before_the_capture(tmp_path):
    """A stream that stood there for a while only is captured for that while; what ends later ends well."""
    body = """
import contextlib, io
run.finish()
with contextlib.redirect_stdout(io.StringIO()) as aside:
    run = rn.init(capture_console=True)
    print("aside")
print("back")
later = contextlib.redirect_stdout(io.StringIO())
other = rn.init(capture_console=True)
with later:
    run.finish()
    other.finish()
print("at the end")
third = rn.init(capture_console=True)
print("third")
third.finish()
assert aside.getvalue() == "aside\\n" and sys.stdout is sys.__stdout__
sys.stderr.write(f"{run.run_dir} {third.run_dir}\\n")
"""
    out, errors, _, _ = captured(tmp_path, body)
    assert out == "back\nat the end\nthird\n"
    first, third = (console_lines(type(tmp_path)(each)) for each in errors.split())
    assert (first, third) == (["aside"], ["third"])


def test_a_logging_handler_that_kept_the_stream(tmp_path):
    """A handler made while the capture is on records what it writes, and after finish() still writes, unrecorded."""
    body = """
import logging
logging.basicConfig(stream=sys.stderr, level=20, format="%(message)s")
logging.info("recorded")
run.finish()
logging.info("not any more")
"""
    _, errors, lines, _ = captured(tmp_path, body)
    assert errors == "recorded\nnot any more\n"
    assert lines == ["recorded"]


def test_forked_children(tmp_path):
    """What a forked child prints is stored too, also after the child's own finish(), which leaves the capture on."""
    body = """
child = os.fork()
if child == 0:
    print("in the child")
    run.finish()
    print("still in the child")
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print("in the parent")
run.finish()
"""
    lines = captured(tmp_path, body)[2]
    assert sorted(lines) == ["in the child", "in the parent", "still in the child"]


@pytest.mark.parametrize("who", ["trainer", "writer", "both"])
def test_killed_while_it_prints(tmp_path, who):
    """Every line whose print() returned is stored once and in order after SIGKILL, and no half line is lost either."""
    body = """
run = rn.init(capture_console=True, tqdm_mode="none")
opened(run)
for i in range(1, 200_001):
    print(f"line {i}", file=sys.stderr)
    returned(i)
    if i == 30_000:
        print("waits", end="", file=sys.stderr)
        sys.stdin.readline()
        print(" on", file=sys.stderr)
    if i > 40_000:
        break
run.finish()
"""
    trainer = Trainer(tmp_path, body)
    writer = trainer.writer_pid()
    trainer.wait_returned(30_000)
    if who in {"writer", "both"}:
        os.kill(writer, signal.SIGKILL)
    if who == "both":
        recover_killed(trainer, tmp_path)
    elif who == "trainer":
        trainer.kill()
        trainer.end()
    else:
        trainer.go_on()
        trainer.end()
    wait_stored(trainer)
    _, *lines = console_lines(trainer.run_dir)
    count = trainer.returned
    expected = [f"line {i}" for i in range(1, 30_001)]
    if who == "writer":
        assert lines == [*expected, "waits on", *(f"line {i}" for i in range(30_001, count + 1))]
    else:
        assert lines == [*expected, "waits"]
        assert status(trainer.run_dir)["status"] == "failed"


def test_a_full_disk(tmp_path):
    """While the disk is full print() goes on as ever; with room again every line is stored, once."""
    switch = tmp_path / "fault"
    body = """
run = rn.init(capture_console=True)
opened(run)
sys.stdin.readline()
for i in range(5000):
    print(f"line {i}")
print("went on", flush=True)
sys.stdin.readline()
run.finish()
"""
    trainer = Trainer(tmp_path, body, storage_fault=str(switch))
    page = ControlPage.open(str(trainer.spool / "control"))
    switch.write_text("ENOSPC")
    trainer.go_on()
    while trainer.read_line() != "went on":
        pass
    wait_until(lambda: page.troubles)
    switch.unlink()
    trainer.go_on()
    trainer.end()
    lines = console_lines(trainer.run_dir)
    assert [line for line in lines if line.startswith("line ")] == [f"line {i}" for i in range(5000)]
    assert status(trainer.run_dir)["storage_errors"]


def test_text_that_no_file_can_hold(tmp_path):
    """Lone surrogates are escaped, a line of a megabyte is whole, and metrics logged between lines are all there."""
    body = """
sys.stdout.reconfigure(errors="backslashreplace")
print("half \\udc80 char")
for i in range(5):
    run.log({"i": i})
    print("x" * 1_000_000)
run.finish()
"""
    _, errors, lines, trainer = captured(tmp_path, body)
    assert errors == ""
    assert lines == ["half \\udc80 char"] + ["x" * 1_000_000] * 5
    assert [event["data"]["i"] for event in events(trainer.run_dir)] == list(range(5))


def test_a_stream_that_fails(tmp_path):
    """What the real stream refuses is raised into the program as ever, and is not recorded."""
    body = """
class Broken:
    encoding = "utf-8"
    def write(self, text): raise BrokenPipeError("gone")
    def flush(self): pass
run.finish()
sys.stdout = Broken()
again = rn.init(capture_console=True)
try:
    print("lost")
except BrokenPipeError as error:
    sys.stderr.write(f"raised {error}\\n")
again.finish()
sys.stdout = sys.__stdout__
print(again.run_dir)
"""
    out, errors, _, _ = captured(tmp_path, body)
    assert errors == "raised gone\n"
    assert console_lines(type(tmp_path)(out.strip())) == ["raised gone"]


def test_a_program_without_streams(tmp_path):
    """Where there is no stdout, as in a program with windows only, init() captures what there is."""
    body = """
run.finish()
sys.stdout = None
again = rn.init(capture_console=True)
sys.stderr.write("here\\n")
again.finish()
assert sys.stdout is None
sys.stderr.write(f"{again.run_dir}\\n")
"""
    _, errors, _, _ = captured(tmp_path, body)
    where = errors.splitlines()[-1]
    assert console_lines(type(tmp_path)(where)) == ["here"]


def test_one_stream_under_both_names(tmp_path):
    """A program that has sent stderr into stdout has each line once."""
    body = """
run.finish()
sys.stderr = sys.stdout
again = rn.init(capture_console=True)
print("out")
print("err", file=sys.stderr)
again.finish()
print(again.run_dir)
"""
    out, _, _, _ = captured(tmp_path, body)
    assert console_lines(type(tmp_path)(out.splitlines()[-1])) == ["out", "err"]


def test_at_the_interpreters_end(tmp_path):
    """Without finish() the last words are stored, the traceback of what ended the program included."""
    body = """
run = rn.init(capture_console=True)
opened(run)
print("last words", end="")
raise ValueError("the end")
"""
    trainer = Trainer(tmp_path, body)
    trainer.end()
    wait_stored(trainer)
    lines = console_lines(trainer.run_dir)
    assert "last words" in lines
    assert lines[-2:] == ["ValueError: the end", "last words"] or "ValueError: the end" in lines
    assert status(trainer.run_dir)["status"] == "failed"


def test_one_run_by_several_handles(tmp_path):
    """A line is recorded once, though the process has joined its own run again, and a forked child has as well."""
    body = """
again = rn.init(run_id=run.id, capture_console=True)
print("parent")
child = os.fork()
if child == 0:
    third = rn.init(run_id=run.id, capture_console=True)
    print("child")
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
run.finish()
"""
    assert sorted(captured(tmp_path, body)[2]) == ["child", "parent"]


def test_what_else_programs_do_with_streams(tmp_path):
    """Text of a class of its own is recorded; the stream can be copied, and pickled as the one of that name."""
    body = """
import copy, pickle
class Text(str):
    pass
sys.stdout.write(Text("of its own\\n"))
copy.copy(sys.stdout).write("by a copy\\n")
assert pickle.loads(pickle.dumps(sys.stderr)) is sys.stderr
print("a", file=copy.deepcopy(sys.stdout))
run.finish()
"""
    _, errors, lines, _ = captured(tmp_path, body)
    assert errors == ""
    assert lines[0] == "of its own"


@pytest.mark.parametrize(
    "call", ["run.log_text('x')", "run.summary({'x': 1})", "run.log_image('x', b'GIF89a' + bytes(9))"]
)
def test_every_call_looks_after_the_writer(tmp_path, call):
    """A writer that is killed is replaced though the program calls nothing but this one."""
    body = f"""
run = rn.init()
opened(run)
while not os.path.exists("enough"):
    {call}
    time.sleep(0.02)
run.finish()
"""
    limits = {"RUNICORN_WRITER_RESTART_AFTER_S": "0.2", "RUNICORN_LOOK_INTERVAL_S": "0.05"}
    trainer = Trainer(tmp_path, "import os, time\n" + body.lstrip(), **limits)
    first = trainer.writer_pid()
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: trainer.writer_pid() != first)
    (tmp_path / "enough").touch()
    trainer.end()
    assert trainer.process.returncode == 0
