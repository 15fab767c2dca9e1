"""What a run was made of: listed with hashes and sizes, member by member, downloaded by ticket, and who has it too."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import struct
import time
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import runicorn as rn
from runicorn.viewer import tickets, zip_members
from runicorn.viewer.zip_stream import planned_folder, zipped

KEY = "20260101_120000_abcdef"
RUN = f"/api/v1/runs/{KEY}"
EMPTY = {"code": {}, "config": {}, "datasets": [], "pretrained": [], "outputs": []}


def sha256(content):
    """Of bytes, as hex digits."""
    return hashlib.sha256(content).hexdigest()


def zip_of(**members):
    """An archive; in a name ``_`` stands for a dot."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_", "."), content)
    return out.getvalue()


def with_code(run_dir, content):
    """A run that says it has this archive of its code."""
    (run_dir / "code_snapshot.zip").write_bytes(content)
    snapshot = {"saved": True, "sha256": sha256(content), "size_bytes": len(content), "file_count": 2}
    (run_dir / "assets.json").write_text(json.dumps({**EMPTY, "code": {"snapshot": snapshot}}))
    return run_dir


def with_output(storage, run_dir, name="best.pth", content=b"weights", **entry):
    """A run with an output in the archive of its storage."""
    folder = storage / "archive" / "outputs" / "rolling" / run_dir.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    told = {"key": f"out/{name}", "saved": True, "sha256": sha256(content), "size_bytes": len(content)}
    told |= {"archive_path": str(folder / name), "mode": "rolling"} | entry
    (run_dir / "assets.json").write_text(json.dumps({**EMPTY, "outputs": [told]}))
    return folder / name


def by_kind(client):
    """The assets of the run, the last of each kind."""
    return {each["kind"]: each for each in client.get(f"{RUN}/assets").json()["assets"]}


def ticket_for(client, **wish):
    """The answer to a wish for a ticket."""
    return client.post("/api/v1/tickets", json={"run": KEY, **wish})


def downloaded(client, **wish):
    """What comes for a new ticket."""
    given = ticket_for(client, **wish)
    assert given.status_code == 200, given.content
    return client.get(f"/api/v1/files/{given.json()['ticket']}", headers={"X-Runicorn-Token": "another"})


def test_assets_of_the_sdk_are_listed_and_come(storage, tmp_path, open_viewer, monkeypatch):
    """Code, configuration, data, models, outputs and environment: each with hash and size, and its bytes by ticket."""
    work = tmp_path / "work"
    (work / "data").mkdir(parents=True)
    (work / "train.py").write_text("print('here')\n")
    (work / "data" / "a.csv").write_text("1,2\n")
    (work / "data" / "b.csv").write_text("3,4\n")
    (work / "model.pt").write_bytes(b"model" * 100)
    monkeypatch.chdir(work)
    with rn.init(storage=str(storage), run_id=KEY, snapshot_code=True, capture_env=True) as run:
        run.log_config(args={"lr": 0.1}, config_files=["a.yaml"])
        run.log_dataset("folder", "data", save=True)
        run.log_dataset("remote", "s3://bucket/x")
        run.log_pretrained("net", path_or_uri="model.pt", save=True)
    client = open_viewer()
    found = {each["name"]: each for each in client.get(f"{RUN}/assets").json()["assets"]}
    kinds = [found[name]["kind"] for name in ("environment", "code", "config", "folder", "remote", "net", "meta.json")]
    assert kinds == ["environment", "code", "config", "dataset", "dataset", "pretrained", "file"]
    assert (found["folder"]["form"], found["folder"]["files"], found["folder"]["bytes"]) == ("folder", 2, 8)
    assert (found["remote"]["saved"], found["remote"]["form"], found["remote"]["reason"]) == (False, None, None)
    assert (found["net"]["sha256"], found["net"]["bytes"]) == (sha256(b"model" * 100), 500)
    assert client.get(RUN).json()["assets"] == 6
    code = found["code"]["number"]
    members = {each["name"]: each for each in client.get(f"{RUN}/assets/{code}/members").json()["members"]}
    assert set(members) >= {"train.py"}
    shown = client.get(f"{RUN}/assets/{code}/members/{members['train.py']['number']}").json()
    assert (shown["text"], shown["cut"], shown["reason"]) == ("print('here')\n", False, None)
    assert downloaded(client, kind="asset", number=found["net"]["number"], name="net").content == b"model" * 100
    folder = downloaded(client, kind="asset", number=found["folder"]["number"])
    with zipfile.ZipFile(io.BytesIO(folder.content)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            "folder/a.csv": b"1,2\n",
            "folder/b.csv": b"3,4\n",
        }
    member = downloaded(client, kind="member", number=found["folder"]["number"], member=1, name="b.csv")
    assert member.content == b"3,4\n"
    member = downloaded(client, kind="member", number=code, member=members["train.py"]["number"])
    assert member.content == b"print('here')\n"


def test_a_download_is_an_attachment_that_nothing_opens(make_run, storage, open_viewer):
    """Bytes of no type, as an attachment with a plain name, sandboxed; whatever the file's name and content are."""
    html = b"<script>alert(1)</script>"
    with_output(storage, make_run(), "a.html", html, key='../x/"; evil="\r\nX: y\u202e<é>.html')
    client = open_viewer()
    answer = downloaded(client, kind="asset", number=by_kind(client)["output"]["number"])
    assert (answer.content, answer.headers["content-type"]) == (html, "application/octet-stream")
    told = answer.headers["content-disposition"]
    assert told.startswith('attachment; filename="')
    assert told.count('"') == 2
    assert not set("\r\n/\\<>;") & set(told.split('"')[1])
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def test_a_ticket_is_good_once_and_for_a_minute(make_run, storage, open_viewer, monkeypatch):
    """HEAD uses it not; the first GET does; an old one, and another text, are 404 in JSON."""
    with_output(storage, make_run())
    client = open_viewer()
    number = by_kind(client)["output"]["number"]
    ticket = ticket_for(client, kind="asset", number=number).json()["ticket"]
    assert client.head(f"/api/v1/files/{ticket}").status_code == 200
    assert client.get(f"/api/v1/files/{ticket}").content == b"weights"
    assert client.get(f"/api/v1/files/{ticket}").status_code == 404
    late = ticket_for(client, kind="asset", number=number).json()["ticket"]
    now = time.monotonic()
    monkeypatch.setattr(tickets.time, "monotonic", lambda: now + 61)
    assert client.get(f"/api/v1/files/{late}").status_code == 404
    for text in ("", "x", "..", "../server", "%2e%2e%2fserver", "a" * 5000, late[:-1], "0"):
        answer = client.get(f"/api/v1/files/{text}", headers={"X-Runicorn-Token": "another"})
        assert answer.status_code in {401, 404}, text


def test_without_the_token_there_is_no_ticket(make_run, storage, open_viewer):
    """A ticket is given for the token alone, and then is enough."""
    with_output(storage, make_run())
    client = open_viewer()
    ticket = ticket_for(client, kind="asset", number=by_kind(client)["output"]["number"]).json()["ticket"]
    del client.headers["X-Runicorn-Token"]
    assert ticket_for(client, kind="asset", number=0).status_code == 401
    assert client.get(f"/api/v1/files/{ticket}").content == b"weights"


def test_a_ticket_is_for_the_file_that_it_was_given_for(make_run, storage, open_viewer):
    """A file that grows comes with what it has then; one in whose place another was put is refused, so is a link."""
    run_dir = make_run()
    place = with_output(storage, run_dir)
    client = open_viewer()
    number = by_kind(client)["output"]["number"]
    grown, replaced, linked = (ticket_for(client, kind="asset", number=number).json()["ticket"] for _ in range(3))
    with place.open("ab") as file:
        file.write(b" and more")
    assert client.get(f"/api/v1/files/{grown}").content == b"weights and more"
    (place.parent / "other").write_bytes(b"secret")
    os.replace(place.parent / "other", place)
    answer = client.get(f"/api/v1/files/{replaced}")
    assert (answer.status_code, b"secret" in answer.content) == (404, False)
    place.unlink()
    place.symlink_to(run_dir / "meta.json")
    assert client.get(f"/api/v1/files/{linked}").status_code == 404


def test_a_ticket_for_a_folder_is_for_that_folder(make_run, open_viewer, tmp_path):
    """A run that went, or in whose place another folder or a link was put, does not come."""
    run_dir = make_run()
    client = open_viewer()
    gone, other, linked = (ticket_for(client, kind="folder").json()["ticket"] for _ in range(3))
    run_dir.rename(tmp_path / "moved")
    assert client.get(f"/api/v1/files/{gone}").status_code == 404
    run_dir.mkdir()
    assert client.get(f"/api/v1/files/{other}").status_code == 404
    run_dir.rmdir()
    run_dir.symlink_to(tmp_path / "moved")
    assert client.get(f"/api/v1/files/{linked}").status_code == 404


def test_names_behind_a_link_are_not_listed(make_run, storage, open_viewer, tmp_path):
    """A folder of the archive that is a link: what lies behind it has no members here."""
    (tmp_path / "private" / "set").mkdir(parents=True)
    (tmp_path / "private" / "set" / "secret-name.txt").write_text("secret")
    run_dir = make_run()
    with_output(storage, run_dir, archive_path=str(storage / "archive" / "outputs" / "link" / "set"))
    (storage / "archive" / "outputs" / "link").symlink_to(tmp_path / "private")
    client = open_viewer()
    number = by_kind(client)["output"]["number"]
    for answer in (client.get(f"{RUN}/assets/{number}/members"), ticket_for(client, kind="asset", number=number)):
        assert (answer.status_code, b"secret-name" in answer.content) == (404, False)


def test_a_list_that_has_changed_gives_no_other_file(make_run, storage, open_viewer):
    """A name that is sent along has to be that of the number: outputs may have come in between."""
    with_output(storage, make_run())
    client = open_viewer()
    number = by_kind(client)["output"]["number"]
    assert ticket_for(client, kind="asset", number=number, name="out/best.pth").status_code == 200
    assert ticket_for(client, kind="asset", number=number, name="out/last.pth").status_code == 404


@pytest.mark.parametrize(
    "wish",
    [
        *({}, {"kind": "path"}, {"kind": "asset", "number": -1}, {"kind": "asset", "number": 10**30}),
        *({"kind": "asset", "number": "0"}, {"kind": "asset", "number": 1.5}, {"kind": "asset", "path": "/etc/passwd"}),
        *(
            {"kind": "member", "number": 0},
            {"kind": "member", "number": 0, "member": -1},
            {"kind": "image", "number": 0},
        ),
        *(
            {"kind": "log", "number": 9},
            {"kind": "log", "number": -1},
            {"kind": "folder", "run": "../x"},
            {"kind": "ASSET"},
        ),
    ],
)
def test_wishes_that_name_nothing_are_refused(client, wish):
    """In JSON, with what is wrong."""
    answer = client.post("/api/v1/tickets", json={"run": KEY, **wish})
    assert answer.status_code in {400, 404}, answer.content
    assert answer.json()["error"]["what"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b'{"run": "\\ud800", "kind": "log"}']
)
def test_a_body_that_is_no_wish_is_refused(client, body):
    """400 or 404, and no fault."""
    assert client.post("/api/v1/tickets", content=body).status_code in {400, 404}


STORED = [
    *(
        "/etc/passwd",
        "../../../secret.txt",
        "{storage}/secret.txt",
        "{storage}/archive/../secret.txt",
        "",
        "x",
        "file:///x",
    ),
    *(
        "/elsewhere/archive/blobs/../../secret.txt",
        "{storage}/archive/outputs/link",
        "{storage}/archive/outputs/folder/s",
    ),
    *(
        "{storage}/archive/outputs/pipe",
        "{run}/../../secret.txt",
        "{run}/link",
        "{storage}/archive",
        "\x00",
        "a" * 9000,
    ),
    *("{storage}/runs/cv/other/meta.json", "C:\\archive\\blobs\\..\\..\\secret.txt", "{storage}/archive/blobs/\ud800"),
]


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("section", ["outputs", "datasets", "code"])
def test_no_stored_path_leads_out(make_run, storage, open_viewer, tmp_path, stored, section):
    """Only what lies in the run's directory or in the archive of its storage, by no link, is kept by the run."""
    run_dir = make_run()
    for place in (tmp_path, storage, storage / "runs", storage / "runs" / "cv"):
        (place / "secret.txt").write_text("secret")
    (storage / "archive" / "outputs").mkdir(parents=True)
    (storage / "archive" / "outputs" / "link").symlink_to(tmp_path / "secret.txt")
    (storage / "archive" / "outputs" / "folder").symlink_to(tmp_path)
    (tmp_path / "s").write_text("secret")
    (run_dir / "link").symlink_to(tmp_path / "secret.txt")
    os.mkfifo(storage / "archive" / "outputs" / "pipe")
    path = stored.format(storage=storage, run=run_dir)
    entry = {"name": "x", "key": "x", "saved": True, "archive_path": path, "fingerprint_kind": "sha256_manifest"}
    content = {"code": {"snapshot": entry}} if section == "code" else {section: [entry]}
    (run_dir / "assets.json").write_text(json.dumps(content))
    client = open_viewer()
    listed = client.get(f"{RUN}/assets").json()["assets"][0]
    given = ticket_for(client, kind="asset", number=0)
    if given.status_code == 200:  # it seemed to be there, and is found to be reached by a link when it is opened
        given = client.get(f"/api/v1/files/{given.json()['ticket']}")
    else:
        assert given.status_code == 404
    assert b"secret\n" not in given.content
    assert given.content != b"secret"
    assert client.get(f"{RUN}/assets/0/members").status_code == 404
    assert listed["form"] is None or given.status_code == 404


@pytest.mark.parametrize("name", ["assets.json", "environment.json", "events.jsonl", "code_snapshot.zip", "logs.txt"])
@pytest.mark.parametrize("what", ["link", "fifo", "device"])
def test_what_is_no_file_of_the_run_is_not_sent(make_run, open_viewer, tmp_path, name, what):
    """A link, a FIFO or a device in the place of a file: listed with why or not at all, not sent or waited for."""
    run_dir = with_code(make_run(), zip_of(a_py="a"))
    (tmp_path / "secret").write_text('{"config": {"args": "secret"}}')
    (run_dir / name).unlink(missing_ok=True)
    if what == "fifo":
        os.mkfifo(run_dir / name)
    else:
        (run_dir / name).symlink_to(tmp_path / "secret" if what == "link" else "/dev/zero")
    client = open_viewer()
    listed = client.get(f"{RUN}/assets").json()["assets"]
    for each in listed:
        given = ticket_for(client, kind="asset", number=each["number"])
        if given.status_code == 200:
            assert b"secret" not in client.get(f"/api/v1/files/{given.json()['ticket']}").content
    copy = downloaded(client, kind="folder")
    with zipfile.ZipFile(io.BytesIO(copy.content)) as archive:
        assert f"{KEY}/{name}" not in archive.namelist()
        assert name.encode() in archive.read(f"{KEY}/left-out-of-this-copy.txt")


def bomb(size):
    """An archive of one member that is much larger than it is packed."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("zeros.txt", bytes(size))
    return out.getvalue()


def encrypted():
    """An archive whose member says that it is encrypted."""
    content = bytearray(zip_of(secret_txt="hidden"))
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + at] |= 1
    return bytes(content)


def odd_names():
    """An archive with names that lead out, and one twice."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in ("/etc/passwd", "../../up.txt", "C:\\win.ini", "a/../../b", "ok.py"):
            archive.writestr(name, f"text of {name}")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("ok.py", "the second")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return out.getvalue()


def test_bombs_are_told_and_never_unpacked(make_run, open_viewer):
    """A member of 300 MB in 300 KB is told by its ratio; nothing of it is unpacked, and it is not sent."""
    with_code(make_run(), bomb(300_000_000))
    client = open_viewer()
    (listed,) = client.get(f"{RUN}/assets/0/members").json()["members"]
    assert "times as large as it is packed" in listed["reason"]
    shown = client.get(f"{RUN}/assets/0/members/0").json()
    assert (shown["text"], shown["reason"]) == (None, listed["reason"])
    answer = ticket_for(client, kind="member", number=0, member=0)
    assert (answer.status_code, "times as large" in answer.json()["error"]["what"]) == (404, True)


def test_bomb_that_lies_about_its_size_is_read_as_far_as_it_says(make_run, open_viewer):
    """What the table of contents says is small comes out small."""
    content = bytearray(bomb(50_000_000))
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 10)
    with_code(make_run(), bytes(content))
    client = open_viewer()
    shown = client.get(f"{RUN}/assets/0/members/0").json()
    assert len(shown["text"] or "") <= 10
    assert len(client.get(f"{RUN}/assets/0/members/0").content) < 1000


def test_a_member_whose_begin_is_damaged_gets_no_ticket(make_run, open_viewer):
    """Its own head names another file than the table of contents: told, and nothing is sent."""
    content = bytearray(zip_of(a_py="x" * 100))
    content[30] ^= 1
    with_code(make_run(), bytes(content))
    answer = ticket_for(open_viewer(), kind="member", number=0, member=0)
    assert (answer.status_code, "cannot be unpacked" in answer.json()["error"]["what"]) == (404, True)


def test_a_member_of_which_no_byte_is_sound_is_not_begun(make_run, open_viewer):
    """Its content is not what its check sum says: the download is a 404 in JSON."""
    content = bytearray(zip_of(a_py="x" * 100))
    at = content.index(b"PK\1\2")
    content[at + 16] ^= 1
    with_code(make_run(), bytes(content))
    answer = downloaded(open_viewer(), kind="member", number=0, member=0)
    assert (answer.status_code, "CRC" in answer.json()["error"]["what"]) == (404, True)


def test_too_many_members_are_told(make_run, open_viewer, monkeypatch):
    """An archive of more members than are listed says how many it has."""
    monkeypatch.setattr(zip_members, "MOST_MEMBERS", 10)
    with_code(make_run(), zip_of(**{f"m{number}_py": "x" for number in range(30)}))
    client = open_viewer()
    found = client.get(f"{RUN}/assets/0/members?limit=5").json()
    assert (len(found["members"]), found["listed"], found["count"]) == (5, 10, 30)
    assert client.get(f"{RUN}/assets/0/members/12").status_code == 404


def test_table_of_contents_that_is_too_large_is_refused(make_run, open_viewer):
    """An archive that says its contents take 5 MB is told, and they are not read."""
    content = bytearray(zip_of(a_py="x")) + bytes(2)
    at = content.rindex(b"PK\5\6")
    content[at + 12 : at + 16] = struct.pack("<I", 5_000_000)
    with_code(make_run(), bytes(5_000_000) + bytes(content))
    client = open_viewer()
    answer = client.get(f"{RUN}/assets/0/members")
    assert answer.status_code == 404
    assert "table of contents" in answer.json()["error"]["what"]


def test_members_with_odd_names_are_shown_and_marked(make_run, open_viewer):
    """Absolute, upwards, with a drive, twice, a link: listed as text with a remark, and shown by number."""
    with_code(make_run(), odd_names())
    client = open_viewer()
    listed = client.get(f"{RUN}/assets/0/members").json()["members"]
    remarks = [each["remark"] for each in listed]
    assert [bool(each) for each in remarks] == [True, True, True, True, False, True, True]
    assert client.get(f"{RUN}/assets/0/members/5").json()["text"] == "the second"
    assert client.get(f"{RUN}/assets/0/members/0").json()["text"] == "text of /etc/passwd"
    given = ticket_for(client, kind="member", number=0, member=1).json()
    assert given["name"] == "up.txt"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encrypted(), "it is encrypted"),
        (zip_of(in_zip=zip_of(a_py="x")), "it is itself an archive"),
        (zip_of(a_bin=b"\0\1\2"), "it is not text"),
    ],
)
def test_members_that_are_no_text_say_why(make_run, open_viewer, content, words):
    """Encrypted, nested or binary: told, and not opened."""
    with_code(make_run(), content)
    shown = open_viewer().get(f"{RUN}/assets/0/members/0").json()
    assert (shown["text"], words in shown["reason"]) == (None, True)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"text", b"PK\5\6" + b"\xff" * 18, zip_of(a_py="x")[:-5], bytes(10_000)]
)
def test_what_is_no_archive_says_so(make_run, open_viewer, content):
    """Its members are 404 in JSON, with why."""
    with_code(make_run(), content)
    client = open_viewer()
    for rest in ("members", "members/0"):
        answer = client.get(f"{RUN}/assets/0/{rest}")
        assert (answer.status_code, bool(answer.json()["error"]["what"])) == (404, True)


def test_long_member_is_cut(make_run, open_viewer):
    """Of a text of 3 MiB the first one is shown, and it is said."""
    text = "".join(f"line {number}\n" for number in range(300_000))
    with_code(make_run(), zip_of(long_txt=text))
    shown = open_viewer().get(f"{RUN}/assets/0/members/0").json()
    assert (shown["cut"], len(shown["text"])) == (True, 1024**2)
    assert text.startswith(shown["text"])


def test_who_else_has_the_same_content(make_run, storage, open_viewer):
    """By hash, over the runs of all storages, also by the fingerprint of Runicorn 0.7.2; not the run itself."""
    with_output(storage, make_run())
    other = make_run("20260102_120000_abcdef", meta={"alias": "second"})
    with_output(storage, other)
    old = make_run("20260103_120000_abcdef")
    entry = {"name": "w", "saved": True, "fingerprint_kind": "sha256", "fingerprint": sha256(b"weights")}
    (old / "assets.json").write_text(json.dumps({**EMPTY, "pretrained": [entry]}))
    make_run("20260104_120000_abcdef")
    client = open_viewer()
    found = client.get(f"{RUN}/assets/users").json()
    users = found["users"][sha256(b"weights")]
    assert (users["count"], found["left"], found["runs"]) == (2, 0, 4)
    assert sorted((each["key"], each["kind"], each["alias"]) for each in users["runs"]) == [
        ("20260102_120000_abcdef", "output", "second"),
        ("20260103_120000_abcdef", "pretrained", None),
    ]
    shutil.rmtree(old)
    client.viewer.table._looked_at = float("-inf")
    assert client.get(f"{RUN}/assets/users").json()["users"][sha256(b"weights")]["count"] == 1


def test_assets_of_a_moved_storage_of_the_published_runicorn(make_run, storage, open_viewer):
    """Absolute paths of where the storage was are found below where it is; a manifest's files come by their hashes."""
    run_dir = make_run()
    contents = {"a.txt": b"one", "../up.txt": b"two"}
    for content in contents.values():
        place = storage / "archive" / "blobs" / sha256(content)[:2]
        place.mkdir(parents=True, exist_ok=True)
        (place / sha256(content)).write_bytes(content)
    files = {name: {"sha256": sha256(content), "size_bytes": 3} for name, content in contents.items()}
    files |= {"evil": {"sha256": "../../../secret"}, "gone": {"sha256": "0" * 64}, "none": 1}
    manifest = storage / "archive" / "manifests" / "datasets" / "2f" / "2f.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"files": files, "file_count": 2}))
    entry = {"name": "ds", "saved": True, "fingerprint_kind": "sha256_manifest", "file_count": 2, "total_size_bytes": 6}
    entry["archive_path"] = "/gone/store/archive/manifests/datasets/2f/2f.json"
    (run_dir / "assets.json").write_text(json.dumps({**EMPTY, "datasets": [entry]}))
    client = open_viewer()
    listed = by_kind(client)["dataset"]
    assert (listed["form"], listed["files"], listed["bytes"]) == ("manifest", 2, 6)
    members = client.get(f"{RUN}/assets/{listed['number']}/members").json()["members"]
    assert [(each["name"], each["bytes"]) for each in members[:2]] == [("a.txt", 3), ("../up.txt", 3)]
    assert downloaded(client, kind="member", number=listed["number"], member=1).content == b"two"
    with zipfile.ZipFile(io.BytesIO(downloaded(client, kind="asset", number=listed["number"]).content)) as archive:
        assert archive.read("ds/a.txt") == b"one"
        assert archive.read("ds/_/up.txt") == b"two"
        assert "gone" in archive.read("ds/left-out-of-this-copy.txt").decode()


def test_folder_of_a_run_comes_as_an_archive(make_run, open_viewer, tmp_path):
    """All of its files as they are; links are left out and named in a file of the archive."""
    run_dir = make_run(log="hello\n")
    (run_dir / "media").mkdir()
    (run_dir / "media" / "ü 1.png").write_bytes(b"image")
    (tmp_path / "secret").write_text("secret")
    (run_dir / "media" / "link").symlink_to(tmp_path / "secret")
    (run_dir / "folder").symlink_to(tmp_path)
    answer = downloaded(open_viewer(), kind="folder")
    assert f'filename="{KEY}.zip"' in answer.headers["content-disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        names = {name.removeprefix(f"{KEY}/") for name in archive.namelist()}
        told = archive.read(f"{KEY}/left-out-of-this-copy.txt").decode()
        assert archive.read(f"{KEY}/media/ü 1.png") == b"image"
        assert archive.read(f"{KEY}/events.jsonl") == (run_dir / "events.jsonl").read_bytes()
    files = {
        path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink()
    }
    assert names == {*files, "left-out-of-this-copy.txt"}
    assert ("media/link: a link" in told, "folder: a link" in told, "secret" in told) == (True, True, False)


def test_names_that_are_no_utf8_are_listed_and_come(make_run, storage, open_viewer):
    """A file whose name is other bytes: escaped in lists and archives, and its bytes come by ticket."""
    run_dir = make_run()
    place = with_output(storage, run_dir, "x", archive_path=str(storage / "archive" / "outputs" / "rolling" / "set"))
    (place.parents[1] / "set").mkdir()
    for folder in (run_dir, place.parents[1] / "set"):
        (folder / os.fsdecode(b"\xff.txt")).write_bytes(b"odd")
    client = open_viewer()
    found = {each["name"]: each["number"] for each in client.get(f"{RUN}/assets").json()["assets"]}
    name = next(each for each in found if each.endswith(".txt") and each != "logs.txt")
    assert downloaded(client, kind="asset", number=found[name], name=name).content == b"odd"
    (member,) = client.get(f"{RUN}/assets/{found['out/x']}/members").json()["members"]
    wish = {"kind": "member", "number": found["out/x"], "member": 0, "name": member["name"]}
    assert downloaded(client, **wish).content == b"odd"
    with zipfile.ZipFile(io.BytesIO(downloaded(client, kind="folder").content)) as archive:
        assert b"odd" in [archive.read(each) for each in archive.namelist()]


def test_storage_that_is_reached_by_a_link(make_run, storage, open_viewer, tmp_path):
    """The storage may be one: what is below it is served as ever, in whole, whatever ranges are asked for."""
    with_output(storage, make_run())
    (tmp_path / "link").symlink_to(storage)
    client = open_viewer(tmp_path / "link")
    given = ticket_for(client, kind="asset", number=by_kind(client)["output"]["number"]).json()
    answer = client.get(f"/api/v1/files/{given['ticket']}", headers={"Range": "bytes=1-2"})
    assert (answer.status_code, answer.content) == (200, b"weights")


def test_one_ticket_asked_for_by_many_at_once(make_run, storage, open_viewer):
    """Of sixteen requests at one moment one gets the file."""
    with_output(storage, make_run())
    client = open_viewer()
    ticket = ticket_for(client, kind="asset", number=by_kind(client)["output"]["number"]).json()["ticket"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.get(f"/api/v1/files/{ticket}").status_code, range(16)))
    assert sorted(answers) == [200, *15 * [404]]


def test_copy_of_a_live_run_ends_where_its_files_ended(tmp_path):
    """What is appended after it has begun is not in it; a file that was replaced comes whole; one that went is told."""
    for name in ("events.jsonl", "status.json", "gone.txt", "short.txt"):
        (tmp_path / name).write_bytes(b"first\n")
    files, left_out = planned_folder(str(tmp_path))
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b"second\n")
    (tmp_path / "new").write_bytes(b"a longer one than before\n")
    os.replace(tmp_path / "new", tmp_path / "status.json")
    (tmp_path / "gone.txt").unlink()
    os.truncate(tmp_path / "short.txt", 2)
    content = b"".join(zipped(files, left_out, "run"))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        found = {name.removeprefix("run/"): archive.read(name) for name in archive.namelist()}
    assert (found["events.jsonl"], found["short.txt"]) == (b"first\n", b"fi")
    assert (found["status.json"], "gone.txt" in found) == (b"a longer one than before\n", False)
    assert b"gone.txt: gone" in found["left-out-of-this-copy.txt"]


def test_copy_takes_little_memory(tmp_path):
    """An archive of 96 MiB, of text and of other bytes, is made with less than 8 MiB of memory."""
    for name in ("a.jsonl", "b.bin", "c.pth"):
        with (tmp_path / name).open("wb") as file:
            file.writelines(os.urandom(1 << 20) for _ in range(32))
    files, left_out = planned_folder(str(tmp_path))
    tracemalloc.start()
    try:
        size = sum(map(len, zipped(files, left_out, "run")))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 96 << 20
    assert peak < 8 << 20


@pytest.mark.parametrize("kind", ["log", "image"])
def test_logs_and_images_come_by_ticket(make_run, open_viewer, kind):
    """A log by the number of its source; an image by its number, also one that is not shown."""
    line = json.dumps({"ts": 1.0, "type": "image", "data": {"key": "a/b", "path": "media/x.png", "step": 3}})
    run_dir = make_run(lines=[line + "\n"], log="hello\n")
    (run_dir / "media").mkdir()
    (run_dir / "media" / "x.png").write_bytes(b"II*\0 a TIFF")
    answer = downloaded(open_viewer(), kind=kind, number=0)
    assert answer.content == (b"hello\n" if kind == "log" else b"II*\0 a TIFF")
    name = f"{KEY}_logs.txt" if kind == "log" else "a_b_step3.tiff"
    assert f'filename="{name}"' in answer.headers["content-disposition"]


@pytest.mark.parametrize(
    "content", ["[]", "null", "{", "", '{"code": 1, "config": [], "datasets": {}, "outputs": [1, null, []]}']
)
def test_assets_that_are_none_are_listed_without(make_run, open_viewer, content):
    """Whatever ``assets.json`` holds: the list has what can be read, and the run is shown."""
    (make_run() / "assets.json").write_text(content)
    client = open_viewer()
    assert {each["kind"] for each in client.get(f"{RUN}/assets").json()["assets"]} == {"file"}
    assert client.get(RUN).json()["assets"] == 0


def test_read_only_gives_tickets(make_run, storage, open_viewer):
    """A ticket writes nothing."""
    with_output(storage, make_run())
    client = open_viewer(read_only=True)
    assert downloaded(client, kind="asset", number=by_kind(client)["output"]["number"]).content == b"weights"
