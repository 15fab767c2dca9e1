"""What a run was made of in a browser: found, read member by member, downloaded, and which runs have the same."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from storages import write_run

RUN, OTHER = "20260101_000000_000000", "20260102_000000_000000"
WEIGHTS = b"weights" * 1000
PAYLOAD = "<img src=x onerror=alert(1)>"


def code() -> bytes:
    """An archive with a program, a member that is no text, one whose name leads out, and one of a hostile name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train.py", "import runicorn\n\n\ndef main():\n    pass\n")
        archive.writestr("data.bin", b"\0\1\2")
        archive.writestr("../up.py", "print('up')\n")
        archive.writestr(f"{PAYLOAD}.py", f"# {PAYLOAD}\n")
        archive.writestr("bomb.txt", bytes(5_000_000))
    return out.getvalue()


@pytest.fixture
def storage(tmp_path):
    """Two runs with the same output, one with its code."""
    root = tmp_path / "storage"
    for run_id, alias in ((RUN, None), (OTHER, "the second")):
        run_dir = write_run(root, run_id, [{"step": 1, "loss": 1.0}], config={"lr": 0.1}, alias=alias)
        rolling = root / "archive" / "outputs" / "rolling" / run_id
        (rolling / "set").mkdir(parents=True)
        (rolling / "best.pth").write_bytes(WEIGHTS)
        (rolling / "set" / "a.csv").write_text("1,2\n")
        kept = {"saved": True, "sha256": hashlib.sha256(WEIGHTS).hexdigest(), "size_bytes": len(WEIGHTS)}
        assets = json.loads((run_dir / "assets.json").read_text())
        assets["outputs"] = [
            {"key": "out/best.pth", **kept, "archive_path": str(rolling / "best.pth"), "mode": "rolling"}
        ]
        assets["datasets"] = [
            {
                "name": "cifar",
                "saved": True,
                "archive_path": str(rolling / "set"),
                "file_count": 1,
                "uri": "/data/cifar",
            },
            {"name": PAYLOAD, "saved": False, "uri": f"s3://{PAYLOAD}", "description": PAYLOAD},
            {"name": "lost", "saved": True, "archive_path": str(rolling / "nowhere")},
        ]
        assets["code"] = {"snapshot": {"saved": True, "sha256": "0" * 64, "workspace_root": "/home/me/project"}}
        (run_dir / "assets.json").write_text(json.dumps(assets))
        (run_dir / "code_snapshot.zip").write_bytes(code())
    return root


@pytest.fixture
def page(storage, viewer_of, open_page):
    """The assets of the run, by a click on their tab."""
    opened = open_page(viewer_of(storage).at(f"run/{RUN}"))
    opened.get_by_role("link", name="Assets").click()
    expect(opened.get_by_role("region", name="Outputs")).to_be_visible()
    return opened


def saved(page, button):
    """What a click on a button saves: the name, and the bytes."""
    with page.expect_download() as got:
        button.click()
    return got.value.suggested_filename, Path(got.value.path()).read_bytes()


def test_assets_are_listed_with_hash_size_and_users(page):
    """Each section has its rows; a hash is whole when it is copied; the other run with the same content is a link."""
    row = page.get_by_role("row").filter(has_text="out/best.pth")
    expect(row).to_contain_text("6.84 KiB")
    expect(row).to_contain_text(hashlib.sha256(WEIGHTS).hexdigest()[:12])
    expect(page.get_by_role("row", name=re.compile("cifar"))).to_contain_text("1 file")
    expect(page.get_by_role("row", name=re.compile("lost"))).to_contain_text("Kept, but its file is not there")
    expect(page.get_by_text("recorded, but its content was not kept")).to_be_visible()
    row.get_by_role("button", name="Runs with the same content").click()
    page.get_by_role("link", name="the second").click()
    expect(page).to_have_url(re.compile(f"{OTHER}/assets"))
    expect(page.get_by_role("heading", name="the second")).to_be_visible()


def test_assets_are_found(page):
    """The search takes names and hashes, begins with a key, and is in the address."""
    page.keyboard.press("/")
    page.keyboard.type(hashlib.sha256(WEIGHTS).hexdigest()[:20])
    expect(page.get_by_role("region", name="Outputs")).to_be_visible()
    expect(page.get_by_role("region", name="Data")).to_have_count(0)
    assert "q=" in page.url


def test_code_is_read_member_by_member(page):
    """A member is text with a click, and an address; what is none says why; a bomb and an odd name are told."""
    page.get_by_role("button", name="Members of code").click()
    page.get_by_role("button", name="train.py").click()
    expect(page.locator("pre")).to_contain_text("def main():")
    expect(page).to_have_url(re.compile(r"asset=\d+&member=0"))
    page.get_by_role("button", name="data.bin").click()
    expect(page.get_by_text("Not shown: it is not text.")).to_be_visible()
    page.get_by_role("button", name="../up.py").click()
    expect(page.get_by_text("Warning: its name leads out")).to_be_visible()
    page.get_by_role("button", name="bomb.txt").click()
    expect(page.get_by_text("times as large as it is packed")).to_be_visible()
    page.get_by_label("Find members").fill("onerror")
    page.get_by_label("Find members").press("Tab")
    page.get_by_role("button", name=f"{PAYLOAD}.py").click()
    expect(page.locator("pre")).to_have_text(f"# {PAYLOAD}")
    page.reload()
    expect(page.locator("pre")).to_have_text(f"# {PAYLOAD}")
    page.get_by_role("button", name="Close", exact=True).last.click()
    expect(page.locator(".members")).to_have_count(0)


def test_files_are_downloaded(page):
    """A file comes as it is, a folder as an archive, a member alone; the address does not have the ticket."""
    assert saved(page, page.get_by_role("button", name="Download out/best.pth")) == ("best.pth", WEIGHTS)
    name, content = saved(page, page.get_by_role("button", name="Download cifar"))
    assert name == "cifar.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["cifar/a.csv"]
    page.get_by_role("button", name="Members of cifar").click()
    assert saved(page, page.get_by_role("button", name="a.csv")) == ("a.csv", b"1,2\n")
    assert saved(page, page.get_by_role("button", name="Download config"))[0] == "assets.json"
    assert "files/" not in page.url
    expect(page.get_by_role("region", name="Outputs")).to_be_visible()


def test_download_that_fails_says_why(page, storage, open_page):
    """A file that went meanwhile: the words stand at its button, and the page stays."""
    open_page.watched.allowed.append("404")
    (storage / "archive" / "outputs" / "rolling" / RUN / "best.pth").unlink()
    page.get_by_role("button", name="Download out/best.pth").click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile("not there|not kept"))


def test_run_without_assets_or_images_has_no_such_tabs(tmp_path, viewer_of, open_page):
    """The tabs are there when there is something in them."""
    root = tmp_path / "plain"
    run_dir = write_run(root, RUN, [{"step": 1, "loss": 1.0}])
    (run_dir / "assets.json").write_text("{}")
    page = open_page(viewer_of(root).at(f"run/{RUN}"))
    expect(page.get_by_role("link", name="Logs")).to_be_visible()
    expect(page.get_by_role("link", name=re.compile("Assets|Images"))).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_assets_are_accessible(storage, viewer_of, open_page, scheme):
    """The rules of axe find nothing to object to, with a member open, and with the runs of the same content shown."""
    page = open_page(viewer_of(storage).at(f"run/{RUN}/assets?asset=0&member=0"), scheme=scheme)
    expect(page.locator("pre")).to_be_visible()
    page.get_by_role("button", name="Runs with the same content").first.click()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
