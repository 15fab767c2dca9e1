"""Log from worker processes into one run: hand the run to each of them.

No ``if __name__ == "__main__"`` is needed for the run itself; ``multiprocessing`` needs it to start the workers.
"""

import multiprocessing

import runicorn as rn


def work(run: rn.Run, number: int) -> None:
    """Log 100 values in one worker, and store them before it ends."""
    for step in range(1, 101):
        run.log({f"loss/{number}": 1 / step}, step=step)
    run.finish()  # stores what this worker has logged; the run goes on


if __name__ == "__main__":
    with rn.init(path="workers") as run:
        workers = [multiprocessing.get_context("spawn").Process(target=work, args=(run, n)) for n in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    print({name: len(rn.load(run)[name]) for name in rn.load(run).metrics})
