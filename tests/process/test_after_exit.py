"""Calls that come when an interpreter is shutting down: after the hooks at its exit, from a ``__del__``."""

from support import status
from support.trainers import Trainer, assert_valid, counted

KEPT = """
import builtins
class Keeper:
    def __init__(self, run): self.run = run
    def __del__(self): {}
run = rn.init()
opened(run)
run.log(i=1)
builtins.kept = Keeper(run)
"""


def told_by(tmp_path, call):
    """What a call in such a ``__del__`` has said; the run has ended well before."""
    trainer = Trainer(tmp_path, KEPT.format(call))
    _, errors = trainer.end()
    assert trainer.process.returncode == 0
    assert status(trainer.run_dir)["status"] == "finished"
    assert counted(trainer.run_dir) == [1]
    assert_valid(trainer.run_dir)
    assert not trainer.spool.exists()
    return errors


def test_finish_after_the_exit_is_silent(tmp_path):
    """The run has ended as ``finish()`` would end it, so there is nothing to say."""
    assert told_by(tmp_path, "self.run.finish()") == ""


def test_leaving_with_after_the_exit_is_silent(tmp_path):
    """Nor is there when a ``with`` block is left so late."""
    assert told_by(tmp_path, "self.run.__exit__(None, None, None)") == ""


def test_what_cannot_be_done_any_more_says_why(tmp_path):
    """A call that needs a module which is gone says that the interpreter was shutting down, and asks for no report."""
    errors = told_by(tmp_path, 'self.run.summary({"a": 1})')
    assert "while the interpreter was shutting down" in errors
    assert "the run had ended before" in errors.lower()
    assert "report" not in errors


def test_a_value_after_the_exit(tmp_path):
    """A value that is logged so late is refused, as after ``finish()``."""
    errors = told_by(tmp_path, "self.run.log(i=2)")
    assert "was called after finish()" in errors
    assert "report" not in errors
