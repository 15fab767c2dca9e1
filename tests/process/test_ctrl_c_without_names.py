"""Segments lose their names unseen, and Ctrl-C comes again while their process ends: it makes them again first."""

import textwrap

import pytest
from support import status
from support.trainers import Trainer, assert_exactly_once, wait_stored
from support.two_parts import SMALL, log_rest, suspended_writer

SCRIPT = """
import signal
from runicorn.queue import kept_segments, producer, segment, spool
from runicorn.session import at_exit, session


def interrupted(owner, name, times):
    real = getattr(owner, name)
    left = [times]

    def call(*arguments, **named):
        if left[0]:
            left[0] -= 1
            signal.raise_signal(signal.SIGINT)
        return real(*arguments, **named)

    setattr(owner, name, call)


run = rn.init()
opened(run)
sys.stdin.readline()
log_flat_out(run, 5000)
print("logged", flush=True)
sys.stdin.readline()
interrupted(%s)
"""
PLACES = [
    ("at_exit, '_wait_for_children'", 1),
    ("at_exit, 'how_it_ended'", 1),
    ("type(run), '_end_at_exit'", 1),
    ("session.Session, '_push_end'", 1),
    ("producer.Queue, 'close'", 1),
    ("producer.Queue, 'is_safe'", 1),
    ("session.Session, 'check_writer'", 1),
    ("spool, 'open_overflow'", 3),
    ("segment, '_reserve'", 3),
    ("segment, '_map'", 3),
    ("segment.removal, 'rename_in_spool'", 3),
    ("kept_segments.KeptSegments, '_keep_only'", 3),
]


@pytest.mark.parametrize(("place", "times"), PLACES)
@pytest.mark.parametrize("end", ["signal.raise_signal(signal.SIGINT)", "run.finish()"])
def test_ctrl_c_again(tmp_path, place, times, end):
    """Wherever in the end of a program Ctrl-C comes, what its stopped writer has not opened is stored once."""
    body = textwrap.dedent(SCRIPT % f"{place}, {times}") + end + "\n"
    trainer = Trainer(tmp_path, body, RUNICORN_EXIT_WAIT_S="0.1", RUNICORN_FINISH_TIMEOUT_S="0.1", **SMALL)
    writer = suspended_writer(trainer)
    log_rest(trainer)
    segments = sorted(trainer.spool.glob("*.seg"))
    for path in segments[::2]:
        path.unlink()
    trainer.go_on()
    _, errors = trainer.end()
    writer.resume()
    wait_stored(trainer)
    assert_exactly_once(trainer)
    told = status(trainer.run_dir)
    assert (told["status"], told.get("storage_errors")) in {("interrupted", None), ("finished", None)}, errors
