"""Where things live: a folder imports only from folders below it, modules are short, and names exist once."""

import ast
import functools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import runicorn
from runicorn.session import writer_process

HOUSE = Path(runicorn.__file__).parent
# Each may import from its own layer and from those below; modules at the top count in a layer as well.
LAYERS = [
    {"integrations"},  # nothing in the package imports an adapter
    {"__main__"},
    {"cli", "commands", "doctor"},
    {"viewer"},
    {"__init__"},
    {"lifecycle"},
    {"run", "run_assets", "run_handle", "run_keeping", "noop"},
    {"exporting", "importing"},
    {"managing"},
    {"session"},
    {"writer"},
    {"reading"},
    {"capture"},
    {"validation"},
    {"devices"},
    {"queue"},
    {"storage"},
    {"sampling"},
    {"host"},
    {"settings", "refusals", "switch", "errors"},
]
DEPTH = {name: depth for depth, layer in enumerate(reversed(LAYERS)) for name in layer}
MODULES = sorted(HOUSE.rglob("*.py"))
LONGEST_LINES = 400
MOST_LOADED = 61
LONGER: set[str] = set()


@functools.cache
def _tree(path):
    return ast.parse(path.read_text("utf-8"))


def _layer(path):
    return path.relative_to(HOUSE).with_suffix("").parts[0]


def _imported(path):
    """The folders, and modules at the top, from which a module imports: inside functions and for types too."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((name.name + ".__init__").split(".")[1] for name in node.names if _is_ours(name.name))
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            parts = node.module.split(".")
            names = [name.name if name.name in DEPTH else "__init__" for name in node.names]
            yield from names if len(parts) == 1 else parts[1:2]


def _is_ours(name):
    return name.split(".")[0] == "runicorn"


def test_a_module_imports_only_from_its_own_layer_and_from_those_below():
    """Imports inside functions and for types count too; the front door alone, which is lazy, is exempt."""
    modules = [each for each in MODULES if each != HOUSE / "__init__.py"]
    arrows = {(str(path), name) for path in modules for name in _imported(path) if DEPTH[name] > DEPTH[_layer(path)]}
    assert not arrows


def test_the_top_has_ten_modules_at_most_and_folders_hold_no_folders():
    """``__init__`` and ``__main__`` are not counted."""
    places = [path.relative_to(HOUSE).parts for path in MODULES]
    assert len([parts for parts in places if len(parts) == 1]) - 2 <= 10
    assert max(map(len, places)) == 2


def test_no_module_is_longer_than_a_reader_can_hold():
    """400 lines at most."""
    lines = {path.relative_to(HOUSE).as_posix(): path.read_text("utf-8").count("\n") for path in MODULES}
    long = {name for name, number in lines.items() if number > LONGEST_LINES}
    assert long == LONGER


def test_a_module_name_exists_once():
    """A name without its folder says which module is meant; but adapters and commands are called as users call them."""
    modules = (path for path in MODULES if _layer(path) not in {"integrations", "commands"})
    names = Counter(path.name for path in modules if path.name != "__init__.py")
    assert not [name for name, times in names.items() if times > 1]


def test_a_class_name_exists_once():
    """One name, one thing; but an adapter is called what users of its framework guess, and a script imports one."""
    paths = (path for path in MODULES if _layer(path) != "integrations")
    nodes = (node for path in paths for node in ast.walk(_tree(path)))
    names = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef))
    assert not [name for name, times in names.items() if times > 1]


def test_a_first_run_loads_no_more_modules_than_it_needs(tmp_path):
    """Each costs every script some tenths of a millisecond: what is added here has to be worth that."""
    program = """
import sys
import runicorn as rn

with rn.init(storage=sys.argv[1]):
    print(sum(name.partition(".")[0] == "runicorn" for name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(done.stdout) <= MOST_LOADED


def test_a_writer_begins_without_what_few_runs_need():
    """``finish()`` of a short run waits for the writer's start, and ``typing_extensions`` alone takes 7 ms of it."""
    program = """
import sys
sys.path.extend(sys.argv[1:])
from runicorn.writer.main import _import_msgspec
_import_msgspec()
import runicorn.writer.serve
print(*sorted({"typing_extensions", "json", "urllib.parse", "sqlite3"} & set(sys.modules)))
"""
    command = [sys.executable, "-I", "-S", "-c", program, *writer_process._import_directories()]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == []
