"""Offline runs of wandb for ``wandb sync``: ``offline-run-<time>-<id>/run-<id>.wandb``, with images beside it.

wandb has one row for each step, in the order of steps. If a step has several values, the last one is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from runicorn.errors import WrongValueError
from runicorn.exporting import image_sizes
from runicorn.exporting.image_files import content_of, ending_of
from runicorn.exporting.wandb_frames import WandbFile, message, of_items, of_number, of_text, of_time
from runicorn.reading.table import STEP, TIME
from runicorn.storage import modes, run_files, statuses
from runicorn.storage.escaping import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from runicorn.exporting.selection import Selection
    from runicorn.reading import LoadedRun

_ROW, _SUMMARY, _FILES, _RUN, _EXIT, _HEADER = 2, 3, 6, 17, 18, 21
_EXIT_CODES = {statuses.FINISHED: 0, statuses.INTERRUPTED: 255}
_OTHER_END = 1
_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_NOT_IN_PROJECT = re.compile(r"[/\\#?%:]")
_LONGEST_PROJECT = 128
_OWN = frozenset({"_step", "_timestamp", "_runtime", "_wandb"})
_READER_BYTES = b"0.70.0"
"""The oldest version of wandb that can read these files."""
_YEAR_9999_S = 253_370_000_000
_NEGATIVE = "rows of steps below 0 left out, because wandb refuses them"
_RENAMED = "names changed, because wandb uses them itself, or another value has them"
_MISSING = "images left out because their files are missing"


class _ImagesOfStep(NamedTuple):
    """The images of one step: when the first one was logged, and the JSON of each by its name."""

    time_s: float
    texts: dict[str, str]


def write(
    run: LoadedRun, selection: Selection, directory: str, _target: str, advance: Callable[[int], None]
) -> tuple[int, list[str], list[str]]:
    """Write one run.

    Args:
        run: read as far as it is now.
        selection: what of it.
        directory: of all runs, while it is made.
        advance: called with the number of values that were written.

    Returns:
        The number of points, the names of the metrics, and sentences on what is not as it was logged.
    """
    run_id, started = _id(run.info.id), _started(run)
    clock = time.strftime("%Y%m%d_%H%M%S", time.localtime(started))
    top = os.path.join(directory, f"offline-run-{clock}-{run_id}")
    modes.make_directory(top)
    modes.make_directory(os.path.join(top, "files"))  # where wandb puts the configuration and the summary
    counts = Counter[str]()
    with open(os.path.join(top, f"run-{run_id}.wandb"), "xb") as file:
        records = WandbFile(file)
        records.add(_HEADER, message(1, of_text(1, "runicorn") + message(2, _READER_BYTES)))
        records.add(_RUN, _of_run(run, run_id, started))
        images = {} if selection.names else _images_by_step(run, top, records, counts)
        points, names, last = _write_rows(run, selection, records, images, counts, advance)
        summary = {**last, **{escape(name): _json(value) for name, value in run.summary.items()}}
        if summary:
            records.add(_SUMMARY, of_items(1, summary.items()))
        if run.info.status != statuses.RUNNING:
            records.add(_EXIT, _of_exit(run, started))
        file.flush()
        os.fsync(file.fileno())
    return points, names, [f"{what}: {count:,}" for what, count in counts.items() if count] + _without_a_place(run)


def check(selection: Selection) -> None:
    """Refuse what cannot be written.

    Raises:
        ValueError: the selection has several ranks, or several values of one step.
    """
    if selection.ranks == "all" or not selection.by_step:
        raise WrongValueError(
            "wandb has one row for each step, but --ranks all and --lines give a step several rows. Nothing was "
            "written. Leave them out."
        )


def _id(run_id: str) -> str:
    return run_id if _ID.fullmatch(run_id) else hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _started(run: LoadedRun) -> float:
    given = run.info.created_at if run.info.started_at is None else run.info.started_at
    return given if given is not None and 0 <= given < _YEAR_9999_S else 0.0


def _project(path: str) -> str:
    return _NOT_IN_PROJECT.sub("-", escape(path))[:_LONGEST_PROJECT] or "runicorn"


def _of_run(run: LoadedRun, run_id: str, started: float) -> bytes:
    info, config = run.info, dict(run.config)
    arguments = config.pop("args", None)
    settings = {**(arguments if isinstance(arguments, dict) else {}), **config}
    items = of_items(1, [(escape(name), _json(value)) for name, value in settings.items()])
    labels = [(1, run_id), (3, _project(info.path)), (6, info.group), (8, info.alias or info.id), (9, info.notes)]
    return b"".join(
        (
            *(of_text(number, text and escape(text)) for number, text in labels),
            message(4, items),
            *(of_text(10, escape(tag)) for tag in info.tags),
            of_text(13, info.hostname),
            of_time(17, started),
        )
    )


def _of_exit(run: LoadedRun, started: float) -> bytes:
    lasted_s = max(0, round((run.info.ended_at or started) - started))
    return of_number(1, _EXIT_CODES.get(run.info.status, _OTHER_END)) + of_number(2, lasted_s)


def _write_rows(
    run: LoadedRun,
    selection: Selection,
    records: WandbFile,
    images: dict[int, _ImagesOfStep],
    counts: Counter[str],
    advance: Callable[[int], None],
) -> tuple[int, list[str], dict[str, str]]:
    """Write a row for each step; the number of points, the names of the metrics, and the last value of each name."""
    table = selection.table(run)
    names = [name for name in selection.checked_names(run) if name in table.columns]
    written = _names(names, counts)
    started, points, last = _started(run), 0, dict[str, str]()
    waiting = sorted(images, reverse=True)
    for step, time_s, *cells in zip(table[STEP], table[TIME], *(table[name] for name in names), strict=True):
        if step < 0:
            counts[_NEGATIVE] += 1
            continue
        while waiting and waiting[-1] < step:
            records.add(_ROW, _row_of_images(waiting.pop(), images, started))
        values = {name: _json(cell) for name, cell in zip(written, cells, strict=True) if cell is not None}
        points += len(values)
        advance(len(values))
        last.update(values)
        if waiting and waiting[-1] == step:
            values.update(images[waiting.pop()].texts)
        records.add(_ROW, _row(step, time_s, started, values))
    for step in reversed(waiting):
        records.add(_ROW, _row_of_images(step, images, started))
    return points, names, last


def _row_of_images(step: int, images: dict[int, _ImagesOfStep], started: float) -> bytes:
    return _row(step, images[step].time_s, started, images[step].texts)


def _row(step: int, time_s: float, started: float, values: dict[str, str]) -> bytes:
    own = {"_step": step, "_timestamp": time_s, "_runtime": time_s - started}
    items = of_items(1, [*values.items(), *((name, _json(value)) for name, value in own.items())])
    return items + message(2, of_number(1, step))


def _names(names: list[str], counts: Counter[str]) -> list[str]:
    """Names of metrics for wandb: none that wandb uses itself, and none twice."""
    taken, found = {*names, *_OWN}, []
    for name in names:
        new = escape(name)
        while new in _OWN or (new != name and new in taken):
            new += "_"
        taken.add(new)
        counts[_RENAMED] += new != name
        found.append(new)
    return found


def _images_by_step(
    run: LoadedRun, top: str, records: WandbFile, counts: Counter[str]
) -> dict[int, _ImagesOfStep]:
    """Copy the images to the folder of wandb, and make the JSON of each for its row."""
    found: dict[int, _ImagesOfStep] = {}
    folder = os.path.join(top, "files", "media", "images")
    for image in run.images:
        step, content = image.step or 0, content_of(run, image.path)
        if not content or step < 0:
            counts[_NEGATIVE if content else _MISSING] += 1
            continue
        name = f"{hashlib.sha256(content).hexdigest()[:20]}{ending_of(image.path)}"
        modes.make_directories(folder)
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            with open(path, "xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            records.add(_FILES, message(1, of_text(1, f"media/images/{name}")))
        of_step = found.setdefault(step, _ImagesOfStep(image.time, {}))
        key = escape(image.key)
        while key in of_step.texts or key in run.metrics or key in _OWN:  # one name has one value there
            key += "_"
        counts[_RENAMED] += key != image.key
        of_step.texts[key] = _json(_about(content, name, image.caption))
    return found


def _about(content: bytes, name: str, caption: str | None) -> dict[str, Any]:
    size = image_sizes.size_of(content)
    about = {
        "_type": "image-file",
        "path": f"media/images/{name}",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "format": os.path.splitext(name)[1].removeprefix("."),
    }
    about |= {} if size is None else {"width": size[0], "height": size[1]}
    return about if caption is None else {**about, "caption": escape(caption)}


def _without_a_place(run: LoadedRun) -> list[str]:
    has_text = os.path.exists(os.path.join(run.info.run_dir, run_files.LOGS))
    parts = ["the text of logs.txt"] * has_text + ["what the machine did"] * bool(len(run.system))
    return [f"{' and '.join(parts)} left out"] * bool(parts)


def _json(value: Any) -> str:
    """JSON as wandb writes it, with bare ``NaN`` and ``Infinity``; lone surrogates are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() else escape(text)
