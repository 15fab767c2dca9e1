"""The scripts of ``chaos.py``: a training script that counts what has returned, and those who come by."""

from __future__ import annotations

from chaos_plan import ENDINGS, MOMENTS, Trial

MOST_FLAT_OUT = 40_000
MOST_OF_A_KIND = 40
DATASETS = 6

# One u64 each: to stop the script; how many calls have returned of each child, and of each kind beside the numbers.
STOP, FIRST_CHILD, FIRST_KIND = 0, 1, 4
KINDS = ("images", "console", "datasets", "device scalars")
SHARED_BYTES = 8 * (FIRST_KIND + len(KINDS))

SCRIPT = """
import resource, signal, threading, time, zlib

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
shared_file = open(os.environ["CHAOS_SHARED"], "r+b")
shared = mmap.mmap(shared_file.fileno(), {shared_bytes})
me = os.getpid()
children = []
kinds = [0, 0, 0, 0]


def count(kind, number):
    struct.pack_into("<Q", shared, 8 * ({first_kind} + kind), number)


def log_on(first, most):
    for i in range(first, first + most):
        if shared[0]:
            return
        run.log({{"i": i, "producer": 0, "session": {session}, "loss": i * 0.5, **beside(i)}})
        returned(i)
        after(i)
        if {pause_s} or i > {most_flat_out}:
            time.sleep({pause_s} or 0.001)


def log_as_child(number):
    i = 0
    while not shared[0] and os.getppid() == me:
        i += 1
        run.log({{"i": i, "producer": number, "session": {session}}})
        struct.pack_into("<Q", shared, 8 * number, i)
        time.sleep(0.001)


def log_when_main_is_over():
    threading.main_thread().join()
    log_on({most} + 1, 50)


def kill_the_writer():
    while not run._session.control.writer_pid:
        time.sleep(0.001)
    os.kill(run._session.control.writer_pid, signal.SIGKILL)
    time.sleep({delay_s})


def beside(i):
    return {{}}


def after(i):
    pass


def before_finish():
    pass

{around}
print("starting", flush=True)
run = rn.init({arguments})
opened(run)
for number in range(1, {children} + 1):
    pid = os.fork()
    if pid == 0:
        try:
            log_as_child(number)
        finally:
            os._exit(0)
    children.append(pid)
log_on(1, {most})
"""
FINISH = """
shared[0] = 1
for pid in children:
    os.waitpid(pid, 0)
before_finish()
print("finishing", flush=True)
run.finish()
"""
NEXT_INIT = """
print("starting", flush=True)
with rn.init(path="next") as run:
    run.log({"i": 1})
"""

_NEXT_OF_A_KIND = """
def next_of(kind, i):
    if i % {every} or kinds[kind] >= {most}:
        return 0
    kinds[kind] += 1
    return kinds[kind]
"""
_BESIDE = {
    "images": """
def part(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(k):
    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    body = part(b"IHDR", head) + part(b"tEXt", b"n\\x00{session}.%d" % k) + part(b"IDAT", zlib.compress(b"\\0abc"))
    return b"\\x89PNG\\r\\n\\x1a\\n" + body + part(b"IEND", b"")


def after(i):
    k = next_of(0, i)
    if k:
        run.log_image("sample", png(k), caption=f"{session}.{{k}}")
        count(0, k)
""",
    "console": """
def after(i):
    k = next_of(1, i)
    if k:
        print(f"console {session}.{{k}} of many", file=sys.stderr)
        count(1, k)
""",
    "datasets": """
def after(i):
    k = next_of(2, i)
    if k and k <= {datasets}:
        run.log_dataset(f"data-{session}.{{k}}", os.path.join("data", f"{{k}}.bin"), save=True)
        count(2, k)
""",
    "device scalars": """
sys.path.insert(0, os.environ["CHAOS_TESTS"])
from support.slow_device import SlowDevice

device = SlowDevice()
arrived = 0


def beside(i):
    return {{"x": device.scalar(float(i))}} if i % 3 == 0 else {{}}


def after(i):
    # What had arrived before the call that has just returned is kept from now on.
    global arrived
    if arrived:
        count(3, arrived)
        arrived = 0
    if i % 7 == 0:
        device.arrived()
        arrived = i


def before_finish():
    device.arrived()
    run.log_text("kept")  # a call that comes by and takes what has arrived
    count(3, 1 << 62)
""",
}


def train(trial: Trial, session: int, most: int, pause_s: float, children: int, arguments: str) -> str:
    """Fill in the script of one session."""
    around = ""
    if trial.around in _BESIDE:
        every = 5 if trial.pause_s else 50
        around = _NEXT_OF_A_KIND.format(every=every, most=MOST_OF_A_KIND)
        around += _BESIDE[trial.around].format(session=session, datasets=DATASETS)
    if trial.around == "console":
        arguments += ", capture_console=True"
    return SCRIPT.format(
        session=session,
        most=most,
        pause_s=pause_s,
        children=children,
        arguments=arguments.removeprefix(", "),
        delay_s=trial.delay_s,
        most_flat_out=MOST_FLAT_OUT,
        shared_bytes=SHARED_BYTES,
        first_kind=FIRST_KIND,
        around=around,
    )


def first(trial: Trial) -> str:
    """The script whose death, or that of whose writer, the trial is about."""
    most = trial.records if trial.by_itself or trial.when in MOMENTS else 10**9
    text = train(trial, 1, most, trial.pause_s, trial.children, "")
    if not trial.by_itself:
        return text + FINISH
    return text + ("kill_the_writer()\n" if trial.who == "both" else "") + ENDINGS[trial.how] + "\n"
