"""Is anything lost, doubled, left behind or touched outside, whoever dies, however and whenever?

A trial is a training script as a real process that logs, is killed or ends by itself, and is judged by what is then on
disk. A seed gives the same sequence of trials, with the same moments; each that fails prints the command that repeats
it alone. What the scheduler of the operating system adds is not repeated, so ``--times`` repeats a trial often::

    python bench/chaos.py --kills 1000
    python bench/chaos.py --seed 7 --only 123 --times 20
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import harness
from chaos_plan import AROUND, DECK, MOMENTS, plan
from chaos_stage import end_processes_of, play

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from chaos_outcome import Outcome

KILLS, QUICK_KILLS, JOBS = 1000, 4, 2
PROGRESS_EVERY = 50

# --- a place of one's own -----------------------------------------------------------------------------------


@contextlib.contextmanager
def isolated() -> Iterator[tuple[str, str]]:
    """Give a root for storage and one for spools, in shared memory; end what lives in them, and remove them.

    No ``RUNICORN_`` setting of the user's reaches what is started meanwhile.
    """
    base = os.environ.get("RUNICORN_SHM_DIR") or ("/dev/shm" if os.path.isdir("/dev/shm") else None)
    before = dict(os.environ)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what is under way is ended and removed
    with harness.storage() as root:
        memory = tempfile.mkdtemp(prefix="runicorn-bench-", dir=base)
        for name in [name for name in os.environ if name.startswith("RUNICORN_")]:
            del os.environ[name]
        os.environ["XDG_CONFIG_HOME"] = os.path.join(root, "no-configuration")
        try:
            yield root, memory
        finally:
            end_processes_of(pathlib.Path(root), pathlib.Path(memory))
            shutil.rmtree(memory, ignore_errors=True)
            os.environ.clear()
            os.environ.update(before)


# --- all trials -----------------------------------------------------------------------------------------------


FAILED: list[str] = []


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Play the trials, some at once."""
    seed = int.from_bytes(os.urandom(4), "little") if arguments.seed is None else arguments.seed
    number = arguments.kills or (QUICK_KILLS if arguments.quick else KILLS)
    numbers = range(number) if arguments.only is None else [arguments.only] * arguments.times
    print(f"seed {seed}", file=sys.stderr)
    began = time.monotonic()
    outcomes = []
    with isolated() as (root, memory), workers(arguments.jobs) as pool:
        waiting = [
            pool.submit(play, plan(seed, number), made(root, place), made(memory, place), arguments.keep)
            for place, number in enumerate(numbers)
        ]
        for done in concurrent.futures.as_completed(waiting):
            outcomes.append(done.result())
            tell(outcomes, len(waiting))
    outcomes.sort(key=lambda outcome: outcome.trial.number)
    FAILED.extend(outcome.trial.command for outcome in outcomes if outcome.problems)
    return {
        "seed": seed,
        "trials": len(outcomes),
        "jobs": arguments.jobs,
        "elapsed_s": time.monotonic() - began,
        "not_reached": sum(not outcome.reached for outcome in outcomes),
        "with_fault": sum(bool(outcome.trial.fault) for outcome in outcomes),
        "resumed": sum("resume" in outcome.trial.then for outcome in outcomes),
        "cells": sums(outcomes, [f"{who}: {how}" for who, how in cells()], lambda trial: trial.cell),
        "moments": sums(outcomes, moments(), lambda trial: named(trial.when)),
        "around": sums(outcomes, AROUND, lambda trial: trial.around),
        "totals": one_sum(outcomes),
        "failures": [
            {"command": outcome.trial.command, "problems": outcome.problems, "trial": asdict(outcome.trial)}
            for outcome in outcomes
            if outcome.problems
        ],
    }


@contextlib.contextmanager
def workers(jobs: int) -> Iterator[concurrent.futures.Executor]:
    """Give processes, since the environment is a process's, and a trial sets it."""
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, mp_context=multiprocessing.get_context("spawn"), initializer=reset_signals
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def reset_signals() -> None:
    """Undo what ``nohup`` and a shell's ``&`` do, which scripts would inherit: they ignore two of the deaths."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def made(directory: str, place: int) -> str:
    """Make a directory for the trial at a place of the sequence, where one may be there several times."""
    path = os.path.join(directory, str(place))
    os.mkdir(path)
    return path


def tell(outcomes: list[Outcome], number: int) -> None:
    """Report a failure at once, and progress now and then."""
    last = outcomes[-1]
    if last.problems:
        print(f"FAILED {last.trial.command}\n  {last.trial}\n  " + "\n  ".join(last.problems), file=sys.stderr)
    if len(outcomes) % PROGRESS_EVERY == 0:
        failed = sum(bool(outcome.problems) for outcome in outcomes)
        print(f"{len(outcomes)} of {number} trials, {failed} failed", file=sys.stderr)


def cells() -> list[tuple[str, str]]:
    """Who dies and how, in the order of the table."""
    return list(dict.fromkeys((who, how) for who, how, _ in DECK if who))


def named(when: str) -> str:
    """When, for people."""
    return f"{MOMENTS[when]}: {when}" if when in MOMENTS else when


def moments() -> list[str]:
    return ["flat out", "paced", "starting", "finishing", *map(named, MOMENTS)]


COUNTS = ("trials", "kills", "logged", "lost", "doubled", "wrong_statuses", "leftovers", "outside")


def one_sum(outcomes: list[Outcome]) -> dict[str, int]:
    summed = {name: sum(getattr(outcome, name) for outcome in outcomes) for name in COUNTS[1:]}
    return {"trials": len(outcomes), **summed}


def sums(outcomes: list[Outcome], names: Iterable[str], name_of: Any) -> dict[str, dict[str, int]]:
    """Add up by name; names that did not come up have no row."""
    grouped = {name: [outcome for outcome in outcomes if name_of(outcome.trial) == name] for name in names}
    return {name: one_sum(found) for name, found in grouped.items() if found}


def tabulate(figures: dict[str, Any]) -> list[harness.Table]:
    """Make the tables: by who and how, by when, and what failed."""
    bad = sum(figures["totals"][name] for name in COUNTS[3:])
    note = (
        f"Targets: 0 in each of the last five columns: {'met' if bad == 0 else 'missed'}. {figures['trials']:,} trials "
        f"from seed {figures['seed']}, {figures['jobs']} at once, in {figures['elapsed_s'] / 60:.0f} min; in "
        f"{figures['with_fault']:,} storage failed for a while as well, {figures['resumed']:,} runs were resumed, and "
        f"in {figures['not_reached']:,} the script ended before its moment came. Records out of order count as "
        "doubled; files that are not whole count as leftovers; outside: "
        "files beside ours, with names like ours, that were touched."
    )
    failures = [[each["command"], "; ".join(each["problems"])[:300]] for each in figures["failures"]]
    return [
        _counts("Who dies, and how", figures["cells"], figures["totals"], note),
        _counts("When", figures["moments"], figures["totals"], "The same kills, by their moment."),
        _counts("Around", figures["around"], figures["totals"], "The same, by what was logged or happened beside it."),
        *([harness.Table("Failures", ["repeated by", "what went wrong"], failures)] if failures else []),
    ]


def _counts(title: str, rows: dict[str, dict[str, int]], totals: dict[str, int], note: str) -> harness.Table:
    return harness.Table(
        title=title,
        columns=["cell", *(name.replace("_", " ").replace("logged", "records logged") for name in COUNTS)],
        rows=[[name, *(f"{row[count]:,}" for count in COUNTS)] for name, row in {**rows, "all": totals}.items()],
        note=note,
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add those of this benchmark."""
    parser.add_argument("--kills", type=int, help=f"how many trials ({KILLS})")
    parser.add_argument("--seed", type=int, help="of all moments (random; it is printed)")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"trials at once ({JOBS})")
    parser.add_argument("--only", type=int, metavar="K", help="only trial K of the seed")
    parser.add_argument("--times", type=int, default=1, help="with --only: how often")
    parser.add_argument("--keep", metavar="DIRECTORY", help="where files of trials that fail are kept")


if __name__ == "__main__":
    harness.Bench(
        question="Is anything lost, doubled, left behind or touched outside, whoever dies, however and whenever?",
        measure=measure,
        tabulate=tabulate,
        add_arguments=add_arguments,
    ).main()
    sys.exit(1 if FAILED else 0)
