"""The page's own files: by name, with the way back to them at any depth, packed, and known again."""

from __future__ import annotations

import pytest

from runicorn.viewer import pages

KEY = "20260101_120000_abcdef"
PAGE = (
    '<!doctype html><html data-root="./"><link rel="icon" href="./static/favicon.svg">'
    '<script type="module" src="./static/app.js"></script>'
)


@pytest.fixture
def page(monkeypatch, tmp_path, client):
    """A page of a few files in the place of the real one."""
    folder = tmp_path / "static"
    (folder / "vendor").mkdir(parents=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "app.js").write_text("export const a = 1;\n" * 200)
    (folder / "vendor" / "x.min.js").write_text("1")
    (folder / "link.js").symlink_to("/etc/passwd")
    (folder / ".hidden").write_text("no")
    monkeypatch.setattr(pages, "FOLDER", str(folder))
    return client


@pytest.mark.parametrize(
    ("path", "up"),
    [
        ("/", "./"),
        ("/problems", "./"),
        (f"/run/{KEY}", "../"),
        (f"/run/{KEY}/logs", "../../"),
        ("/run/no-such-run", "../"),
    ],
)
def test_the_way_back_is_relative_at_any_depth(page, path, up):
    """So it works below any prefix: the page is told where its root is, and its files are named from there."""
    answer = page.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text == PAGE.replace("./", up)


def test_files_are_served_by_name_alone(page):
    """Scripts with their type, packed if the client takes that; links and hidden files are not there."""
    answer = page.get("/static/app.js", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.text.startswith("export const a")
    assert "content-encoding" not in page.get("/static/app.js", headers={"Accept-Encoding": "gzip;q=0, br"}).headers
    assert page.get("/static/vendor/x.min.js").text == "1"
    for name in ("link.js", ".hidden", "nothing.js", "vendor", "", "a/b/c.js"):
        assert page.get(f"/static/{name}").status_code == 404, name


def test_a_file_that_is_known_is_not_sent_again(page):
    """The tag of an earlier answer gets 304, until the file is another one."""
    tag = page.get("/static/app.js").headers["etag"]
    assert page.get("/static/app.js", headers={"If-None-Match": tag}).status_code == 304
    with open(f"{pages.FOLDER}/app.js", "a") as file:
        file.write("more")
    assert page.get("/static/app.js", headers={"If-None-Match": tag}).status_code == 200
