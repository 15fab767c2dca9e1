"""The images of a run: their list by key and step, and their bytes, if the file is the image that it says it is."""

from __future__ import annotations

import io
import json
import os
import struct

import pytest
from lines_of_events import event
from PIL import Image

import runicorn as rn

KEY = "20260101_120000_abcdef"
IMAGES = f"/api/v1/runs/{KEY}/images"
SVG = b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- a > b --><svg viewBox="0 0 1 1" width="80px" height="40"><g/></svg>'


def image_line(path, step, key="k", rank=None, **data):
    """A line of type ``image``, as it lies on disk."""
    marks = {} if rank is None else {"rank": rank}
    data = {"key": key, "path": path, "step": step, "caption": None, **data}
    return json.dumps({"ts": 1000.0, "type": "image", "data": data, **marks}) + "\n"


def encoded(kind="PNG", size=(40, 30), mode="RGB", **options):
    """An image file."""
    out = io.BytesIO()
    Image.new(mode, size).save(out, kind, **options)
    return out.getvalue()


def with_files(run_dir, **contents):
    """Files in the run's ``media/``; in a name ``_`` stands for a dot."""
    (run_dir / "media").mkdir(exist_ok=True)
    for name, content in contents.items():
        (run_dir / "media" / name.replace("_", ".")).write_bytes(content)
    return run_dir


def test_images_are_listed_by_key_and_step(make_run, open_viewer):
    """Keys with counts and steps, those of a key between two steps, and of each key the nearest at or below."""
    lines = [event(step, stage="a" if step < 5 else "b", loss=1.0) for step in range(1, 9)]
    lines += [image_line("media/a.png", step, caption=f"at {step}") for step in (2, 4, 6)]
    lines += [image_line("media/b.png", 3, key="other"), image_line("media/c.png", None, key="none")]
    with_files(make_run(lines=lines), a_png=encoded(), b_png=b"text")
    client = open_viewer()
    known = client.get(IMAGES).json()
    assert known["keys"] == [
        {"key": "k", "count": 3, "first_step": 2, "last_step": 6},
        {"key": "none", "count": 1, "first_step": None, "last_step": None},
        {"key": "other", "count": 1, "first_step": 3, "last_step": 3},
    ]
    assert (known["steps"], known["count"]) == ([2, 3, 4, 6], 5)
    found = client.get(IMAGES, params={"key": "k", "from": 3, "to": 6}).json()
    assert [(each["step"], each["stage"], each["caption"]) for each in found["images"]] == [
        (4, "a", "at 4"),
        (6, "b", "at 6"),
    ]
    assert (found["images"][0]["width"], found["images"][0]["height"]) == (40, 30)
    assert client.get(IMAGES, params={"key": "k", "limit": 1, "offset": 2}).json()["images"][0]["step"] == 6
    for at, steps in (("", [6, None, 3]), ("5", [4, None, 3]), ("1", [None]), ("-9", [None])):
        images = client.get(IMAGES, params={"at": at}).json()["images"]
        assert [each["step"] for each in images] == steps, at
    reasons = {each["key"]: each["reason"] for each in client.get(IMAGES, params={"at": ""}).json()["images"]}
    assert reasons == {
        "k": None,
        "none": "its file is not there",
        "other": "its file does not begin as an image does",
    }


def test_numbers_of_images_stay_as_files_grow_and_come(make_run, open_viewer):
    """What a number names it goes on to name: also when the main file grows and a rank's file comes."""
    run_dir = with_files(make_run(status="running", lines=[image_line("media/a.png", 1)]), a_png=encoded())
    with (run_dir / "events.rank1.jsonl").open("w") as file:
        file.write(image_line("media/a.png", 1, rank=1))
    client = open_viewer()
    before = {each["rank"]: each["number"] for each in client.get(IMAGES, params={"key": "k"}).json()["images"]}
    with (run_dir / "events.jsonl").open("a") as file:
        file.write(image_line("media/a.png", 2))
    (run_dir / "events.rank0.jsonl").write_text(image_line("media/a.png", 1, rank=0))
    after = client.get(IMAGES, params={"key": "k"}).json()["images"]
    assert len(after) == 4
    assert {each["rank"]: each["number"] for each in after if each["step"] == 1 and each["rank"] != 0} == before
    assert all(each["number"] < 2**53 for each in after)


def test_images_that_a_resume_replaced_are_apart(make_run, open_viewer):
    """A later session's images replace those of its key from its first step on; the earlier ones come if asked for."""
    lines = [image_line("media/a.png", step, caption="old") for step in (1, 2, 3)] + [image_line("media/a.png", 3, "x")]
    edge = sum(map(len, lines))
    lines += [image_line("media/a.png", 2, caption="new")]
    resumed = [{"time": 1.0, "events": {"events.jsonl": edge}, "session": "abc"}]
    make_run(lines=lines, meta={"resumed": resumed})
    client = open_viewer()
    found = client.get(IMAGES, params={"key": "k"}).json()
    assert [(each["step"], each["caption"]) for each in found["images"]] == [(1, "old"), (2, "new")]
    assert (found["superseded"], client.get(IMAGES).json()["keys"][0]["count"]) == (2, 2)
    every = client.get(IMAGES, params={"key": "k", "superseded": 1}).json()["images"]
    assert [(each["step"], each["superseded"]) for each in every] == [(1, False), (2, True), (2, False), (3, True)]
    assert client.get(IMAGES, params={"key": "x"}).json()["count"] == 1


@pytest.mark.parametrize(
    ("content", "kind", "media_type", "size"),
    [
        (encoded("PNG"), "PNG", "image/png", (40, 30)),
        (encoded("JPEG"), "JPEG", "image/jpeg", (40, 30)),
        (encoded("JPEG", progressive=True, comment=b"\xff\xd8" * 20_000), "JPEG", "image/jpeg", (40, 30)),
        (encoded("JPEG", icc_profile=bytes(200_000)), "JPEG", "image/jpeg", (40, 30)),
        (encoded("WEBP", lossless=True), "WebP", "image/webp", (40, 30)),
        (encoded("WEBP", lossless=False), "WebP", "image/webp", (40, 30)),
        (encoded("WEBP", mode="RGBA", exif=b"Exif\0\0" + bytes(8)), "WebP", "image/webp", (40, 30)),
        (encoded("GIF"), "GIF", "image/gif", (40, 30)),
        (encoded("BMP"), "BMP", "image/bmp", (40, 30)),
        (SVG, "SVG", "image/svg+xml", (80, 40)),
        (b"<svg>", "SVG", "image/svg+xml", (None, None)),
        (encoded("PNG")[:12], "PNG", "image/png", (None, None)),
        (b"\xff\xd8\xff" + b"\xff" * 70_000, "JPEG", "image/jpeg", (None, None)),
    ],
)
def test_bytes_come_after_a_look_at_the_first_of_them(make_run, open_viewer, content, kind, media_type, size):
    """Whatever the file's ending: the type is what its bytes are, and width and height are read without decoding."""
    with_files(make_run(lines=[image_line("media/a.png", 1)]), a_png=content)
    client = open_viewer()
    (listed,) = client.get(IMAGES, params={"key": "k"}).json()["images"]
    assert (listed["kind"], listed["width"], listed["height"], listed["bytes"]) == (kind, *size, len(content))
    answer = client.get(f"{IMAGES}/{listed['number']}")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, media_type, content)
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<html><svg></svg><script>alert(1)</script>", "does not begin as an image does"),
        (b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'><svg/></html>", "does not begin"),
        (b"BM is how this text begins", "does not begin"),
        (b"GIF", "does not begin"),
        (b"RIFF....WAVE", "does not begin"),
        (b"%PDF-1.7", "does not begin"),
        (encoded("TIFF"), "its kind is TIFF, which browsers do not show"),
        (encoded()[:16] + struct.pack(">II", 20_000, 20_000) + bytes(20), "20000 x 20000 pixels"),
    ],
)
def test_what_is_no_image_that_is_shown_says_why(make_run, open_viewer, content, words):
    """The list has the reason, and the bytes are 404 in JSON with the same words."""
    with_files(make_run(lines=[image_line("media/a.png", 1)]), a_png=content)
    client = open_viewer()
    (listed,) = client.get(IMAGES, params={"key": "k"}).json()["images"]
    answer = client.get(f"{IMAGES}/{listed['number']}")
    assert words in listed["reason"]
    assert answer.status_code == 404
    assert listed["reason"] in answer.json()["error"]["what"]


PATHS = [
    *("../secret.png", "media/../../secret.png", "..", ".", "", "/", "media", "media/", "//etc/passwd", "/etc/passwd"),
    *("media/./../../secret.png", "C:\\x.png", "\\\\host\\x.png", "file:///etc/passwd", "~/x.png", "media/\x00.png"),
    *(
        "media/link.png",
        "folder/secret.png",
        "media/pipe.png",
        "media/a.png/x",
        "a" * 5000,
        "x/" * 3000 + "y",
        "\ud800",
    ),
    *("{run}/../secret.png", "{outside}/secret.png", "{run}x/secret.png", "meta.json", "media/%2e%2e/x.png"),
]


@pytest.mark.parametrize("path", PATHS)
def test_no_stored_path_leads_out_of_the_run(make_run, open_viewer, tmp_path, path):
    """Up, absolute, a link of a file or folder, a FIFO, no path: refused with a reason, and not waited for."""
    run_dir = make_run(lines=[])
    (tmp_path / "secret.png").write_bytes(encoded())
    (run_dir.parent / "secret.png").write_bytes(encoded())
    (run_dir.parent / f"{KEY}x").mkdir()
    (run_dir.parent / f"{KEY}x" / "secret.png").write_bytes(encoded())
    with_files(run_dir, a_png=encoded())
    (run_dir / "media" / "link.png").symlink_to(tmp_path / "secret.png")
    (run_dir / "folder").symlink_to(tmp_path)
    os.mkfifo(run_dir / "media" / "pipe.png")
    stored = path.format(run=run_dir, outside=tmp_path)
    (run_dir / "events.jsonl").write_text(image_line(stored, 1))
    client = open_viewer()
    (listed,) = client.get(IMAGES, params={"key": "k"}).json()["images"]
    assert listed["reason"]
    assert client.get(f"{IMAGES}/{listed['number']}").status_code == 404


def test_absolute_path_inside_the_run_and_a_hard_link_are_served(make_run, open_viewer, tmp_path):
    """Runicorn 0.7.2 takes an absolute path too; a file with a second name (a backup by hard links) is one."""
    run_dir = with_files(make_run(lines=[]), a_png=encoded())
    os.link(run_dir / "media" / "a.png", tmp_path / "backup.png")
    (run_dir / "events.jsonl").write_text(image_line(str(run_dir / "media" / "a.png"), 1))
    client = open_viewer()
    (listed,) = client.get(IMAGES, params={"key": "k"}).json()["images"]
    assert (listed["reason"], client.get(f"{IMAGES}/{listed['number']}").content) == (None, encoded())


def test_file_that_was_replaced_is_looked_into_again(make_run, open_viewer):
    """The list tells what the file is now, not what it was at the last request."""
    run_dir = with_files(make_run(lines=[image_line("media/a.png", 1)]), a_png=encoded())
    client = open_viewer()
    assert client.get(IMAGES, params={"key": "k"}).json()["images"][0]["width"] == 40
    with_files(run_dir, a_png=encoded(size=(7, 8)) + b"longer")
    assert client.get(IMAGES, params={"key": "k"}).json()["images"][0]["width"] == 7
    (run_dir / "media" / "a.png").unlink()
    assert client.get(IMAGES, params={"key": "k"}).json()["images"][0]["reason"] == "its file is not there"


@pytest.mark.parametrize("number", ["-1", "1", "1e3", "0x0", "\u0669", "9" * 16, "9" * 99, "a.png", "0 ", "+0"])
def test_numbers_that_name_no_image_are_404(make_run, open_viewer, number):
    """Only a number of the list names an image."""
    with_files(make_run(lines=[image_line("media/a.png", 1)]), a_png=encoded())
    client = open_viewer()
    answer = client.get(f"{IMAGES}/{number}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")


@pytest.mark.parametrize("query", ["key=k&limit=0", "key=k&limit=5001", "key=k&from=a", "at=1.5", "key=k&offset=-1"])
def test_wrong_parameters_are_400(client, query):
    """They are told, and nothing is guessed."""
    assert client.get(f"{IMAGES}?{query}").status_code == 400


def test_images_of_the_sdk_are_shown(storage, open_viewer):
    """What ``log_image()`` has stored comes with key, step, caption, stage and size."""
    with rn.init(storage=str(storage), run_id=KEY) as run:
        run.log({"loss": 1.0}, step=7, stage="train")
        run.log_image("a/b c", Image.new("RGB", (12, 9)), caption="one")
    client = open_viewer()
    (listed,) = client.get(IMAGES, params={"at": ""}).json()["images"]
    told = ("a/b c", 7, "one", "train", 12, 9, None)
    assert tuple(listed[name] for name in ("key", "step", "caption", "stage", "width", "height", "reason")) == told
    assert client.get(f"{IMAGES}/{listed['number']}").content.startswith(b"\x89PNG")
