"""The files of the viewer's page: what is vendored is what was published, and modules can be joined into one."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import runicorn
from runicorn.viewer.joined import joined_modules

STATIC = Path(runicorn.__file__).parent / "viewer" / "static"
VENDOR = STATIC / "vendor"
MODULES = sorted(STATIC.glob("*.js"))
MOST_FILES = 60
MOST_BYTES = 128 * 1024
IMPORT = re.compile(r'import \{ [\w, ]+ \} from "\./[\w/-]+\.js";')
TOP_LEVEL = re.compile(r"^(?:export )?(?:async )?(?:function|class|const|let) (\w+)", re.MULTILINE)


def test_vendored_files_are_those_that_were_published():
    """Each file of ``vendor/`` is listed with name, version and licence, and has the SHA-256 that it was taken with."""
    listed = json.loads((VENDOR / "vendored.json").read_text(encoding="utf-8"))
    for entry in listed:
        assert entry["name"]
        assert entry["version"]
        assert entry["licence"]
        assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
    others = {"LICENSES.txt", "vendored.json"}
    assert {path.name for path in VENDOR.iterdir()} == {entry["file"] for entry in listed} | others


def test_licence_texts_come_with_the_libraries():
    """The texts of uPlot's, Preact's and htm's licences are in the package."""
    text = (VENDOR / "LICENSES.txt").read_text(encoding="utf-8")
    for words in ("Leon Sorokin", "Jason Miller", "Apache License", "The MIT License"):
        assert words in text


def test_page_is_of_few_files():
    """The page is of 60 files at most."""
    assert len([path for path in STATIC.rglob("*") if path.is_file()]) <= MOST_FILES


def test_page_is_small():
    """What a browser loads for the page is at most 128 KiB, gzipped."""
    files = [STATIC / name for name in ("index.html", "style.css", "favicon.svg")]
    files += [*VENDOR.glob("*.js"), *VENDOR.glob("*.css")]
    contents = [joined_modules(str(STATIC)).encode(), *(path.read_bytes() for path in files)]
    assert sum(len(gzip.compress(content, 6)) for content in contents) <= MOST_BYTES


def test_joined_modules_are_one_script():
    """The joined script has every module's code once, imports from ``vendor/`` alone, and has no comments."""
    lines = joined_modules(str(STATIC)).splitlines()
    assert [line for line in lines if line.startswith("import")] == lines[:1]
    assert lines[0].endswith('from "./vendor/htm-preact.js";')
    assert not [line for line in lines if line.lstrip().startswith(("export ", "/**", "* ", "//"))]
    declared = [name for path in MODULES for name in TOP_LEVEL.findall(path.read_text(encoding="utf-8"))]
    assert sorted(TOP_LEVEL.findall("\n".join(lines))) == sorted(declared)


def test_names_of_modules_do_not_meet_when_they_are_joined():
    """No name at the top of a module is declared in another one: a report joins them into one script."""
    declared: dict[str, str] = {}
    for path in MODULES:
        for name in TOP_LEVEL.findall(path.read_text(encoding="utf-8")):
            assert name not in declared, f"{name} is in {path.name} and in {declared[name]}"
            declared[name] = path.name


def test_imports_are_one_line_each_at_the_top():
    """A module imports by name, from a file beside it, in lines that stand before everything else."""
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        imports = [number for number, line in enumerate(lines) if re.match(r"import\b", line)]
        assert all(IMPORT.fullmatch(lines[number]) for number in imports), path.name
        code = [
            number for number, line in enumerate(lines) if line and not line.startswith(("//", "/**", " *", "import"))
        ]
        assert not imports or max(imports) < min(code), path.name
        without_types = re.sub(r"/\*\*.*?\*/", "", "\n".join(lines), flags=re.DOTALL)
        assert not re.search(r"export default|export \*|import\(", without_types), path.name


def test_imported_names_are_exported():
    """What a module imports is exported by the module that it names."""
    for path in MODULES:
        for names, source in re.findall(
            r'import \{ ([\w, ]+) \} from "\./(\w+\.js)";', path.read_text(encoding="utf-8")
        ):
            text = (STATIC / source).read_text(encoding="utf-8")
            for name in names.split(", "):
                assert re.search(rf"^export (?:async )?(?:function|class|const|let) {name}\b", text, re.MULTILINE), name


def test_text_never_becomes_markup():
    """No module writes markup or runs text, and each is checked by types."""
    for path in MODULES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
        assert text.startswith("// @ts-check\n"), path.name


def test_document_has_no_script_or_style_of_its_own():
    """Scripts and styles are files, for the policy of the page allows nothing else; nothing comes from elsewhere."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert "<style" not in text
    assert "style=" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert all(link.startswith("./static/") for link in re.findall(r'(?:src|href)="([^"]*)"', text))
    for path in [*MODULES, STATIC / "style.css"]:
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name
