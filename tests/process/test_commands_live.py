"""Commands beside real writers, and in processes of their own: following, Ctrl-C, pipes, a run that is lost."""

import json
import os
import shlex
import signal

import pytest
from support import started_command, wait_until
from support.trainers import Trainer, wait_stored, writer_pids

from runicorn.cli import main


def lines_of(run, name):
    path = run.run_dir / name
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_tail_follows_a_live_run_to_its_end(open_run, storage):
    """Text and numbers come as they are logged, each once, and the command ends with the run."""
    run = open_run(alias="live")
    run.log_text("before")
    run.log(loss=1.0)
    wait_until(lambda: all(lines_of(run, name) for name in ("events.jsonl", "logs.txt")))

    with started_command("tail", "-f", "live", "--storage", storage) as process:
        lines = [process.stdout.readline() for _ in range(2)]
        for step in range(2, 5):
            run.log({"loss": 1 / step, "acc": step / 10})
            lines.append(process.stdout.readline())
        run.log_text("after")
        lines.append(process.stdout.readline())
        run.finish("failed")
        out, err = process.communicate(timeout=50)

    assert [line.rstrip().rpartition("| ")[2] for line in lines] == [
        "before",
        "step 1 loss=1",
        "step 2 loss=0.5 acc=0.2",
        "step 3 loss=0.333333 acc=0.3",
        "step 4 loss=0.25 acc=0.4",
        "after",
    ]
    assert (out, process.returncode) == ("", 0)
    assert err.startswith("The run has ended: failed after ")


@pytest.mark.parametrize("arguments", [["tail", "-f", "live"], ["ls", "--watch", "0.01"]], ids=lambda each: each[0])
def test_ctrl_c_ends_what_goes_on_quietly(open_run, storage, arguments):
    """A command that goes on until Ctrl-C ends with 130 and without a word."""
    run = open_run(alias="live")
    run.log(loss=1.0)
    wait_until(lambda: lines_of(run, "events.jsonl"))

    with started_command(*arguments, "--storage", storage) as process:
        first = process.stdout.readline()
        if arguments[0] == "ls":
            process.stdout.readline()
            assert process.stdout.readline() == first  # the head of the next list
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=50)

    assert (process.returncode, err) == (130, "")


def test_pipe_whose_reader_has_gone_is_no_error(storage):
    """A command whose output nobody reads any more ends with 0 and without a word."""
    run_dir = storage / "runs" / "one"
    run_dir.mkdir(parents=True)
    (run_dir / "status.json").write_text('{"status": "finished"}')
    (run_dir / "summary.json").write_text(json.dumps({str(number): "x" * 100 for number in range(10_000)}))

    with started_command("show", "one", "--json", "--storage", storage) as process:
        assert process.stdout.readline() == "{\n"
        process.stdout.close()
        err = process.stderr.read()
        process.wait(timeout=50)

    assert (process.returncode, err) == (0, "")


def test_lost_run_is_repaired_by_the_command_that_is_named(tmp_path, capsys):
    """A run whose trainer and writer were killed is lost; the command below the list stores the rest and ends it."""
    trainer = Trainer(tmp_path, "run = rn.init(alias='lost one')\nopened(run)\nlog_flat_out(run, 10)\ninput()\n")
    trainer.wait_returned(10)
    trainer.writer_pid()
    pids = writer_pids(trainer.spool)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    trainer.process.kill()
    trainer.process.wait()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not writer_pids(trainer.spool))
    listing = ["ls", "--storage", str(tmp_path / "storage")]

    assert main(listing) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("lost ")
    _, *arguments = shlex.split(err.splitlines()[-1])
    assert main(arguments) == 0
    wait_stored(trainer)
    capsys.readouterr()
    assert main(listing) == 0

    out, err = capsys.readouterr()
    assert out.splitlines()[1].startswith("failed ")
    assert err == ""
    assert main(["tail", "lost one", *listing[1:]]) == 0
    assert capsys.readouterr().out == "step 10 i=10 loss=5\n"
