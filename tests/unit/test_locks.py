"""The locks that say whether a process lives: real processes, real signals, real forks."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from support import wait_until

from runicorn.host.locks import Lock, Probe, is_held

HOLDER = """
import os, sys
from runicorn.host.locks import Lock, Probe, is_held

path = sys.argv[1]


def say(*words):
    print(*words, flush=True)


def await_word():
    return sys.stdin.readline()

"""
TAKE = "lock = Lock.take(path)\nsay(lock is not None)\n"


class Process:
    """A Python program that talks by lines."""

    def __init__(self, path, body: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", HOLDER + body, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def read(self) -> str:
        return self.popen.stdout.readline().strip()

    def go_on(self) -> None:
        self.popen.stdin.write("\n")
        self.popen.stdin.flush()

    def end(self) -> int:
        """Let it go on to its end."""
        self.popen.stdin.close()
        return self.popen.wait(100)


@pytest.fixture
def path(tmp_path):
    """A lock file that is not there yet."""
    return str(tmp_path / "lock")


@pytest.fixture
def start(path):
    """Start a program that is given the path; it does not outlive the test."""
    started = []

    def start_one(body: str) -> Process:
        started.append(Process(path, body))
        return started[-1]

    yield start_one
    for process in started:
        process.popen.kill()
        process.popen.wait()
        process.popen.stdin.close()
        process.popen.stdout.close()


def held_for_others(start) -> bool:
    """What a process that has nothing to do with the lock finds."""
    process = start("say(is_held(path))\n")
    found = process.read()
    assert process.end() == 0
    return found == "True"


def is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_a_lock_is_held_while_its_process_lives(start, path):
    """From construction on everybody finds it held, and from its holder's ordinary end on nobody does."""
    assert not is_held(path)
    holder = start(TAKE + "await_word()\n")
    assert holder.read() == "True"
    assert is_held(path)
    assert held_for_others(start)
    assert holder.end() == 0
    assert not is_held(path)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_it_is_free_after_a_death_though_the_zombie_is_not_reaped(start, path, number):
    """A killed holder's lock is free as soon as it is a zombie, whatever has killed it, before anybody waits for it."""
    holder = start(TAKE + "await_word()\n")
    assert holder.read() == "True"
    probe = Probe(path)
    assert probe.is_held()
    os.kill(holder.popen.pid, number)
    wait_until(lambda: is_zombie(holder.popen.pid), what="the holder's death")
    assert not probe.is_held()
    assert not is_held(path)
    assert is_zombie(holder.popen.pid), "the test itself must not have reaped it"
    probe.close()


def test_a_stopped_holder_holds(start, path):
    """A process that is merely stopped lives: its lock is held."""
    holder = start(TAKE + "await_word()\n")
    assert holder.read() == "True"
    os.kill(holder.popen.pid, signal.SIGSTOP)
    with open(f"/proc/{holder.popen.pid}/stat", encoding="utf-8") as file:
        wait_until(lambda: file.seek(0) == 0 and file.read().rpartition(")")[2].split()[0] == "T")
    assert is_held(path)
    os.kill(holder.popen.pid, signal.SIGCONT)
    assert holder.end() == 0


def test_a_forked_child_does_not_inherit_it(start, path):
    """The lock is free when its holder is killed, though a child that was forked while it was held lives on."""
    holder = start(
        TAKE
        + "child = os.fork()\n"
        + "if child == 0:\n    await_word()\n    say('child', is_held(path))\n    await_word()\n    os._exit(0)\n"
        + "say(child)\nimport signal\nsignal.pause()\n"
    )
    assert holder.read() == "True"
    child = int(holder.read())
    assert is_held(path)
    os.kill(holder.popen.pid, signal.SIGKILL)
    wait_until(lambda: is_zombie(holder.popen.pid), what="the holder's death")
    assert not is_held(path)
    holder.go_on()
    assert holder.read() == "child False"
    os.kill(child, signal.SIGKILL)


CHILD_DOES = """
child = os.fork()
if child == 0:
    {}
    os._exit(0)
os.waitpid(child, 0)
say("done")
await_word()
"""


@pytest.mark.parametrize(
    "deed",
    ["lock.release()", "say(is_held(path))", "Probe(path).close()", "os.execv('/bin/true', ['true'])", "pass"],
)
def test_nothing_that_a_forked_child_does_drops_it(start, path, deed):
    """A child that releases, probes, executes another program or ends leaves its parent's lock alone."""
    holder = start(TAKE + CHILD_DOES.format(deed))
    assert holder.read() == "True"
    if "say" in deed:
        assert holder.read() == "True", "the child itself finds its parent's lock held"
    assert holder.read() == "done"
    assert is_held(path)
    assert holder.end() == 0


def test_a_program_that_the_holder_executes_does_not_inherit_it(start, path):
    """The descriptor is closed on exec: a program that the holder has started does not keep the lock from going."""
    holder = start(
        TAKE
        + "import subprocess\n"
        + "other = subprocess.Popen(['sleep', '60'], close_fds=False)\nsay(other.pid)\nawait_word()\n"
    )
    assert holder.read() == "True"
    other = int(holder.read())
    holder.popen.kill()
    wait_until(lambda: is_zombie(holder.popen.pid), what="the holder's death")
    assert not is_held(path)
    descriptors = f"/proc/{other}/fd"
    assert path not in [os.readlink(f"{descriptors}/{fd}") for fd in os.listdir(descriptors)]
    os.kill(other, signal.SIGKILL)


@pytest.mark.parametrize(
    "look",
    [
        "found = is_held(path)",
        "probe = Probe(path); found = probe.is_held(); probe.close()",
        "found = Probe(path).is_held()",
        "os.link(path, path + '.other'); found = is_held(path + '.other'); os.unlink(path + '.other')",
    ],
)
def test_a_holders_own_look_says_held_and_does_not_drop_it(start, path, look):
    """Whoever probes a lock of its own process, by any name, is told that it is held, and it stays held."""
    holder = start(TAKE + f"for _ in range(2):\n    {look}\n    say(found)\n    await_word()\n")
    assert holder.read() == "True"
    for _ in range(2):
        assert holder.read() == "True"
        assert is_held(path)
        assert held_for_others(start)
        holder.go_on()
    assert holder.end() == 0


def test_a_probe_that_was_opened_before_the_same_process_took_the_lock(path):
    """It says free, then held, then free; closing it, or any other probe, meanwhile does not drop the lock."""
    open(path, "wb").close()
    early, other = Probe(path), Probe(path)
    assert not early.is_held()
    lock = Lock.take(path)
    assert early.is_held()
    other.close()
    late = Probe(path)
    late.close()
    assert early.is_held()
    assert _found_by_another_process(path)
    early.close()
    assert _found_by_another_process(path)
    lock.release()
    assert not is_held(path)
    assert not _found_by_another_process(path)


def _found_by_another_process(path: str) -> bool:
    code = "import sys\nfrom runicorn.host.locks import is_held\nsys.exit(not is_held(sys.argv[1]))"
    return subprocess.run([sys.executable, "-c", code, path], check=False).returncode == 0


def test_a_probe_that_was_opened_while_the_same_process_held_it(path):
    """After the release such a probe says free."""
    lock = Lock.take(path)
    probe = Probe(path)
    assert probe.is_held()
    lock.release()
    assert not probe.is_held()
    probe.close()
    assert not probe.is_held()


def test_taking_a_lock_that_another_process_holds(start, path):
    """It gives None, leaves the holder's lock alone, and succeeds when the holder is gone."""
    holder = start(TAKE + "await_word()\n")
    assert holder.read() == "True"
    assert Lock.take(path) is None
    assert is_held(path)
    assert held_for_others(start)
    assert holder.end() == 0
    lock = Lock.take(path)
    assert lock is not None
    assert held_for_others(start)
    lock.release()


def test_release_can_be_called_again(path):
    """A second release() does nothing, not even to the lock that was taken in between."""
    first = Lock.take(path)
    first.release()
    second = Lock.take(path)
    first.release()
    assert is_held(path)
    assert _found_by_another_process(path)
    second.release()
    assert not is_held(path)


def test_release_in_many_threads_at_once(path):
    """A lock that eight threads release at the same moment is released once: no error, no strange descriptor closed."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures = []
    try:
        for _ in range(200):
            lock = Lock.take(path)
            barrier = threading.Barrier(8)

            def release(lock=lock, barrier=barrier):
                barrier.wait()
                try:
                    lock.release()
                except OSError as error:
                    failures.append(error)

            threads = [threading.Thread(target=release) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(before)
    assert failures == []


def test_a_lock_outlives_the_thread_that_took_it(path):
    """The lock belongs to the process: it stays when the thread that took it has ended."""
    taken = []
    thread = threading.Thread(target=lambda: taken.append(Lock.take(path)))
    thread.start()
    thread.join()
    assert _found_by_another_process(path)
    taken[0].release()


def test_a_probe_follows_the_file_and_not_the_name(start, path):
    """A probe that is open still tells when the name is gone, or belongs to another file; is_held() asks the name."""
    holder = start(TAKE + "await_word()\n")
    assert holder.read() == "True"
    probe = Probe(path)
    os.unlink(path)
    assert probe.is_held()
    assert not is_held(path)
    open(path, "wb").close()
    assert probe.is_held()
    assert not is_held(path)
    holder.end()
    assert not probe.is_held()
    probe.close()


def test_a_link_is_no_lock_file(path, tmp_path):
    """A symbolic link in the place of a lock file is not followed."""
    target = tmp_path / "target"
    target.touch()
    os.symlink(target, path)
    for attempt in (Lock.take, Probe):
        with pytest.raises(OSError, match="symbolic"):
            attempt(path)


def test_a_missing_file(path):
    """A lock file that is not there is not held, and cannot be probed."""
    assert not is_held(path)
    with pytest.raises(FileNotFoundError):
        Probe(path)


def test_probing_is_not_holding(start, path):
    """Of two processes that ask again and again about a lock that nobody holds, neither is told that it is held."""
    asker = (
        "say('ready')\nawait_word()\nprobe = Probe(path)\n"
        "say(sum(probe.is_held() or is_held(path) for _ in range(4_000)))\nawait_word()\n"
    )
    open(path, "wb").close()
    askers = [start(asker), start(asker)]
    for each in askers:
        assert each.read() == "ready"
    for each in askers:
        each.go_on()
    assert [each.read() for each in askers] == ["0", "0"]


def test_probing_leaves_no_descriptor(start):
    """A thousand looks at locks of others leave as many descriptors as there were."""
    process = start(
        "open(path, 'wb').close()\n"
        "before = len(os.listdir('/proc/self/fd'))\n"
        "for _ in range(1000):\n    is_held(path)\n    probe = Probe(path)\n    probe.is_held()\n    probe.close()\n"
        "say(len(os.listdir('/proc/self/fd')) - before)\n"
    )
    assert process.read() == "0"


def test_a_holders_own_look_leaves_no_descriptor_behind_its_lock(path):
    """Its descriptors stay while the lock is held, for closing one would drop it; they are given back with it."""
    before = len(os.listdir("/proc/self/fd"))
    lock = Lock.take(path)
    for _ in range(3):
        probe = Probe(path)
        assert probe.is_held()
        probe.close()
    lock.release()
    assert len(os.listdir("/proc/self/fd")) == before


def test_taking_while_another_thread_looks(path):
    """A lock that is taken while other threads ask for it is held, for every other process as well."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    ended = threading.Event()
    Lock.take(path).release()

    def look():
        while not ended.is_set():
            is_held(path)

    threads = [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        found = []
        for number in range(100):
            lock = Lock.take(path)
            assert lock is not None
            if number % 10 == 0:
                found.append(_found_by_another_process(path))
            lock.release()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert found == [True] * 10


def test_a_look_does_not_keep_the_holder_from_its_lock(path):
    """A process takes the lock that is its own while three others ask for it without a pause, each time."""
    code = "import sys\nfrom runicorn.host.locks import is_held\nwhile True: is_held(sys.argv[1])"
    Lock.take(path).release()
    lookers = [subprocess.Popen([sys.executable, "-c", code, path]) for _ in range(3)]
    try:
        for _ in range(500):
            lock = Lock.take(path, ours=True)
            assert lock is not None
            lock.release()
    finally:
        for looker in lookers:
            looker.kill()
            looker.wait()


INTERRUPTED = """
import signal


def take_interrupted(path, moment):
    left = moment

    def profile(frame, event, _):
        nonlocal left
        left -= event in {"call", "c_call", "c_return"}
        if left == 0:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    try:
        sys.setprofile(profile)
        Lock.take(path, ours=True)
        sys.setprofile(None)
    except KeyboardInterrupt:
        pass
    return left <= 0


moment = 1
while take_interrupted(f"{path}-{moment}", moment):
    moment += 1
    assert moment < 200
say(moment - 1)
await_word()
for n in range(1, moment):
    Lock.take(f"{path}-{n}", again=True, ours=True)
say("taken")
await_word()
"""


def test_a_handler_that_raises_at_every_moment_of_taking_a_lock(start, path):
    """Where a signal handler raises inside take(), at whatever moment, the next take() has the kernel's lock."""
    holder = start(INTERRUPTED)
    moments = int(holder.read())
    assert moments > 10
    holder.go_on()
    assert holder.read() == "taken"
    assert [n for n in range(1, moments + 1) if not is_held(f"{path}-{n}")] == []
    assert holder.end() == 0


def test_a_handler_that_takes_the_lock_that_it_has_interrupted(start, path):
    """A handler inside take() that asks for the same lock has one that the kernel knows, and both are the same."""
    body = """
import threading
from runicorn.host import locks

real, inner = locks._try_lock, []


def interrupted(fd, **kind):
    locks._try_lock = real
    inner.append(Lock.take(path, again=True, ours=True))
    say("taken")
    await_word()
    return real(fd, **kind)


locks._try_lock = interrupted
lock = Lock.take(path, ours=True)
say(inner == [lock])
await_word()
"""
    holder = start(body)
    assert holder.read() == "taken"
    assert is_held(path)
    holder.go_on()
    assert holder.read() == "True"
    assert is_held(path)
    assert holder.end() == 0
