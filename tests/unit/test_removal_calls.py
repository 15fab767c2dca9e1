"""What takes a name away from a file, or its content, is called in one module: read from the source of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import runicorn

SOURCE = Path(runicorn.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
THE_ONE = "storage/removal.py"

FORBIDDEN = {
    *(f"os.{name}" for name in ("unlink", "remove", "rmdir", "removedirs", "rename", "renames", "replace")),
    *("os.truncate", "os.ftruncate", "os.O_TRUNC", "os.creat", "os.system", "os.popen"),
    *("posix.unlink", "posix.remove", "posix.rmdir", "posix.rename", "posix.replace", "nt.unlink", "nt.remove"),
    *("shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copy2", "shutil.copyfile", "shutil.copytree"),
    *(f"tempfile.{name}" for name in ("TemporaryDirectory", "NamedTemporaryFile", "TemporaryFile")),
    "tempfile.SpooledTemporaryFile",
}
PATHS = {"pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath"}
METHODS = {"unlink", "rmdir", "removedirs", "rmtree", "write_text", "write_bytes", "truncate", "ftruncate", "touch"}
"""Of ``pathlib`` and of files: their names are those of no method of ours outside of the one module."""
ALSO_OF_STRINGS = {"rename", "replace"}
"""Of paths as well: told apart by what a name was assigned, or declared to be."""
OPENERS = {"open", "io.open", "os.fdopen", "codecs.open", "gzip.open", "bz2.open", "lzma.open", "fdopen"}
EMPTYING = set("w")
LONGEST_MODE = 4
ALLOWED_TO_OPEN = {("cli.py", "os.devnull")}
ENTRIES_OF_ZIP_FILES = {"capture/code_snapshot.py", "viewer/zip_stream.py"}


class Calls(ast.NodeVisitor):
    """Collects what a module does that it should leave to the one module."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.found: list[tuple[int, str]] = []
        self.names: dict[str, str] = {}
        self.paths: set[str] = set()

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            top = each.name.partition(".")[0]
            self.names[each.asname or top] = each.name if each.asname else top

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        for each in node.names:
            meant = f"{node.module}.{each.name}"
            self.names[each.asname or each.name] = meant
            if meant in FORBIDDEN or node.module in {"posix", "nt"}:
                self.found.append((node.lineno, meant))

    def visit_Assign(self, node: ast.Assign) -> None:
        if self.is_path(node.value):
            self.paths |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and self.says_path(node.annotation):
            self.paths.add(node.target.id)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation is not None and self.says_path(node.annotation):
            self.paths.add(node.arg)
        self.generic_visit(node)

    def says_path(self, annotation: ast.expr) -> bool:
        words = (each for each in ast.walk(annotation) if isinstance(each, (ast.Name, ast.Attribute)))
        return any(self.meaning(each) in PATHS for each in words)

    def is_path(self, node: ast.expr) -> bool:
        if isinstance(node, ast.BinOp):
            return self.is_path(node.left)
        if isinstance(node, ast.Name):
            return node.id in self.paths
        return isinstance(node, ast.Call) and self.meaning(node.func) in PATHS

    def visit_Attribute(self, node: ast.Attribute) -> None:
        meant = self.meaning(node)
        if meant in FORBIDDEN or (meant is None and node.attr in METHODS):
            self.found.append((node.lineno, meant or f".{node.attr}"))
        if node.attr in ALSO_OF_STRINGS and self.is_path(node.value):
            self.found.append((node.lineno, f"Path.{node.attr}"))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        meant = self.meaning(node.func)
        if meant in {"getattr", "operator.attrgetter", "operator.methodcaller"}:
            self.look_at_getattr(node)
        if meant in OPENERS and meant != "os.fdopen" and EMPTYING & set(mode_of(node)) and not self.is_allowed(node):
            self.found.append((node.lineno, f"open(..., {mode_of(node)!r})"))
        if isinstance(node.func, ast.Attribute) and node.func.attr == "open" and meant is None:
            words = {each.value for each in (*node.args[:2], *(word.value for word in node.keywords)) if is_text(each)}
            if any(EMPTYING & set(word) and len(word) <= LONGEST_MODE for word in words) and not self.is_zip():
                self.found.append((node.lineno, ".open(..., 'w')"))
        self.generic_visit(node)

    def is_zip(self) -> bool:
        return self.module in ENTRIES_OF_ZIP_FILES

    def look_at_getattr(self, node: ast.Call) -> None:
        words = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
        of = self.meaning(node.args[0]) if node.args else None
        self.found += [(node.lineno, f"{of}.{word}") for word in words if f"{of}.{word}" in FORBIDDEN]

    def is_allowed(self, node: ast.Call) -> bool:
        return (self.module, self.meaning(node.args[0]) or "") in ALLOWED_TO_OPEN

    def meaning(self, node: ast.expr) -> str | None:
        """The dotted name of what a module or an import offers; None for what something else's attribute is."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, node.id if node.id in {"open", "getattr"} else None)
        if isinstance(node, ast.Attribute):
            above = self.meaning(node.value)
            return None if above is None else f"{above}.{node.attr}"
        return None


def is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def mode_of(node: ast.Call) -> str:
    """The mode of a call of ``open()``; one that is not written there counts as emptying."""
    given = [word.value for word in node.keywords if word.arg == "mode"] + node.args[1:2]
    if not given:
        return "r"
    return str(given[0].value) if isinstance(given[0], ast.Constant) else "w"


def calls_in(source: str, module: str = "some.py") -> list[tuple[int, str]]:
    calls = Calls(module)
    tree = ast.parse(source)
    # Imports first: they may stand in a function, above or below what they are used by.
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            calls.visit(node)
    calls.visit(tree)
    return sorted(set(calls.found))


def test_one_module_alone_removes_renames_and_empties() -> None:
    """No other module of the package has a call that removes, renames, replaces, moves or empties a file."""
    assert len(MODULES) > 100
    found = {
        str(path.relative_to(SOURCE)): calls
        for path in MODULES
        if path.relative_to(SOURCE).as_posix() != THE_ONE
        and (calls := calls_in(path.read_text(encoding="utf-8"), path.relative_to(SOURCE).as_posix()))
    }
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import os; os.unlink(p)",
        "import os as system; system.remove(p)",
        "from os import unlink",
        "from os import replace as put",
        "def f():\n    import shutil\n    shutil.rmtree(p)",
        "import shutil as s; s.move(a, b)",
        "import os; go = os.rmdir",
        "import os; os.open(p, os.O_WRONLY | os.O_TRUNC)",
        "import os; getattr(os, 'ftruncate')(fd, 0)",
        "import os; os.truncate(p, 0)",
        "open(p, 'w')",
        "open(p, mode='wb+')",
        "open(p, how)",
        "import io; io.open(p, 'w')",
        "import gzip; gzip.open(p, 'wb')",
        "from pathlib import Path; Path(p).replace(q)",
        "from pathlib import Path as P\ndef f(at: P) -> None:\n    at.rename(b)",
        "import pathlib; here = pathlib.Path(p) / 'a'; here.rename(b)",
        "import pathlib; pathlib.Path(p).open('w')",
        "p.open(mode='w+')",
        "p.unlink(missing_ok=True)",
        "p.write_text('')",
        "file.truncate()",
        "import tempfile; tempfile.TemporaryDirectory()",
        "from tempfile import NamedTemporaryFile as T",
        "import os.path, os; os.renames(a, b)",
    ],
)
def test_the_rule_sees_every_way_to_say_it(source: str) -> None:
    """Aliases, names taken from a module, attributes looked up by name and methods of paths and files are seen."""
    assert calls_in(source) != []


@pytest.mark.parametrize(
    "source",
    [
        "name.replace('a', 'b')",
        "import msgspec; msgspec.structs.replace(a, b=1)",
        "run_dir.replace(name, content)",
        "directory.remove(name)",
        "names.remove(name)",
        "import os; os.open(p, os.O_RDONLY)",
        "open(p)",
        "open(p, 'rb')",
        "open(p, 'ab')",
        "open(p, 'xb')",
        "import os; os.fdopen(fd, 'wb')",
    ],
)
def test_the_rule_leaves_other_things_alone(source: str) -> None:
    """Strings, lists and the objects of the package have methods of the same names; files may be read and grow."""
    assert calls_in(source) == []
