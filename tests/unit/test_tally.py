"""What the writer carries along survives what it cannot know."""

import msgspec

from runicorn.queue.records import CONSOLE_MODES, Hello, Printed
from runicorn.writer.run_state import RunState
from runicorn.writer.terminal import Screen

HELLO = Hello("host-1", not_owner=False)


def test_a_fault_of_the_terminal_model_costs_no_line(monkeypatch):
    """Where the model fails over a chunk its text is stored as it came, and the next chunk finds a new screen."""
    state = RunState()

    def fail(*_):
        raise IndexError

    with monkeypatch.context() as patched:
        patched.setattr(Screen, "feed", fail)
        assert state.see_printed(Printed(5.0, 1, 0, 7, "a\nb"), HELLO) == [(5.0, "a"), (5.0, "b")]
    assert state.see_printed(Printed(6.0, 1, 0, 7, "c\n"), HELLO) == [(6.0, "c")]


def test_screens_of_many_producers_are_bounded():
    """Of a thousand processes that end in half a line the oldest become lines, and the plan stays small."""
    state = RunState()
    lines = []
    for n in range(1000):
        state.see_printed(Printed(float(n), 1, CONSOLE_MODES.index("smart"), 7, f"half {n}"), Hello(f"host-{n}", True))
        lines += [line for _, found in state.trim_screens(last=False) for _, line in found]
    assert len(state.screens) <= 64
    assert len(msgspec.msgpack.encode(state)) < 20_000
    lines += [line for _, found in state.trim_screens(last=True) for _, line in found]
    assert lines == [f"half {n}" for n in range(1000)]
    assert state.screens == {}


def test_a_segment_out_of_its_turn_has_a_screen_of_its_own():
    """It ends no line that another one has begun; what waits on both screens by one call is one line."""
    state = RunState()
    lines = []

    def show(time_s: float, text: str, beside: str = "") -> None:
        lines.extend(state.see_printed(Printed(time_s, 1, 0, 7, text), HELLO, beside))

    show(5.0, "begun ")
    show(1.0, "whole\n", "a segment")
    show(5.0, "begun ", "a segment")
    show(6.0, "other ", "another segment")
    assert lines == [(1.0, "whole")]
    assert state.has_read_out_of_turn
    lines += [line for _, found in state.trim_screens(last=True) for line in found]
    assert lines == [(1.0, "whole"), (5.0, "begun "), (6.0, "other ")]
    assert not state.has_read_out_of_turn
