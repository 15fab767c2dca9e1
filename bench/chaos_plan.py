"""What is going to happen in each trial of ``chaos.py``: derived from a seed and the trial's number alone."""

from __future__ import annotations

import random
from dataclasses import dataclass

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT", "SIGINT twice", "SIGHUP")
INSIDE_INIT = ("directory", "spool", "files", "launched")
INSIDE_ROTATION = ("sealed", "rotated")
INSIDE_BATCH = ("planned", "appending", "appended", "stored")
INSIDE_FINISH = ("closing", "synced", "status", "done")
MOMENTS = {
    **dict.fromkeys(INSIDE_INIT, "inside init"),
    **dict.fromkeys(INSIDE_ROTATION, "inside a rotation"),
    **dict.fromkeys(INSIDE_BATCH, "inside the writer's batch"),
    **dict.fromkeys(INSIDE_FINISH, "inside finish"),
}

# How a script ends by itself: the statement.
ENDINGS = {
    "os._exit": "os._exit(3)",
    "segfault": "import ctypes; ctypes.string_at(0)",
    "MemoryError": "bytearray(1 << 62)",
    "exception": "raise ValueError('boom')",
    "sys.exit(3)": "sys.exit(3)",
    "no finish()": "pass",
    "end of a thread": "threading.Thread(target=log_when_main_is_over).start()",
}
WITHOUT_A_WORD = ("SIGKILL", "os._exit", "segfault")

# What is logged beside the numbers; what else happens meanwhile.
CONTENTS = ("images", "console", "datasets", "device scalars")
VISITORS = ("recover meanwhile", "init meanwhile")
UNLINKED, FLIPPED, LINKED, PLAIN = "names unlinked", "bit flip", "storage by link", "plain"
AROUND = (PLAIN, *CONTENTS, UNLINKED, FLIPPED, *VISITORS, LINKED)
UNLINKINGS = ("one name", "half of the names", "all names", "the directory")

# One round: each cell once, "" = at random. Rounds are shuffled, each differently.
DECK = [
    *((who, how, "") for who in ("trainer", "writer", "both", "group") for how in SIGNALS),
    ("writer", "segfault", ""),
    *((who, how, "") for who in ("trainer", "both") for how in ENDINGS),
    *(("", "SIGKILL", moment) for moment in MOMENTS),
]


@dataclass(frozen=True)
class Trial:
    """What is going to happen.

    Attributes:
        seed: of the whole sequence.
        number: its place in the sequence.
        who: dies; ``group`` is the trainer's process group.
        how: it dies.
        when: ``flat out``, ``paced``, ``starting``, ``finishing``, or one of ``MOMENTS``.
        records: calls of the owner that return before that.
        count: of the moment, which time; of a writer, how many are killed in a row.
        pause_s: between two calls.
        delay_s: between two signals, or after the script's word that it starts or finishes.
        children: forked producers beside the owner.
        small_segments: rotate every few hundred records.
        fault: what storage does for a while; empty = nothing.
        fault_at: from this call of the owner on.
        fault_s: so long.
        ends: how the trainer ends after its writer was killed; ``SIGKILL`` also has writers die in resumed sessions.
        then: who comes by afterwards.
        more: records of a process that resumes the run.
        resumes: how many processes resume it, one after the other; all but the last are killed.
        around: what is logged beside the numbers, or happens beside the death.
        around_at: from this call of the owner on.
        unlinking: which names go.
        dice: seeds what is drawn while the trial goes on: names, bits, pauses of visitors.
    """

    seed: int
    number: int
    who: str
    how: str
    when: str
    records: int
    count: int
    pause_s: float
    delay_s: float
    children: int
    small_segments: bool
    fault: str
    fault_at: int
    fault_s: float
    ends: str
    then: str
    more: int
    resumes: int
    around: str = PLAIN
    around_at: int = 0
    unlinking: str = ""

    @property
    def cell(self) -> str:
        """Its row in the table."""
        return f"{self.who}: {self.how}"

    @property
    def by_itself(self) -> bool:
        """Whether the script ends by a statement of its own."""
        return self.how in ENDINGS and self.who != "writer"

    @property
    def kills_writer(self) -> bool:
        """Whether a writer dies, so that somebody else has to come by where the owner dies as well."""
        deadly = self.how in {"SIGKILL", "segfault"} or self.how in ENDINGS
        return self.who in {"writer", "both"} and deadly

    @property
    def leaves_all(self) -> bool:
        """Whether owner and writer both die and nobody is left who ends the run."""
        return self.who == "both" and self.how in WITHOUT_A_WORD

    @property
    def dice(self) -> random.Random:
        """For what is drawn while the trial goes on: names, bits, pauses of visitors."""
        return random.Random(f"{self.seed}-{self.number}-on-the-way")

    @property
    def command(self) -> str:
        """What repeats it alone."""
        return f"python bench/chaos.py --seed {self.seed} --only {self.number}"


def plan(seed: int, number: int) -> Trial:
    """Derive a trial from the seed alone."""
    round_number, place = divmod(number, len(DECK))
    deck = list(DECK)
    random.Random(f"{seed}-round-{round_number}").shuffle(deck)
    who, how, when = deck[place]
    dice = random.Random(f"{seed}-{number}")
    who = who or dice.choice(["trainer", "writer", "both"])
    when = when or _random_time(dice, who, how)
    paced = when == "paced" or (when in MOMENTS and dice.random() < 0.5)
    records = dice.randrange(6) if dice.random() < 0.1 else dice.randrange(1, 400 if paced else 15_000)
    if when in MOMENTS:
        records = dice.randrange(600, 1200) if paced else dice.randrange(3000, 12_000)
    count = dice.choice([1, 1, 2, 3]) if who == "writer" or when in INSIDE_BATCH + INSIDE_ROTATION else 1
    may_fork = when not in (*INSIDE_INIT, *INSIDE_ROTATION, "starting")
    children = 2 if may_fork and dice.random() < (0.6 if who == "group" else 0.25) else 0
    fault = dice.choice(["ENOSPC", "EIO", "EROFS", "EIO once", "block"])
    may_fail = when not in (*INSIDE_INIT, "starting")
    return Trial(
        seed=seed,
        number=number,
        who=who,
        how=how,
        when=when,
        records=records,
        count=count,
        pause_s=dice.choice([0.0002, 0.0005, 0.001]) if paced else 0.0,
        delay_s=dice.uniform(0, 0.15) if when == "starting" else dice.choice([0.0, dice.uniform(0, 0.08)]),
        children=children,
        small_segments=when in INSIDE_ROTATION or dice.random() < 0.7,
        fault=fault if may_fail and dice.random() < 0.25 else "",
        fault_at=dice.randrange(records + 1),
        fault_s=dice.uniform(0.05, 0.8),
        ends=dice.choice(["finish()", "SIGKILL"]),
        then=_what_then(dice, who, how, when),
        more=dice.randrange(1, 500),
        resumes=dice.choice([1, 1, 2, 3]),
        around=_what_around(dice, who, how, when),
        around_at=dice.randrange(records + 1),
        unlinking=dice.choice(UNLINKINGS),
    )


def _random_time(dice: random.Random, who: str, how: str) -> str:
    if how in ENDINGS and who != "writer":
        return dice.choice(["flat out", "paced"])
    times = ["flat out", "flat out", "paced", "paced", "finishing"]
    return dice.choice(times if who in {"writer", "both"} else [*times, "starting"])


def _what_then(dice: random.Random, who: str, how: str, when: str) -> str:
    if when in {"directory", "starting"}:  # there may be no run to resume
        return dice.choice(["recover", "next init"])
    somebody = ["recover", "next init", "resume at once", "recover, resume"]
    if when == "spool":  # no status yet: init(run_id=...) would wait for somebody who is making the run
        somebody.remove("resume at once")
    if when not in INSIDE_INIT and (who in {"trainer", "group"} or how not in {"SIGKILL", "segfault", *ENDINGS}):
        somebody += ["nobody", "nobody"]
    return dice.choice(somebody)


def _what_around(dice: random.Random, who: str, how: str, when: str) -> str:
    """Bits are flipped where both die, names unlinked where the owner is known to be up before it dies."""
    if who == "both" and how in WITHOUT_A_WORD and when not in INSIDE_INIT and dice.random() < 0.4:
        return FLIPPED
    possible = [PLAIN, *VISITORS, LINKED]
    if when not in (*INSIDE_INIT, "starting"):
        possible += CONTENTS
    if when not in (*MOMENTS, "starting"):
        possible += [UNLINKED, UNLINKED]
    return dice.choice(possible)
