"""A writer and its process that asks the GPUs are stopped for a while, as in a suspended job."""

import signal
import time

import psutil
import pytest
import support
from support import status, stopped_writer, wait_until
from support.machine import samples


def burn(seconds):
    """Use CPU time."""
    begun = time.process_time()
    while time.process_time() - begun < seconds:
        sum(range(1000))


def more_samples(run, is_one=bool):
    """Wait for two new samples of a kind, because the first one may have begun before this call."""
    known = len(samples(run))
    wait_until(lambda: sum(map(is_one, samples(run)[known:])) > 1, what="samples go on")
    return samples(run)[known:]


def is_of_gpus(sample):
    """Whether a sample has numbers of a GPU."""
    return "gpu2/power_w" in sample


@pytest.mark.usefixtures("often")
def test_a_writer_that_was_stopped_samples_on_and_loses_nothing(open_run):
    """A stopped writer loses no record; its next sample has the CPU time of the pause."""
    run = open_run()
    more_samples(run)
    with stopped_writer(run):
        known = len(samples(run))
        for number in range(20_000):
            run.log(number=number)
        burn(1.0)
        assert len(samples(run)) == known
    assert run._queue.dropped_records == 0
    later = more_samples(run)
    assert sum(sample["tree/cpu_percent"] * sample["interval_s"] for sample in later) / 100 > 0.95
    run.finish()
    assert support.logged(run) == [{"number": number} for number in range(20_000)]
    assert status(run)["status"] == "finished"
    times = [sample["time"] for sample in samples(run)]
    assert times == sorted(times)


def stopped_gpu_child(run):
    """The process that asks the GPUs for a run's writer, stopped."""
    children = support.writer_of(run).children()
    (child,) = [each for each in children if any("gpu_child" in word for word in support.command_line(each))]
    child.send_signal(signal.SIGSTOP)
    wait_until(lambda: child.status() == psutil.STATUS_STOPPED, what="it is stopped")
    return child


@pytest.mark.usefixtures("often", "gpu_driver")
def test_the_process_that_asks_the_gpus_costs_their_numbers_alone_if_it_is_stopped(open_run):
    """If the process that asks the GPUs is stopped, other samples and records go on, and it ends with the run."""
    run = open_run()
    more_samples(run, is_of_gpus)
    child = stopped_gpu_child(run)
    run.log(loss=1.0)
    wait_until(lambda: support.logged(run) == [{"loss": 1.0}], what="the record")
    more_samples(run, lambda sample: not is_of_gpus(sample))
    run.finish()
    assert status(run)["status"] == "finished"
    wait_until(lambda: not child.is_running(), what="it is gone")


@pytest.mark.usefixtures("often", "gpu_driver")
def test_a_run_ends_while_the_process_that_asks_the_gpus_is_stopped(open_run):
    """The run does not wait for the stopped process, which ends with the writer."""
    run = open_run()
    more_samples(run, is_of_gpus)
    child = stopped_gpu_child(run)
    run.log(loss=1.0)
    run.finish()
    assert support.logged(run) == [{"loss": 1.0}]
    assert status(run)["status"] == "finished"
    wait_until(lambda: not child.is_running(), what="it is gone")
