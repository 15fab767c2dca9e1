"""Build hook: compile the accelerator of ``log()``; if that is not possible, the package is pure Python.

``HATCH_BUILD_NO_HOOKS=true`` builds the pure wheel, which runs everywhere.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = "src/runicorn/queue/_accelerator.c"
STABLE_ABI = (3, 10)


class AcceleratorHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds one shared library, for the stable ABI, to a wheel; an editable installation has it among the sources."""

    PLUGIN_NAME = "accelerator"
    _built: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; if that fails, warn why, and build the package in pure Python."""
        if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
            return  # it relies on the GIL
        try:
            self._built = Path(tempfile.mkdtemp())
            library = compiled_library(Path(self.root), self._built)
        except Exception as error:  # noqa: BLE001 - no compiler, no headers, no setuptools: all that is optional
            self.app.display_warning(f"runicorn is built without its accelerator, in pure Python: {error}")
            return
        target = Path(SOURCE).with_name(library.name)
        if version == "editable":
            replace(library, Path(self.root, target))
            return
        from packaging.tags import sys_tags

        build_data["force_include"][str(library)] = target.relative_to("src").as_posix()
        build_data["pure_python"] = False
        build_data["tag"] = f"cp{STABLE_ABI[0]}{STABLE_ABI[1]}-abi3-{next(sys_tags()).platform}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - the interface's
        """Remove what was compiled."""
        if self._built is not None:
            shutil.rmtree(self._built, ignore_errors=True)


def compiled_library(root: Path, directory: Path) -> Path:
    """Compile the extension.

    Raises:
        Exception: whatever setuptools and the compiler raise.
    """
    from setuptools import Distribution, Extension

    number = "0x{:02X}{:02X}0000".format(*STABLE_ABI)
    extension = Extension(
        "_accelerator", [str(root / SOURCE)], define_macros=[("Py_LIMITED_API", number)], py_limited_api=True
    )
    command = Distribution({"ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(directory), str(directory / "objects")
    command.ensure_finalized()
    command.run()
    return Path(command.get_outputs()[0])


def replace(library: Path, target: Path) -> None:
    """Put the library into its place in one step: running processes have the old file mapped."""
    new = target.with_suffix(f".{os.getpid()}")
    shutil.copyfile(library, new)
    new.replace(target)
