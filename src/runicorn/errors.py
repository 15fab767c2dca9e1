"""Every error that this package raises into a program: ``runicorn.errors``, or ``rn.errors``.

::

    RunicornError                    everything below
    ├── ArgumentError                an argument is wrong; the message says what was not done, and what to write
    │   ├── WrongTypeError           also TypeError
    │   ├── WrongValueError          also ValueError
    │   └── SettingError             also ValueError: a ``RUNICORN_...`` variable
    ├── NotFoundError                also LookupError
    │   ├── RunNotFoundError         no run is meant, or several are
    │   └── MetricNotFoundError      also KeyError
    ├── RunElsewhereError            also RuntimeError: the run may be open on another host
    ├── MissingPackageError          also ImportError: an optional package is needed
    └── StorageError                 also OSError: a file or directory cannot be made, read or changed
        ├── MissingPathError         also FileNotFoundError
        ├── PathExistsError          also FileExistsError
        ├── ForbiddenPathError       also PermissionError
        ├── NoDirectoryError         also NotADirectoryError
        ├── IsDirectoryError         also IsADirectoryError
        ├── StillBusyError           also TimeoutError: another process has not let go in time
        └── RefusedChangeError       the run forbids the change

Each is also the built-in kind in its line, so ``except ValueError`` goes on working. Inside the training loop
they are warnings; ``RUNICORN_STRICT=1`` raises them.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing takes long
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class RunicornError(Exception):
    """Any error of this package."""


class ArgumentError(RunicornError):
    """An argument or a setting is wrong."""


class WrongTypeError(ArgumentError, TypeError):
    """An argument is of a wrong type, or there is no such argument."""


class WrongValueError(ArgumentError, ValueError):
    """An argument has the right type and a value that is not allowed."""


class SettingError(ArgumentError, ValueError):
    """An environment variable ``RUNICORN_...`` has a text that is not allowed."""


class NotFoundError(RunicornError, LookupError):
    """What was named is not there."""


class RunNotFoundError(NotFoundError):
    """No run matches, or several do.

    Attributes:
        candidates: what is known of the runs that match, newest first; empty if none does.
    """

    candidates: Sequence[Any] = ()


class MetricNotFoundError(NotFoundError, KeyError):
    """The run has no such metric."""

    def __str__(self) -> str:  # a KeyError shows the repr of its message
        return str(self.args[0]) if self.args else ""


class RunElsewhereError(RunicornError, RuntimeError):
    """The run may be open on another host, and nobody on this host can know."""


class MissingPackageError(RunicornError, ImportError):
    """An optional package is not installed."""


class StorageError(RunicornError, OSError):
    """A file or directory cannot be made, read or changed; ``errno`` and ``filename`` are set if they are known."""

    def __str__(self) -> str:  # the message is a sentence that names the path
        return self.strerror or super().__str__()


class MissingPathError(StorageError, FileNotFoundError):
    """A file or directory is not there."""


class PathExistsError(StorageError, FileExistsError):
    """Something is there already, and nothing is overwritten."""


class ForbiddenPathError(StorageError, PermissionError):
    """The path may not be written."""


class NoDirectoryError(StorageError, NotADirectoryError):
    """A directory is needed, and the path is something else."""


class IsDirectoryError(StorageError, IsADirectoryError):
    """A file is needed, and the path is a directory."""


class StillBusyError(StorageError, TimeoutError):
    """Another process has not let go in time."""


class RefusedChangeError(StorageError):
    """The run's state or place forbids the change."""


def storage_error(error: OSError, message: str, path: str) -> OSError:
    """A ``StorageError`` that is of the same built-in kind as an error of the operating system; else that error.

    Args:
        error: the operating system's.
        message: what happened, and what to do.
        path: becomes ``filename``.
    """
    for kind in (*StorageError.__subclasses__(), StorageError):
        if type(error) is kind.__bases__[-1]:
            made: StorageError = kind(error.errno, message, path)
            return made
    return error
