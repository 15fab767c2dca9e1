"""PyTorch's ``DataLoader``: what its workers log is in the run, by each start method, for as long as they live."""

from __future__ import annotations

import json

import pytest
from support import events, status

from runicorn.host.identity import hostname

pytestmark = pytest.mark.timeout(240)
WORKERS, ITEMS, EPOCHS = 2, 32, 2

PROGRAM = f"""
import json, multiprocessing, os, sys
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info
import runicorn as rn

WORKERS, ITEMS, EPOCHS = {WORKERS}, {ITEMS}, {EPOCHS}
torch.set_num_threads(1)


class Items(Dataset):
    def __init__(self, run):
        self.run = run

    def __len__(self):
        return ITEMS

    def __getitem__(self, index):
        self.run.log(kind="item", index=index, value=torch.tensor(index * 0.5))
        return index


class Stream(IterableDataset):
    def __init__(self, run):
        self.run = run

    def __iter__(self):
        worker = get_worker_info()
        for index in range(worker.id, ITEMS, worker.num_workers):
            self.run.log(kind="item", index=index, value=torch.tensor(index * 0.5))
            yield index
        self.run.log(kind="end", index=worker.id)


def begin(worker):
    info = get_worker_info()
    info.dataset.run.log(kind="begin", index=worker)
    info.dataset.run.log_text(f"worker {{worker}} is {{os.getpid()}}")


if __name__ == "__main__":
    storage, method, kind, lives = sys.argv[1:]
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["torch", "runicorn"])
    run = rn.init(storage=storage, path="vision")
    loader = DataLoader(
        {{"map": Items, "stream": Stream}}[kind](run),
        batch_size=4,
        num_workers=WORKERS,
        persistent_workers=lives == "persistent",
        worker_init_fn=begin,
        multiprocessing_context=context,
    )
    for epoch in range(EPOCHS):
        seen = []
        for batch in loader:
            run.log(kind="step", index=epoch, size=len(batch))
            seen += batch.tolist()
        assert sorted(seen) == list(range(ITEMS)), seen
    run.finish()
    print(json.dumps({{"run_dir": str(run.run_dir), "pid": os.getpid()}}))
"""


@pytest.mark.parametrize(
    ("method", "kind", "lives"),
    [
        # Any two of the three together; each worker that is spawned imports torch for two seconds.
        ("fork", "map", "persistent"),
        ("fork", "stream", "for an epoch"),
        ("spawn", "map", "for an epoch"),
        ("spawn", "stream", "persistent"),
        ("forkserver", "map", "persistent"),
        ("forkserver", "stream", "for an epoch"),
    ],
)
def test_workers_of_a_dataloader_log_into_the_run_of_their_dataset(run_engine, tmp_path, method, kind, lives):
    """Each item, worker start and step is recorded once, in order, under its worker's name, and nothing is refused."""
    ended = run_engine("torch", PROGRAM, method, kind, lives)
    run_dir = tmp_path / json.loads(ended.stdout)["run_dir"]
    by = {}
    for line in events(run_dir):
        by.setdefault(line.get("producer"), []).append(line["data"])

    steps = by.pop(None)
    assert [data["kind"] for data in steps] == ["step"] * len(steps)
    for epoch in range(EPOCHS):
        assert sum(data["size"] for data in steps if data["index"] == epoch) == ITEMS

    begun = WORKERS if lives == "persistent" else WORKERS * EPOCHS
    assert len(by) == begun
    assert all(name.startswith(f"{hostname()}-") for name in by)
    epochs_of_each = EPOCHS if lives == "persistent" else 1
    for records in by.values():
        first, *rest = records
        worker = first["index"]
        assert first["kind"] == "begin"
        epoch = expected_of(kind, worker)
        assert [(data["kind"], data["index"]) for data in rest] == epoch * epochs_of_each
        assert all(data["value"] == data["index"] * 0.5 for data in rest if data["kind"] == "item")
    assert sorted(records[0]["index"] for records in by.values()) == sorted(list(range(WORKERS)) * (begun // WORKERS))

    text = (run_dir / "logs.txt").read_text(encoding="utf-8")
    told = {f"{hostname()}-{line.rpartition(' ')[2]}" for line in text.splitlines()}
    assert told == set(by)
    assert status(run_dir)["status"] == "finished"
    assert "[run " not in ended.stderr, ended.stderr


def expected_of(kind, worker):
    """What a worker logs in an epoch: batches of four go round the workers, a stream is cut by its own code."""
    if kind == "stream":
        return [("item", index) for index in range(worker, ITEMS, WORKERS)] + [("end", worker)]
    batches = [range(start, start + 4) for start in range(0, ITEMS, 4)]
    return [("item", index) for batch in batches[worker::WORKERS] for index in batch]
