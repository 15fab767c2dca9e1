"""log() and finish() where nobody expects them: in signal handlers, finalisers, exit hooks, late threads.

Two kinds of tests: sweeps have a real signal come at the moments at which CPython looks for signals, one after the
other: at every third of them (``SWEEP_EVERY``), from another one on each time. The rest has real signals come at
random moments.
"""

import json
import os
import random
import signal
from collections import Counter
from pathlib import Path

import pytest
from support import events, status
from support.trainers import Trainer, assert_exactly_once, assert_valid, counted, wait_stored

SEED = int(os.environ.get("CHAOS_SEED", "20261123"))
EVERY = int(os.environ.get("SWEEP_EVERY", "3"))
PHASE = int(os.environ.get("SWEEP_PHASE", str(random.randrange(EVERY))))  # another one each time
SMALL_SEGMENTS = {"RUNICORN_SEGMENT_BYTES": "4096", "RUNICORN_SEGMENT_MAX_BYTES": "4096"}
REFUSED = "was called after finish()"

SWEEP = '''
import json, signal, traceback

OURS = os.path.dirname(rn.__file__)


def interrupt(moment, call):
    """Call, and have SIGINT come at the n-th moment at which CPython looks for signals inside our code: where a
    function begins, and where one of C's has returned; not in the loop that waits. Whether it came to that."""
    left = moment

    def profile(frame, event, _):
        nonlocal left
        if event in {"call", "c_return"} and frame.f_code.co_filename.startswith(OURS) and not waits(frame):
            left -= 1
            if left == 0:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return left <= 0


def waits(frame):
    names = set()
    while frame is not None:
        names.add(frame.f_code.co_name)
        frame = frame.f_back
    return "_wait" in names and "release" not in names


def tell(**facts):
    os.write(1, json.dumps(facts).encode() + b"\\n")


def guarded(moment, act):
    """What came of an interrupted call: whether the signal came, and whether what its handler raised came out."""
    try:
        return {"moment": moment, "came": interrupt(moment, act), "raised": False}
    except (KeyboardInterrupt, SystemExit):
        return {"moment": moment, "came": True, "raised": True}
    except BaseException:
        return {"moment": moment, "came": True, "raised": False, "error": traceback.format_exc()}


def in_children(moments, work):
    """Do the work for each moment in a forked child, all at once."""
    children = []
    for moment in moments:
        child = os.fork()
        if child == 0:
            try:
                work(moment)
            except BaseException:
                tell(moment=moment, came=True, raised=False, error=traceback.format_exc())
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def one_after_the_other(first, stride, work):
    """Do the work for every stride-th moment, until there is no such moment any more."""
    for moment in range(first, 1000, stride):
        if not work(moment):
            return
    raise AssertionError("there is no end of moments")
'''

IN_A_CHILD = """
run = rn.init()
opened(run)

def work(moment):
    if PREPARE == "rotation":
        run.log({"before": moment})
        run._queue.seal()
    if PREPARE == "look":
        run._look_at = run._session._repair_at = 0.0
    if HANDLER == "log":
        signal.signal(signal.SIGINT, lambda *_: run.log({"handler": moment}))
    facts = guarded(moment, lambda: run.log({"i": moment}))
    if LOG_ON:
        run.log({"after": moment})
    run.finish()
    stopped_waiting = "finish timeout" in run._refusals._seen
    tell(**{"error": "finish() did not see everything stored" if stopped_waiting else None, **facts})

in_children(MOMENTS, work)
run.finish()
"""


@pytest.mark.parametrize("handler", ["log", "KeyboardInterrupt", "KeyboardInterrupt, then finish"])
@pytest.mark.parametrize("prepare", ["first", "rotation", "look"])
def test_a_signal_at_moments_of_opening_a_segment(tmp_path, prepare, handler):
    """A signal handler that logs or raises while log() opens a segment, at whatever moment, costs no record.

    "look" is a first call that also checks whether the spool has its names still.
    """
    log_on, moments = not handler.endswith("finish"), range(1 + PHASE, 241, EVERY)
    print(f"SWEEP_EVERY={EVERY} SWEEP_PHASE={PHASE}")
    body = SWEEP + f"PREPARE, HANDLER, LOG_ON, MOMENTS = {prepare!r}, {handler!r}, {log_on}, {moments}\n" + IN_A_CHILD
    trainer = Trainer(tmp_path, body, PYTHONWARNINGS="ignore", RUNICORN_FINISH_TIMEOUT_S="80")
    out, errors = trainer.end()
    told = [json.loads(line) for line in out.splitlines()]
    assert [each["error"] for each in told if each.get("error")] == []
    assert trainer.process.returncode == 0, errors
    came = {each["moment"] for each in told if each["came"]}
    assert len(told) == len(moments)
    assert 40 / EVERY < len(came) < len(moments), "the sweep has an end"
    stored = [event["data"] for event in events(trainer.run_dir)]
    kinds = {kind: Counter(each[kind] for each in stored if kind in each) for kind in ("i", "handler", "after")}
    everyone = {each["moment"]: 1 for each in told}
    assert kinds["after"] == (everyone if log_on else {})
    if handler == "log":
        assert kinds["i"] == everyone
        assert kinds["handler"] == dict.fromkeys(came, 1)
    else:
        assert {each["moment"] for each in told if each["raised"]} == came
        assert set(kinds["i"].values()) == {1}
        assert everyone.keys() - came <= kinds["i"].keys(), "who was not interrupted has its record stored"
    assert status(trainer.run_dir)["status"] == "finished"
    assert "storage_errors" not in status(trainer.run_dir), "what was given up half made is no damage"
    wait_stored(trainer)


WITH_A_RUN_EACH = """
def work(moment):
    run = rn.init()
    address = run._session.address
    run.log({"before": 1})
    run._queue.seal()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if HANDLER != "KeyboardInterrupt":
        signal.signal(signal.SIGINT, lambda *_: HANDLER(run))
    facts = guarded(moment, lambda: ACT(run))
    remains = lambda: [place for place in (address.spool, address.overflow) if os.path.lexists(place)]
    refused = "after the end" in run._refusals._seen
    left = remains()
    if HANDLER == "KeyboardInterrupt" or not facts["came"]:
        run.finish()  # interrupted: the second call ends what the first began
        left = remains()
    tell(run_dir=address.run_dir, refused=refused, left=left, **facts)
    return facts["came"]

CHILDREN = 3
firsts = range(1 + PHASE, 1 + PHASE + CHILDREN * EVERY, EVERY)
in_children(firsts, lambda first: one_after_the_other(first, CHILDREN * EVERY, work))
"""


def sweep_runs(tmp_path, act: str, handler: str) -> list[tuple[dict, list[dict]]]:
    """A run for each moment; what was told of it, and its records. No error, nothing left, status finished."""
    print(f"SWEEP_EVERY={EVERY} SWEEP_PHASE={PHASE}")
    body = SWEEP + f"EVERY, PHASE, ACT, HANDLER = {EVERY}, {PHASE}, lambda run: {act}, {handler}\n" + WITH_A_RUN_EACH
    temp = tmp_path / "temp"
    temp.mkdir()
    trainer = Trainer(tmp_path, body, expect_line=False, PYTHONWARNINGS="ignore", TMPDIR=str(temp))
    out, errors = trainer.end()
    told = [json.loads(line) for line in out.splitlines()]
    assert [(each["moment"], each["error"]) for each in told if each.get("error")] == []
    assert sorted(each["moment"] for each in told) == [1 + PHASE + n * EVERY for n in range(len(told))], errors
    assert len(told) > 40 // EVERY
    assert [(each["moment"], each["left"]) for each in told if each["left"]] == []
    assert not list(temp.iterdir())
    for each in told:
        assert_valid(Path(each["run_dir"]))
        assert status(Path(each["run_dir"]))["status"] == "finished"
    return [(each, [event["data"] for event in events(Path(each["run_dir"]))]) for each in told]


@pytest.mark.parametrize("then", ["return"])
def test_finish_in_a_handler_at_moments_of_log(tmp_path, then):
    """finish() in a handler that interrupts log() ends the run; log()'s record is stored or refused, never neither.

    Where the handler then exits, SystemExit leaves log() at every moment.
    """
    handler = "lambda run: run.finish()" + (" or sys.exit(3)" if then == "exit" else "")
    for told, stored in sweep_runs(tmp_path, "run.log({'i': 1})", handler):
        assert [each["before"] for each in stored if "before" in each] == [1]
        found = [each["i"] for each in stored if "i" in each]
        if then == "exit" and told["came"]:
            assert told["raised"], f"moment {told['moment']}: the handler's SystemExit was swallowed"
            assert found in ([], [1])
        else:
            assert found == [1] or (told["refused"] and not found), told


def test_log_and_finish_in_a_handler_at_moments_of_finish(tmp_path):
    """A handler that interrupts finish() may log, which is stored or refused, and finish, which does nothing more."""
    handler = "lambda run: (run.log({'handler': 1}), run.finish())"
    for told, stored in sweep_runs(tmp_path, "run.finish()", handler):
        assert [each["before"] for each in stored if "before" in each] == [1]
        found = [each["handler"] for each in stored if "handler" in each]
        assert found == [1] or not told["came"] or (told["refused"] and not found), told


def test_keyboard_interrupt_at_moments_of_finish(tmp_path):
    """A finish() that Ctrl-C has interrupted at any moment is ended by the next one, with every record stored once."""
    for told, stored in sweep_runs(tmp_path, "run.finish()", "'KeyboardInterrupt'"):
        assert [each.get("before") for each in stored] == [1], told


def test_the_owner_finishes_in_the_middle_of_a_childs_rotation(tmp_path):
    """A child that is caught opening a segment by its owner's whole finish() leaves nothing behind, in either place."""
    moments = random.Random(SEED).sample(range(1, 60), 12)
    print(f"seed {SEED}, moments {moments}")
    temp = tmp_path / "temp"
    temp.mkdir()
    body = f"""
for moment in {moments}:
    run = rn.init()
    address = run._session.address
    begun, begin = os.pipe()
    ended, end = os.pipe()
    child = os.fork()
    if child == 0:
        run.log({{"before": 1}})
        run._queue.seal()
        signal.signal(signal.SIGINT, lambda *_: (os.write(begin, b"x"), os.read(ended, 1)))
        facts = guarded(moment, lambda: run.log({{"i": 1}}))
        tell(run_dir=address.run_dir, refused="after the end" in run._refusals._seen, **facts)
        os.write(begin, b"x")  # where it did not come to that
        os._exit(0)
    os.read(begun, 1)
    run.finish()
    os.write(end, b"x")
    os.waitpid(child, 0)
"""
    trainer = Trainer(tmp_path, SWEEP + body, expect_line=False, PYTHONWARNINGS="ignore", TMPDIR=str(temp))
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    told = [json.loads(line) for line in out.splitlines()]
    assert [each["moment"] for each in told] == moments
    for each in told:
        assert "error" not in each, each["error"]
        stored = [event["data"] for event in events(Path(each["run_dir"]))]
        assert [record["before"] for record in stored if "before" in record] == [1]
        assert ([record["i"] for record in stored if "i" in record] == [1]) != each["refused"] or not each["came"]
    assert not list(temp.iterdir())


# --- real signals at random moments --------------------------------------------------------------------


def test_keyboard_interrupts_at_random_moments_of_log(tmp_path):
    """Of a loop that real SIGINTs hit 200 times every log() that returned is stored once, the one hit at most once."""
    rounds = 200
    trainer = Trainer(
        tmp_path,
        f"""
        import json, time
        run = rn.init()
        opened(run)
        i, done = 0, []
        for number in range(1, {rounds} + 1):
            try:
                returned(number)
                for _ in range(150):
                    i += 1
                    run.log({{"i": i}})
                    done.append(i)
                while True:
                    time.sleep(0.001)
            except KeyboardInterrupt:
                pass
        run.finish()
        print(json.dumps([i, done]), flush=True)
        """,
        **SMALL_SEGMENTS,
    )
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    for number in range(1, rounds + 1):
        trainer.wait_returned(number)
        spin(dice.randrange(15_000))
        trainer.kill(signal.SIGINT)
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    begun, done = json.loads(out)
    stored = counted(trainer.run_dir)
    assert stored == sorted(set(stored)), "each at most once, and in order"
    assert set(done) <= set(stored) <= set(range(1, begun + 1))
    assert len(stored) - len(done) <= rounds
    assert status(trainer.run_dir)["status"] == "finished"
    wait_stored(trainer)


def spin(count: int) -> None:
    """Let a random moment pass, without giving the processor away."""
    for _ in range(count):
        pass


def test_keyboard_interrupts_at_random_moments_of_finish(tmp_path):
    """A real SIGINT at a random moment of finish() raises, or stops the waiting; the next finish() ends the run."""
    rounds = 10
    trainer = Trainer(
        tmp_path,
        f"""
        import json, signal, time
        come = False

        def handler(*arguments):
            global come
            come = True
            signal.default_int_handler(*arguments)

        signal.signal(signal.SIGINT, handler)
        for _ in range({rounds}):
            come = False
            run = rn.init()
            for i in range(1, 101):
                run.log(i=i)
            try:
                opened(run)
                run.finish()
                while not come:
                    time.sleep(0.001)
            except KeyboardInterrupt:
                pass
            run.finish()
            print(json.dumps(os.path.exists(run._session.address.spool)), flush=True)
        """,
        expect_line=False,
    )
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    for _ in range(rounds):
        run_dir = Path(trainer.read_line().split()[0])
        spin(dice.randrange(400_000))
        trainer.kill(signal.SIGINT)
        assert trainer.read_line() == "false", "the spool is left"
        assert counted(run_dir) == list(range(1, 101))
        assert status(run_dir)["status"] == "finished"
        assert_valid(run_dir)
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors


def test_a_sigterm_handler_that_finishes_and_exits(tmp_path):
    """The usual handler, finish("interrupted") and sys.exit(), works at any moment of a flat-out loop."""
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    temp = tmp_path / "temp"
    temp.mkdir()
    body = """
    import signal, time
    run = rn.init()
    opened(run)

    def handler(*_):
        run.finish("interrupted")
        sys.exit(3)

    signal.signal(signal.SIGTERM, handler)
    log_flat_out(run, 4000)
    while True:
        time.sleep(0.001)
    """
    for _ in range(4):
        trainer = Trainer(tmp_path, body, **SMALL_SEGMENTS, TMPDIR=str(temp))
        trainer.wait_returned(dice.randrange(1, 3000))
        trainer.kill(signal.SIGTERM)
        _, errors = trainer.end()
        assert trainer.process.returncode == 3, errors
        assert_exactly_once(trainer)
        found = status(trainer.run_dir)
        assert (found["status"], found.get("exit_reason")) == ("interrupted", None)
        assert not trainer.spool.exists()
    assert not list(temp.iterdir())


# --- finalisers ------------------------------------------------------------------------------------------


def test_finalisers_of_cycles_log_during_log(tmp_path):
    """A collection that starts in the middle of log(), and finalisers of cycles that log in it, lose nothing."""
    trainer = Trainer(
        tmp_path,
        """
        import gc
        gc.set_threshold(7, 2, 2)
        run = rn.init()
        opened(run)
        died = 0

        class Dying:
            def __init__(self):
                self.self = self

            def __del__(self):
                global died
                died += 1
                run.log({"died": died, "values": [str(died)] and died})

        for i in range(1, 5001):
            Dying()
            run.log({"i": i, "text": str(i)}, stage=i)
            if i % 500 == 0:
                gc.collect()
        gc.collect()
        print(died, flush=True)
        run.finish()
        """,
        **SMALL_SEGMENTS,
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert int(out) == 5000
    stored = [event["data"] for event in events(trainer.run_dir)]
    assert [each["i"] for each in stored if "i" in each] == list(range(1, 5001))
    assert sorted(each["died"] for each in stored if "died" in each) == list(range(1, 5001))
    assert sorted(each["global_step"] for each in stored) == list(range(1, 10_001))


def test_a_finaliser_finishes_during_log(tmp_path):
    """finish() in the finaliser of a cycle that is collected in mid-loop ends the run; later calls are refused."""
    trainer = Trainer(
        tmp_path,
        """
        import gc
        run = rn.init()
        opened(run)

        class Dying:
            def __init__(self):
                self.self = self

            def __del__(self):
                run.finish("failed")

        log_flat_out(run, 500)
        Dying()
        gc.collect()
        log_flat_out(run, 500, first=501)
        run.finish("failed")
        """,
    )
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert errors.count(REFUSED) == 1
    assert "Exception ignored" not in errors
    assert counted(trainer.run_dir) == list(range(1, 501))
    assert status(trainer.run_dir)["status"] == "failed"


def test_a_finaliser_that_the_end_of_the_interpreter_calls(tmp_path):
    """log(), log_text() and finish() in the finaliser of a global, when modules are being torn down, raise nothing."""
    trainer = Trainer(
        tmp_path,
        """
        run = rn.init()
        opened(run)
        log_flat_out(run, 100)

        class Dying:
            def __del__(self, run=run, write=os.write):
                for call in (lambda: run.log({"late": 1}), lambda: run.log_text("late"), run.finish):
                    try:
                        call()
                    except BaseException as error:
                        write(1, repr(error).encode())
                write(1, b"died")

        import builtins
        builtins.dying = Dying()
        """,
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert out == "died"
    wait_stored(trainer)
    assert counted(trainer.run_dir) == list(range(1, 101))
    assert len(events(trainer.run_dir)) == 100
    assert "exit_reason" not in status(trainer.run_dir)


# --- exit hooks -----------------------------------------------------------------------------------------


def test_exit_hooks_around_ours(tmp_path):
    """An exit hook that was registered after init() still logs; one from before comes after the end, and is refused."""
    trainer = Trainer(
        tmp_path,
        """
        import atexit
        atexit.register(lambda: run.log({"early": 1}))
        run = rn.init()
        opened(run)
        atexit.register(lambda: run.log({"i": 101}))
        log_flat_out(run, 100)
        """,
    )
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    wait_stored(trainer)
    assert [event["data"].get("i") for event in events(trainer.run_dir)] == list(range(1, 102))
    assert errors.count(REFUSED) == 1
    found = status(trainer.run_dir)
    assert (found["status"], found.get("exit_reason")) == ("finished", None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_finish_in_an_exit_hook(tmp_path, when):
    """finish("failed") in an exit hook decides the status where it runs before ours, and only warns where after."""
    hook = 'atexit.register(lambda: run.finish("failed"))'
    first, second = (hook, "") if when == "before" else ("", hook)
    trainer = Trainer(
        tmp_path,
        f"""
        import atexit
        {first}
        run = rn.init()
        opened(run)
        {second}
        log_flat_out(run, 100)
        """,
    )
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    wait_stored(trainer)
    assert counted(trainer.run_dir) == list(range(1, 101))
    assert status(trainer.run_dir)["status"] == ("finished" if when == "before" else "failed")
    assert ("the first status stays" in errors) == (when == "before")


def test_an_excepthook_logs_and_finishes(tmp_path):
    """A sys.excepthook may log, and its finish("failed") is the run's end; nothing of ours adds a reason to it."""
    trainer = Trainer(
        tmp_path,
        """
        def hook(kind, error, traceback):
            run.log({"i": 101})
            run.log_text(str(error))
            run.finish("failed")

        sys.excepthook = hook
        run = rn.init()
        opened(run)
        log_flat_out(run, 100)
        raise ValueError("boom")
        """,
    )
    _, errors = trainer.end()
    assert trainer.process.returncode == 1
    assert not errors
    assert not trainer.spool.exists()
    assert counted(trainer.run_dir) == list(range(1, 102))
    assert (trainer.run_dir / "logs.txt").read_text().endswith("| boom\n")
    found = status(trainer.run_dir)
    assert (found["status"], found.get("exit_reason")) == ("failed", None)


# --- threads -------------------------------------------------------------------------------------------


def test_a_daemon_thread_logs_through_the_interpreters_end(tmp_path):
    """What a daemon thread has logged and then found the run open is stored, however the interpreter's end cuts it."""
    body = """
    import threading
    run = rn.init()
    opened(run)

    def work():
        i = 0
        while True:
            i += 1
            run.log({"i": i})
            if run.is_finished:
                return
            returned(i)

    threading.Thread(target=work, daemon=True).start()
    sys.stdin.readline()
    """
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    for _ in range(4):
        trainer = Trainer(tmp_path, body, **SMALL_SEGMENTS)
        trainer.wait_returned(dice.randrange(1, 3000))
        trainer.go_on()
        trainer.end()
        assert trainer.process.returncode == 0, trainer.errors.read_text()
        wait_stored(trainer)
        stored = counted(trainer.run_dir)
        # The last one may have overlapped the end: then it was stored or refused, or both.
        assert len(stored) in {trainer.returned, trainer.returned + 1}
        assert stored == list(range(1, len(stored) + 1))
        assert "exit_reason" not in status(trainer.run_dir)


def test_a_thread_that_outlives_main_finishes(tmp_path):
    """A thread that goes on after the main thread has ended logs and ends the run; the exit hook adds nothing."""
    trainer = Trainer(
        tmp_path,
        """
        import threading
        run = rn.init()
        opened(run)

        def work():
            threading.main_thread().join()
            log_flat_out(run, 1000)
            run.finish("failed")
            print(os.path.exists(run._session.address.spool), flush=True)

        threading.Thread(target=work).start()
        """,
        **SMALL_SEGMENTS,
    )
    out, errors = trainer.end()
    assert (trainer.process.returncode, errors) == (0, "")
    assert out.strip() == "False"
    assert_exactly_once(trainer)
    found = status(trainer.run_dir)
    assert (found["status"], found.get("exit_reason")) == ("failed", None)


def test_threads_finish_at_once(tmp_path):
    """Of six threads that call finish() at the same moment none raises, and each returns when everything is stored."""
    trainer = Trainer(
        tmp_path,
        """
        import json, threading, traceback
        sys.setswitchinterval(1e-6)
        told = []

        def work(run, barrier):
            barrier.wait()
            try:
                run.finish()
                with open(run.run_dir / "events.jsonl", "rb") as file:
                    told.append([len(file.readlines()), os.path.exists(run._session.address.spool)])
            except BaseException:
                told.append(traceback.format_exc())

        for _ in range(15):
            run = rn.init()
            for i in range(50):
                run.log(i=i)
            barrier = threading.Barrier(6)
            threads = [threading.Thread(target=work, args=(run, barrier)) for _ in range(6)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        print(json.dumps(told), flush=True)
        """,
        expect_line=False,
    )
    out, errors = trainer.end()
    assert (trainer.process.returncode, errors) == (0, "")
    told = json.loads(out)
    assert [each for each in told if isinstance(each, str)] == []
    assert told == [[50, False]] * 90


def test_threads_finish_with_different_statuses(tmp_path):
    """Of two threads that end the run differently one wins; the other one is told once, and nothing is lost."""
    trainer = Trainer(
        tmp_path,
        """
        import threading
        run = rn.init()
        opened(run)
        log_flat_out(run, 500)
        barrier = threading.Barrier(2)
        threads = [
            threading.Thread(target=lambda word=word: (barrier.wait(), run.finish(word)))
            for word in ("failed", "interrupted")
        ]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        """,
    )
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    wait_stored(trainer)
    won = status(trainer.run_dir)["status"]
    lost = {"failed": "interrupted", "interrupted": "failed"}[won]
    assert errors.count(f'finish("{lost}") was called after finish("{won}"): the first status stays') == 1
    assert_exactly_once(trainer)


# --- forked children ------------------------------------------------------------------------------------


def test_finish_in_an_exception_handler_of_a_forked_child(tmp_path):
    """finish("failed") in a child's except block stores the child's records and returns; the run is its parent's."""
    trainer = Trainer(
        tmp_path,
        """
        run = rn.init()
        opened(run)
        log_flat_out(run, 100)
        child = os.fork()
        if child == 0:
            try:
                run.log({"child": 1})
                raise ValueError("boom")
            except ValueError:
                run.finish("failed")
                with open(run.run_dir / "events.jsonl", "rb") as file:
                    print(sum(b'"child"' in line for line in file), flush=True)
                raise
        os.waitpid(child, 0)
        log_flat_out(run, 100, first=101)
        run.finish()
        """,
        PYTHONWARNINGS="ignore",
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert out.strip() == "1"
    assert counted(trainer.run_dir) == list(range(1, 201))
    found = status(trainer.run_dir)
    assert (found["status"], found.get("exit_reason")) == ("finished", None)


def test_a_child_that_is_forked_inside_with_leaves_it_by_an_exception(tmp_path):
    """A child that leaves its parent's with block by an exception, and then ends, does not end the run."""
    trainer = Trainer(
        tmp_path,
        """
        with rn.init() as run:
            opened(run)
            log_flat_out(run, 100)
            child = os.fork()
            if child == 0:
                run.log({"child": 1})
                raise ValueError("boom")
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
            log_flat_out(run, 100, first=101)
        """,
        PYTHONWARNINGS="ignore",
    )
    out, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert out.strip() == "1"
    assert "ValueError: boom" in errors
    assert counted(trainer.run_dir) == list(range(1, 201))
    assert [event["data"]["child"] for event in events(trainer.run_dir) if "producer" in event] == [1]
    found = status(trainer.run_dir)
    assert (found["status"], found.get("exit_reason")) == ("finished", None)
