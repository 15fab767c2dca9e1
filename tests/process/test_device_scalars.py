"""Scalars that a device has not computed yet: ``log()`` waits for none, and none is taken for another."""

from __future__ import annotations

import json
import math
import os
import random
import signal

import psutil
import pytest
from support import events, logged, status, steps, wait_until, warnings_in
from support.slow_device import SLOTS, SlowDevice, SlowTransfer
from support.trainers import Trainer, counted, recover, recover_killed, wait_dead, wait_stored

import runicorn as rn
from runicorn.queue.records import Hello, LateValues, Metrics, PartialMetrics, encode
from runicorn.session.session import SpoolFullError
from runicorn.writer import pending

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))


@pytest.fixture
def device():
    """A device that does nothing before it is told to."""
    return SlowDevice()


@pytest.fixture
def impatient(monkeypatch):
    """finish() does not wait for a device that stands still."""
    monkeypatch.setenv("RUNICORN_DEVICE_FINISH_WAIT_S", "0")


def test_record_with_a_hole_holds_up_no_other(device, open_run):
    """What is logged after a value that is still on its device is in the files before it; then it comes as well."""
    run = open_run()
    run.log({"loss": device.scalar(0.5), "lr": 0.1})
    for n in range(3):
        run.log({"n": n})
    wait_until(lambda: len(logged(run)) == 3)
    assert logged(run) == [{"n": 0}, {"n": 1}, {"n": 2}]
    device.arrived()
    run.log({"n": 3})
    wait_until(lambda: len(logged(run)) == 5)
    assert {"loss": 0.5, "lr": 0.1} in logged(run)
    run.finish()
    assert sorted(steps(run)) == [1, 2, 3, 4, 5]


def test_value_is_that_of_the_call(device, open_run):
    """An update in place after log() changes nothing of what is stored."""
    run = open_run()
    weight = device.scalar(1.0)
    run.log({"norm": weight})
    weight.number = 2.0
    run.log({"norm": weight})
    device.arrived()
    run.finish()
    assert logged(run) == [{"norm": 1.0}, {"norm": 2.0}]


@pytest.mark.parametrize("number", [3, True, -(2**63), 1e-320, math.inf])
def test_every_kind_of_number_comes_through(device, open_run, number):
    """Integers, truth values, the smallest and the infinite floats are what they were."""
    run = open_run()
    run.log({"x": device.scalar(number)}, step=7, stage="late")
    device.arrived()
    run.finish()
    (value,) = rn.load(run.run_dir)["x"].value
    assert (type(value), value) == (type(number), number)
    assert rn.load(run.run_dir)["x"].stage[0] == "late"


def test_finish_takes_what_has_arrived(device, open_run):
    """Values that have arrived when no call came by any more are stored by finish()."""
    run = open_run()
    run.log({"a": device.scalar(1.0), "b": device.scalar(2.0)})
    device.arrived()
    run.finish()
    assert logged(run) == [{"a": 1.0, "b": 2.0}]
    assert "lost_values" not in status(run)


@pytest.mark.usefixtures("impatient")
def test_device_that_stands_still_keeps_nobody(device, open_run, caplog):
    """What never arrives is null, named as lost in its line, counted in status.json, and told."""
    run = open_run()
    run.log({"loss": device.scalar(0.5), "lr": 0.1})
    run.finish()
    (line,) = events(run.run_dir)
    assert (line["data"]["loss"], line["data"]["lr"], line["lost"]) == (None, 0.1, ["loss"])
    assert status(run)["lost_values"] == 1
    assert "were not computed" in warnings_in(caplog)[0]


def test_call_does_not_wait_where_too_many_are_on_their_way(device, open_run, caplog):
    """Where no slot is free the value is null and counted; with the next free slot values come again."""
    run = open_run()
    for n in range(SLOTS + 2):
        run.log({"x": device.scalar(float(n))})
    assert device.waited == 0
    device.arrived()
    run.log({"x": device.scalar(100.0)})
    device.arrived()
    run.finish()
    found = {line["data"]["global_step"]: line["data"]["x"] for line in events(run.run_dir)}
    assert [found[n + 1] for n in range(SLOTS + 3)] == [*map(float, range(SLOTS)), None, None, 100.0]
    assert status(run)["lost_values"] == 2
    assert len(warnings_in(caplog)) == 1


def test_call_waits_where_it_was_told_to(device, open_run, monkeypatch):
    """With RUNICORN_DEVICE_WAIT=1 no value is given up: the oldest is waited for."""
    monkeypatch.setenv("RUNICORN_DEVICE_WAIT", "1")
    run = open_run()
    for n in range(SLOTS + 2):
        run.log({"x": device.scalar(float(n))})
    assert device.waited == 2
    device.arrived()
    run.finish()
    assert sorted(line["x"] for line in logged(run)) == [*map(float, range(SLOTS + 2))]


@pytest.mark.usefixtures("impatient")
def test_stream_that_stands_still_holds_up_no_other(device, open_run):
    """Values of one stream arrive while another one's do not."""
    run = open_run()
    run.log({"x": device.scalar(1.0, "stuck")})
    run.log({"x": device.scalar(2.0)})
    device.arrived()
    run.log({"n": 0})
    wait_until(lambda: {"x": 2.0} in logged(run))
    run.finish()
    assert status(run)["lost_values"] == 1


def test_later_call_of_a_step_stays_the_later_line(device, open_run):
    """Of two values of one metric at one step the one that was logged last is the one that is read."""
    run = open_run()
    run.log({"x": device.scalar(1.0)}, step=5)
    run.log({"x": 2.0}, step=5)
    run.log({"x": 3.0}, step=6)
    device.arrived()
    run.finish()
    assert list(rn.load(run.run_dir).table(["x"]).columns["x"]) == [2.0, 3.0]


def test_device_that_fails_harms_nobody(device, open_run):
    """When the library raises, the values that it had are null, and the training goes on."""
    run = open_run()
    run.log({"x": device.scalar(1.0), "y": 1})
    device.failing = True
    run.log({"x": device.scalar(2.0), "y": 2})
    run.log({"y": 3})
    run.finish()
    assert sorted(line["y"] for line in logged(run)) == [1, 2, 3]
    assert status(run)["lost_values"] == 2


def test_value_that_cannot_be_taken_is_refused(device, open_run, caplog):
    """In the capture of a CUDA graph a scalar has no value: it is refused with what to do, the others are stored."""
    run = open_run()
    run.log({"x": device.scalar(1.0, "capturing"), "y": 2})
    run.finish()
    assert logged(run) == [{"y": 2}]
    assert "replay()" in warnings_in(caplog)[0]


def test_best_value_may_come_late(device, open_run):
    """A primary metric on a device counts as any other, at its own step."""
    run = open_run()
    run.set_primary_metric("acc")
    run.log({"acc": device.scalar(0.9)})
    run.log({"acc": 0.8})
    device.arrived()
    run.finish()
    summary = json.loads((run.run_dir / "summary.json").read_text())
    assert (summary["best_metric_value"], summary["best_metric_step"]) == (0.9, 1)


IN_A_SCRIPT = """
from support.slow_device import SlowDevice
device = SlowDevice()
run = rn.init(path="cv/a", run_id="phoenix")
opened(run)
"""


@pytest.fixture
def trainer_of(tmp_path, monkeypatch):
    """A training script with a slow device."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.path.dirname(os.path.dirname(__file__)), *_source()]))
    return lambda body, **environment: Trainer(
        tmp_path,
        IN_A_SCRIPT + body,
        RUNICORN_WRITER_RESTART_AFTER_S="0.3",
        RUNICORN_LOOK_INTERVAL_S="0.05",
        **environment,
    )


def _source():
    return [os.path.dirname(os.path.dirname(rn.__file__))]


def test_sigkill_loses_what_is_on_the_device_alone(trainer_of, tmp_path):
    """After SIGKILL every record is there once, with all but the values that had not arrived."""
    trainer = trainer_of("""
for i in range(1, 7):
    run.log({"i": i, "x": device.scalar(i * 0.5)})
    if i == 4:
        device.arrived()
print("logged", flush=True)
sys.stdin.readline()
""")
    assert trainer.read_line() == "logged"
    trainer.kill()
    trainer.end()
    recover(tmp_path)
    wait_stored(trainer)
    found = {line["data"]["i"]: (line["data"]["x"], line.get("lost")) for line in events(trainer.run_dir)}
    assert found == {**{i: (i * 0.5, None) for i in range(1, 5)}, 5: (None, ["x"]), 6: (None, ["x"])}
    assert sorted(counted(trainer.run_dir)) == [*range(1, 7)]


@pytest.mark.parametrize("dies", ["writer", "both"])
def test_hole_outlives_the_writer(trainer_of, tmp_path, dies):
    """A value that arrives after the writer has died meets its record in the next writer, once."""
    trainer = trainer_of("""
run.log({"i": 1, "x": device.scalar(0.5)})
run.log({"i": 2})
print("logged", flush=True)
sys.stdin.readline()
device.arrived()
run.log({"i": 3})
print("arrived", flush=True)
sys.stdin.readline()
run.finish()
""")
    assert trainer.read_line() == "logged"
    writer = trainer.writer_pid()
    wait_until(lambda: counted(trainer.run_dir) == [2], what="the second record, and not the first, is stored")
    os.kill(writer, signal.SIGKILL)
    trainer.go_on()
    assert trainer.read_line() == "arrived"
    if dies == "both":
        recover_killed(trainer, tmp_path)
    else:
        trainer.go_on()
        _, errors = trainer.end()
        assert not errors
    assert sorted(counted(trainer.run_dir)) == [1, 2, 3]
    assert {line["data"]["i"]: line["data"].get("x") for line in events(trainer.run_dir)}[1] == 0.5


def test_forked_child_leaves_the_parents_values_alone(trainer_of):
    """What is on its way when a process forks is told by the parent, not by the child."""
    trainer = trainer_of("""
run.log({"i": 1, "x": device.scalar(0.5)})
child = os.fork()
if child == 0:
    device.arrived()
    run.log({"i": 2, "x": device.scalar(9.0)})
    device.arrived()
    run.finish()
    print(device.used, flush=True)
    os._exit(0)
os.waitpid(child, 0)
device.arrived()
run.finish()
""")
    out, errors = trainer.end()
    assert not errors
    assert out.split() == ["1"], "the child has taken the parent's value from the device"
    found = {line["data"]["i"]: line["data"]["x"] for line in events(trainer.run_dir)}
    assert (sorted(counted(trainer.run_dir)), found) == ([1, 2], {1: 0.5, 2: 9.0})


def test_records_that_are_read_again_wait_once():
    """A segment that has got another name is read again: of a record that waits there is one, with its value."""
    room, hello = {}, Hello("h-1", not_owner=False)
    for _ in range(2):
        assert not pending.add(room, PartialMetrics(1.0, 1, {"x": None}, None, 7, ["x"], []), hello)
        assert pending.must_wait(room, Metrics(2.0, 1, {"y": 1}), hello)
    out = pending.resolve(room, LateValues(7, 1, {"x": 0.5}), hello)
    assert [each.record.data for each in out] == [{"x": 0.5}, {"y": 1}]
    assert not room


@pytest.mark.parametrize("plan", ["kept", "gone"])
def test_value_whose_record_is_damaged_after_it_was_stored_stays(trainer_of, tmp_path, plan):
    """The line that was stored with its value is not stored again without it, with the plan or by the files alone."""
    trainer = trainer_of("""
run.log({"i": 1, "x": device.scalar(0.5)})
run.log({"i": 2})
device.arrived()
run.log({"i": 3})
print("logged", flush=True)
sys.stdin.readline()
""")
    assert trainer.read_line() == "logged"
    writer = psutil.Process(trainer.writer_pid())
    wait_until(lambda: sorted(counted(trainer.run_dir)) == [1, 2, 3], what="all is stored")
    writer.kill()
    trainer.kill()
    trainer.end()
    wait_dead(writer.pid)
    (segment,) = trainer.spool.glob("*.seg")
    content = bytearray(segment.read_bytes())
    content[content.index(encode(LateValues(0, 1, {}))[:3]) + 5] ^= 0xFF
    segment.write_bytes(content)
    if plan == "gone":
        (trainer.spool / "plan").unlink()
    recover(tmp_path)
    assert sorted(counted(trainer.run_dir)) == [1, 2, 3]
    assert {line["data"]["i"]: line["data"].get("x") for line in events(trainer.run_dir)}[1] == 0.5


def test_records_that_are_held_come_out_once_and_in_order():
    """Whatever the order of calls and arrivals: each record comes out once, those of a step in the order of calls."""
    for case in range(300):
        draw = random.Random(f"{SEED}/{case}")
        print(f"CHAOS_SEED={SEED}, case {case}")
        room, out, on_the_way = {}, [], []
        hello = [Hello("h-1", not_owner=False), Hello("h-2", not_owner=True)]
        for number in range(1, 30):
            who = hello[draw.randrange(2)]
            step = draw.randrange(1, 4)
            if draw.random() < 0.5:
                out += pending.add(
                    room, PartialMetrics(number, step, {"n": number, "x": None}, None, number, ["x"], []), who
                )
                on_the_way.append((number, step, who))
            elif not pending.must_wait(room, record := Metrics(number, step, {"n": number}), who):
                out.append(pending.WaitingRecord(who, PartialMetrics(number, step, record.data, None, 0, [], [])))
            while on_the_way and draw.random() < 0.4:
                number_there, step_there, whose = on_the_way.pop(draw.randrange(len(on_the_way)))
                out += pending.resolve(room, LateValues(number_there, step_there, {"x": -number_there}), whose)
        never = {number for number, _, _ in on_the_way}
        out += pending.give_up(room)
        assert not room
        assert sorted(each.record.data["n"] for each in out) == [*range(1, 30)]
        for line in {(each.hello.producer, each.record.step) for each in out}:
            mine = [each.record.time for each in out if (each.hello.producer, each.record.step) == line]
            assert mine == sorted(mine)
        for each in out:
            n = each.record.data["n"]
            assert each.record.data.get("x", -n) == (None if n in never else -n)
            assert each.record.missing == (["x"] if n in never else [])


def test_handler_that_ends_the_run_takes_what_had_arrived(device, open_run, monkeypatch):
    """finish() in a signal handler that has interrupted log() while it sends values loses none, and waits for none."""
    run = open_run()
    for n in range(3):
        run.log({"x": device.scalar(float(n))})
    device.arrived()
    asked = SlowTransfer.has_arrived

    def has_arrived(self):
        monkeypatch.setattr(SlowTransfer, "has_arrived", asked)
        signal.raise_signal(signal.SIGUSR1)
        return asked(self)

    before = signal.signal(signal.SIGUSR1, lambda *_: run.finish("interrupted"))
    monkeypatch.setattr(SlowTransfer, "has_arrived", has_arrived)
    try:
        run.log({"y": 1})
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert [line["x"] for line in logged(run) if "x" in line] == [0.0, 1.0, 2.0]
    assert (status(run)["status"], "lost_values" in status(run)) == ("interrupted", False)


def test_exception_out_of_a_handler_loses_no_value(device, open_run, monkeypatch):
    """Ctrl-C between two values that arrive leaves the second to be told by finish()."""
    run = open_run()
    for n in range(3):
        run.log({"x": device.scalar(float(n))})
    device.arrived()
    calls = []
    read = SlowTransfer.values

    def values(self):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return read(self)

    monkeypatch.setattr(SlowTransfer, "values", values)
    with pytest.raises(KeyboardInterrupt):
        run.log({"y": 1})
    run.finish()
    assert sorted(line["x"] for line in logged(run) if "x" in line) == [0.0, 1.0, 2.0]


def test_quiet_run_does_not_keep_the_room_of_others(device, open_run):
    """Values of another run of the process that have arrived make room, though nobody has called on that run."""
    quiet, run = open_run(path="quiet"), open_run(path="busy")
    for n in range(SLOTS):
        quiet.log({"x": device.scalar(float(n))})
    device.arrived()
    run.log({"x": device.scalar(100.0)})
    device.arrived()
    run.finish()
    quiet.finish()
    assert logged(run) == [{"x": 100.0}]
    assert sorted(line["x"] for line in logged(quiet)) == [*map(float, range(SLOTS))]


@pytest.mark.usefixtures("impatient")
def test_values_that_were_given_up_leave_their_room_when_they_arrive(device, open_run):
    """A run that ended with values on their way costs later runs nothing but until those have come."""
    run = open_run(path="first")
    for n in range(SLOTS):
        run.log({"x": device.scalar(float(n))})
    run.finish()
    assert status(run)["lost_values"] == SLOTS
    device.arrived()
    second = open_run(path="second")
    second.log({"x": device.scalar(1.5)})
    device.arrived()
    second.finish()
    assert logged(second) == [{"x": 1.5}]


def test_call_after_the_end_takes_nothing_from_the_device(device, open_run, caplog):
    """After finish() a scalar is refused as any other, and nothing is queued for it."""
    run = open_run()
    run.finish()
    run.log({"x": device.scalar(1.0)})
    assert device.used == 0
    assert "was called after finish()" in warnings_in(caplog)[0]


def test_step_beyond_all_steps_keeps_its_value(device, open_run):
    """A counter that has run past the highest step is stored at that step, with its value."""
    run = open_run()
    run.log({"a": 1}, step=2**63 - 1)
    run.log({"x": device.scalar(5.0)})
    device.arrived()
    run.finish()
    assert logged(run) == [{"a": 1}, {"x": 5.0}]


def test_full_spool_takes_a_value_later(device, open_run, monkeypatch):
    """A value that arrives while there is no room in the spool is offered again, and is counted as no lost record."""
    run = open_run()
    run.log({"x": device.scalar(0.5)})
    device.arrived()
    put, refused = run._queue.put, []

    def full_once(record):
        if type(record) is LateValues and not refused:
            refused.append(record)
            run._queue.dropped_records += 1
            raise SpoolFullError
        put(record)

    monkeypatch.setattr(type(run._queue), "put", lambda _queue, record: full_once(record))
    run.log({"y": 1})
    assert refused
    run.finish()
    assert {"x": 0.5} in logged(run)
    assert "lost_records" not in status(run)
