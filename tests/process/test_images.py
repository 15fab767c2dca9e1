"""Images through the queue and the writer: pixels as they were at the call, a file that is whole or none."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import events, status, wait_until
from support.trainers import Trainer, assert_valid, counted, recover_killed

MAKE = """
import numpy as np
def picture(n, size=64):
    return np.full((size, size, 3), n % 256, np.uint8)
"""


def images(run_dir):
    """The image events, each with the pixels of its file; no other file is in media/."""
    found = [event for event in events(run_dir) if event["type"] == "image"]
    files = sorted(str(path.relative_to(run_dir)) for path in (run_dir / "media").iterdir())
    assert files == sorted(event["data"]["path"] for event in found)
    for event in found:
        with Image.open(run_dir / event["data"]["path"]) as image:
            event["pixels"] = np.asarray(image)
    return found


def test_an_image_is_stored_as_it_was_at_the_call(tmp_path):
    """What the caller does to its array after the call changes nothing; the path is known at once; steps stay."""
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
array = picture(7)
run.log(loss=1.0, step=41)
path = run.log_image("sample/1 中", array, caption="cap")
array[:] = 99
explicit = run.log_image("sample/1 中", array, step=3)
run.log(loss=2.0)
print(path, explicit)
run.finish()
"""
    )
    trainer = Trainer(tmp_path, body)
    out, errors = trainer.end()
    assert errors == ""
    first, second = images(trainer.run_dir)
    assert [first["data"]["path"], second["data"]["path"]] == out.split()
    assert first["data"] == {"key": "sample/1 中", "path": out.split()[0], "step": 41, "caption": "cap"}
    assert second["data"]["step"] == 3
    assert (first["pixels"] == 7).all()
    assert (second["pixels"] == 99).all()
    assert [event["data"]["global_step"] for event in events(trainer.run_dir) if event["type"] == "metrics"] == [41, 42]
    assert_valid(trainer.run_dir)


def test_bad_input_is_refused(tmp_path):
    """An image that is none is refused with a warning and leaves nothing behind; the run goes on."""
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
told = [run.log_image("a", None), run.log_image("b", "nowhere.png"), run.log_image(5, picture(1))]
told += [run.log_image("c", picture(1), format="tiff"), run.log_image("d", picture(1), quality=0)]
told += [run.log_image("e", np.full((4, 4), np.nan))]
assert told == [""] * 6, told
assert run.log_image("good", picture(1), format="JPG").endswith(".jpg")
run.finish()
assert run.log_image("late", picture(1)) == ""
"""
    )
    trainer = Trainer(tmp_path, body)
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert errors.count("log_image()") == 7
    assert [event["data"]["key"] for event in images(trainer.run_dir)] == ["good"]


def test_strict_raises(tmp_path):
    """With RUNICORN_STRICT a bad image raises at the call."""
    body = """
run = rn.init()
opened(run)
try:
    run.log_image("a", None)
except TypeError as error:
    print(error)
run.finish()
"""
    out, errors = Trainer(tmp_path, body, RUNICORN_STRICT="1").end()
    assert errors == ""
    assert "log_image()" in out


@pytest.mark.parametrize("moment", ["planned", "appending", "appended", "stored"])
def test_the_writer_is_killed_between_images(tmp_path, moment):
    """A writer that is killed in the middle of images and metrics doubles no image, and loses none."""
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
for i in range(1, 13):
    run.log_image("n", picture(i), step=i)
    run.log(i=i, step=i)
    returned(i)
run.finish()
"""
    )
    trainer = Trainer(tmp_path, body, crash_at=f"{moment}:2:writer", RUNICORN_BATCH_BYTES="512")
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    found = images(trainer.run_dir)
    assert [event["data"]["step"] for event in found] == list(range(1, 13))
    assert all((event["pixels"] == event["data"]["step"]).all() for event in found)
    assert counted(trainer.run_dir) == list(range(1, 13))
    assert_valid(trainer.run_dir)


def test_both_are_killed_between_images(tmp_path):
    """After SIGKILL of trainer and writer every image whose call returned is stored by recovery."""
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
sys.stdin.readline()
for i in range(1, 1000):
    run.log_image("n", picture(i, 256), step=i)
    returned(i)
"""
    )
    trainer = Trainer(tmp_path, body)
    writer = trainer.writer_pid()
    trainer.go_on()
    trainer.wait_returned(20)
    os.kill(writer, signal.SIGKILL)
    recover_killed(trainer, tmp_path)
    stored = [event["data"]["step"] for event in images(trainer.run_dir)]
    assert stored == list(range(1, len(stored) + 1))
    assert len(stored) in {trainer.returned, trainer.returned + 1}
    assert status(trainer.run_dir)["status"] == "failed"


@pytest.mark.parametrize("fault", ["ENOSPC", "EACCES"])
def test_a_full_disk(tmp_path, fault):
    """While storage fails log_image() goes on; nothing half-written has a final name; with room all are there."""
    switch = tmp_path / "fault"
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
sys.stdin.readline()
for i in range(1, 6):
    run.log_image("n", picture(i), step=i)
print("went on", flush=True)
sys.stdin.readline()
run.finish()
"""
    )
    trainer = Trainer(tmp_path, body, storage_fault=str(switch))
    control = trainer.spool / "control"
    switch.write_text(fault)
    trainer.go_on()
    assert trainer.read_line() == "went on"
    from runicorn.queue.control_page import ControlPage

    page = ControlPage.open(str(control))
    wait_until(lambda: page.troubles)
    assert list((trainer.run_dir / "media").iterdir()) == []
    switch.unlink()
    trainer.go_on()
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert [event["data"]["step"] for event in images(trainer.run_dir)] == [1, 2, 3, 4, 5]
    assert status(trainer.run_dir)["storage_errors"]


def test_no_room_in_the_spool(tmp_path):
    """Where neither place has room for the pixels the image is refused with one warning, and metrics go on."""
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
with stopped_writer(run):  # nothing is taken out of the spool meanwhile
    paths = [run.log_image("n", picture(i, 1024), step=i) for i in range(4)]
run.log(i=1)
run.finish()
print(paths.count(""))
"""
    )
    limits = {"RUNICORN_SPOOL_MAX_BYTES": str(4 << 20), "RUNICORN_OVERFLOW_MAX_BYTES": str(1 << 20)}
    tests = str(Path(__file__).parents[1])
    trainer = Trainer(tmp_path, f"sys.path.append({tests!r})\nfrom support import stopped_writer\n{body}", **limits)
    out, errors = trainer.end()
    refused = int(out)
    assert refused >= 1
    assert errors.count("The spool is full") == 1
    assert len(images(trainer.run_dir)) == 4 - refused
    assert counted(trainer.run_dir) == [1]
    assert status(trainer.run_dir)["lost_records"] == refused


def test_images_over_the_spare_of_others(tmp_path):
    """Pixels that are written over the file of a larger or a smaller image before are theirs alone."""
    body = (
        MAKE
        + """
from runicorn.queue.blobs import SPARE
run = rn.init()
opened(run)
spare = os.path.join(run._session.address.spool, SPARE)
for i, size in enumerate((400, 200, 300, 500, 160, 40, 400), start=1):
    run.log_image("n", picture(i, size), step=size)
    deadline = time.monotonic() + 60
    while size > 100 and not os.path.exists(spare):
        assert time.monotonic() < deadline
        run.log(i=i)
        time.sleep(0.01)
print(run._session.control.spooled_bytes < 4 << 20)
run.finish()
"""
    )
    trainer = Trainer(tmp_path, "import os, time\n" + body)
    out, errors = trainer.end()
    assert (out, errors) == ("True\n", "")
    found = images(trainer.run_dir)
    assert [event["data"]["step"] for event in found] == [400, 200, 300, 500, 160, 40, 400]
    for i, event in enumerate(found, start=1):
        assert event["pixels"].shape == (event["data"]["step"], event["data"]["step"], 3)
        assert (event["pixels"] == i).all()


def test_many_bad_images_leave_room_for_other_warnings(tmp_path):
    """Twenty-five images that are not there are one kind of cause: what else goes wrong is told as well."""
    body = """
run = rn.init()
opened(run)
for i in range(25):
    run.log_image(f"bad/{i}", f"nowhere-{i}.png")
    run.log_dataset(f"data {i}", f"/nowhere/{i}")
run.log(metric=[1, 2])
run.finish()
"""
    _, errors = Trainer(tmp_path, body).end()
    assert errors.count("could not be read") == 1
    assert errors.count("log_dataset()") == 1
    assert errors.count("metric") >= 1


def test_images_of_children_and_ranks(tmp_path):
    """A forked child's images are in the events with its producer, those of a rank in its own file."""
    body = (
        MAKE
        + """
run = rn.init()
opened(run)
child = os.fork()
if child == 0:
    run.log_image("child", picture(5))
    os._exit(0)
os.waitpid(child, 0)
run.finish()
"""
    )
    trainer = Trainer(tmp_path, body)
    _, errors = trainer.end()
    assert errors == ""
    (found,) = images(trainer.run_dir)
    assert found["producer"].partition("-")[2] or found["producer"]
    assert (found["pixels"] == 5).all()


def test_a_codec_that_fails_costs_the_image_alone(tmp_path):
    """An image whose encoding fails in the writer is missing, status.json says so, and the rest is stored."""
    body = (
        MAKE
        + """
from runicorn.validation import images
run = rn.init()
opened(run)
bad = images.Picture("RGB", 10, 10, b"too short", "png")
images.picture_of, real = lambda *_: bad, images.picture_of
run.log_image("bad", picture(1))
images.picture_of = real
run.log_image("good", picture(2))
run.log(i=1)
run.finish()
"""
    )
    trainer = Trainer(tmp_path, body)
    _, errors = trainer.end()
    assert trainer.process.returncode == 0, errors
    assert [event["data"]["key"] for event in images(trainer.run_dir)] == ["good"]
    assert counted(trainer.run_dir) == [1]
    (told,) = status(trainer.run_dir)["storage_errors"]
    assert "was not stored" in told["error"]
    assert json.dumps(told)
