"""What does capturing the console cost a printed line?

A program prints to the null device: as it is, then captured, then as it is again. What a captured line costs more is
the capture. The same program is run by ours and by Runicorn 0.7.2, in turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import harness
import published

if TYPE_CHECKING:
    import argparse

TARGET_US = 2.0

PROGRAM = """
import json, os, sys, threading, time
import runicorn as rn

storage, lines, busy = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "busy"
real, sys.stdout, sys.stderr = sys.stdout, open(os.devnull, "w"), open(os.devnull, "w")
clock = time.perf_counter_ns

def cost_us(write):
    best = []
    for _ in range(5):
        begun = clock()
        for i in range(lines // 5):
            write(i)
        best.append((clock() - begun) / (lines // 5) / 1e3)
    return sorted(best)[2]

def single_us(write):
    costs = []
    for i in range(lines):
        begun = clock()
        write(i)
        costs.append(clock() - begun)
    return sorted(costs)[lines * 999 // 1000] / 1e3

WRITES = {
    "print": lambda i: print("epoch 3 step 1234 loss 0.1234"),
    "write": lambda i: sys.stdout.write("epoch 3 step 1234 loss 0.1234\\n"),
    "bar": lambda i: sys.stderr.write("\\r 50%|#####     | 50/100 [00:01<00:01, 49.9it/s]"),
}
if busy:
    stop = False
    def work():
        x = 0
        while not stop:
            x += 1
    threading.Thread(target=work, daemon=True).start()
before = {name: (cost_us(write), single_us(write)) for name, write in WRITES.items()}
run = rn.init(path="bench", storage=storage, capture_console=True)
time.sleep(0.3)
captured = {name: (cost_us(write), single_us(write)) for name, write in WRITES.items()}
run.finish()
after = {name: (cost_us(write), single_us(write)) for name, write in WRITES.items()}
found = {}
for name in WRITES:
    plain = (before[name][0] + after[name][0]) / 2
    found[f"{name}_plain_us"] = plain
    found[f"{name}_more_us"] = captured[name][0] - plain
    found[f"{name}_p99_9_us"] = captured[name][1]
    found[f"{name}_plain_p99_9_us"] = (before[name][1] + after[name][1]) / 2
print(json.dumps(found), file=real)
os._exit(0)
"""

WRITES = {"print": "print(text)", "write": "stream.write(line)", "bar": r"stream.write('\r bar')"}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the program by each, alone and beside a busy thread."""
    lines, rounds = ("200", 1) if arguments.quick else ("20000", 5)
    figures: dict[str, Any] = {}
    for case in ("alone", "busy"):
        told = published.compare(PROGRAM, rounds, [lines, case], quick=arguments.quick)
        figures[case] = {name: {key: published.middle(each, key) for key in each[0]} for name, each in told.items()}
    return figures


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """One row a package, a way of printing and a case."""
    rows = []
    for case, packages in figures.items():
        for write, text in WRITES.items():
            for package, figure in packages.items():
                more = figure[f"{write}_more_us"]
                target = f"<= {TARGET_US:g} {harness.verdict(more, TARGET_US)}"
                rows.append(
                    [
                        f"{text}, {package}" + (", busy thread" if case == "busy" else ""),
                        f"{figure[f'{write}_plain_us']:.2f}",
                        f"{more:.2f}",
                        f"{figure[f'{write}_plain_p99_9_us']:.1f}",
                        f"{figure[f'{write}_p99_9_us']:.1f}",
                        target if case == "alone" and package == published.OURS else "",
                    ]
                )
    return [
        harness.Table(
            title="Capturing the console",
            columns=["call", "as it is, us", "captured: more, us", "p99.9 as it is", "p99.9 captured", "target"],
            rows=rows,
            note="Mean of a call within a loop, median of the rounds; print() makes two writes, text and newline.",
        )
    ]


if __name__ == "__main__":
    harness.Bench(
        question="What does capturing the console cost a printed line?", measure=measure, tabulate=tabulate
    ).main()
