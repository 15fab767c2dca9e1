"""Does damage in a spool cost more than what it hit?

Runs leave real spools: owner and writer are killed at a moment of the writer's batch, in the midst of several
producers, text, console output, values of a device, a summary, images and datasets. Copies of such a spool are damaged
in every way that a file can be, and recovered under a time limit. What was logged is known from the undamaged spool and
the run's files: each record that no damage hit is stored once, each that was hit at most once, and nothing else is::

    python bench/fuzz_spool.py --seconds 600
    python bench/fuzz_spool.py --seed 7 --only 123
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from runicorn.queue.asset_records import Image, InputAsset
from runicorn.queue.record_decoding import decode
from runicorn.queue.records import Metrics, PartialMetrics, Printed, Text
from runicorn.queue.segment import FRAME_HEADER_BYTES, HEADER_BYTES, SEAL, adler32, unpack_frame_header
from runicorn.writer.plan import PlanFile

# The tests have the code that lets a script die.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "tests"))
from support import faults

if TYPE_CHECKING:
    from collections.abc import Iterator

MUTANTS_PER_SPOOL = 12
MOST_CHANGED_LINES = 2
"""So many printed lines may be stored again without a part, which was damaged or is in a segment of another name: by a
part it cannot be known for certain that the rest is stored, and twice is better than not at all."""
TIME_LIMIT_S = 60
MOMENTS = ("planned", "appending", "appended", "stored", "")

TRAINER = """
import os, random, signal, sys, time
import runicorn as rn
from PIL import Image
from runicorn import devices

class Scalar(float):
    pass

class Copy:
    def __init__(self, values):
        self.stream, self.copied = dice.randrange(3), [float(each) for each in values]
        self.at = time.monotonic() + dice.choice((0, .001, .005, .02))

    def has_arrived(self):
        return time.monotonic() >= self.at

    def values(self):
        return self.copied

    def wait(self):
        pass

class Device:
    def number_or_pending(self, value):
        return devices.OnDevice(value, self)

    def start(self, values):
        return Copy(values)

devices.register(Scalar, Device())
seed, children, images, pause = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
dice = random.Random(seed)
run = rn.init(path="fuzz", run_id="r", capture_console=True)
run.set_primary_metric("loss", mode="min")
for _ in range(500):
    if run._session.control.writer_pid:
        break
    time.sleep(.01)
for name in range(children):
    if os.fork() == 0:
        dice = random.Random(seed + name + 1)
        for i in range(dice.choice((3, 40, 900))):
            run.log({"who": f"c{name}", "i": i, "x": "x" * dice.choice((0, 5, 400))})
            if dice.random() < .2:
                run.log_text(f"text c{name} {i}.")
            if dice.random() < .1:
                print(f"print c{name} {i}.", end=dice.choice(("\\n", "\\n", " ")))
            if pause and dice.random() < .05:
                time.sleep(.02)
        os._exit(0)
for i in range(dice.choice((5, 100, 1500))):
    loss = Scalar(1 / (i + 1)) if dice.random() < .2 else 1 / (i + 1)
    run.log({"who": "owner", "i": i, "loss": loss, "x": "y" * dice.choice((0, 5, 400, i % 50 or 70000))})
    if dice.random() < .2:
        run.log_text(f"text owner {i}.")
    if dice.random() < .2:
        end = dice.choice(("\\n", "\\n", " ", "\\r\\n"))
        print(f"print owner {i}.", end=end, file=dice.choice((sys.stdout, sys.stderr)))
    if i % 50 == 0:
        run.log_dataset(f"set{i}", dice.choice(({"rows": i}, os.environ["TMPDIR"] + "/../data")))
    if images and i % 40 == 0:
        run.log_image(f"im{i}", Image.new("RGB", (8, 8), (i % 256, 0, 0)))
    if i % 30 == 0:
        run.summary({"at": i})
    if pause and dice.random() < .03:
        time.sleep(.02)
for _ in range(children):
    os.wait()
writer = run._session.control.writer_pid
if writer:  # 0: it has not come up yet
    try:
        os.kill(writer, signal.SIGKILL)
    except OSError:
        pass
os.kill(os.getpid(), signal.SIGKILL)
"""


@dataclass
class Outcome:
    """What became of one damaged spool."""

    seed: str
    mutations: list[str]
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass
class Place:
    """A storage and the two places of spools, of its own."""

    top: str

    def __post_init__(self) -> None:
        for name in ("shm", "tmp", "store"):
            os.makedirs(os.path.join(self.top, name), exist_ok=True)

    @property
    def environment(self) -> dict[str, str]:
        """For a process that uses it."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RUNICORN_")}
        return {
            **kept,
            "RUNICORN_DIR": f"{self.top}/store",
            "RUNICORN_SHM_DIR": f"{self.top}/shm",
            "TMPDIR": f"{self.top}/tmp",
            "RUNICORN_CACHE_DIR": f"{self.top}/cache",
            "XDG_CONFIG_HOME": f"{self.top}/config",
            "PYTHONWARNINGS": "ignore",
        }

    @property
    def spools(self) -> list[str]:
        """Those that are there."""
        return [f"{self.top}/{base}/{name}" for base in ("shm", "tmp") for name in os.listdir(f"{self.top}/{base}")]

    @property
    def run_dir(self) -> str:
        """Of the one run."""
        return f"{self.top}/store/runs/fuzz/r"


Key = tuple[str, ...]


def frames_of(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and payload of each frame of a sound segment."""
    at = HEADER_BYTES
    while at + FRAME_HEADER_BYTES < len(content):
        length, expected = unpack_frame_header(content, at)
        end = at + FRAME_HEADER_BYTES + length
        if length in {0, SEAL} or end > len(content):
            return
        payload = content[at + FRAME_HEADER_BYTES : end]
        if adler32(payload) != expected:
            return
        yield at, end, payload
        at = end


def keys_of_payload(payload: bytes) -> list[Key]:
    """What a record is known by in the run's files."""
    record = decode(payload)
    if isinstance(record, (Metrics, PartialMetrics)):
        return [("event", str(record.data.get("who")), str(record.data.get("i")))]
    if isinstance(record, (Text, Printed)):
        return texts_in(record.text)
    if isinstance(record, InputAsset):
        return [("dataset", record.entry["name"])]
    if isinstance(record, Image):
        return [("image", record.key)]
    return []


def texts_in(text: str) -> list[Key]:
    """What is known of text and of console output."""
    return [("text", line) for line in re.findall(r"(?:text|print) \w+ \d+\.", text)]


def keys_in_plan(spool: str) -> tuple[int, set[Key]]:
    """The number of the newest plan, and what stands in it alone: it waits for values, lines' ends and files."""
    if not os.path.exists(f"{spool}/plan"):
        return 0, set()
    file = PlanFile(f"{spool}/plan")
    plan = file.read()
    file.close()
    if plan is None:
        return 0, set()
    held = [each.record.data for steps in plan.state.pending.values() for line in steps.values() for each in line]
    keys: set[Key] = {("event", str(data["who"]), str(data["i"])) for data in held}
    keys.update(texts_in(msgspec.json.encode(plan.state.screens).decode()))
    keys.update(("dataset", each.entry["name"]) for each in plan.state.chores.values() if isinstance(each, InputAsset))
    return plan.sequence, keys


def keys_in_files(run_dir: str) -> tuple[Counter[Key], list[str]]:
    """What is stored, and what is wrong with the files."""
    found: Counter[Key] = Counter()
    problems = []
    for name in sorted(os.listdir(run_dir)) if os.path.isdir(run_dir) else []:
        content = pathlib.Path(run_dir, name).read_bytes() if os.path.isfile(f"{run_dir}/{name}") else b""
        if name.startswith("events."):
            for line in content.split(b"\n")[:-1]:
                try:
                    event = json.loads(line)
                except ValueError:
                    problems.append(f"{name}: no JSON: {line[:60]!r}")
                    continue
                data = event["data"]
                image = event["type"] == "image"
                found[("image", data["key"]) if image else ("event", str(data["who"]), str(data["i"]))] += 1
        elif name.startswith("logs."):
            found.update(texts_in(content.decode("utf-8", "replace")))
        elif name == "assets.json":
            found.update(("dataset", each["name"]) for each in json.loads(content)["datasets"])
    return found, problems


def make_spool(place: Place, dice: random.Random) -> str | None:
    """Let a run die; the spool that it leaves, None if it left none."""
    moment = dice.choice(MOMENTS)
    environment = place.environment
    crash_at = f"{moment}:{dice.randint(1, 4)}:{dice.choice(('writer', 'both'))}" if moment else ""
    script = faults.line_for_script(crash_at, marks=place.top) + TRAINER
    pathlib.Path(place.top, "data").write_bytes(b"rows")
    environment["RUNICORN_SEGMENT_BYTES"] = str(dice.choice((4096, 65536, 262144)))
    arguments = [dice.randrange(1 << 30), dice.randrange(4), dice.randrange(2), dice.randrange(2)]
    with open(f"{place.top}/out", "wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, arguments)],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        process.wait(TIME_LIMIT_S)
        with contextlib.suppress(ProcessLookupError):  # its children, which may log on; the session is the script's own
            os.killpg(process.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        spools = [path for path in place.spools if os.path.exists(f"{path}/address.json")]
        if not spools:
            return None
        writers = list(_writers(spools[0]))
        if not writers:
            return spools[0] if os.path.exists(f"{spools[0]}/address.json") else None
        for pid in writers:  # of the run that this trial has started: no other process has this spool in its command
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return None


def _writers(spool: str) -> Iterator[int]:
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if spool.encode() in pathlib.Path("/proc", entry, "cmdline").read_bytes():
                    yield int(entry)
            except OSError:
                continue


def copy(place: Place, top: str) -> tuple[Place, str]:
    """A copy of all that a run has left, at home in its new place; and its spool."""
    shutil.copytree(place.top, top, symlinks=True, copy_function=shutil.copy2)
    new = Place(top)
    (spool,) = [path for path in new.spools if os.path.exists(f"{path}/address.json")]
    from runicorn.queue import spool_address

    file = pathlib.Path(spool, "address.json")
    value = json.loads(file.read_bytes().replace(place.top.encode(), top.encode()))
    value.pop("checksum", None)
    for name, directory in (("run_dir_id", value["run_dir"]), ("storage_id", value["storage"])):
        value[name] = list(spool_address.directory_id(directory))
    encoded = json.dumps(value, separators=(",", ":")).encode()
    file.write_bytes(spool_address._checked(encoded))
    pointers = [path for path in pathlib.Path(new.run_dir).iterdir() if path.name.startswith(".spool-")]
    for pointer in pointers:
        pointer.write_text(spool)
    return new, spool


# --- damage ------------------------------------------------------------------------------------------


def flip_bits(dice: random.Random, data: bytearray) -> None:
    """Some bits, mostly where something is."""
    used = len(bytes(data).rstrip(b"\0")) or len(data)
    for _ in range(dice.choice((1, 1, 1, 3, 20))):
        at = dice.randrange(min(len(data), used + 8))
        data[at] ^= 1 << dice.randrange(8)


def random_range(dice: random.Random, data: bytearray) -> None:
    """Random bytes over a range."""
    start, stop = _range(dice, data)
    data[start:stop] = dice.randbytes(stop - start)


def zero_range(dice: random.Random, data: bytearray) -> None:
    """Zeros over a range."""
    start, stop = _range(dice, data)
    data[start:stop] = bytes(stop - start)


def cut(dice: random.Random, data: bytearray) -> None:
    """Shorter."""
    used = len(bytes(data).rstrip(b"\0"))
    del data[dice.choice((0, dice.randrange(len(data)), dice.randrange(used + 1))) :]


def extend(dice: random.Random, data: bytearray) -> None:
    """Longer, by zeros or by random bytes."""
    size = dice.choice((1, 100, 100_000))
    data += dice.choice((bytes(size), dice.randbytes(size)))


def all_random(dice: random.Random, data: bytearray) -> None:
    """Nothing is left of it."""
    data[:] = dice.randbytes(len(data))


def length_field(dice: random.Random, data: bytearray) -> None:
    """An absurd number in four aligned bytes, or in those of a frame."""
    at = dice.randrange(max(1, len(bytes(data).rstrip(b"\0")) - 4))
    data[at : at + 4] = dice.choice((b"\xff" * 4, bytes(4), b"\0\0\0\xc0", b"\xff\xff\0\0", b"\x01\0\0\0"))


BYTES = (flip_bits, random_range, zero_range, cut, extend, all_random, length_field)


def _range(dice: random.Random, data: bytearray) -> tuple[int, int]:
    used = len(bytes(data).rstrip(b"\0")) or len(data)
    start = dice.randrange(used)
    return start, min(len(data), start + dice.choice((1, 4, 8, 40, 300, 5000)))


def mutate(dice: random.Random, spool: str) -> list[str]:
    """Damage some files of a spool; says what was done."""
    done = []
    for _ in range(dice.choice((1, 1, 2, 3))):
        names = sorted(os.listdir(spool))
        segments = [name for name in names if name.endswith(".seg")]
        kinds = ["segment"] * 5 + ["plan"] * 3 + ["control", "address", "other", "missing", "swap", "double"]
        kind = dice.choice(kinds)
        if kind == "missing":
            gone = [name for name in (*segments, "plan", "sigterm", "writer.log") if name in names]
            name = dice.choice(gone)
            os.unlink(f"{spool}/{name}")
            done.append(f"missing {name}")
        elif kind == "swap" and len(segments) > 1:
            one, other = dice.sample(segments, 2)
            os.rename(f"{spool}/{one}", f"{spool}/x")
            os.rename(f"{spool}/{other}", f"{spool}/{one}")
            os.rename(f"{spool}/x", f"{spool}/{other}")
            done.append(f"swap {one} {other}")
        elif kind == "double" and segments:
            name = dice.choice(segments)
            head, _, number = name.removesuffix(".seg").rpartition("-")
            twin = f"{head}-{int(number) + dice.choice((1, 7)):08d}.seg"
            if not os.path.exists(f"{spool}/{twin}"):
                shutil.copy(f"{spool}/{name}", f"{spool}/{twin}")
                done.append(f"double {name} as {twin}")
        else:
            chosen = {
                "segment": segments,
                "plan": ["plan"],
                "control": ["control"],
                "address": ["address.json"],
                "other": [name for name in names if name.endswith(".lock") or name.startswith(("sigterm", "blob-"))],
            }.get(kind, segments)
            chosen = [name for name in chosen if name in names and os.path.getsize(f"{spool}/{name}")]
            if chosen:
                name, change = dice.choice(chosen), dice.choice(BYTES)
                file = pathlib.Path(spool, name)
                data = bytearray(file.read_bytes())
                change(dice, data)
                file.write_bytes(data)
                done.append(f"{change.__name__} {name}")
    return done


# --- the judgement -----------------------------------------------------------------------------------


def recover(place: Place, result: str) -> str:
    """Recover in a process of its own; an error in words, empty if there is none."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.environ.clear()
            os.environ.update(place.environment)
            os.setsid()
            signal.alarm(TIME_LIMIT_S)
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            devnull = os.open(f"{place.top}/recover.txt", os.O_WRONLY | os.O_CREAT)
            os.dup2(devnull, 1)
            os.dup2(devnull, 2)
            from runicorn.session import orphaned_spools as module
            from runicorn.settings import Settings

            done = module.recover(Settings.from_environment(), None)
            pathlib.Path(result).write_bytes(msgspec.json.encode([each._asdict() for each in done]))
            code = 0
        except BaseException:  # noqa: BLE001 - told by the parent
            pathlib.Path(f"{result}.error").write_text(traceback.format_exc())
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return f"ended by signal {os.WTERMSIG(status)}: hang or crash"
    error = pathlib.Path(f"{result}.error")
    return error.read_text() if error.exists() else ""


def contents(spool: str) -> dict[str, bytes]:
    """The segments of a spool."""
    return {name: pathlib.Path(spool, name).read_bytes() for name in sorted(os.listdir(spool)) if name.endswith(".seg")}


def judge(
    outcome: Outcome,
    place: Place,
    spool: str,
    before: dict[str, bytes],
    stored_before: Counter[Key],
    planned: tuple[int, set[Key]],
) -> None:
    """Recover a damaged spool and compare with what was in it."""
    after = contents(spool)
    has_plan = keys_in_plan(spool)[0] == planned[0]
    say = outcome.problems.append
    unreadable = not _address_reads(spool)
    torn_before = sum(
        not path.read_bytes().endswith(b"\n")
        for path in pathlib.Path(place.run_dir).glob("events.*")
        if path.stat().st_size
    )
    began = time.monotonic()
    error = recover(place, f"{place.top}/result")
    outcome.seconds = time.monotonic() - began
    if error:
        say(error)
        return
    results = json.loads(pathlib.Path(f"{place.top}/result").read_bytes())
    stored, problems = keys_in_files(place.run_dir)
    # What a writer had written half cannot be completed if the record is damaged: the line is closed, no more.
    outcome.problems += problems[torn_before:]
    if unreadable:
        if stored != stored_before or not os.path.isdir(spool) or not any(each["spool"] == spool for each in results):
            say("a spool with a damaged address was touched, or not told")
        return
    if os.path.isdir(spool):
        say(f"the spool stays: {[each['status'] for each in results]}")
    safe = stored_before | Counter(planned[1]) if has_plan else stored_before
    must, may, hit = expected(before, after, safe)
    may |= planned[1]
    if any(" blob-" in each for each in outcome.mutations):  # pixels are hit
        must = {key for key in must if key[0] != "image" or key in stored_before}
    moved = any(each.startswith(("swap", "missing")) for each in outcome.mutations)
    lost = [key for key in must if not stored[key]]
    doubled = [key for key, count in stored.items() if count > max(1, stored_before[key])]
    # Several prints make one line: with one of them damaged, or its beginning lost with the plan, it is another line.
    printed = [key for key in doubled if key[1].startswith("print ")]
    if outcome.mutations and len(printed) <= MOST_CHANGED_LINES:
        doubled = [key for key in doubled if key not in printed]
    invented = [key for key in stored if key not in must and key not in may]
    for what, keys in (("lost", lost), ("doubled", doubled), ("invented", invented)):
        if keys:
            say(f"{what} {len(keys)} of {len(must)}: {keys[:3]}")
    status = json.loads(pathlib.Path(place.run_dir, "status.json").read_bytes())
    if hit and not moved and "damaged_bytes" not in status:
        say("damage was not counted")
    error = recover(place, f"{place.top}/again")
    if (
        error
        or json.loads(pathlib.Path(f"{place.top}/again").read_bytes() or b"[]")
        or keys_in_files(place.run_dir)[0] != stored
    ):
        say(f"a second recover did something {error}")


def expected(
    before: dict[str, bytes], after: dict[str, bytes], stored_before: Counter[Key]
) -> tuple[set[Key], set[Key], bool]:
    """What must be stored, what may be, and whether damage hit a record that has others behind it."""
    must, may, hit = set(stored_before), set(), False
    everything = list(after.values())
    for name, content in before.items():
        frames = list(frames_of(content))
        new = after.get(name, b"")
        last_whole = max(
            (n for n, (start, end, _) in enumerate(frames) if new[start:end] == content[start:end]), default=-1
        )
        for number, (start, end, payload) in enumerate(frames):
            keys = keys_of_payload(payload)
            may.update(keys)
            if new[start:end] == content[start:end] or any(content[start:end] in each for each in everything):
                must.update(keys)
            elif keys and number < last_whole and keys[0] not in stored_before:
                hit = True
    return must, may, hit


def _address_reads(spool: str) -> bool:
    from runicorn.queue import spool_address

    try:
        spool_address.read_address(spool)
    except (OSError, ValueError):
        return False
    return True


def trial(seed: int, number: int) -> list[Outcome]:
    """One spool and its damaged copies."""
    dice = random.Random(f"{seed}/{number}")
    base = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    outcomes = []
    try:
        place = Place(f"{base}/original")
        spool = make_spool(place, dice)
        if spool is None:
            return []
        before = contents(spool)
        stored_before, _ = keys_in_files(place.run_dir)
        planned = keys_in_plan(spool)
        for mutant in range(MUTANTS_PER_SPOOL):
            their = random.Random(f"{seed}/{number}/{mutant}")
            new, path = copy(place, f"{base}/m{mutant}")
            outcome = Outcome(f"--seed {seed} --only {number} (mutant {mutant})", mutate(their, path) if mutant else [])
            outcomes.append(outcome)
            try:
                judge(outcome, new, path, before, stored_before, planned)
            except Exception:  # noqa: BLE001 - a fault of the product, or of this tool: told either way
                outcome.problems.append(traceback.format_exc())
            if not (outcome.problems and os.environ.get("FUZZ_KEEP")):
                shutil.rmtree(new.top, ignore_errors=True)
    finally:
        if not os.environ.get("FUZZ_KEEP"):
            shutil.rmtree(base, ignore_errors=True)
        else:
            print(base)
    return outcomes


def main() -> None:
    """Damage spools for so long, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", type=int, help="this trial alone")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    spools, number = 0, 0
    end = time.monotonic() + options.seconds
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        waiting: set[concurrent.futures.Future[list[Outcome]]] = set()
        if options.only is not None:
            waiting.add(pool.submit(trial, options.seed, options.only))
        while waiting or (options.only is None and time.monotonic() < end):
            while options.only is None and len(waiting) < options.jobs and time.monotonic() < end:
                waiting.add(pool.submit(trial, options.seed, number))
                number += 1
            done, waiting = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                spools += bool(future.result())
                outcomes += future.result()
    report(options.seed, spools, outcomes)


def report(seed: int, spools: int, outcomes: list[Outcome]) -> None:
    """One table, and what failed."""
    kinds: dict[str, list[int]] = {}
    for outcome in outcomes:
        for kind in sorted(
            {re.sub(r"[0-9a-f]+\.[0-9a-f]+-\d+\.seg", "segment", each) for each in outcome.mutations}
        ) or ["none"]:
            row = kinds.setdefault(re.sub(r"blob-\w+", "blob", re.sub(r"\w+\.\w+\.lock", "lock", kind)), [0, 0])
            row[0] += 1
            row[1] += bool(outcome.problems)
    failed = [outcome for outcome in outcomes if outcome.problems]
    print(f"seed {seed}: {spools} spools, {len(outcomes)} damaged copies, {len(failed)} failed")
    for kind, (count, bad) in sorted(kinds.items()):
        print(f"  {kind:50} {count:6} {bad:6}")
    if outcomes:
        print(f"  slowest recover: {max(outcome.seconds for outcome in outcomes):.1f} s")
    for outcome in failed:
        print(f"{outcome.seed}: {', '.join(outcome.mutations)}")
        for problem in outcome.problems:
            print(f"    {problem.strip()[-400:]}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
