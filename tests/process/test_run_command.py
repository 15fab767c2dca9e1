"""``runicorn run``: a program is started as if we were not there, and its run says what it printed and how it ended."""

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import textwrap

import pytest
from support import content, events, logged, status, text_of, wait_until

import runicorn as rn

LIMIT_S = 120


def command(*words, program=(), **environment):
    """Run the command to its end: exit code, and what was written to the two streams."""
    done = subprocess.run(
        [sys.executable, "-m", "runicorn", "run", *words, "--", *program],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=LIMIT_S,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Make a program of Python source, in a directory of its own, which is the working directory; its words."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setenv("RUNICORN_DIR", str(tmp_path / "storage"))

    def make(source, name="train.py"):
        (place / name).write_text(textwrap.dedent(source), encoding="utf-8")
        return [sys.executable, name]

    return make


def the_run(**filters):
    """The one run that there is."""
    (info,) = rn.runs(**filters)
    return info


def lines_of(info):
    """What the console's record says, without the times."""
    return [line.partition("] ")[2] for line in text_of(info).splitlines()]


ENDINGS = {
    "pass": (0, "finished", None),
    "sys.exit(3)": (3, "failed", "exit code 3"),
    "raise SystemExit(4)": (4, "failed", "exit code 4"),
    "os._exit(5)": (5, "failed", "exit code 5"),
    "1 / 0": (1, "failed", "exit code 1"),
    "os.kill(os.getpid(), 9)": (137, "failed", "killed by signal 9"),
    "os.kill(os.getpid(), 15)": (143, "interrupted", "SIGTERM"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_program_that_has_never_heard_of_us_is_a_run_with_its_exit_code(script, ending):
    """Status, reason, our own exit code, its output on both streams, code and environment."""
    words = script(
        f"import os, sys\nprint('to out', flush=True)\nprint('to err', file=sys.stderr, flush=True)\n{ending}\n"
    )
    expected_code, expected_status, reason = ENDINGS[ending]

    code, out, err = command("--path", "cv/x", "--alias", "a", program=words)

    info = the_run()
    assert (code, info.status, info.exit_reason) == (expected_code, expected_status, reason)
    assert (info.path, info.alias) == ("cv/x", "a")
    assert out == b"to out\n"
    assert err.startswith(b"to err\n")
    assert {"to out", "to err"} <= set(lines_of(info))
    assert content(info.run_dir, "environment.json")
    assets = content(info.run_dir, "assets.json")
    assert assets["code"]["snapshot"]["file_count"] == 1
    assert assets["config"]["extra"]["command"] == words


def test_what_the_program_writes_comes_through_byte_for_byte(script):
    """Bytes that are no text, carriage returns, and a character that was written in two halves."""
    words = script(
        """
        import os
        os.write(1, b"\\xff\\x00half: \\xc3")
        os.write(1, b"\\xa9\\r\\n")
        os.write(1, bytes(range(256)) * 2000)
        """
    )
    code, out, _ = command(program=words)
    assert code == 0
    assert out == b"\xff\x00half: \xc3\xa9\r\n" + bytes(range(256)) * 2000
    assert "half: \u00e9" in lines_of(the_run())[0]


def test_a_script_that_calls_init_gets_this_run(script):
    """Its records are those of the run and of no other process; it is one run; what it prints is stored once."""
    words = script(
        """
        import runicorn as rn
        with rn.init(alias="of the script", capture_console=True, capture_env=True) as run:
            for step in range(1, 4):
                run.log({"loss": 1 / step})
            print("in the run")
        """
    )
    code, _, err = command("--group", "sweep", program=words)
    info = the_run(group="sw*")
    assert (code, info.status, info.alias, info.group, info.last_step) == (0, "finished", "of the script", "sweep", 3)
    assert logged(info.run_dir) == [{"loss": 1 / step} for step in range(1, 4)]
    assert not any({"producer", "rank"} & set(line) for line in events(info.run_dir))
    assert lines_of(info).count("in the run") == 1
    assert b"already exists" not in err


def test_a_script_that_names_another_path_is_told_where_its_run_is(script):
    """The run is the one of the command; the warning says what to write."""
    words = script("import runicorn as rn\nrn.init(path='nlp/y').finish()\n")
    code, _, err = command("--path", "cv/x", program=words)
    assert (code, the_run().path) == (0, "cv/x")
    assert b"runicorn run --path nlp/y" in err


def test_a_script_that_names_another_storage_is_told_where_its_run_is(script, tmp_path):
    """As for the path; one that names the same storage is told nothing."""
    other, same = str(tmp_path / "other one"), str(tmp_path / "storage")
    code, _, err = command(program=script(f"import runicorn as rn\nrn.init(storage={other!r}).finish()\n"))
    assert (code, the_run().storage) == (0, same)
    assert f"runicorn run --storage '{other}'".encode() in err
    _, _, err = command(program=script(f"import runicorn as rn\nrn.init(storage={same!r}).finish()\n"))
    assert b"--storage" not in err


WORDS_OF_THE_SCRIPT = {
    "run.finish('failed', reason='diverged')": ("failed", "diverged", 0),
    "run.finish('pruned')": ("interrupted", "pruned", 0),
    "run.finish('failed', reason='diverged'); sys.exit(2)": ("failed", "diverged", 2),
    "run.finish(); sys.exit(2)": ("failed", "exit code 2", 2),
    "run.__exit__(ValueError, ValueError('bad'), None); sys.exit(1)": ("failed", "ValueError: bad", 1),
}


@pytest.mark.parametrize("ending", WORDS_OF_THE_SCRIPT)
def test_the_word_of_the_script_says_more_than_its_exit_code(script, ending):
    """Unless it says that all went well, and the exit code says that it did not."""
    words = script(f"import sys\nimport runicorn as rn\nrun = rn.init()\nrun.log(a=1)\n{ending}\n")
    expected_status, reason, expected_code = WORDS_OF_THE_SCRIPT[ending]
    code, _, _ = command(program=words)
    info = the_run()
    assert (code, info.status, info.exit_reason) == (expected_code, expected_status, reason)
    assert logged(info.run_dir) == [{"a": 1}]


def test_only_the_first_init_of_a_process_gets_it(script):
    """A script that opens a second run after the first has two."""
    words = script(
        "import runicorn as rn\nfor n in (1, 2):\n    with rn.init(path='p') as run:\n        run.log(n=n)\n"
    )
    code, _, _ = command("--path", "p", program=words)
    assert code == 0
    assert [logged(info.run_dir) for info in reversed(rn.runs())] == [[{"n": 1}], [{"n": 2}]]


def test_a_second_process_of_the_script_is_told_apart(script):
    """The records of the first stand alone; those of another one name their process."""
    first = script(
        "import runicorn as rn, subprocess, sys\nrun = rn.init()\nrun.log(n=1)\n"
        "subprocess.run([sys.executable, 'second.py'], check=True)\n"
    )
    script("import runicorn as rn\nrn.init().log(n=2)\n", "second.py")
    code, _, _ = command(program=first)
    assert code == 0
    by_value = {line["data"]["n"]: line.get("producer") for line in events(the_run().run_dir)}
    assert by_value[1] is None
    assert by_value[2] is not None


def test_rank_0_of_a_job_speaks_for_the_run(script):
    """Its records are as without us; those of another rank are in a file of that rank, and no rank ends the run."""
    words = script(
        """
        import os, subprocess, sys
        rank = os.environ.get("RANK")
        if rank is None:
            job = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29599", "RUNICORN_JOB_ID": "job"}
            for rank in "01":
                subprocess.run([sys.executable, *sys.argv], env={**os.environ, **job, "RANK": rank}, check=True)
            print("after the ranks", flush=True)
            sys.exit(3)
        import runicorn as rn
        with rn.init() as run:
            run.log({"of": int(rank)})
        """
    )
    assert command(program=words)[0] == 3
    info = the_run()
    assert (info.status, info.exit_reason, info.last_step) == ("failed", "exit code 3", 1)
    (line,) = events(info.run_dir)
    assert (line["data"]["of"], line["rank"], line.get("producer")) == (0, 0, None)
    (other,) = events(info.run_dir, "events.rank1.jsonl")
    assert (other["data"]["of"], other["rank"]) == (1, 1)
    assert "after the ranks" in lines_of(info)


def test_the_name_of_a_run_that_has_ended_means_nothing(script):
    """What a job inherits of the environment of a run that is over opens no door: it gets a run of its own."""
    words = script("import runicorn as rn\nrn.init(path='own').finish()\n")
    assert command("--path", "first", program=words)[0] == 0
    ended = the_run().run_dir
    done = subprocess.run(
        words, env={**os.environ, "RUNICORN_RUN_DIR": ended}, timeout=LIMIT_S, capture_output=True, check=True
    )
    assert done.stderr == b""
    assert sorted(info.path for info in rn.runs()) == ["first", "own"]


def test_variables_of_a_job_script_name_the_run(script):
    """``RUNICORN_PATH``, ``RUNICORN_ALIAS`` and ``RUNICORN_GROUP``; an option wins."""
    words = script("pass")
    given = {"RUNICORN_PATH": "job/a", "RUNICORN_ALIAS": "seed-1", "RUNICORN_GROUP": "sweep"}
    assert command("--alias", "seed-2", program=words, **given)[0] == 0
    info = the_run()
    assert (info.path, info.alias, info.group) == ("job/a", "seed-2", "sweep")


def test_while_tracking_is_off_the_program_runs_all_the_same(script):
    """Its exit code is ours, and nothing is stored."""
    code, out, _ = command(program=script("print('here')\nraise SystemExit(6)"), RUNICORN_ON="0")
    assert (code, out) == (6, b"here\n")
    assert rn.runs() == []


@pytest.mark.usefixtures("script")
def test_a_program_that_is_not_there_makes_no_run():
    """The message names it."""
    code, _, err = command(program=["no-such-program"])
    assert code == 1
    assert b"no-such-program" in err
    assert rn.runs() == []


def test_a_workspace_that_is_too_large_is_told_in_words_of_the_command(script):
    """The message names the option that archives no code; with it, the program runs."""
    words = script("pass")
    with open("weights.py", "wb") as file:
        file.truncate(600 * 2**20)  # a hole: it takes no disk
    code, _, err = command(program=words)
    assert (code, rn.runs()) == (2, [])
    assert b"runicorn run --force-code" in err
    assert b"runicorn run --no-code" in err
    assert command("--no-code", program=words)[0] == 0
    assert the_run().status == "finished"


def test_a_script_without_its_interpreter_makes_no_run(script):
    """A file that is no program is named as a file, and the message says what to write."""
    _, name = script("pass")
    code, _, err = command(program=[name])
    assert code == 1
    assert b"the file 'train.py' cannot be started" in err
    assert b"runicorn run -- python train.py" in err
    assert rn.runs() == []


@pytest.mark.parametrize("tracking", ["1", "0"])
def test_a_program_that_the_system_cannot_start_is_a_failed_run(script, tracking):
    """The run's reason and the message say that it was not started, and the message says what to write."""
    _, name = script("#!/no/such/interpreter\n")
    os.chmod(name, 0o700)
    code, _, err = command(program=[f"./{name}"], RUNICORN_ON=tracking)
    assert code == 1
    assert b"the program './train.py' was not started: " in err
    assert b"runicorn run -- python train.py" in err
    assert [info.status for info in rn.runs()] == ["failed"] * int(tracking)
    assert all("was not started" in info.exit_reason for info in rn.runs())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1], ids=str)
def test_a_signal_that_is_sent_to_us_reaches_the_program(script, number):
    """It handles it as it likes, and its exit code stays the run's."""
    words = script(
        """
        import signal, sys
        def handle(number, frame):
            print("got", number, flush=True)
            sys.exit(7)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, handle)
        print("ready", flush=True)
        signal.pause()
        """
    )
    ours = [sys.executable, "-m", "runicorn", "run", "--", *words]
    # Without a terminal: what its keys send, the program gets by itself.
    with subprocess.Popen(ours, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=LIMIT_S)
    assert out == f"got {int(number)}\n"
    info = the_run()
    assert (process.returncode, info.status, info.exit_reason) == (7, "failed", "exit code 7")


def test_a_signal_that_is_ignored_stays_so_for_the_program(script):
    """As under nohup."""
    words = script("import signal\nprint(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)")
    ignoring = (
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN); os.execv(sys.executable, sys.argv[1:])"
    )
    us = [sys.executable, "-m", "runicorn", "run", "--", *words]
    done = subprocess.run(
        [sys.executable, "-c", ignoring, *us], capture_output=True, text=True, timeout=LIMIT_S, check=True
    )
    assert done.stdout == "True\n"


def test_what_the_program_leaves_running_holds_nobody_up(script):
    """A process in the background that has its streams open lives on; the command ends with the program."""
    words = script(
        """
        import subprocess, sys
        left = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
        print(left.pid, flush=True)
        import os
        os.dup2(left.stdin.fileno(), 9, inheritable=True)
        os._exit(0)
        """
    )
    code, out, _ = command(program=words)
    assert code == 0
    assert the_run().status == "finished"
    wait_until(lambda: not os.path.exists(f"/proc/{int(out)}"))  # its input is at its end


@pytest.fixture
def terminal():
    """A terminal of 30 lines of 100 characters: our end, and the one that a program gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def in_terminal(theirs, *words, before=()):
    """The command as the leader of a session whose terminal this is."""
    program = (
        "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    ours = [*before, sys.executable, "-m", "runicorn", *words]
    return subprocess.Popen([sys.executable, "-c", program, *ours], stdin=theirs, stdout=theirs, stderr=theirs)


def read_until(fd, mark, more=0):
    """What comes from the terminal, up to a mark and some bytes behind it."""
    found = b""
    while mark not in found or len(found.partition(mark)[2]) < more:
        found += os.read(fd, 4096)
    return found


def test_the_terminal_is_kept(script, terminal):
    """The program has a terminal of the same size on all three streams, and reads what is typed."""
    ours, theirs = terminal
    words = script(
        """
        import os, sys
        print([os.isatty(fd) for fd in (0, 1, 2)], os.get_terminal_size(1), flush=True)
        print("typed:", input(), flush=True)
        """
    )
    with in_terminal(theirs, "run", "--", *words) as process:
        assert b"[True, True, True] os.terminal_size(columns=100, lines=30)" in read_until(ours, b"lines=30)")
        os.write(ours, b"hello\n")
        read_until(ours, b"typed: hello\r\n")
        assert process.wait(LIMIT_S) == 0
    assert "typed: hello" in lines_of(the_run())


def test_a_program_sees_the_new_size_of_its_terminal(script, terminal):
    """It is told of it when its own terminal has that size."""
    ours, theirs = terminal
    words = script(
        """
        import os, signal
        def show(*_):
            columns = os.get_terminal_size(1).columns
            os.write(1, f"columns: {columns} {os.get_terminal_size(2).columns}\\n".encode())
            if columns == 70:
                os._exit(0)
        signal.signal(signal.SIGWINCH, show)
        print("ready", flush=True)
        while True:
            signal.pause()
        """
    )
    with in_terminal(theirs, "run", "--", *words) as process:
        read_until(ours, b"ready")
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 70, 0, 0))
        read_until(ours, b"columns: 70 70")
        assert process.wait(LIMIT_S) == 0


def test_ctrl_c_reaches_the_program_once(script, terminal):
    """The key's signal comes from the terminal alone; the run is interrupted."""
    ours, theirs = terminal
    words = script(
        """
        import os, signal, sys
        count = 0
        came, send = os.pipe()  # not pause(): the signal may come before that is called
        def handle(number, frame):
            global count
            count += 1
            os.write(send, b".")
        signal.signal(signal.SIGINT, handle)
        print("ready", flush=True)
        os.read(came, 1)
        print("times:", count, flush=True)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
        """
    )
    with in_terminal(theirs, "run", "--", *words) as process:
        read_until(ours, b"ready")
        os.write(ours, b"\x03")
        assert b"times: 1" in read_until(ours, b"times: 1")
        assert process.wait(LIMIT_S) == 130
    info = the_run()
    assert (info.status, info.exit_reason) == ("interrupted", "SIGINT")


def test_ctrl_c_reaches_the_program_once_if_its_input_is_a_file(script, terminal):
    """That the terminal is ours does not show in our standard input."""
    ours, theirs = terminal
    words = script(
        """
        import os, signal
        count = 0
        def handle(number, frame):
            global count
            count += 1
            os.write(1, b"next\\n")
        def end(number, frame):
            os.write(1, f"in all: {count}\\n".encode())
            os._exit(0)
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, end)
        print("ready", flush=True)
        while True:
            signal.pause()
        """
    )
    # The shell becomes the command, so that a signal to the process reaches it.
    with in_terminal(theirs, "run", "--", *words, before=["/bin/sh", "-c", 'exec "$@" </dev/null', "sh"]) as process:
        read_until(ours, b"ready")
        os.write(ours, b"\x03")
        read_until(ours, b"next")
        process.send_signal(signal.SIGTERM)  # comes after the one that we would have sent on
        assert b"in all: 1" in read_until(ours, b"in all: ", more=1)
        assert process.wait(LIMIT_S) == 0


def test_a_reader_that_has_gone_ends_the_program_as_without_us(script, tmp_path):
    """``yes | head -1``: the signal of a broken pipe; what was written until then is in the run."""
    script("pass")
    ours = [sys.executable, "-m", "runicorn", "run", "--", "yes"]
    with open(tmp_path / "err", "wb") as err, subprocess.Popen(ours, stdout=subprocess.PIPE, stderr=err) as process:
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        assert process.wait(LIMIT_S) == 128 + signal.SIGPIPE
    info = the_run()
    assert (info.status, info.exit_reason) == ("failed", "killed by signal 13")
    assert lines_of(info)[0] == "y"


def test_the_exit_code_is_the_programs_if_nobody_reads_what_we_say(script):
    """Our last line, about the run, is not worth an exit code."""
    read, write = os.pipe()
    os.close(read)
    ours = [sys.executable, "-m", "runicorn", "run", "--", *script("raise SystemExit(3)")]
    done = subprocess.run(ours, stderr=write, timeout=LIMIT_S, check=False)
    os.close(write)
    assert done.returncode == 3


def test_a_stream_that_must_not_wait_gets_all(script):
    """A pipe that another process has set so: what does not fit into it is written later."""
    size = 1_000_000
    words = script(f"import sys\nsys.stdout.write('x' * {size})")
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen([sys.executable, "-m", "runicorn", "run", "--", *words], stdout=write) as process:
        os.close(write)
        with open(read, "rb") as reader:
            assert len(reader.read()) == size
        assert process.wait(LIMIT_S) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_file_of_ours(script, closed, tmp_path):
    """Nothing that the run has open gets its number: what the program prints would be written into it."""
    words = script(
        f"""
        import os
        ours = [os.readlink(f"/proc/{{os.getppid()}}/fd/{{number}}") for number in range(3)]
        open({str(tmp_path / "seen")!r}, "w").write("\\n".join(ours))
        print("hi", flush=True)
        """
    )
    shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "runicorn", "run", "--", *words]
    subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_S, check=True)
    assert all(name == "/dev/null" or name.startswith("pipe:") for name in (tmp_path / "seen").read_text().split("\n"))
    assert lines_of(the_run()) == ["hi"]


def test_a_file_without_an_interpreter_is_the_shells(script, tmp_path):
    """As for a shell, ``env`` or ``nohup``."""
    script("pass")
    program = tmp_path / "a program"
    program.write_text('echo "got $1"\nexit 4\n')
    program.chmod(0o755)
    assert command(program=[str(program), "--path"])[:2] == (4, b"got --path\n")


def test_the_exit_code_is_the_programs_if_the_storage_goes_meanwhile(script, tmp_path):
    """A file system that is no longer there: the program goes on, and we end as it does."""
    words = script(
        f"""
        import os, sys
        os.rename({str(tmp_path / "storage")!r}, {str(tmp_path / "elsewhere")!r})
        open({str(tmp_path / "storage")!r}, "w").close()
        print("on", flush=True)
        sys.exit(9)
        """
    )
    assert command(program=words, RUNICORN_FINISH_TIMEOUT_S="1")[:2] == (9, b"on\n")
    (tmp_path / "storage").unlink()
    (tmp_path / "elsewhere").rename(tmp_path / "storage")
    wait_until(lambda: the_run().status == "failed")


def test_a_command_within_the_program_of_another_is_a_run_of_its_own(script):
    """Each has what was printed in it, once."""
    inner = [sys.executable, "-m", "runicorn", "run", "--path", "inner", "--", *script("print('hello')")]
    code, out, _ = command("--path", "outer", program=inner)
    assert (code, out) == (0, b"hello\n")
    assert sorted(info.path for info in rn.runs()) == ["inner", "outer"]
    assert [lines_of(info).count("hello") for info in rn.runs()] == [1, 1]


def test_ls_shows_groups_where_there_are_some(script):
    """A column more, a filter, and a field of the document."""
    assert command("--group", "sweep", program=script("pass"))[0] == 0
    with rn.init(path="alone"):
        pass
    ls = [sys.executable, "-m", "runicorn", "ls"]
    shown = subprocess.run(ls, capture_output=True, text=True, timeout=LIMIT_S, check=True).stdout
    assert shown.splitlines()[0].split()[-1] == "group"
    assert "sweep" in shown
    found = subprocess.run(
        [*ls, "--group", "sw*", "--json"], capture_output=True, text=True, timeout=LIMIT_S, check=True
    ).stdout
    assert [each["group"] for each in json.loads(found)] == ["sweep"]
    assert status(the_run(group="sweep").run_dir)["status"] == "finished"


ADAPTERS = """
    import runicorn as rn
    from runicorn.integrations import _many, _run
    holder = _run.RunHolder("Adapter")
    holder.begin(path="of-the-framework").log(a=1)
    holder.end()
    with _many.one_of_many("Adapter", "study", {"path": "trials", "alias": "trial-0"}, {}) as run:
        run.log(b=1)
"""


def test_adapters_of_the_script_log_into_the_run_of_the_command(script):
    """It keeps its path without a warning, and is not ended by them; the run of a trial is its child."""
    code, _, err = command("--path", "cv/x", program=script(ADAPTERS))
    assert code == 0
    assert b"already exists" not in err
    runs = {info.path: info for info in rn.runs()}
    assert runs.keys() == {"cv/x", "trials"}
    assert logged(runs["cv/x"].run_dir) == [{"a": 1}]
    assert (runs["trials"].parent, runs["trials"].group) == (runs["cv/x"].id, "study")
    assert {info.status for info in runs.values()} == {"finished"}
