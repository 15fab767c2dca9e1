"""What a call costs where a training loop makes it: once a step, with the step's work in between.

A call that is repeated back to back finds its code and data in the processor's nearest caches; a call once a step does
not. Here each call follows work that has pushed it out: none, pure Python for about a millisecond, or 16 MiB of memory.

Each round is a process of its own. It makes blocks of calls of one kind, one block of each kind after the other, and
does not count the first calls of a block. The floor is what any tracker must do: read the clock, encode the record.
"x floor" is taken within a round, less the call that does nothing; it repeats where microseconds do not.

The rounds of this code with its accelerator, of this code in pure Python, and of another checkout (``--against``)
take turns. A quotient is that of two rounds that follow each other.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS, BLOCKS, BLOCK_CALLS, SKIPPED_CALLS = 11, 12, 40, 5
MEMORY_BYTES = 16 * 1024 * 1024
ADDITIONS = 20_000
FLOOR, NOTHING = "floor: clock and encode", "nothing"
ONE, WITH_STEP, FIFTY = "log, four floats", "log, four floats, step given", "log, fifty floats"
WORKS = {"none": "nothing", "python": "pure Python", "memory": "16 MiB of memory"}
TARGET_FLOORS, TARGET_QUOTIENT = 2.5, 0.6
HERE, PURE, OTHER = "this code", "this code, pure Python", "the other checkout"
ROUND_LIMIT_S = 300


# --- in the process of a round: the public API of any version, and msgspec ---------------------------------


def play(blocks: int, *, parts: bool) -> None:
    """Measure one round, and print its samples' percentiles in nanoseconds."""
    import runicorn as rn

    with tempfile.TemporaryDirectory(prefix="runicorn-bench-") as root, rn.init(storage=root) as run:
        calls = kinds(run) | (parts_of() if parts else {})
        print(json.dumps({work: _of_work(work, calls, blocks) for work in WORKS}))


def kinds(run: Any) -> dict[str, Callable[[int], Any]]:
    """The calls that are compared."""
    import msgspec

    four = {"loss": 0.123, "acc": 0.88, "lr": 1e-3, "grad_norm": 1.5}
    fifty = {f"metric_{number}": number / 7 for number in range(50)}
    encode, now, log = msgspec.msgpack.Encoder().encode, time.time, run.log

    def nothing(_step: int) -> None:
        pass

    def floor(step: int) -> None:
        encode((now(), step, four, None))

    def log_four(_step: int) -> None:
        log(four)

    def log_step(step: int) -> None:
        log(four, step=step)

    def log_fifty(_step: int) -> None:
        log(fifty)

    return {NOTHING: nothing, FLOOR: floor, ONE: log_four, WITH_STEP: log_step, FIFTY: log_fifty}


def parts_of() -> dict[str, Callable[[int], Any]]:
    """What ``log()`` is made of, each part alone; of the code that this file lies beside."""
    import mmap
    import zlib

    from runicorn.queue.accelerator import push_metrics
    from runicorn.queue.records import encode
    from runicorn.queue.segment import pack_frame_header
    from runicorn.validation.metrics import AS_THEY_ARE, known_names

    four = {"loss": 0.123, "acc": 0.88, "lr": 1e-3, "grad_norm": 1.5}
    payload = encode(("m", time.time(), 1, four, None))
    mapped = mmap.mmap(-1, MEMORY_BYTES)
    mapped.write(bytes(MEMORY_BYTES))  # faults its pages in, as a segment's are
    mapped.seek(0)
    known_names.update(four)
    are_known, need_no_check = known_names.issuperset, AS_THEY_ARE.issuperset
    before, at, after = 0.0, 0.5, 1.0
    now, write, adler32, closed, pack = time.time, mapped.write, zlib.adler32, memoryview(bytes(1)), pack_frame_header

    class Shape:
        def log(self, data: Any = None, /, *more: Any, step: Any = None, stage: Any = None, **kwargs: Any) -> None:
            pass

    shaped = Shape().log
    found: dict[str, Callable[[int], Any]] = {
        "a method of this signature": lambda _step: shaped(four),
        "clock": lambda _step: now(),
        "names": lambda _step: are_known(four),
        "types": lambda _step: need_no_check(map(type, four.values())),
        "encode": lambda step: encode(("m", 0.5, step, four, None)),
        "checksum, header, concatenation": lambda _step: pack(len(payload), adler32(payload)) + payload,
        "write": lambda _step: write(payload),
        "closed, and whether a check is due": lambda _step: closed[0] or not before <= at < after,
    }
    if push_metrics is not None:
        found["all but signature, clock and step, in C"] = lambda step: push_metrics(
            0.5, step, four, None, write, closed, 0.0, 1.0
        )
    return {f"part: {name}": call for name, call in found.items()}


def _of_work(work: str, calls: dict[str, Callable[[int], Any]], blocks: int) -> dict[str, dict[str, float]]:
    clock = time.perf_counter_ns
    source = bytes(MEMORY_BYTES)
    taken: dict[str, list[int]] = {name: [] for name in calls}
    step = 0
    for _ in range(blocks):
        for name, call in calls.items():
            for number in range(BLOCK_CALLS):
                if work == "python":
                    sum(each * each for each in range(ADDITIONS))
                elif work == "memory":
                    bytearray(source)
                step += 1
                begun = clock()
                call(step)
                ended = clock()
                if number >= SKIPPED_CALLS:
                    taken[name].append(ended - begun)
    return {name: _percentiles(samples) for name, samples in taken.items()}


def _percentiles(samples_ns: list[int]) -> dict[str, float]:
    ordered = sorted(samples_ns)
    return {name: ordered[int(len(ordered) * part)] / 1000 for name, part in (("p50_us", 0.5), ("p99_us", 0.99))}


# --- the rounds --------------------------------------------------------------------------------------------


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Let the versions take turns, round by round."""
    rounds, blocks = (1, 1) if arguments.quick else (arguments.rounds, BLOCKS)
    source = str(pathlib.Path(__file__).resolve().parents[1] / "src")
    versions = {HERE: {"PYTHONPATH": source}, PURE: {"PYTHONPATH": source, "RUNICORN_ACCELERATOR": "0"}}
    if arguments.against:
        versions[OTHER] = {"PYTHONPATH": str(pathlib.Path(arguments.against).resolve() / "src")}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in versions}
    for number in range(rounds):
        order = list(versions) if number % 2 else list(reversed(versions))
        for name in order:
            parts = arguments.parts and name == HERE
            found[name].append(_round(versions[name], blocks, parts=parts))
    return {"rounds": rounds, "versions": {name: _summary(each) for name, each in found.items()}, **_quotients(found)}


def _round(environment: dict[str, str], blocks: int, *, parts: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "--round", str(blocks), *(["--parts"] if parts else [])]
    done = subprocess.run(
        command, env=os.environ | environment, check=True, capture_output=True, text=True, timeout=ROUND_LIMIT_S
    )
    return json.loads(done.stdout)


def _floors(of_round: dict[str, dict[str, float]], call: str) -> float:
    nothing = of_round[NOTHING]["p50_us"]
    return (of_round[call]["p50_us"] - nothing) / (of_round[FLOOR]["p50_us"] - nothing)


def _summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    import harness

    return {
        work: {
            call: {
                "p50_us": harness.median([each[work][call]["p50_us"] for each in rounds]),
                "p99_us": harness.median([each[work][call]["p99_us"] for each in rounds]),
                "floors": harness.shortest_to_longest([_floors(each[work], call) for each in rounds]),
            }
            for call in rounds[0][work]
        }
        for work in WORKS
    }


def _quotients(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    import harness

    if OTHER not in found:
        return {}
    return {
        "against": {
            version: {
                work: {
                    call: harness.shortest_to_longest(
                        [
                            new[work][call]["p50_us"] / old[work][call]["p50_us"]
                            for new, old in zip(found[version], found[OTHER], strict=True)
                        ]
                    )
                    for call in (FLOOR, ONE, WITH_STEP, FIFTY)
                }
                for work in WORKS
            }
            for version in (HERE, PURE)
        }
    }


def tabulate(figures: dict[str, Any]) -> list[Any]:
    """A table for each kind of work, and the quotients."""
    tables = [_of_work_table(work, figures) for work in WORKS]
    return [*tables, *([_quotients_table(figures)] if "against" in figures else [])]


def _of_work_table(work: str, figures: dict[str, Any]) -> Any:
    import harness

    rows = []
    for version, by_work in figures["versions"].items():
        for call, row in by_work[work].items():
            floors = row["floors"]
            is_judged = version == HERE and call in {ONE, WITH_STEP} and work != "none"
            rows.append(
                [
                    call if call in {NOTHING, FLOOR} or call.startswith("part") else f"{call}: {version}",
                    f"{row['p50_us']:.2f}",
                    f"{row['p99_us']:.2f}",
                    f"{floors['median']:.2f}",
                    f"{floors['min']:.2f} to {floors['max']:.2f}",
                    f"<= {TARGET_FLOORS} {harness.verdict(floors['median'], TARGET_FLOORS)}" if is_judged else "",
                ]
            )
            if version != HERE and call in {NOTHING, FLOOR}:
                rows.pop()
    return harness.Table(
        title=f"One call a step; between two calls: {WORKS[work]}",
        columns=["", "p50, us", "p99, us", "x floor", "of the rounds", "target"],
        rows=rows,
        note=f"{figures['rounds']} rounds, a process each; medians of the rounds. Two readings of the clock are in "
        "every microsecond, and not in x floor.",
    )


def _quotients_table(figures: dict[str, Any]) -> Any:
    import harness

    rows = []
    for version, by_work in figures["against"].items():
        for work, calls in by_work.items():
            for call, spread in calls.items():
                is_judged = version == HERE and call == ONE and work != "none"
                rows.append(
                    [
                        f"{call}: {version}",
                        WORKS[work],
                        f"{spread['median']:.2f}",
                        f"{spread['min']:.2f} to {spread['max']:.2f}",
                        f"<= {TARGET_QUOTIENT} {harness.verdict(spread['median'], TARGET_QUOTIENT)}"
                        if is_judged
                        else "",
                    ]
                )
    return harness.Table(
        title="The median of a call, divided by that of the other checkout",
        columns=["", "between two calls", "quotient", "of the rounds", "target"],
        rows=rows,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which versions, and how often."""
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"of each version ({ROUNDS})")
    parser.add_argument("--against", metavar="CHECKOUT", help="another checkout, whose src/ takes turns with this one")
    parser.add_argument("--parts", action="store_true", help="add what a call is made of")
    parser.add_argument("--round", type=int, help=argparse.SUPPRESS)


if __name__ == "__main__":
    if "--round" in sys.argv:
        play(int(sys.argv[sys.argv.index("--round") + 1]), parts="--parts" in sys.argv)
    else:
        import harness

        harness.Bench(
            question="What does a call cost in a training loop, with work between the calls?",
            measure=measure,
            tabulate=tabulate,
            add_arguments=add_arguments,
        ).main()
