"""The page's modules as one script: what a browser loads in one request, and what a report can hold."""

from __future__ import annotations

import os
import re

FIRST = "app.js"
_IMPORT = re.compile(r'^import \{ (?P<names>[\w, ]+) \} from "\./(?P<file>[\w/-]+\.js)";\n', re.MULTILINE)
_COMMENT = re.compile(r"/\*\*.*?\*/ ?", re.DOTALL)
_EXPORT = re.compile(r"^export (?=async function|function|class|const)", re.MULTILINE)
_EXPORTS = re.compile(r"export\{([\w ,]+)\};?\s*$")
_LINE = re.compile(r"^ *(?://.*)?\n", re.MULTILINE)


def joined_modules(folder: str) -> str:
    """Each module behind those that it imports, without their imports, exports and comments.

    This takes what a test demands of the modules: imports by name in one line each, and no name at the top of two of
    them. What they import from a folder below stays an import.

    Args:
        folder: that they lie in.

    Raises:
        OSError: a module cannot be read.
    """
    texts: dict[str, str] = {}
    others: dict[str, set[str]] = {}
    _add(folder, FIRST, texts, others)
    imports = [f'import {{ {", ".join(sorted(names))} }} from "./{file}";' for file, names in sorted(others.items())]
    return "\n".join([*imports, *texts.values()])


def _add(folder: str, name: str, texts: dict[str, str], others: dict[str, set[str]]) -> None:
    if name in texts:
        return
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        text = file.read()
    for found in _IMPORT.finditer(text):
        if "/" in found["file"]:
            others.setdefault(found["file"], set()).update(found["names"].split(", "))
        else:
            _add(folder, found["file"], texts, others)
    texts[name] = _LINE.sub("", _EXPORT.sub("", _COMMENT.sub("", _IMPORT.sub("", text))))


def whole_script(folder: str) -> str:
    """The joined modules with what they import in them too: one script that needs no other file.

    Args:
        folder: that they lie in.

    Raises:
        OSError: a module cannot be read.
    """
    return _IMPORT.sub(lambda found: _enclosed(folder, found), joined_modules(folder))


def _enclosed(folder: str, found: re.Match[str]) -> str:
    """A module as a function that is called at once, so that its short names meet nobody else's."""
    with open(os.path.join(folder, found["file"]), encoding="utf-8") as file:
        text = file.read()
    exports = _EXPORTS.search(text)
    assert exports is not None
    outer = {each.split(" as ")[1]: each.split(" as ")[0] for each in exports[1].split(",")}
    wanted = ", ".join(f"{name}: {outer[name]}" for name in found["names"].split(", "))
    return f"const {{ {found['names']} }} = (() => {{\n{_EXPORTS.sub('', text)}\nreturn {{ {wanted} }};\n}})();\n"
